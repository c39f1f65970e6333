"""What stands in front of every route, as plain ASGI: which hosts and origins may ask, what, how much and how often they may
send, and what every answer says to the browser. Knows no page, no picture and no user.

Three profiles set who may ask: on one's own machine only its own names (so that no foreign page reaches it by a renamed address);
in Colab and in a Space a proxy stands in front, which names its own hosts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flux_svd.web.answers import Headers, answer_json
from flux_svd.web.rates import Buckets

Profile = Literal["local", "colab", "space"]
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
BODY_BYTES = 2**20  # a prompt has at most 10,000 characters; a request with 61 stages still fits
UPLOAD_BYTES = 42 * 2**20  # one picture of the largest accepted size, and the form around it
UPLOAD_TOKENS = 5  # an upload counts as much as so many other requests

# Of Gradio's own routes these are needed to show the page and to call an endpoint; the others stay closed, among them the one
# that serves whatever lies in its cache to whoever knows the address, and the ones that fetch addresses.
_OPEN = (
    "/gradio_api/info", "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/call/", "/gradio_api/run/",
    "/gradio_api/upload", "/gradio_api/heartbeat/", "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/startup-events",
    "/gradio_api/theme.css", "/gradio_api/app_id",
)  # fmt: skip
_CLOSED = (
    "/monitoring", "/openapi.json", "/docs", "/redoc", "/pwa_icon", "/svelte", "/custom_component", "/gradio_api/call/v2/",
)  # fmt: skip
# A form of another site can send these three without asking first: https://fetch.spec.whatwg.org/#cors-safelisted-request-header
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


@dataclass(frozen=True)
class Rules:
    """Who may ask.

    Attributes:
        hosts: accepted names in the Host header; a leading dot accepts every name below it; "*" accepts all.
        origins: names of other sites whose pages may send requests: the proxies of Colab and of Spaces.
        frame_ancestors: who may show the page inside theirs, as in a content security policy.
        embedded: the page runs inside a foreign frame, so its cookie must be allowed to travel there.
        proxied: a proxy stands in front and names the address that asked.
        one_user: whoever reaches the page is the user of this machine.
        sends_a_second, sends_at_once: how often one address may send.
        also_open: routes of Gradio that are open besides those the page needs.
    """

    hosts: tuple[str, ...]
    origins: tuple[str, ...] = ()
    frame_ancestors: str = "'self'"
    embedded: bool = False
    proxied: bool = False
    one_user: bool = True
    sends_a_second: float = 100.0
    sends_at_once: float = 400.0
    also_open: tuple[str, ...] = ()


def rules_for(profile: Profile, hosts: Iterable[str] = ()) -> Rules:
    """Return the rules of a profile, with `hosts` accepted besides its own."""
    own = Rules(tuple(sorted(LOOPBACK)))
    if profile == "colab":
        proxies = (".googleusercontent.com", ".colab.dev", "colab.research.google.com")
        frames = "https://colab.research.google.com https://*.googleusercontent.com"
        own = replace(own, hosts=(*own.hosts, *proxies), origins=proxies, frame_ancestors=frames, embedded=True, proxied=True)
    if profile == "space":  # only the Space's own proxy reaches it
        frames = "https://huggingface.co https://*.hf.space"
        own = Rules(("*",), (".hf.space", "huggingface.co"), frames, True, True, False, 20.0, 60.0)
    named = tuple(host.lower() for host in hosts)
    if profile == "local" and any(not is_loopback(host) for host in named):
        own = replace(own, one_user=False, sends_a_second=20.0, sends_at_once=60.0)
    return replace(own, hosts=(*own.hosts, *named))


class Guard:
    """ASGI middleware that applies `rules` to every request."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app, self.rules = app, rules
        self._sends = Buckets(rules.sends_a_second, rules.sends_at_once)
        self._reads = Buckets(10 * rules.sends_a_second, 10 * rules.sends_at_once)  # a page is about 100 files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # nothing here speaks it
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        is_upload = scope["path"].rstrip("/").endswith("/upload") or kind.startswith("image/")
        limit = UPLOAD_BYTES if is_upload else BODY_BYTES
        refusal = self._refuse_who(scope, headers) or self._refuse_what(scope, headers, kind, is_upload, limit)
        if refusal is not None:
            await answer_json(send, *refusal)
            return
        wait = self._take_turn(scope, headers, is_upload)
        if wait:
            await answer_json(send, 429, f"too many requests; again in {wait} s", [(b"retry-after", str(wait).encode())])
            return
        watch = _Watch(receive, send, limit, self._dress)
        try:
            await self.app(scope, watch.receive, watch.send)
        except ClientDisconnect:
            if not watch.refused:
                raise

    def _refuse_who(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = _name(headers.get("host", ""))
        if not _among(host, self.rules.hosts):
            return 421, f"Host: {host[:80]!r} is not served here; accepted: {', '.join(self.rules.hosts)}"
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, headers.get("host", "")):
            return 403, "Origin: only pages of this address may ask"
        if _sends(scope) and origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return 403, "only pages of this address may send"
        return None

    def _refuse_what(
        self, scope: Scope, headers: dict[str, str], kind: str, is_upload: bool, limit: int
    ) -> tuple[int, str] | None:
        path: str = scope["path"]
        if path.startswith(_CLOSED) or (path.startswith("/gradio_api") and not path.startswith((*_OPEN, *self.rules.also_open))):
            return 404, "not found"
        if "\x00" in path:
            return 400, "path: no such characters"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length: not a whole number"
        if int(length) > limit:
            return 413, f"body: {int(length)} bytes; at most {limit}"
        has_body = int(length) > 0 or "transfer-encoding" in headers
        if _sends(scope) and has_body and not is_upload:
            is_form = kind == _FORMS[0] and path == "/login"
            if not is_form and (kind in _FORMS or not kind):
                return 415, f"Content-Type: {kind[:80]!r} is not accepted here; send application/json"
        return None

    def _take_turn(self, scope: Scope, headers: dict[str, str], is_upload: bool) -> int:
        address = address_of(scope, headers, proxied=self.rules.proxied)
        if _sends(scope):
            return self._sends.take(address, UPLOAD_TOKENS if is_upload else 1)
        return self._reads.take(address)

    def _is_own(self, origin: str, host: str) -> bool:
        return _netloc(origin) == host.lower() or _among(_name(_netloc(origin)), self.rules.origins)

    def _dress(self, given: Headers) -> Headers:
        kept = [(name, value) for name, value in given if not name.lower().startswith(b"access-control-")]
        have = {name.lower() for name, _ in kept}
        return kept + [(name, value) for name, value in _security_headers(self.rules) if name not in have]


class _Watch:
    """Counts the body as it arrives (its length may not be announced) and dresses the answer's headers."""

    def __init__(self, receive: Receive, send: Send, limit: int, dress: Callable[[Headers], Headers]) -> None:
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
            await answer_json(self._send, 413, f"body: more than {self._limit} bytes")
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


def address_of(scope: Scope, headers: dict[str, str], *, proxied: bool) -> str:
    """Return the address that asks; behind a proxy the last public one it names, since earlier ones are the asker's own words."""
    if proxied:
        for part in reversed(headers.get("x-forwarded-for", "").split(",")):
            try:
                if ipaddress.ip_address(part.strip()).is_global:
                    return part.strip()
            except ValueError:
                break
    return (scope.get("client") or ("",))[0]


def _sends(scope: Scope) -> bool:
    return scope["method"] not in ("GET", "HEAD", "OPTIONS")


def _security_headers(rules: Rules) -> Headers:
    # Gradio starts from inline scripts and evaluates its HTML templates, so those two cannot be forbidden.
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "manifest-src 'self'; "
        f"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {rules.frame_ancestors}"
    )
    found = [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    return found if rules.embedded else [*found, (b"x-frame-options", b"SAMEORIGIN")]


def _among(name: str, accepted: Iterable[str]) -> bool:
    return any(one in ("*", name) or (one.startswith(".") and name.endswith(one)) for one in accepted)


def _netloc(address: str) -> str:
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:
        return ""


def _name(netloc: str) -> str:
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""
