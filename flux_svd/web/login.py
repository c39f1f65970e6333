"""The page that asks for a password, in front of every route but its own. Knows no environment.

Sessions are kept as hashes of their cookies, in memory, so a restart asks again.
"""

from __future__ import annotations

import hashlib
import html
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from flux_svd.web import look
from flux_svd.web.accounts import ONLY_USER, Accounts
from flux_svd.web.answers import Headers, answer, answer_json
from flux_svd.web.guard import Rules, address_of
from flux_svd.web.i18n import language_of, translate
from flux_svd.web.owner import cookies_of, set_cookie, stand_for
from flux_svd.web.rates import Buckets

SESSION_COOKIE = "flux_svd_session"
MARK_COOKIE = "flux_svd_logged_in"
SESSION_SECONDS = 30 * 86400

_SESSIONS = 10_000
# What a browser fetches without a cookie, and what Gradio asks itself when it starts.
_OPEN = ("/manifest.json", "/icon-", "/favicon.ico", "/gradio_api/startup-events", "/metrics")  # the last asks for itself


class Login:
    """ASGI middleware: asks for a password before anything else, and names the owner of what follows.

    A program logs in by the same form: `POST /login` with username and password answers with the cookie.
    """

    def __init__(self, app: ASGIApp, accounts: Accounts, rules: Rules, *, now: Callable[[], float] = time.monotonic) -> None:
        self.app, self._accounts, self._rules, self._now = app, accounts, rules, now
        self._attempts = Buckets(5 / 60, 5, now=now)  # an address may guess five times, then once in twelve seconds
        self._all_attempts = Buckets(1, 60, now=now)  # and all of them together once a second
        self._sessions: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        cookie = cookies_of(scope).get(SESSION_COOKIE, "")
        name = self._name_of(cookie)
        if path == "/login":
            await self._log_in(scope, receive, send)
        elif path == "/logout" and scope["method"] == "POST":
            self._forget(cookie)
            await _go(send, "/login", self._cookies("", 0))
        elif name is not None:
            # One account alone is the user of this machine, whose results of the command line it shows too.
            await self.app(stand_for(scope, "" if len(self._accounts.names) == 1 else f"account {name}"), receive, send)
        elif scope["path"].startswith(_OPEN):
            await self.app(scope, receive, send)
        elif path == "" and scope["method"] in ("GET", "HEAD"):
            await _go(send, "/login")
        else:
            await answer_json(send, 401, "log in first: POST /login with username and password")

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        language = language_of(request.headers.get("accept-language", ""))
        if scope["method"] in ("GET", "HEAD"):
            await _show(send, 200, _form(self._accounts, language))
            return
        if scope["method"] != "POST":
            await answer_json(send, 405, "GET or POST", [(b"allow", b"GET, POST")])
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        wait = self._attempts.take(address_of(scope, headers, proxied=self._rules.proxied)) or self._all_attempts.take("")
        wants_page = "text/html" in request.headers.get("accept", "")
        if wait:
            words = translate("Too many attempts. Try again in {n} s.", language, n=wait)
            retry = [(b"retry-after", str(wait).encode())]
            if wants_page:
                await _show(send, 429, _form(self._accounts, language, words), retry)
            else:
                await answer_json(send, 429, words, retry)
            return
        name, password = await _read_form(request)
        name = name or (self._accounts.names[0] if len(self._accounts.names) == 1 else "")
        if not await run_in_threadpool(self._accounts.check, name, password):
            words = translate("Name or password is wrong.", language)
            if wants_page:
                await _show(send, 401, _form(self._accounts, language, words))
            else:
                await answer_json(send, 401, words)
            return
        cookies = self._cookies(self._remember(name), SESSION_SECONDS)
        if wants_page:
            await _go(send, "/", cookies)
        else:
            await answer_json(send, 200, "logged in", cookies)

    def _cookies(self, session: str, seconds: int) -> Headers:
        """Return the session, which no script may read, and a mark without meaning by which the page offers to log out."""
        secret = set_cookie(SESSION_COOKIE, session, seconds, embedded=self._rules.embedded)
        mark = set_cookie(MARK_COOKIE, "1", seconds, embedded=self._rules.embedded)
        return [secret, (mark[0], mark[1].replace(b" HttpOnly;", b""))]

    def _remember(self, name: str) -> str:
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[_digest(cookie)] = (name, self._now() + SESSION_SECONDS)
            while len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return cookie

    def _name_of(self, cookie: str) -> str | None:
        with self._lock:
            name, until = self._sessions.get(_digest(cookie), (None, 0.0))
        return name if self._now() < until else None

    def _forget(self, cookie: str) -> None:
        with self._lock:
            self._sessions.pop(_digest(cookie), None)


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()


async def _read_form(request: Request) -> tuple[str, str]:
    """Return name and password; whatever is not such a form reads as wrong ones."""
    try:
        told = parse_qs((await request.body()).decode("ascii"), max_num_fields=4, errors="replace")
    except ValueError:
        return "", ""
    return told.get("username", [""])[0], told.get("password", [""])[0]


def _form(accounts: Accounts, language: str, problem: str = "") -> str:
    def say(words: str) -> str:
        return html.escape(translate(words, language))

    alone = accounts.names == (ONLY_USER,)
    name = "" if alone else f'<label>{say("Name")}<input name="username" autocomplete="username" required autofocus></label>'
    told = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    focus = " autofocus" if alone else ""
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>flux_svd</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{look.login_style()}</style></head><body><main><h1>flux_svd</h1>"
        f'<form method="post" action="login">{told}{name}<label>{say("Password")}'
        f'<input name="password" type="password" autocomplete="current-password" required{focus}></label>'
        f"<button>{say('Log in')}</button></form></main></body></html>"
    )


async def _show(send: Send, status: int, page: str, headers: Headers | None = None) -> None:
    kind = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
    await answer(send, status, page.encode(), [*kind, *(headers or [])])


async def _go(send: Send, where: str, headers: Headers | None = None) -> None:
    await answer(send, 303, b"", [(b"location", where.encode()), (b"cache-control", b"no-store"), *(headers or [])])
