"""Log in, refresh, log out, set up: what somebody asks who is not let in yet."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from trimtab_collector.auth.limits import LoginLimits
from trimtab_collector.auth.links import SigninLinks
from trimtab_collector.auth.passwords import (
    LoginThreads,
    check_password,
    hash_password,
    is_password,
)
from trimtab_collector.auth.people import People, Person, check_name
from trimtab_collector.auth.places import KnownPlaces
from trimtab_collector.auth.sessions import IDLE_S, Issued, Sessions, refused
from trimtab_collector.auth.setup import SetupLink
from trimtab_collector.auth.signing import ACCESS_S
from trimtab_collector.contract.callers import Caller, Reply, Role
from trimtab_collector.contract.errors import ApiError, instant
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.contract.people import LoggedIn, LoggedOut, UserBody, WhoBody
from trimtab_core.addresses import API

__all__ = [
    "Logins",
    "change_password",
    "login",
    "login_by_link",
    "logout",
    "me",
    "refresh",
    "setup",
]

#: beginning of the name of the cookie; each collector has its own, as cookies know no ports
_COOKIE: Final = "trimtab_refresh"
#: a page of another site cannot send it: it would have to be allowed to first
_GUARD: Final = "x-trimtab-request"


class Logins:
    """What logging in needs; loop only, the work is done in threads for it."""

    def __init__(
        self,
        people: People,
        sessions: Sessions,
        link: SetupLink,
        links: SigninLinks,
        threads: LoginThreads,
        limits: LoginLimits,
        places: KnownPlaces,
        base_url: str = "",
        own_name: str = "",
    ) -> None:
        """Take base_url for the address by which browsers come, if it is given.

        own_name tells this collector from others of the same host, and stays the same.
        """
        self.people = people
        self.sessions = sessions
        self.link = link
        self.links = links
        self.threads = threads
        self.limits = limits
        self.places = places
        found = urlsplit(base_url)
        #: name of the cookie
        self.cookie = f"{_COOKIE}_{hashlib.sha256(own_name.encode()).hexdigest()[:12]}"
        #: where browsers send the cookie
        self.cookie_path = f"{found.path.rstrip('/')}{API}/auth"
        self.always_tls = found.scheme == "https"

    async def worked(self, address: str, account: str) -> None:
        """Note that somebody has logged in, and from where."""
        place = self.limits.worked(address, account)
        if place is not None:
            await self.threads.run(self.places.keep, place)

    @contextmanager
    def guess(self, address: str, secret: str) -> Iterator[None]:
        """Count a secret that is refused; raises ApiError 429 instead for one too many.

        Who shows none, such as a page without a cookie, has not guessed.
        """
        try:
            yield
        except ApiError as error:
            if error.status == 401 and secret:
                self.limits.failed(address)
            raise

    async def enter(self, name: str, password: str) -> Issued:
        """Begin a session of the user of a name; raises ApiError 401, after the same time each."""
        person = await self.threads.run(self.people.by_name, name)
        hashed = person.password if person else None
        right = await self.threads.hash(is_password, hashed, password)
        # That somebody is disabled is not said: a stranger would know that the password is right.
        if person is None or not right or person.disabled_s is not None:
            raise refused("expected a name and its password, got others")
        return await self.threads.run(self.sessions.begin, person)

    async def found(self, name: str, password: str) -> Issued:
        """Add the first admin and begin a session."""
        hashed = await self.threads.hash(hash_password, password)

        def add() -> Issued:
            admin = Caller(name, Role.ADMIN)
            person = self.people.add(admin, name, hashed, Role.ADMIN, first=True)
            self.link.close()
            return self.sessions.begin(person)

        return await self.threads.run(add)

    async def replace(self, caller: Caller, password: str, new_password: str) -> Issued:
        """Change one's own password, which ends all of one's sessions, and begin another."""
        person = await self.threads.run(self.people.find, caller.user)
        hashed = person.password if person else None
        if not await self.threads.hash(is_password, hashed, password):
            raise ApiError(403, "wrong_password", "expected your present password, got another")
        new = await self.threads.hash(hash_password, new_password)

        def change() -> Issued:
            return self.sessions.begin(self.people.change(caller, caller.user, password=new))

        return await self.threads.run(change)


async def login(logins: Logins, parameters: Parameters) -> Reply:
    """Return an access token and a refresh token for a name and its password."""
    body, account = parameters.body, parameters.body.name.casefold()
    logins.limits.begin(parameters.address, account)
    async with logins.threads.place():
        issued = await logins.enter(body.name, body.password)
    await logins.worked(parameters.address, account)
    return _entered(logins, issued, parameters, cookie=body.cookie)


async def login_by_link(logins: Logins, parameters: Parameters) -> Reply:
    """Return an access token and a refresh token for the token of a sign-in link, good once."""
    body = parameters.body
    with logins.guess(parameters.address, body.token):
        issued = await logins.threads.run(logins.links.use, logins.sessions, body.token)
    return _entered(logins, issued, parameters, cookie=body.cookie)


async def refresh(logins: Logins, parameters: Parameters) -> Reply:
    """Return the next access token and refresh token; the one given is used up."""
    text, cookie = _refresh_token(logins, parameters)
    with logins.guess(parameters.address, text):
        issued = await logins.threads.run(logins.sessions.renew, text)
    return _entered(logins, issued, parameters, cookie=cookie)


async def logout(logins: Logins, parameters: Parameters) -> Reply:
    """Return how many sessions ended: that of the access token, and that of the refresh token."""
    # Never limited: whoever wants to be out must get out, and a wrong token changes nothing.
    text, cookie = _refresh_token(logins, parameters)
    ended = await logins.threads.run(logins.sessions.end, parameters.caller, text)
    headers = {"Set-Cookie": _cookie(logins, "", 0, parameters)} if cookie else {}
    return Reply(LoggedOut(ended=ended), headers=headers)


async def setup(logins: Logins, parameters: Parameters) -> Reply:
    """Return a session of the first admin, who is added with the token of the set-up link."""
    body = parameters.body
    with logins.guess(parameters.address, body.token):
        logins.link.check(body.token)
    check_name(body.name)
    check_password(body.password, body.name)
    async with logins.threads.place():
        issued = await logins.found(body.name, body.password)
    return _entered(logins, issued, parameters, cookie=body.cookie, status=201)


async def change_password(logins: Logins, parameters: Parameters) -> Reply:
    """Return a new session after one's password was changed, which ended all others."""
    body, caller = parameters.body, parameters.caller
    if not caller.user:
        raise ApiError(403, "forbidden", "expected somebody who logged in, got a service token")
    check_password(body.new_password, caller.name)
    account = caller.name.casefold()
    logins.limits.begin(parameters.address, account)
    async with logins.threads.place():
        issued = await logins.replace(caller, body.password, body.new_password)
    await logins.worked(parameters.address, account)
    return _entered(logins, issued, parameters, cookie=body.cookie)


async def me(_logins: Logins, parameters: Parameters) -> WhoBody:
    """Return who asks, and their role."""
    caller = parameters.caller
    kind = "user" if caller.user else "token"
    return WhoBody(name=caller.name, role=caller.role.value, kind=kind)


def user_body(person: Person) -> UserBody:
    """Return a user as the API shows one."""
    return UserBody(
        id=person.id,
        name=person.name,
        role=person.role.value,
        disabled=person.disabled_s is not None,
        created=instant(person.created_s),
        last_login=None if person.login_s is None else instant(person.login_s),
    )


def _entered(
    logins: Logins, issued: Issued, parameters: Parameters, *, cookie: bool, status: int = 200
) -> Reply:
    body = LoggedIn(
        access_token=issued.access,
        token_type="Bearer",  # noqa: S106 - the scheme
        expires_in_seconds=ACCESS_S,
        refresh_token=None if cookie else issued.refresh,
        user=user_body(issued.person),
    )
    set_cookie = {}
    if cookie:
        set_cookie = {"Set-Cookie": _cookie(logins, issued.refresh, IDLE_S, parameters)}
    return Reply(body, status, set_cookie)


def _refresh_token(logins: Logins, parameters: Parameters) -> tuple[str, bool]:
    """Return the refresh token of the body, else that of the cookie, and whether it is the latter.

    A cookie is taken from pages of this origin alone: SameSite=Strict keeps it from other sites,
    JSON and the header from what a form or a script of theirs may send. Raises ApiError 403.
    """
    text: str = parameters.body.refresh_token
    cookie = _cookie_of(logins.cookie, parameters.headers)
    if text or not cookie:
        return text, False
    site = parameters.headers.get("sec-fetch-site", "same-origin")
    if _GUARD not in parameters.headers or site not in ("same-origin", "none"):
        raise ApiError(
            403,
            "cross_site",
            f"expected the header {_GUARD} with a cookie, from a page of this origin",
        )
    return cookie, True


def _cookie_of(name: str, headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")[:8_192]).get(name)
    except CookieError:
        return ""
    return found.value[:256] if found else ""


def _cookie(logins: Logins, text: str, seconds: int, parameters: Parameters) -> str:
    secure = "; Secure" if parameters.secure or logins.always_tls else ""
    return (
        f"{logins.cookie}={text}; Path={logins.cookie_path}; Max-Age={seconds}; HttpOnly; "
        f"SameSite=Strict{secure}"
    )
