"""SIGHUP: an agent reads its settings again while apps are connected."""

import signal
from pathlib import Path

from support.processes.load import drive
from support.processes.servers import Agent, App, Collector, Proc, wait_for
from support.processes.stack import uvicorn


def settings_file(directory: Path, collector: Collector, key: str, more: str = "") -> Path:
    path = directory / "trimtab.toml"
    (directory / "key").write_text(key)
    path.write_text(f'[agent]\ncollector_url = "{collector.url}"\n{more}')
    return path


def agent_of(directory: Path, config: Path) -> Agent:
    agent = Agent(directory, "", "")
    for name in ("TRIMTAB_AGENT_COLLECTOR_URL", "TRIMTAB_AGENT_KEY"):
        del agent.env[name]
    agent.env |= {
        "TRIMTAB_CONFIG": str(config),
        "TRIMTAB_AGENT_KEY_FILE": str(directory / "key"),
    }
    return agent


def reload(agent: Proc) -> None:
    agent.child.send_signal(signal.SIGHUP)


def test_a_new_key_takes_effect_at_once_and_nothing_is_lost(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        agent = agent_of(tmp, settings_file(tmp, collector, "ttk_wrong_key"))
        with agent.start():
            # From now on it would ask once a minute.
            agent.wait_line("cause=401")
            with App(tmp, "shop", agent.socket, uvicorn()).start() as app:
                assert drive([f"{app.url}/items/1"], 200).failed == 0
                (tmp / "key").write_text(collector.new_key())
                reload(agent)
                agent.wait_line("settings read again changed=key")
                wait_for(lambda: collector.api.counted("shop") == 200, "the records", 20)
                assert app.alive
            assert "app connected" in agent.output()


def test_wrong_settings_leave_everything_as_it_is(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        config = settings_file(tmp, collector, collector.new_key())
        agent = agent_of(tmp, config)
        with agent.start():
            for text, sentence in (
                ("[agent]\ncolector_url = 'x'\n", "did you mean collector_url?"),
                ("[agent\n", "expected TOML"),
                ("[agent]\nallow_uids = ['me']\n", "expected user ids"),
            ):
                config.write_text(text)
                reload(agent)
                assert "the old ones hold" in agent.wait_line(sentence)
            assert agent.alive


def test_what_takes_a_restart_is_named(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        config = settings_file(tmp, collector, collector.new_key())
        agent = agent_of(tmp, config)
        del agent.env["TRIMTAB_AGENT_WINDOW_S"]
        with agent.start():
            settings_file(tmp, collector, "x", "window_s = 5\nmax_apps = 7\nlog_level = 'debug'\n")
            reload(agent)
            agent.wait_line("window_s takes a restart")
            line = agent.wait_line("settings read again")
            assert "max_apps" in line
            assert "log_level" in line
