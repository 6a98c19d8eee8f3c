"""What `trimtab agent` loads: what it never uses takes no memory."""

import json
import subprocess
import sys

CODE = """
import json, sys
from trimtab_agent.cli import agent
try:
    agent(["--help"])
except SystemExit:
    pass
from trimtab_agent.forwarder import make_client
make_client("http://127.0.0.1:1", "key", "")
print(json.dumps(sorted(name for name, module in sys.modules.items() if module is not None)))
"""


def test_it_loads_neither_the_command_line_of_httpx_nor_http2_nor_drivers() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"httpx", "httpcore", "trimtab_agent.agent"} <= loaded
    unused = ("rich", "click", "pygments", "h2", "redis", "psycopg", "sqlalchemy", "numpy")
    assert loaded.isdisjoint(unused)
