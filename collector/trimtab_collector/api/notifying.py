"""Rows of the table of endpoints: channels of notifications, and what they delivered."""

from typing import Final

from trimtab_collector.api.endpoint import ApiEndpoint
from trimtab_collector.contract.alertconfigs import Removed
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.channels import (
    CHANNEL,
    DELIVERED,
    OF_CHANNEL,
    ChannelBody,
    ChannelChange,
    ChannelList,
    ChannelTest,
    Deliveries,
    NewChannel,
)
from trimtab_collector.contract.parameters import LIMIT, RANGE
from trimtab_collector.notify.administration import (
    ChannelDesk,
    add_channel,
    change_channel,
    channels,
    one_channel,
    remove_channel,
    test_channel,
)
from trimtab_collector.notify.log import DeliveryLog, deliveries
from trimtab_collector.notify.sender import Sender

__all__ = ["NOTIFYING"]

_WEEK_S: Final = 7 * 86_400

# fmt: off
NOTIFYING: Final = (
    ApiEndpoint(("/channels",), channels, (ChannelList,), of=ChannelDesk),
    ApiEndpoint(("/channels",), add_channel, (ChannelBody,), role=Role.ADMIN, method="POST",
             takes=NewChannel, of=ChannelDesk, status=201, refuses=(409,)),
    ApiEndpoint(("/channels/{name}",), one_channel, (ChannelBody,), (CHANNEL,), of=ChannelDesk),
    ApiEndpoint(("/channels/{name}",), change_channel, (ChannelBody,), (CHANNEL,),
             role=Role.ADMIN, method="PUT", takes=ChannelChange, of=ChannelDesk,
             refuses=(409,)),
    ApiEndpoint(("/channels/{name}",), remove_channel, (Removed,), (CHANNEL,),
             role=Role.ADMIN, method="DELETE", of=ChannelDesk, refuses=(409,)),
    ApiEndpoint(("/channels/{name}/test",), test_channel, (ChannelTest,), (CHANNEL,),
             role=Role.ADMIN, method="POST", of=Sender),
    ApiEndpoint(("/deliveries",), deliveries, (Deliveries,),
             (OF_CHANNEL, *RANGE, DELIVERED, LIMIT), _WEEK_S, of=DeliveryLog),
)
# fmt: on
