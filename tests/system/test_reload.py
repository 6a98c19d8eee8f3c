"""SIGHUP: an agent reads its settings again while apps are connected."""

import shutil
import signal
import ssl
import subprocess
from pathlib import Path

import pytest

from support.lacking import lack
from support.processes.load import drive
from support.processes.servers import Agent, App, Collector, Proc, wait_for
from support.processes.stack import uvicorn
from support.processes.stub_collector import Answer, StubCollector


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
            more = "window_s = 5\nprobe_s = 3\nmax_apps = 7\nlog_level = 'debug'\n"
            settings_file(tmp, collector, "x", more)
            reload(agent)
            line = agent.wait_line("settings read again")
            assert line.rstrip().endswith("changed=key,max_apps,log_level")
            assert "changing window_s takes a restart" in agent.output()
            assert "changing probe_s takes a restart" in agent.output()
            assert agent.output().count("takes a restart") == 2


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that signs itself; return its file and that of its key."""
    made, key = directory / f"{name}.pem", directory / f"{name}.key"
    words = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    words += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, "-out", made, "-keyout", key], check=True, capture_output=True)
    return made, key


@pytest.mark.parametrize("change", ["another file", "another content"])
def test_new_certificates_are_for_the_collector_and_for_probes(tmp: Path, change: str) -> None:
    if shutil.which("openssl") is None:
        lack("openssl makes the certificates: install it (on Debian: apt install openssl)")
    (trusted, key), (other, _) = certificate(tmp, "trusted"), certificate(tmp, "other")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(trusted, key)
    named = other
    with StubCollector(lambda *_: Answer(), tls) as collector:
        config = tmp / "trimtab.toml"
        text = '[agent]\ncollector_url = "{}"\nprobe_http = ["{}/probed"]\nca_file = "{}"\n'
        config.write_text(text.format(collector.url, collector.url, named))
        (tmp / "key").write_text("ttk_any")
        agent = agent_of(tmp, config)
        agent.env["TRIMTAB_AGENT_PROBE_S"] = "1"
        with agent.start():
            assert "CERTIFICATE_VERIFY_FAILED" in agent.wait_line("probe failed target=http:")
            assert collector.asked == []
            if change == "another content":
                named.write_bytes(trusted.read_bytes())
            else:
                named = trusted
            config.write_text(text.format(collector.url, collector.url, named))
            reload(agent)
            agent.wait_line("settings read again")

            def came() -> set[str]:
                return {f"{asked.method} {asked.path}" for asked in list(collector.asked)}

            wait_for(lambda: "GET /probed" in came(), "a probe", 20)
            wait_for(lambda: any(each.startswith("POST") for each in came()), "a batch", 20)
