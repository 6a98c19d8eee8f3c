"""Rows of the table of endpoints: alerts, what they are judged by, and what is silent."""

from typing import Final

from trimtab_collector.alertchanges import ChangesOfAlerts, changes_of_alert
from trimtab_collector.alerts.book import AlertBook, acknowledge, alerts, one_alert
from trimtab_collector.alerts.preview import Previews, preview
from trimtab_collector.alerts.ruleset import (
    RuleSet,
    add_config,
    change_config,
    configs,
    one_config,
    remove_config,
    set_thresholds,
    thresholds,
)
from trimtab_collector.alerts.silences import SilenceBook, add_silence, remove_silence, silences
from trimtab_collector.api.endpoint import ApiEndpoint
from trimtab_collector.contract.alertconfigs import (
    CONFIG,
    AlertConfig,
    AlertConfigs,
    NewAlertConfig,
    NewThresholds,
    Preview,
    Removed,
    Thresholds,
)
from trimtab_collector.contract.alerts import (
    ALERT,
    SEVERITY,
    SILENCE,
    STATE,
    AlertBody,
    AlertChanges,
    Alerts,
    NewSilence,
    Silence,
    Silences,
)
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.languages import LANG
from trimtab_collector.contract.parameters import LIMIT, OWNERS, RANGE, TZ

__all__ = ["JUDGING"]

_DAY_S: Final = 86_400
_WEEK_S: Final = 7 * 86_400

# fmt: off
JUDGING: Final = (
    ApiEndpoint(("/alerts",), alerts, (Alerts,), (*OWNERS[:2], *RANGE, STATE, SEVERITY, LIMIT),
             _DAY_S, of=AlertBook, shares=True),
    ApiEndpoint(("/alerts/{id}",), one_alert, (AlertBody,), (ALERT,), of=AlertBook),
    ApiEndpoint(("/alerts/{id}/changes",), changes_of_alert, (AlertChanges,), (ALERT, TZ, LANG),
             of=ChangesOfAlerts, shares=True),
    ApiEndpoint(("/alerts/{id}/acknowledge",), acknowledge, (AlertBody,), (ALERT,),
             role=Role.ADMIN, method="POST", of=AlertBook, refuses=(409,)),
    ApiEndpoint(("/silences",), silences, (Silences,), of=SilenceBook),
    ApiEndpoint(("/silences",), add_silence, (Silence,), role=Role.ADMIN, method="POST",
             takes=NewSilence, of=SilenceBook, status=201, refuses=(409,)),
    ApiEndpoint(("/silences/{id}",), remove_silence, (Removed,), (SILENCE,), role=Role.ADMIN,
             method="DELETE", of=SilenceBook),
    ApiEndpoint(("/thresholds",), thresholds, (Thresholds,), of=RuleSet, shares=True),
    ApiEndpoint(("/thresholds",), set_thresholds, (Thresholds,), role=Role.ADMIN, method="PUT",
             takes=NewThresholds, of=RuleSet, refuses=(409,)),
    ApiEndpoint(("/alert-configs",), configs, (AlertConfigs,), of=RuleSet),
    ApiEndpoint(("/alert-configs",), add_config, (AlertConfig,), role=Role.ADMIN, method="POST",
             takes=NewAlertConfig, of=RuleSet, status=201, refuses=(409,)),
    ApiEndpoint(("/alert-configs/preview",), preview, (Preview,), RANGE, _WEEK_S,
             method="POST", computes=True, takes=NewAlertConfig, of=Previews),
    ApiEndpoint(("/alert-configs/{id}",), one_config, (AlertConfig,), (CONFIG,), of=RuleSet),
    ApiEndpoint(("/alert-configs/{id}",), change_config, (AlertConfig,), (CONFIG,),
             role=Role.ADMIN, method="PUT", takes=NewAlertConfig, of=RuleSet, refuses=(409,)),
    ApiEndpoint(("/alert-configs/{id}",), remove_config, (Removed,), (CONFIG,), role=Role.ADMIN,
             method="DELETE", of=RuleSet, refuses=(409,)),
)
# fmt: on
