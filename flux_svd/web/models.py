"""The page Models: what fits this machine and why, sizes, licences, access, downloads. Its frame, and the routes that fill it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from flux_svd import weights
from flux_svd.catalog import MODELS, ModelSpec, find_model
from flux_svd.errors import DoesNotFit, FluxSvdError, InvalidRequest, ModelUnavailable
from flux_svd.fitting import choose_precision, describe_placement, usual_shape
from flux_svd.memory import Budget, format_gib
from flux_svd.placing import place
from flux_svd.plan import Inventory
from flux_svd.web.downloads import Downloads
from flux_svd.web.owner import may_manage

_SCRIPT = "window.fluxModels(element);"


class Machine(Protocol):
    """What the page asks about this machine."""

    def budget(self) -> Budget: ...
    def is_warm(self) -> bool: ...
    def unload(self) -> None: ...


def build_models() -> gr.HTML:
    """Build the page into the current Blocks context."""
    frame = (
        '<h2 class="vh">Models</h2><div class="head"><p id="mod_disk" class="quiet"></p>'
        '<button type="button" class="do edge" id="mod_unload" hidden>Free the device’s memory</button>'
        '<form method="post" action="logout" id="mod_out" hidden><button class="do edge">Log out</button></form></div>'
        '<p id="mod_note" class="small" role="status"></p><ul id="mod_list"></ul>'
    )
    return gr.HTML(frame, apply_default_css=False, js_on_load=_SCRIPT, elem_id="mod")


class ModelRoutes:
    """The routes of the page; who is a guest here may look and nothing else."""

    def __init__(self, machine: Machine, home: Any, downloads: Downloads | None = None) -> None:
        self._machine, self._home, self._downloads = machine, home, downloads or Downloads(home)
        self._hurdles: dict[str, weights.Hurdle] = {}

    def routes(self) -> list[BaseRoute]:
        posts: dict[str, Callable[[ModelSpec], str]] = {
            "accept": self._accept, "download": self._download, "stop": self._stop,
        }  # fmt: skip
        found: list[BaseRoute] = [Route("/models/list", self._list), Route("/models/unload", self._unload, methods=["POST"])]
        return found + [Route(f"/models/{name}", self._wish(what), methods=["POST"]) for name, what in posts.items()]

    async def _list(self, request: Request) -> Response:
        told = await run_in_threadpool(self.tell)
        return JSONResponse({**told, "manages": may_manage(request)}, headers={"Cache-Control": "no-store"})

    def tell(self) -> dict[str, Any]:
        """Return every model with what is known of it here, those that are ready first; memory that comes and goes moves none."""
        inventory, budget = weights.read_inventory(self._home), self._machine.budget()
        free = weights.cache_disk_free()
        rows = [self._row(spec, inventory, budget, free) for spec in MODELS.values()]
        rows.sort(key=lambda row: row["state"] != "ready")
        return {"models": rows, "disk_free": free, "loaded": self._machine.is_warm()}

    def _row(self, spec: ModelSpec, inventory: Inventory, budget: Budget, free: int) -> dict[str, Any]:
        fits, how = how_it_fits(spec, budget)
        on_disk = spec.name in inventory.on_disk
        state = "ready" if inventory.has(spec) else "consent" if on_disk else "absent"
        row: dict[str, Any] = {
            "name": spec.name, "title": spec.title, "state": state, "fits": fits, "how": how,
            "bytes": spec.bytes_at("fp32" if spec.pocket else "bf16"), "parameters": parameters_in_words(spec.parameters),
            "licence": spec.licence.title, "licence_url": spec.licence.url, "allows": spec.licence.allows,
            "needs_consent": spec.licence.needs_consent, "accepted": spec.licence.id in inventory.accepted, "disk_free": free,
        }  # fmt: skip
        if state == "absent":
            download = self._downloads.look(spec)
            row["download"] = {
                "running": download.running, "bytes": download.bytes, "total": download.total, "rate": download.rate,
                "seconds_left": download.seconds_left, "problem": download.problem,
            }  # fmt: skip
            row["disk_problem"] = free + download.bytes < weights.needed_disk(spec)
            hurdle = self._hurdles.get(spec.name)
            row |= {"access": hurdle.words, "access_url": hurdle.link} if hurdle else {}
        return row

    def _accept(self, spec: ModelSpec) -> str:
        weights.accept_licence(spec, self._home)
        return "Accepted; the time is noted."

    def _download(self, spec: ModelSpec) -> str:
        if spec.licence.needs_consent and spec.licence.id not in weights.read_inventory(self._home).accepted:
            raise ModelUnavailable(f"{spec.name}: its licence is not accepted yet")
        hurdle = weights.find_hurdle(spec)
        if hurdle is not None:
            self._hurdles[spec.name] = hurdle
            raise ModelUnavailable(f"{spec.title}: {hurdle.words}")
        self._hurdles.pop(spec.name, None)
        self._downloads.start(spec)
        return "The download has begun; it goes on when this page is closed."

    def _stop(self, spec: ModelSpec) -> str:
        self._downloads.stop(spec)
        return "Stopped; what arrived is kept."

    async def _unload(self, request: Request) -> Response:
        if not may_manage(request):
            return _refused()
        await run_in_threadpool(self._machine.unload)
        return JSONResponse({"said": "The device’s memory is free."})

    def _wish(self, carry_out: Callable[[ModelSpec], str]) -> Callable[[Request], Any]:
        async def route(request: Request) -> Response:
            if not may_manage(request):
                return _refused()
            try:
                told = json.loads(await request.body())
                name = told.get("model") if isinstance(told, dict) else None
                spec = find_model(name if isinstance(name, str) else "", field="model")
                return JSONResponse({"said": await run_in_threadpool(carry_out, spec)})
            except (ValueError, RecursionError):
                return JSONResponse({"detail": "body: JSON is expected"}, 400)
            except FluxSvdError as error:
                return JSONResponse({"detail": str(error)}, 400 if isinstance(error, InvalidRequest) else 409)

        return route


def how_it_fits(spec: ModelSpec, budget: Budget) -> tuple[bool, str]:
    """Return whether the usual picture or film of this model fits `budget`, and how, or why not; nothing is loaded."""
    precision, _ = choose_precision(spec, budget)
    try:
        placed = place(spec, precision, usual_shape(spec), budget)
    except DoesNotFit as error:
        return False, str(error)
    return True, f"{format_gib(placed.peak_bytes)} · {precision} · {describe_placement(placed).partition(', ')[2]}"


def parameters_in_words(count: int) -> str:
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


def _refused() -> Response:
    return JSONResponse({"detail": "only the user of this machine may do that"}, 403)
