"""kill -9 of the sending process at any moment: nothing is lost, and little is sent twice."""

import json
import os
import random
import signal
import sys
import threading
from collections import Counter

from support.processes.notifychild import ALERTS, numbered
from support.processes.servers import Proc, short_dir, wait_for
from support.processes.stub_collector import Answer, StubCollector
from trimtab_collector.statefile import StateFile

COUNT = 24


class Killer:
    """A receiver that kills the sender at some requests: before or after its answer."""

    def __init__(self, kills: dict[int, float | None]) -> None:
        #: number of the request -> seconds after the answer, None for before it
        self.kills = kills
        self.pid = 0
        self.seen = 0

    def __call__(self, body: bytes, number: int) -> Answer:
        self.seen += 1
        after_s = self.kills.pop(self.seen, -1.0)
        if after_s is None:
            os.kill(self.pid, signal.SIGKILL)
        elif after_s >= 0:
            threading.Timer(after_s, os.kill, (self.pid, signal.SIGKILL)).start()
        return Answer(200)


def test_each_notice_arrives_and_only_what_was_being_sent_arrives_twice() -> None:
    chance = random.Random(3)
    numbers = chance.sample(range(1, 16), 3)
    kills = {number: chance.choice([None, 0.0, chance.random() / 200]) for number in numbers}
    killer, killed = Killer(kills), len(kills)
    with short_dir() as directory, StubCollector(killer) as stub:
        first, lives = 0, 0
        while True:
            script = "tests/support/processes/notifychild.py"
            words = [sys.executable, script, str(directory), stub.url, str(first), str(COUNT)]
            with Proc(f"child{lives}", words, directory, {"PYTHONPATH": "tests"}) as child:
                child.start()
                killer.pid = child.pid
                child.wait_exit(60)
                said = child.output().split()
            lives += 1
            numbers_said = [int(word) for word in said if word.isdecimal()]
            first = max([first, *(number + 1 for number in numbers_said)])
            if "done" in said:
                break
            assert lives <= killed, child.tail()
        bodies = [json.loads(each.body) for each in stub.asked]
        state = StateFile(directory)
        rows = state.rows("SELECT key, state FROM delivery ORDER BY id")
        state.close()
    assert lives == killed + 1 - len(killer.kills)
    # A notice whose commit was not heard of may be there all the same, and is then added again:
    # its key makes one of both.
    assert {key for key, _ in rows} == {numbered(number).key for number in range(COUNT)}
    assert {state for _, state in rows} <= {"sent", "merged"}
    sent = {f"{key}:hook" for key, state in rows if state == "sent"}
    arrived = Counter(body["key"] for body in bodies)
    assert sent <= set(arrived)
    assert sum(arrived.values()) - len(arrived) <= lives - 1
    for alert in range(ALERTS):
        mine = [body["key"] for body in bodies if body["thread"] == f"alert{alert}"]
        numbers_of = [int(key.split(":")[1]) for key in dict.fromkeys(mine)]
        assert numbers_of == sorted(numbers_of)
        assert numbers_of[-1] == COUNT // ALERTS


def test_the_notice_is_there_although_the_process_died_before_it_could_say_so() -> None:
    with short_dir() as directory, StubCollector(lambda body, number: Answer(503)) as stub:
        script = "tests/support/processes/notifychild.py"
        words = [sys.executable, script, str(directory), stub.url, "0", "1"]
        with Proc("child", words, directory, {"PYTHONPATH": "tests"}) as child:
            child.start()
            wait_for(lambda: stub.asked, "a try", 40)
            child.kill9()
        state = StateFile(directory)
        assert state.rows("SELECT state, attempts > 0 FROM delivery") == [("pending", 1)]
        state.close()
