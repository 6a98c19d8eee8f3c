"""The same app in every framework: what it answers, and what its templates are called there.

Each target stands in a file of its own in `FOLDER`, which a server has to have on its path:
`uvicorn --app-dir FOLDER starlette_target:app`.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

__all__ = ["ANSWERS", "FOLDER", "FRAMEWORKS", "UNMATCHED", "Framework", "loaded"]

FOLDER: Final = Path(__file__).resolve().parents[2] / "targets" / "frameworks"
UNMATCHED: Final = "unmatched"
#: Method and path, then the status of the answer and its body (None: as the framework likes).
ANSWERS: Final[dict[tuple[str, str], tuple[int, bytes | None]]] = {
    ("GET", "/items/7"): (200, b"item 7"),
    ("GET", "/items/8"): (200, b"item 8"),
    ("POST", "/items/7"): (405, None),
    ("GET", "/api/v1/users/ann"): (200, b"user ann"),
    ("GET", "/missing"): (404, None),
    ("GET", "/boom"): (500, None),
    ("GET", "/stream"): (200, b"one two three"),
}


@dataclass(frozen=True)
class Framework:
    """A framework of the matrix and how it writes the templates of items and users."""

    name: str
    module: str
    interface: Literal["asgi", "wsgi"]
    item: str
    user: str
    #: whether it answers `/ws`: one text is sent back, then it closes
    websocket: bool = False
    #: whether an exception of the app leaves it, so that the server answers 500
    raises: bool = False

    @property
    def app(self) -> str:
        """The app as servers want it named."""
        return f"{self.module}:app"

    def template(self, path: str) -> str:
        """Return the template that a path of `ANSWERS` (or `/ws`) has."""
        if path.startswith("/items/"):
            return self.item
        if path.startswith("/api/"):
            return self.user
        return UNMATCHED if path == "/missing" else path


FRAMEWORKS: Final = {
    framework.name: framework
    for framework in (
        Framework(
            "starlette", "starlette_target", "asgi", "/items/{item_id}", "/api/v1/users/{name}",
            websocket=True, raises=True,
        ),
        Framework(
            "fastapi", "fastapi_target", "asgi", "/items/{item_id}", "/api/v1/users/{name}",
            websocket=True, raises=True,
        ),
        Framework(
            "litestar", "litestar_target", "asgi", "/items/{item_id}", "/api/v1/users/{name}",
            websocket=True,
        ),
        Framework(
            "quart", "quart_target", "asgi", "/items/<int:item_id>", "/api/v1/users/<name>",
            websocket=True,
        ),
        Framework(
            "falcon_asgi", "falcon_asgi_target", "asgi", "/items/{item_id:int}",
            "/api/v1/users/{name}", websocket=True,
        ),
        Framework(
            "falcon_wsgi", "falcon_wsgi_target", "wsgi", "/items/{item_id:int}",
            "/api/v1/users/{name}",
        ),
        Framework(
            "flask", "flask_target", "wsgi", "/items/<int:item_id>", "/api/v1/users/<name>"
        ),
        Framework(
            "django_asgi", "django_asgi_target", "asgi", "/items/<int:item_id>",
            "/api/v1/users/<str:name>",
        ),
        Framework(
            "django_wsgi", "django_wsgi_target", "wsgi", "/items/<int:item_id>",
            "/api/v1/users/<str:name>",
        ),
        Framework(
            "bare_asgi", "bare_asgi_target", "asgi", "/items/{item_id}", "/api/v1/users/{name}",
            websocket=True, raises=True,
        ),
        Framework(
            "bare_wsgi", "bare_wsgi_target", "wsgi", "/items/{item_id}", "/api/v1/users/{name}",
            raises=True,
        ),
    )
}  # fmt: skip


@contextmanager
def loaded(framework: Framework) -> Iterator[Any]:
    """Yield a new app of the framework, in this process."""
    spec = importlib.util.spec_from_file_location(
        framework.module, FOLDER / f"{framework.module}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = framework.module in sys.modules
    assert not before, framework.module
    # Litestar and FastAPI look up annotations in the module's own place.
    sys.modules[framework.module] = module
    sys.path.insert(0, str(FOLDER))
    try:
        spec.loader.exec_module(module)
        yield module.app
    finally:
        sys.path.remove(str(FOLDER))
        del sys.modules[framework.module]
