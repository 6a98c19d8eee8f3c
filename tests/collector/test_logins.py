"""Log in, refresh, log out; and tokens that somebody forged, copied or kept, which are refused."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from trimtab_collector.auth.signing import SigningKey, SigningKeys

ANOTHER = "another horse battery"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with an admin."""
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        yield process.start()


@pytest.fixture(scope="module")
def admin(collector: Collector) -> Client:
    client = Client(collector.port)
    assert client.login().status == 200
    return client


@pytest.fixture
def paul(collector: Collector, admin: Client, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A planner of this test alone, who has logged in."""
    name = f"p{abs(hash(request.node.name))}"[:20]
    made = admin.ask("POST", "/users", {"name": name, "password": PASSWORD})
    client = Client(collector.port)
    client.login(name)
    yield client
    admin.ask("DELETE", f"/users/{made.data['id']}")


def signing_key(collector: Collector) -> SigningKey:
    return SigningKeys(collector.data).current()


def claims_of(client: Client) -> dict[str, Any]:
    """Return the claims of a client's access token, unchecked."""
    found: dict[str, Any] = jwt.decode(client.token, options={"verify_signature": False})
    return found


def refused_as(client: Client) -> str:
    """Return the reason for which a client's token is not accepted; fails when it is."""
    found = client.ask("GET", "/auth/me")
    assert found.status == 401, found.body
    assert found.code == "unauthorized"
    assert found.headers["www-authenticate"].startswith("Bearer")
    return str(found.body["error"]["details"]["reason"])


# ---------------------------------------------------------------- logging in


def test_a_log_in_gives_an_access_token_with_every_claim_and_a_refresh_token(
    collector: Collector,
) -> None:
    client = Client(collector.port)
    data = client.login().data
    assert (data["tokenType"], data["expiresInSeconds"]) == ("Bearer", 900)
    assert data["refreshToken"].startswith("ttf_")
    assert data["user"]["name"] == ADMIN
    assert data["user"]["role"] == "admin"
    claims = claims_of(client)
    assert {"exp", "iat", "sub", "aud", "iss", "jti"} <= set(claims)
    assert claims["exp"] - claims["iat"] == 900
    header = jwt.get_unverified_header(client.token)
    assert header["alg"] == "HS256"
    assert header["kid"] == signing_key(collector).id
    me = client.ask("GET", "/auth/me").data
    assert me == {"name": ADMIN, "role": "admin", "kind": "user"}


def test_a_name_is_the_same_in_capitals_and_a_password_is_not(collector: Collector) -> None:
    assert Client(collector.port).login(ADMIN.upper()).status == 200
    assert (
        Client(collector.port, address="127.0.0.3").login(password=PASSWORD.upper()).status == 401
    )


def test_a_wrong_password_and_an_unknown_name_are_refused_with_the_same_words(
    collector: Collector,
) -> None:
    client = Client(collector.port, address="127.0.0.3")
    wrong, unknown = client.login(password="no"), client.login("nobody")
    assert wrong.status == unknown.status == 401
    assert wrong.body["error"] == unknown.body["error"]


def test_nothing_that_is_secret_is_stored_as_it_is(collector: Collector) -> None:
    client = Client(collector.port)
    refresh = client.login().data["refreshToken"]
    held = b"".join(path.read_bytes() for path in collector.data.glob("state.db*"))
    for secret in (PASSWORD, refresh.rpartition("_")[2], client.token):
        assert secret.encode() not in held
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in held
    for name in ("state.db", "login-keys", "keys.db"):
        assert (collector.data / name).stat().st_mode & 0o777 == 0o600
    assert len(signing_key(collector).bytes) >= 32


# ---------------------------------------------------------------- forged tokens


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


FORGED: dict[str, dict[str, Any]] = {
    "without exp": {"exp": None},
    "without iat": {"iat": None},
    "without sub": {"sub": None},
    "without jti": {"jti": None},
    "without aud": {"aud": None},
    "without iss": {"iss": None},
    "without version": {"ver": None},
    "without session": {"sid": None},
    "expired": {"exp": -31},
    "from the future": {"iat": 120},
    "for others": {"aud": "another-api"},
    "for others too": {"aud": ["trimtab-api", "another-api"]},
    "by others": {"iss": "another"},
    "of nobody": {"sub": "0" * 12},
    "of an earlier version": {"ver": 0},
    "of a later version": {"ver": 2},
    "with a version that is true": {"ver": "1"},
    "with a list as subject": {"sub": ["x"]},
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_token_with_the_right_signature_and_a_wrong_claim_is_refused(
    collector: Collector, paul: Client, change: dict[str, Any]
) -> None:
    claims = claims_of(paul)
    for name, value in change.items():
        if value is None:
            del claims[name]
        elif name in ("exp", "iat"):
            claims[name] = int(time.time()) + value
        else:
            claims[name] = value
    key = signing_key(collector)
    parts = [encoded({"alg": "HS256", "typ": "JWT", "kid": key.id}), encoded(claims)]
    signed = ".".join(parts).encode()
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        signed, key.bytes
    )
    parts.append(base64.urlsafe_b64encode(signature).rstrip(b"=").decode())
    assert refused_as(Client(collector.port, ".".join(parts))) in ("unknown", "expired", "revoked")
    assert paul.ask("GET", "/auth/me").status == 200


def test_a_token_of_another_algorithm_or_none_or_key_is_refused(
    collector: Collector, paul: Client
) -> None:
    claims, key = claims_of(paul), signing_key(collector)
    header = {"kid": key.id}
    body = encoded(claims)
    for algorithm in ("none", "None", "NONE", ""):
        for signature in ("", "x"):
            text = f"{encoded({'alg': algorithm, **header})}.{body}.{signature}"
            assert refused_as(Client(collector.port, text)) == "unknown"
    for algorithm in ("HS384", "HS512"):
        text = jwt.encode(claims, key.bytes * 2, algorithm, header)
        assert refused_as(Client(collector.port, text)) == "unknown"
        text = jwt.encode(claims, key.bytes, "HS256", header)
        again = f"{encoded({'alg': algorithm, **header})}.{text.partition('.')[2]}"
        assert refused_as(Client(collector.port, again)) == "unknown"
    for kid in ("../../etc/passwd", "", "0" * 16, 1, None, ["x"], {"x": 1}, f"{key.id}\0"):
        text = f"{encoded({'alg': 'HS256', 'kid': kid})}.{paul.token.partition('.')[2]}"
        assert refused_as(Client(collector.port, text)) == "unknown"
    text = jwt.encode(claims, b"k" * 32, "HS256", header)
    assert refused_as(Client(collector.port, text)) == "unknown"
    changed = encoded({**claims, "sub": "0" * 12})
    first, _, last = paul.token.split(".")
    assert refused_as(Client(collector.port, f"{first}.{changed}.{last}")) == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        ".",
        "..",
        "a.b.c",
        "tts_0123456789ab_" + "0" * 64,
        "ttf_" + "0" * 24 + "_" + "0" * 64,
        "x" * 3_000,
        "e30." * 900,
        "\N{LATIN SMALL LETTER O WITH STROKE}" * 9,
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_what_is_no_token_at_all_is_refused_and_nothing_breaks(
    collector: Collector, text: str
) -> None:
    headers = {"Authorization": f"Bearer {text}"}
    found = Client(collector.port).ask("GET", "/auth/me", headers=headers)
    assert (found.status, found.code) == (401, "unauthorized")


def test_another_scheme_is_refused(collector: Collector) -> None:
    for text in ("Basic YWRhOmFkYQ==", "Bearer", "bearerx", "Digest x"):
        found = Client(collector.port).ask("GET", "/auth/me", headers={"Authorization": text})
        assert found.status == 401


# ---------------------------------------------------------------- refresh, log out


def test_a_refresh_gives_the_next_pair_and_uses_the_token_up(collector: Collector) -> None:
    client = Client(collector.port)
    first = client.login().data["refreshToken"]
    second = client.ask("POST", "/auth/refresh", {"refreshToken": first}).data
    assert second["refreshToken"] != first
    client.token = second["accessToken"]
    assert client.ask("GET", "/auth/me").status == 200


def test_an_old_refresh_token_ends_the_session_for_whoever_has_the_new_one(
    collector: Collector, admin: Client
) -> None:
    client = Client(collector.port, address="127.0.0.4")
    first = client.login().data["refreshToken"]
    second = client.ask("POST", "/auth/refresh", {"refreshToken": first}).data
    second = client.ask("POST", "/auth/refresh", {"refreshToken": second["refreshToken"]}).data
    client.token = second["accessToken"]
    stolen = client.ask("POST", "/auth/refresh", {"refreshToken": first})
    assert (stolen.status, stolen.code) == (401, "unauthorized")
    assert "used before" in stolen.body["error"]["message"]
    again = client.ask("POST", "/auth/refresh", {"refreshToken": second["refreshToken"]})
    assert again.status == 401
    assert refused_as(client) == "revoked"
    entries = admin.ask("GET", "/audit?action=session&limit=1").data["entries"]
    assert [(each["action"], each["subject"]) for each in entries] == [("session.reused", ADMIN)]


def test_a_log_out_ends_the_access_token_and_the_refresh_token(collector: Collector) -> None:
    client = Client(collector.port, address="127.0.0.4")
    other = Client(collector.port)
    other.login()
    refresh = client.login().data["refreshToken"]
    assert client.ask("POST", "/auth/logout", {}).data == {"ended": 1}
    assert refused_as(client) == "revoked"
    assert client.ask("POST", "/auth/refresh", {"refreshToken": refresh}).status == 401
    assert client.ask("POST", "/auth/logout", {}).data == {"ended": 0}
    assert other.ask("GET", "/auth/me").status == 200


def test_a_refresh_token_alone_can_end_its_session(collector: Collector) -> None:
    client = Client(collector.port)
    refresh = client.login().data["refreshToken"]
    ended = Client(collector.port).ask("POST", "/auth/logout", {"refreshToken": refresh})
    assert ended.data == {"ended": 1}
    assert refused_as(client) == "revoked"


# ---------------------------------------------------------------- what ends a token


def test_a_change_of_role_password_or_state_ends_every_token_at_once(
    collector: Collector, admin: Client
) -> None:
    made = admin.ask("POST", "/users", {"name": "rita", "password": PASSWORD}).data
    changes: list[dict[str, Any]] = [
        {"role": "admin"},
        {"password": ANOTHER},
        {"disabled": True},
    ]
    password = PASSWORD
    for change in changes:
        client = Client(collector.port)
        refresh = client.login("rita", password).data["refreshToken"]
        assert client.ask("GET", "/auth/me").status == 200
        assert admin.ask("PUT", f"/users/{made['id']}", change).status == 200
        assert refused_as(client) == "revoked"
        assert client.ask("POST", "/auth/refresh", {"refreshToken": refresh}).status == 401
        password = change.get("password", password)
    assert Client(collector.port, address="127.0.0.5").login("rita", ANOTHER).status == 401
    admin.ask("PUT", f"/users/{made['id']}", {"disabled": False})
    client = Client(collector.port)
    assert client.login("rita", ANOTHER).data["user"]["role"] == "admin"
    assert admin.ask("DELETE", f"/users/{made['id']}").status == 200
    assert refused_as(client) == "revoked"


def test_a_change_that_changes_nothing_ends_nothing(paul: Client, admin: Client) -> None:
    (found,) = [
        each
        for each in admin.ask("GET", "/users").data["users"]
        if each["name"] == paul.ask("GET", "/auth/me").data["name"]
    ]
    same = {"role": "planner", "disabled": False}
    assert admin.ask("PUT", f"/users/{found['id']}", same).status == 200
    assert paul.ask("GET", "/auth/me").status == 200


def test_one_changes_the_own_password_and_all_other_sessions_end(
    collector: Collector, paul: Client
) -> None:
    name = paul.ask("GET", "/auth/me").data["name"]
    elsewhere = Client(collector.port)
    elsewhere.login(name)
    wrong = paul.ask("POST", "/auth/password", {"password": "no", "newPassword": ANOTHER})
    assert (wrong.status, wrong.code) == (403, "wrong_password")
    weak = paul.ask("POST", "/auth/password", {"password": PASSWORD, "newPassword": "short"})
    assert (weak.status, weak.code) == (422, "bad_password")
    found = paul.ask("POST", "/auth/password", {"password": PASSWORD, "newPassword": ANOTHER})
    assert refused_as(elsewhere) == refused_as(paul) == "revoked"
    paul.token = found.data["accessToken"]
    assert paul.ask("GET", "/auth/me").status == 200
    assert Client(collector.port).login(name, ANOTHER).status == 200


def test_a_key_that_was_replaced_is_good_for_its_tokens_unless_at_once(
    collector: Collector, paul: Client, admin: Client
) -> None:
    keys = SigningKeys(collector.data)
    keys.rotate()
    assert paul.ask("GET", "/auth/me").status == 200
    name = paul.ask("GET", "/auth/me").data["name"]
    later = Client(collector.port)
    later.login(name)
    kids = [jwt.get_unverified_header(each.token)["kid"] for each in (paul, later)]
    assert kids[0] != kids[1] == keys.current().id
    keys.rotate(at_once=True)
    assert refused_as(paul) == refused_as(later) == "unknown"
    assert admin.login().status == 200


# ---------------------------------------------------------------- the cookie


def test_with_a_cookie_the_refresh_token_is_out_of_the_reach_of_scripts(
    collector: Collector,
) -> None:
    client = Client(collector.port)
    found = client.login(cookie=True)
    assert found.data["refreshToken"] is None
    cookie = found.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/api/performance/auth", "Max-Age=604800"):
        assert part in cookie
    assert "Secure" not in cookie  # of plain HTTP it would never come back
    sent = {"Cookie": cookie.partition(";")[0], "X-Trimtab-Request": "1"}
    next_ = client.ask("POST", "/auth/refresh", {}, sent)
    assert next_.data["refreshToken"] is None
    assert next_.headers["set-cookie"].partition(";")[0] != sent["Cookie"]
    sent["Cookie"] = next_.headers["set-cookie"].partition(";")[0]
    out = Client(collector.port).ask("POST", "/auth/logout", {}, sent)
    assert out.data == {"ended": 1}
    assert "Max-Age=0" in out.headers["set-cookie"]


def test_a_page_of_another_site_gets_nothing_with_the_cookie(collector: Collector) -> None:
    client = Client(collector.port)
    cookie = client.login(cookie=True).headers["set-cookie"].partition(";")[0]
    outside = Client(collector.port)
    guard = {"Cookie": cookie, "X-Trimtab-Request": "1"}
    for headers, status in (
        ({"Cookie": cookie}, 403),
        ({**guard, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**guard, "Sec-Fetch-Site": "same-site"}, 403),
        ({**guard, "Content-Type": "text/plain"}, 415),
        ({**guard, "Content-Type": "application/x-www-form-urlencoded"}, 415),
    ):
        for path in ("/auth/refresh", "/auth/logout"):
            found = outside.ask("POST", path, {}, headers)
            assert found.status == status
            assert "set-cookie" not in found.headers
            assert "access-control-allow-origin" not in found.headers
    same = {**guard, "Sec-Fetch-Site": "same-origin"}
    assert outside.ask("POST", "/auth/refresh", {}, same).status == 200
