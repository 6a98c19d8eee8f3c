"""Rows of the table of endpoints: marks, objectives, key figures, reports."""

from typing import Final

from trimtab_collector.api.endpoint import ApiEndpoint
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.dashboard import Dashboard
from trimtab_collector.contract.kpis import KpiList, KpiTargets
from trimtab_collector.contract.languages import LANG
from trimtab_collector.contract.marks import KIND, MARK_ID, MarkBody, MarkList, NewMark
from trimtab_collector.contract.overview import OVERVIEW_LIMIT, Overview
from trimtab_collector.contract.parameters import APDEX, LIMIT, OWNERS, RANGE, ROUTE, TZ
from trimtab_collector.contract.reports import DATE, FORMAT, REPORT_PERIOD, ReportBody
from trimtab_collector.contract.slos import SLO_ID, SloBody, SloList, SloSettings
from trimtab_collector.marks import Marks, delete_mark, list_marks, post_mark
from trimtab_collector.objectives.answers import (
    Objectives,
    delete_slo,
    list_slos,
    post_slo,
    put_slo,
)
from trimtab_collector.objectives.kpis import KpiBook, get_kpis, put_kpis
from trimtab_collector.overview.overviews import Overviews, overview
from trimtab_collector.reports.dashboard import dashboard
from trimtab_collector.reports.reporter import Reporter, report

__all__ = ["REPORTING"]

_HOUR_S: Final = 3600
_WEEK_S: Final = 7 * 86_400

# fmt: off
REPORTING: Final = (
    ApiEndpoint(("/marks",), list_marks, (MarkList,), (*OWNERS[:2], *RANGE, KIND, LIMIT), _WEEK_S,
             of=Marks, shares=True),
    ApiEndpoint(("/marks",), post_mark, (MarkBody,), (TZ,), role=Role.ADMIN, method="POST",
             takes=NewMark, of=Marks, status=201),
    ApiEndpoint(("/marks/{id}",), delete_mark, (MarkBody,), (MARK_ID, TZ), role=Role.ADMIN,
             method="DELETE", of=Marks),
    ApiEndpoint(("/slos",), list_slos, (SloList,), (*OWNERS[:2], TZ), of=Objectives,
             shares=True),
    ApiEndpoint(("/slos",), post_slo, (SloBody,), (TZ,), role=Role.ADMIN, method="POST",
             takes=SloSettings, of=Objectives, status=201, refuses=(409,)),
    ApiEndpoint(("/slos/{id}",), put_slo, (SloBody,), (SLO_ID, TZ), role=Role.ADMIN,
             method="PUT", takes=SloSettings, of=Objectives, refuses=(409,)),
    ApiEndpoint(("/slos/{id}",), delete_slo, (SloBody,), (SLO_ID, TZ), role=Role.ADMIN,
             method="DELETE", of=Objectives, refuses=(409,)),
    ApiEndpoint(("/kpis",), get_kpis, (KpiList,), (TZ,), of=KpiBook),
    ApiEndpoint(("/kpis",), put_kpis, (KpiList,), (TZ,), role=Role.ADMIN, method="PUT",
             takes=KpiTargets, of=KpiBook),
    ApiEndpoint(("/overview",), overview, (Overview,),
             (*OWNERS[:2], *RANGE, OVERVIEW_LIMIT, APDEX, LANG), _HOUR_S, of=Overviews,
             shares=True),
    ApiEndpoint(("/dashboard",), dashboard, (Dashboard,), (*OWNERS, ROUTE, TZ, LANG, APDEX),
             of=Reporter, shares=True),
    ApiEndpoint(("/report",), report, (ReportBody,),
             (*OWNERS[:2], REPORT_PERIOD, DATE, TZ, FORMAT, LANG), of=Reporter, html=True),
)
# fmt: on
