"""What stands in front of every route, as plain ASGI: which hosts and origins may ask, how much they may send, and what every
answer says to the browser. Knows no page and no picture.

Three profiles set who may ask: on one's own machine only its own names (so that no foreign page reaches it by a renamed address);
in Colab and in a Space a proxy stands in front, which names its own hosts.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_Headers = list[tuple[bytes, bytes]]
Profile = Literal["local", "colab", "space"]
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
VISITOR_COOKIE = "flux_svd_visitor"
BODY_BYTES = 2**20  # a prompt has at most 10,000 characters; a request with 61 stages still fits
UPLOAD_BYTES = 42 * 2**20  # one picture of the largest accepted size, and the form around it

_CLOSED = (
    "/monitoring",
    "/openapi.json",
    "/docs",
    "/redoc",
    "/gradio_api/deep_link",
    "/gradio_api/proxy=",
    "/gradio_api/dev",
    "/gradio_api/monitoring",
)


@dataclass(frozen=True)
class Rules:
    """Who may ask.

    Attributes:
        hosts: accepted names in the Host header; a leading dot accepts every name below it; "*" accepts all.
        origins: names of other sites whose pages may send requests: the proxies of Colab and of Spaces.
        frame_ancestors: who may show the page inside theirs, as in a content security policy.
        embedded: the page runs inside a foreign frame, so its cookie must be allowed to travel there.
    """

    hosts: tuple[str, ...]
    origins: tuple[str, ...] = ()
    frame_ancestors: str = "'self'"
    embedded: bool = False


def rules_for(profile: Profile, hosts: Iterable[str] = ()) -> Rules:
    """Return the rules of a profile, with `hosts` accepted besides its own."""
    own = Rules(tuple(sorted(LOOPBACK)))
    if profile == "colab":
        proxies = (".googleusercontent.com", ".colab.dev", "colab.research.google.com")
        own = Rules((*own.hosts, *proxies), proxies, "https://colab.research.google.com https://*.googleusercontent.com", True)
    if profile == "space":
        own = Rules(
            ("*",), (".hf.space", "huggingface.co"), "https://huggingface.co https://*.hf.space", True
        )  # only the Space's proxy reaches it
    return replace(own, hosts=(*own.hosts, *(host.lower() for host in hosts)))


class Guard:
    """ASGI middleware that applies `rules` to every request."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # nothing here speaks it
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        limit = UPLOAD_BYTES if scope["path"].rstrip("/").endswith("/upload") else BODY_BYTES
        refusal = self._refuse(scope, headers, limit)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        watch = _Watch(receive, send, limit, lambda given: self._dress(given, scope, headers))
        try:
            await self.app(scope, watch.receive, watch.send)
        except ClientDisconnect:
            if not watch.refused:
                raise

    def _refuse(self, scope: Scope, headers: dict[str, str], limit: int) -> tuple[int, str] | None:
        host = _name(headers.get("host", ""))
        if not _among(host, self.rules.hosts):
            return 421, f"Host: {host[:80]!r} is not served here; accepted: {', '.join(self.rules.hosts)}"
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, headers.get("host", "")):
            return 403, "Origin: only pages of this address may ask"
        unsafe = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if unsafe and origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return 403, "only pages of this address may send"
        if any(scope["path"].startswith(closed) for closed in _CLOSED):
            return 404, "not found"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length: not a whole number"
        if int(length) > limit:
            return 413, f"body: {int(length)} bytes; at most {limit}"
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        return urlsplit(origin).netloc.lower() == host.lower() or _among(_name(urlsplit(origin).netloc), self.rules.origins)

    def _dress(self, given: _Headers, scope: Scope, headers: dict[str, str]) -> _Headers:
        kept = [(name, value) for name, value in given if not name.lower().startswith(b"access-control-")]
        have = {name.lower() for name, _ in kept}
        kept += [(name, value) for name, value in _security_headers(self.rules) if name not in have]
        if scope["path"] in ("/", "") and VISITOR_COOKIE not in _cookies(headers):
            kept.append((b"set-cookie", self._new_visitor().encode()))
        return kept

    def _new_visitor(self) -> str:
        where = "SameSite=None; Secure; Partitioned" if self.rules.embedded else "SameSite=Lax"
        return f"{VISITOR_COOKIE}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; {where}"


class _Watch:
    """Counts the body as it arrives (its length may not be announced) and dresses the answer's headers."""

    def __init__(self, receive: Receive, send: Send, limit: int, dress: Callable[[_Headers], _Headers]) -> None:
        self._receive, self._send, self._limit, self._dress = receive, send, limit, dress
        self._received = 0
        self._answered = False
        self.refused = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received <= self._limit:
            return message
        if not self._answered and not self.refused:
            self.refused = True
            await _answer(self._send, 413, f"body: more than {self._limit} bytes")
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.refused:
            return
        if message["type"] == "http.response.start":
            self._answered = True
            message = {**message, "headers": self._dress(list(message.get("headers", [])))}
        await self._send(message)


def is_loopback(host: str) -> bool:
    return _name(host if host.count(":") < 2 or host.startswith("[") else f"[{host}]") in LOOPBACK


def _security_headers(rules: Rules) -> _Headers:
    # Gradio starts from inline scripts and evaluates its HTML templates, so those two cannot be forbidden.
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        f"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {rules.frame_ancestors}"
    )
    found = [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    ]
    return found if rules.embedded else [*found, (b"x-frame-options", b"SAMEORIGIN")]


def _among(name: str, accepted: Iterable[str]) -> bool:
    return any(one in ("*", name) or (one.startswith(".") and name.endswith(one)) for one in accepted)


def _name(netloc: str) -> str:
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


def _cookies(headers: dict[str, str]) -> dict[str, Any]:
    try:
        return dict(SimpleCookie(headers.get("cookie", "")))
    except CookieError:
        return {}


async def _answer(send: Send, status: int, message: str) -> None:
    body = json.dumps({"detail": message}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
