"""Starts it all, shows it live, tells a story, and can prove its numbers: ./dev demo."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from examples.demo.api import Api, ApiError
from examples.demo.day import DAY_S, pace
from examples.demo.fault import Listeners, inject
from examples.demo.findings import NAMES, findings
from examples.demo.options import options_of
from examples.demo.parts import PartError, Stack
from examples.demo.table import Screen, table
from examples.demo.telling import Telling, lead
from examples.demo.traffic import STORY_MIX, Traffic
from examples.demo.verdict import Accounting, accounting_of, sentence, settled

FLUSH_S = 45.0
#: seconds without a fault before it, so that there is something to compare with
QUIET_S = 25.0
#: seconds that what is expected may take to show, beyond the time of the traffic
EXPECT_S = 15.0
#: seconds between two blocks of the table where it cannot be redrawn in place
BLOCK_S = 5


class Demo:
    """One run: the parts, the traffic and what is shown of them."""

    def __init__(self, options: argparse.Namespace, directory: Path, screen: Screen) -> None:
        self._options = options
        self._screen = screen
        self.stack = Stack(directory, screen.say, options.story, options.check)
        self.traffic: Traffic | None = None
        self.listeners: Listeners | None = None
        self.telling: Telling | None = None
        self._api = Api(self.stack.ports["collector"], self.stack.token)
        self._begun = time.monotonic()

    async def run(self) -> int:
        """Start, show and, where asked to, check; returns the exit code. Raises PartError."""
        say = self._screen.say
        many = "five" if self._options.story else "three"
        say(f"starting collector, agent and {many} services under trimtab run")
        if self._options.fault:
            self.listeners = Listeners(say)
            await self.listeners.start(self.stack.ports["webhook"], self.stack.ports["mail"])
            self.stack.watch_for_fault()
        await self.stack.start()
        traffic = self.traffic = self._traffic()
        say(f"all ready after {time.monotonic() - self._begun:.1f} s, sending {self._load()}")
        say(f"the API: curl -H 'Authorization: Bearer {self.stack.token}' "
            f"{self.stack.url}/api/performance/services")  # fmt: skip
        self._begun = time.monotonic()
        traffic.start()
        if self._options.story:
            telling = self.telling = Telling(self.stack, traffic, self._options, say)
            await telling.begin()
            if self._options.check:
                return await telling.check()
        elif not self._options.check:
            await lead(self.stack, say, opens=not self._options.no_browser)
        if self._options.fault:
            wrong = await self._fault()
            if self._options.check or wrong:
                traffic.abandon()
                return 1 if wrong else 0
        await self._show(traffic)
        if not self._options.check:
            traffic.abandon()
            return 0
        missing = await self._missing()
        say("no more requests; reading the last answers")
        await traffic.stop()
        found = await self._flushed(traffic)
        self._write(found)
        for each in found:
            if each.unanswered:
                say(f"{each.service}: {traffic.failures[each.service][0]}")
        print(f"demo: {sentence(found)}", flush=True)
        return 1 if missing or any(each.fault for each in found) else 0

    def _traffic(self) -> Traffic:
        if not self._options.story:
            return Traffic(self.stack.ports, self._options.rate)
        # While a story is checked it is always noon.
        day = None if self._options.check else lambda service: pace(service, time.time())
        return Traffic(self.stack.ports, self._options.rate, STORY_MIX, day)

    async def _fault(self) -> list[str]:
        """Carry out the fault beside the traffic, and say what was told of it."""
        listeners = self.listeners
        assert listeners is not None
        listeners.follow(self.stack.ports["collector"], self.stack.token)
        say = self._screen.say
        say("the shop is well; in some seconds its disk will not be")
        await asyncio.sleep(QUIET_S)
        wrong = await inject(self.stack.directory / "shop", listeners, self.stack.check, say)
        for sentence_ in wrong:
            say(sentence_)
        if not wrong:
            say("a warning, a critical and a resolution came once each, in order, by live stream, "
                "mail and webhook")  # fmt: skip
            today = datetime.now(UTC).date()
            report = await self._api.page("/report", period="daily", date=today, format="html")
            path = Path(self._options.report or "trimtab-report.html")
            path.write_bytes(report)
            say(f"the report of today so far: {path} (open it in a browser)")
        return wrong

    async def _missing(self) -> list[str]:
        """Say what was found, and return what was expected and is not."""
        wanted = self._options.expect
        end = time.monotonic() + EXPECT_S
        seen: dict[str, str] = {}
        while wanted:
            seen = await findings(self._api.read, "-10m")
            if set(wanted) <= set(seen) or time.monotonic() > end:
                break
            self.stack.check()
            await asyncio.sleep(0.5)
        for name in wanted:
            why = " (left out: see above)" if name in self.stack.left_out else ""
            self._screen.say(f"{name}: {seen.get(name) or f'expected, and not seen{why}'}")
        return [name for name in wanted if name not in seen]

    def _load(self) -> str:
        until = f"for {self._options.seconds:g} s" if self._options.seconds else "until Ctrl-C"
        rate = f"{self._options.rate:g} requests/s"
        if self._options.story and not self._options.check:
            return f"up to {rate} in days of {DAY_S / 60:g} minutes, {until}"
        return f"about {rate} {until}"

    async def _show(self, traffic: Traffic) -> None:
        """Show the table until the time is over; for ever without one."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.seconds if self._options.seconds else None
        tick = loop.time()
        while end is None or loop.time() < end:
            tick = max(tick + (1 if self._screen.live else BLOCK_S), loop.time())
            await asyncio.sleep(min(tick, end or tick) - loop.time())
            self.stack.check()
            if self.telling:
                self.telling.look()
            try:
                services = await self._api.read("/services", from_="-5s")
                routes = await self._api.read("/routes", from_="-5s", by="rps", limit=50)
                screen = self._screen
                height = screen.height - 3 - len(NAMES)
                lines = table(services["services"], routes["routes"], height, screen.columns)
                seen = await findings(self._api.read)
                lines += [
                    f"  shop, {name}: {said}"[: screen.columns] for name, said in seen.items()
                ]
            except ApiError as error:
                lines = [f"  {error}"]
            if self.telling:
                lines.append(f"  the dashboard: {self.telling.address}")
            passed = time.monotonic() - self._begun
            unanswered = sum(map(len, traffic.failures.values()))
            broken = f", {unanswered:,} unanswered" if unanswered else ""
            self._screen.draw(
                [
                    f"{passed:.0f} s, {traffic.total:,} requests sent{broken}; the last 5 seconds:",
                    *lines,
                ]
            )

    async def _flushed(self, traffic: Traffic) -> list[Accounting]:
        """Return the accounting once everything sent is booked, or as it stands at the deadline."""
        say = self._screen.say
        say(f"waiting until the {traffic.total:,} requests are counted (up to {FLUSH_S:.0f} s)")
        begun = time.monotonic()
        found = await self._accounting(traffic)
        while not settled(found) and time.monotonic() - begun < FLUSH_S:
            self.stack.check()
            await asyncio.sleep(0.5)
            found = await self._accounting(traffic)
        # With the services ended nothing can be on its way: what is counted twice shows now.
        await self.stack.stop_services()
        found = await self._accounting(traffic)
        say(f"flushed after {time.monotonic() - begun:.1f} s")
        return found

    async def _accounting(self, traffic: Traffic) -> list[Accounting]:
        sent = {name: traffic.sent(name) for name in traffic.statuses}
        unanswered = {name: len(failures) for name, failures in traffic.failures.items()}
        try:
            services = (await self._api.read("/services", from_="-2h"))["services"]
        except ApiError as error:
            self._screen.say(str(error))
            services = []
        return accounting_of(sent, unanswered, services)

    def _write(self, found: list[Accounting]) -> None:
        if self._options.json:
            rows = [{**asdict(each), "fault": each.fault} for each in found]
            document = {"passed": not any(row["fault"] for row in rows), "services": rows}
            Path(self._options.json).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


async def run(options: argparse.Namespace) -> int:
    """Run the demo in a directory of its own; whatever happens, nothing of it stays."""
    screen = Screen()
    loop = asyncio.get_running_loop()
    # A short path, since Unix sockets take at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="trimtab-", ignore_cleanup_errors=True) as directory:
        demo = Demo(options, Path(directory), screen)
        work = asyncio.create_task(demo.run())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, work.cancel)
        last, code = "", 0
        try:
            code = await work
        except asyncio.CancelledError:
            last, code = "stopped by a signal", 130 if options.check else 0
        except ApiError as error:
            last, code = str(error), 1
        except PartError as error:
            for line in error.tail:
                print(f"  | {line}")
            last, code = f"{error} (the end of its log is above)", 1
        finally:
            if demo.traffic:
                demo.traffic.abandon()
            if demo.listeners:
                await demo.listeners.stop()
            if demo.telling:
                await demo.telling.stop()
            begun = time.monotonic()
            await demo.stack.stop()
        if not options.check or last:
            total = demo.traffic.total if demo.traffic else 0
            ended = f"everything is stopped ({time.monotonic() - begun:.1f} s)"
            screen.say(". ".join(filter(None, (last, f"{total:,} requests sent; {ended}"))))
        return code


def main() -> int:
    """Read the command line and run."""
    return asyncio.run(run(options_of(sys.argv[1:])))


if __name__ == "__main__":
    sys.exit(main())
