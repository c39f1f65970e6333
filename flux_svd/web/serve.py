"""The web app as a server: our routes, the page and the guard in front of both.

On one's own machine it is served by uvicorn; in Colab and in a Space Gradio starts it, as those places expect.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from flux_svd.device import count_devices
from flux_svd.errors import InvalidRequest
from flux_svd.ledger import Ledger
from flux_svd.redact import RedactedStream
from flux_svd.session import Session
from flux_svd.web.accounts import Accounts
from flux_svd.web.actions import Actions
from flux_svd.web.binding import DEFAULT_PORT, check_bind, check_mcp, check_port
from flux_svd.web.desk import Desk
from flux_svd.web.exports import ExportRoutes
from flux_svd.web.gauges import metrics_route
from flux_svd.web.guard import UPLOAD_BYTES, Guard, Profile, Rules, rules_for
from flux_svd.web.i18n import gradio_texts
from flux_svd.web.install import install_routes
from flux_svd.web.library import LibraryRoutes
from flux_svd.web.login import Login
from flux_svd.web.look import STATIC, LightTable, page_head
from flux_svd.web.models import ModelRoutes
from flux_svd.web.openapi import description_routes
from flux_svd.web.owner import Owners, machine_cookie
from flux_svd.web.page import build_page
from flux_svd.web.queued import Queued
from flux_svd.web.references import upload_route
from flux_svd.web.reopen import job_route
from flux_svd.web.routes import api_routes, endpoints
from flux_svd.web.shelf import Shelf
from flux_svd.web.streamed import Runner, Streamed
from flux_svd.worker import keep_worker

LEAVE_SECONDS = 3  # that open pages are given when the server ends
MAX_WAITING = 64  # events of all pages; more are refused with Gradio's own words
MAX_AT_WORK = 400  # events at work at once; each page that watches a job is one of them
# Pages whose state is kept, the latest used: 1.6 MiB each, and Gradio forgets no page by itself. Whoever comes back to an older
# one finds what was unsent after a reload: the browser has it.
KEPT_PAGES, KEPT_PAGES_OF_MANY = 24, 500
_ICON = STATIC / "icon.png"
_MCP = "/gradio_api/mcp"


def run_app(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    home: Path | None = None,
    output_dir: Path | None = None,
    vram_bytes: int | None = None,
    public: bool = False,
    hosts: tuple[str, ...] = (),
    accounts: Accounts | None = None,
    metrics_token: str = "",
    mcp: bool = False,
    on_listening: Callable[[], None] = lambda: None,
) -> None:
    """Serve the app on this machine until it is interrupted.

    Args:
        on_listening: called once, when the app can be reached.
        public: allow an address that others can reach; `hosts` then names what they call it, and `accounts` who may enter.
        mcp: let language models use the named endpoints, by the Model Context Protocol.
        metrics_token: who sends it as a bearer may read /metrics from anywhere; without one only this machine may.

    Raises:
        InvalidRequest: `host` can be reached from outside and that was not asked for, nobody said by which name, or there is
            no password; or the port is taken; or `mcp` cannot be.
    """
    check_bind(host, public=public, hosts=hosts, accounts=accounts)
    check_port(host, port)
    hide_tokens()
    session = Session(home=home, output_dir=output_dir, vram_bytes=vram_bytes, owner="the app")
    app = make_app(session, hosts=hosts, accounts=accounts, metrics_token=metrics_token, mcp=mcp)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=LEAVE_SECONDS,
    )  # fmt: skip
    with workers_at_work(session):
        _Server(config, on_listening).run()


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()


@contextmanager
def workers_at_work(session: Session) -> Iterator[None]:
    """Keep a worker process for each device of this machine while the block runs; where there is one already, it is used."""
    ledger, stop = Ledger(session.home), threading.Event()
    outputs = session.output_dir.absolute()
    threads = [
        threading.Thread(
            target=keep_worker, args=(ledger, stop), kwargs={"number": number, "outputs": outputs, "patient": True},
            name=f"flux-svd-keeps-worker-{number}", daemon=True,
        )
        for number in range(count_devices())
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        ledger.close()


def hide_tokens() -> None:
    """Let nothing that this process writes to its two streams hold an access token."""
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), RedactedStream):
            setattr(sys, name, RedactedStream(getattr(sys, name)))


def make_app(
    session: Session, *, hosts: tuple[str, ...] = (), accounts: Accounts | None = None, metrics_token: str = "",
    mcp: bool = False,
) -> ASGIApp:
    """Return the whole app for one's own machine, guarded.

    Raises:
        InvalidRequest: `mcp` cannot be, with the reason.
    """
    if mcp:
        check_mcp(accounts)
    queued = Queued(Ledger(session.home), session.output_dir.resolve())
    shelf, page = _make_page(session, queued)
    page.blocks.state_session_capacity = KEPT_PAGES  # mounting has no argument for it
    routes = [*_routes(shelf, page), *_program_routes(page, queued, metrics_token)]
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, routes=routes)
    mounted = gr.mount_gradio_app(
        app,
        page.blocks,
        path="/",
        **{**_manners(), "mcp_server": mcp},
    )
    rules = rules_for("local", hosts)
    if mcp:
        if not page.blocks.mcp_server:  # Gradio notes why, and goes on without
            raise InvalidRequest("mcp", "on", f"off here: {page.blocks.mcp_error}")
        rules = replace(rules, also_open=(_MCP,))
    return protect(mounted, rules, accounts, machine_cookie(session.home))


def protect(app: ASGIApp, rules: Rules, accounts: Accounts | None = None, machine: str = "") -> ASGIApp:
    """Return `app` behind the guard, the password where there is one, and the keeping apart of owners."""
    owned: ASGIApp = Owners(app, rules, machine)
    return Guard(Login(owned, accounts, rules) if accounts is not None else owned, rules)


def launch(
    session: Session,
    *,
    profile: Profile,
    port: int | None = None,
    on_device: Callable[[Runner], Runner] | None = None,
    block: bool = True,
    accounts: Accounts | None = None,
) -> gr.Blocks:
    """Start the app the way Colab and Spaces expect and return it (`close()` ends it); no public link is made.

    Args:
        on_device: wraps the function that runs a plan; a Space lends its GPU that way.
        block: wait until the app is closed.
    """
    shelf, page = _make_page(session, Streamed(session, on_device))
    hide_tokens()
    guard = Middleware(protect, rules=rules_for(profile), accounts=accounts, machine=machine_cookie(session.home))
    page.blocks.launch(
        server_name="0.0.0.0" if profile == "space" else "127.0.0.1",
        server_port=port,
        share=False,
        inline=profile == "colab",
        quiet=True,
        prevent_thread_lock=not block,
        max_threads=MAX_AT_WORK,
        state_session_capacity=KEPT_PAGES_OF_MANY,
        app_kwargs={"middleware": [guard], "routes": _routes(shelf, page), "openapi_url": None},
        **_manners(),
    )
    return page.blocks


class _Page:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.exports = ExportRoutes(desk.session.home, desk.shelf)
        self.blocks = build_page(desk, self.exports)
        self.blocks.max_threads = MAX_AT_WORK
        self.blocks.queue(max_size=MAX_WAITING, default_concurrency_limit=8)


def _make_page(session: Session, work: Queued | Streamed) -> tuple[Shelf, _Page]:
    shelf = Shelf(session.output_dir)
    return shelf, _Page(Desk(session, shelf, work))


def _routes(shelf: Shelf, page: _Page) -> list[BaseRoute]:
    desk = page.desk

    async def status(request: Request) -> JSONResponse:
        return JSONResponse({"queue": desk.queue_words()}, headers={"Cache-Control": "no-store"})

    return [
        Route("/files/{file_id}/{name}", shelf.answer), Route("/status", status), upload_route(desk), job_route(),
        *install_routes(), *ModelRoutes(desk, desk.session.home).routes(),
        *LibraryRoutes(desk.session.output_dir, desk.session.home, shelf).routes(),
        *page.exports.routes(),
    ]  # fmt: skip


def _program_routes(page: _Page, queued: Queued, metrics_token: str) -> list[BaseRoute]:
    """Return the routes for programs; they need a queue that outlives the page."""
    table = endpoints(Actions(page.desk, queued, page.exports), page.desk.shelf.send)
    return [*api_routes(table), *description_routes(table), metrics_route(page.desk, queued.ledger, metrics_token)]


def _manners() -> dict[str, Any]:
    """Return how Gradio is to behave wherever it is started: our look, and none of its side doors."""
    return {
        "theme": LightTable(),
        "head": page_head(),
        "favicon_path": str(_ICON),
        "max_file_size": UPLOAD_BYTES,
        "i18n": gradio_texts(),
        "allowed_paths": [],
        "show_error": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "run_history": False,
        "footer_links": [],
    }
