"""Configuration of gunicorn: says for each file wrapper whether the kernel has sent it."""

import sys
from typing import Any

from gunicorn.http.wsgi import Response

_original = Response.sendfile


def _sendfile(self: Any, respiter: Any) -> Any:
    sent = _original(self, respiter)
    sys.stdout.write(f"sendfile {type(respiter).__name__} {sent}\n")
    sys.stdout.flush()
    return sent


Response.sendfile = _sendfile
