"""Lines in the log about apps that connect: a peer that does so all the time does not fill it."""

import logging
import os

import pytest

from support.clock import Clock
from trimtab_agent.app import App
from trimtab_agent.peers import Peer
from trimtab_agent.told import ConnectedLines
from trimtab_core.messages import Hello


def an_app(process: int) -> App:
    hello = Hello("test", "shop", "", "host", 1, os.urandom(8))
    return App(hello, 0, peer=Peer("1000", True, process))


def test_a_peer_that_connects_without_end_has_a_few_lines_and_others_have_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    lines = ConnectedLines(clock)
    with caplog.at_level(logging.INFO, "trimtab.listener"):
        for _ in range(5_000):
            lines.connected(an_app(7))
            clock.advance_ms(2)
        assert len(caplog.records) == 10
        lines.connected(an_app(8))
        clock.advance_s(60)
        lines.connected(an_app(7))
    told = [each.getMessage() for each in caplog.records[10:]]
    assert [each.partition(" (and ")[2] for each in told] == ["4990 times before)", ""]
    assert told[0].startswith("app connected service=shop environment=test instance=host#0 pid=1")


def test_processes_without_number_have_a_bound_together(caplog: pytest.LogCaptureFixture) -> None:
    lines = ConnectedLines(Clock())
    with caplog.at_level(logging.INFO, "trimtab.listener"):
        for process in range(1, 5_000):
            lines.connected(an_app(process))
    assert len(caplog.records) == 1000
