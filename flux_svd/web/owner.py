"""Whose a request is: the name that jobs and results belong to. It is written into files, so it gives no cookie away.

On a machine with one user everything is theirs and the owner is "", as for results of the command line. Among many users "" is
whoever comes without a cookie: nothing is listed for them, and only who knows an id gets what it stands for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flux_svd import files
from flux_svd.web.answers import answer_json
from flux_svd.web.guard import Rules

VISITOR_COOKIE = "flux_svd_visitor"
COOKIE_SECONDS = 365 * 86400

_NAMED, _LISTS = "flux_svd.named", "flux_svd.lists"  # in the scope of a request: already named; may see lists
_KEPT = 50_000  # ids of Gradio's sessions and events, about 10 MB; the oldest go first
_NAMES_SESSION = ("/gradio_api/queue/join", "/gradio_api/run/", "/gradio_api/call/", "/gradio_api/cancel", "/gradio_api/reset")


def owner_of(cookies: Mapping[str, str]) -> str:
    """Return the owner a request's cookies stand for; "" for a program without any, as for the command line."""
    visitor = cookies.get(VISITOR_COOKIE, "")
    return f"visitor-{hashlib.sha256(visitor.encode()).hexdigest()[:24]}" if visitor else ""


def may_list(request: HTTPConnection) -> bool:
    """Return whether lists may be shown: not to somebody without a name among many."""
    return bool(request.scope.get(_LISTS, True))


def may_manage(request: HTTPConnection) -> bool:
    """Return whether models may be fetched and freed: by this machine's user and by accounts, not by guests."""
    return bool(request.scope.get(_NAMED, False)) or (not owner_of(request.cookies) and may_list(request))


def stand_for(scope: Scope, name: str) -> Scope:
    """Return the scope with its cookies replaced by one that stands for `name` ("" is this machine's user).

    What comes behind reads that cookie as any visitor's; the real ones, which are secrets, go no further.
    """
    headers = [(key, value) for key, value in scope["headers"] if key.lower() != b"cookie"]
    if name:
        stand_in = hashlib.sha256(name.encode()).hexdigest()
        headers.append((b"cookie", f"{VISITOR_COOKIE}={stand_in}".encode()))
    return {**scope, "headers": headers, _NAMED: True}


def machine_cookie(home: Path) -> str:
    """Return the cookie every browser of this machine's user gets: another browser and cleared cookies lose nothing."""
    path = home / "web.json"
    if not files.read_json(path).get("cookie"):
        files.write_json(path, {"cookie": secrets.token_urlsafe(24)})
        path.chmod(0o600)
    return str(files.read_json(path)["cookie"])  # of two that start at once, both take what was written last


class Owners:
    """ASGI middleware: gives out cookies, knows this machine's user by theirs, and keeps Gradio's sessions and events apart.

    Args:
        machine: the cookie of this machine's user, where there is one user; else each visitor gets one of their own.
    """

    def __init__(self, app: ASGIApp, rules: Rules, machine: str = "") -> None:
        self.app, self._rules, self._machine = app, rules, machine
        self._belongings = _Belongings()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        cookie, named = cookies_of(scope).get(VISITOR_COOKIE, ""), _NAMED in scope
        wants_cookie = scope["path"] in ("", "/") and not cookie and not named
        if not named:
            scope = self._named(scope, cookie)
        owner = owner_of(cookies_of(scope))
        if _names_session(scope):
            body, receive = await _read(receive)
            ids = _ids_in(body)
        else:
            ids = _ids_asked(scope)
        if not all(self._belongings.claim(one, owner) for one in ids):
            await answer_json(send, 404, "not found")
            return

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and wants_cookie:
                message = {**message, "headers": [*message["headers"], self._new_cookie()]}
            if message["type"] == "http.response.body" and scope["method"] == "POST":
                for one in _ids_in(message.get("body", b"")):
                    self._belongings.claim(one, owner)
            await send(message)

        await self.app(scope, receive, tell)

    def _named(self, scope: Scope, cookie: str) -> Scope:
        if self._rules.one_user and cookie and hmac.compare_digest(cookie.encode(), self._machine.encode()):
            return stand_for(scope, "")
        return {**scope, _LISTS: self._rules.one_user or bool(cookie)}

    def _new_cookie(self) -> tuple[bytes, bytes]:
        value = self._machine if self._rules.one_user and self._machine else secrets.token_urlsafe(24)
        return set_cookie(VISITOR_COOKIE, value, COOKIE_SECONDS, embedded=self._rules.embedded)


class _Belongings:
    """Which owner named a session or event first; nobody else may ask for it afterwards."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def claim(self, name: str, owner: str) -> bool:
        with self._lock:
            first = self._owners.setdefault(name, owner)
            self._owners.move_to_end(name)
            while len(self._owners) > _KEPT:
                self._owners.popitem(last=False)
        return first == owner


def cookies_of(scope: Scope) -> dict[str, str]:
    """Return the cookies of a request; none where they cannot be read."""
    found = next((value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"cookie"), "")
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(found).items()}
    except CookieError:
        return {}


def set_cookie(name: str, value: str, seconds: int, *, embedded: bool) -> tuple[bytes, bytes]:
    """Return the header that sets a cookie no script can read; inside a foreign frame it must be allowed to travel."""
    where = "SameSite=None; Secure; Partitioned" if embedded else "SameSite=Lax"
    return b"set-cookie", f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; {where}".encode()


def _names_session(scope: Scope) -> bool:
    return scope["method"] == "POST" and str(scope["path"]).startswith(_NAMES_SESSION)


def _ids_asked(scope: Scope) -> list[str]:
    path = str(scope["path"]).rstrip("/")
    if path.startswith("/gradio_api/heartbeat/"):
        return [f"session {path.rsplit('/', 1)[1]}"]
    if path.startswith("/gradio_api/call/") and path.count("/") == 4:
        return [f"event {path.rsplit('/', 1)[1]}"]
    if path == "/gradio_api/queue/data":
        return [f"session {one}" for one in HTTPConnection(scope).query_params.getlist("session_hash")]
    return []


def _ids_in(body: bytes) -> list[str]:
    """Return the session and event a JSON body names."""
    if b"session_hash" not in body and b"event_id" not in body:
        return []
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(told, dict):
        return []
    pairs = (("session", told.get("session_hash")), ("event", told.get("event_id")))
    return [f"{kind} {value}" for kind, value in pairs if isinstance(value, str) and value]


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """Return the whole body (the guard has limited it), and what gives it once more."""
    parts: list[Message] = []
    while not parts or (parts[-1]["type"] == "http.request" and parts[-1].get("more_body", False)):
        parts.append(await receive())
    body = b"".join(part.get("body", b"") for part in parts)
    left = iter(parts)

    async def again() -> Message:
        return next(left, None) or await receive()

    return body, again
