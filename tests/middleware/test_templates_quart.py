"""Route templates of Quart: rules, nested blueprints, static files, methods it does not allow."""

from pathlib import Path

import pytest
from quart import Blueprint, Quart

from support.processes.drive import Measured, call


def application(folder: Path) -> Quart:
    (folder / "a.css").write_text("a {}")
    app = Quart("tested", static_folder=str(folder), static_url_path="/static")
    shop = Blueprint("shop", "shop", url_prefix="/shop/<lang>")
    nested = Blueprint("nested", "nested", url_prefix="/nested")

    @app.get("/")
    async def home() -> str:
        return "home"

    @app.get("/slash/")
    async def slash() -> str:
        return "slash"

    @app.get("/boom/<x>")
    async def boom(x: str) -> str:
        raise RuntimeError(x)

    @shop.post("/order")
    async def order(lang: str) -> tuple[str, int]:
        return lang, 201

    @nested.get("/<uuid:key>")
    async def key(lang: str, key: object) -> str:
        return str(key)

    shop.register_blueprint(nested)
    app.register_blueprint(shop)
    return app


UUID = "12345678-1234-5678-1234-567812345678"
CASES = [
    ("GET", "/", 200, "/"),
    ("POST", "/shop/ko/order", 201, "/shop/<lang>/order"),
    ("GET", "/shop/ko/order", 405, "/shop/<lang>/order"),
    ("GET", f"/shop/ko/nested/{UUID}", 200, "/shop/<lang>/nested/<uuid:key>"),
    ("GET", "/shop/ko/nested/7", 404, "unmatched"),
    ("GET", "/boom/1", 500, "/boom/<x>"),
    ("GET", "/static/a.css", 200, "/static/<path:filename>"),
    ("GET", "/static/no/such", 404, "/static/<path:filename>"),
    ("OPTIONS", "/", 200, "/"),
    ("GET", "/slash", 308, "unmatched"),
    ("GET", "/nothing", 404, "unmatched"),
]


@pytest.mark.parametrize("root_path", ["", "/proxy"])
def test_each_request_has_the_rule_of_its_view(
    measured: Measured, tmp: Path, root_path: str
) -> None:
    app = measured.asgi(application(tmp))
    for method, path, status, _ in CASES:
        answer = call(app, path, method, root_path=root_path, headers=[(b"host", b"localhost")])
        assert answer.status == status
    got = [(seen.record.status, seen.template) for seen in measured.records(len(CASES))]
    assert got == [(status, template) for _, _, status, template in CASES]
