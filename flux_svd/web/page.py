"""The page as a whole: bar, tabs, and the ways from one tab to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from flux_svd import again
from flux_svd.errors import FluxSvdError
from flux_svd.recipe import ImageRecipe
from flux_svd.request import ImageRequest, VideoRequest
from flux_svd.web import fields, parts, reopen
from flux_svd.web.api import add_endpoints
from flux_svd.web.board import Board
from flux_svd.web.create import CreatePage
from flux_svd.web.desk import Desk, visitor_of
from flux_svd.web.drawer import build_drawer, opener
from flux_svd.web.exports import ExportRoutes
from flux_svd.web.i18n import language_of, mark_texts
from flux_svd.web.library_tab import build_library, connect_library
from flux_svd.web.models import build_models
from flux_svd.web.parts import QUIET, Update, esc, show
from flux_svd.web.results import Results
from flux_svd.web.video import VideoPage

_CREATE, _VIDEO, _MODELS = "create_tab", "video_tab", "models_tab"


def build_page(desk: Desk, exports: ExportRoutes) -> gr.Blocks:
    """Return the page; it works through `desk` alone, its endpoints for programs through `exports` too."""
    with gr.Blocks(title="flux_svd", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as page:
        bar = show(bar_words(desk), elem_id="bar")
        if desk.work.lasting:
            build_drawer()
        with gr.Tabs(selected=_CREATE, elem_id="room", overflow_behavior="wrap") as tabs:
            with gr.Tab("Create", id=_CREATE):
                create = CreatePage(desk)
            with gr.Tab("Video", id=_VIDEO):
                video = VideoPage(desk)
            with gr.Tab("Library", id="library_tab"):
                library = build_library(lasting=desk.work.lasting)
            with gr.Tab("Models", id=_MODELS):
                build_models()
        add_endpoints(desk, exports)
        _connect(desk, tabs, create, video)
        connect_library(desk, library, tabs, create, video, video.fill_outs, (_CREATE, _VIDEO))
        quick: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        begun = reopen.connect(page, desk, tabs, create, video, (_CREATE, _VIDEO))
        begun.then(_models_in_words(desk), None, [create.model, video.model], **quick)
        begun.then(video.filling.refreshed, None, video.filling.method, **quick)
        begun.then(lambda: bar_words(desk), None, bar, **quick)
        gr.on([create.stat.change, video.stat.change], lambda: bar_words(desk), None, bar, trigger_mode="always_last", **quick)
    mark_texts(page)
    return page


def bar_words(desk: Desk) -> str:
    """Return the bar: the name, and what this machine works with (device, model, precision, placement, warm or cold)."""
    budget = desk.budget()
    device = budget.device_name if budget.device != "cpu" else "CPU"
    state = ("warm", "warm") if desk.is_warm() else ("", "not loaded yet")
    return (
        '<div class="in"><h1>flux_svd</h1><div class="mach">'
        f'<span class="what" title="{esc(budget.device_name)}"><i class="dot {state[0]}"></i><b>{esc(device)}</b>'
        f'<span>{esc(desk.resolve("auto").title)}</span><span class="long">{esc(_way_to_run(desk))}</span>'
        f'<span class="long">{state[1]}</span></span>'
        f"{opener(desk.queue_words(), lasting=desk.work.lasting)}</div></div>"
    )


def _models_in_words(desk: Desk) -> Callable[[gr.Request], list[Any]]:
    def say(request: gr.Request) -> list[Any]:
        """Return both lists of models in the browser's language; what stands chosen in a list is out of the script's reach."""
        language = language_of(request.headers.get("accept-language", ""))
        choices = fields.model_choices(desk.image_models(), desk.resolve("auto"), language)
        return [gr.Dropdown(choices=choices), gr.Dropdown(choices=choices)]

    return say


def _way_to_run(desk: Desk) -> str:
    try:
        plan = desk.plan({"kind": "image", "prompt": "a picture"})
    except FluxSvdError:
        return "does not fit now"  # the page says why where it is asked for a picture
    [recipe] = plan.recipes
    precision = recipe.precision if isinstance(recipe, ImageRecipe) else ""
    return precision + (", offload" if plan.placements[0].offload != "none" else "")


def _connect(desk: Desk, tabs: gr.Tabs, create: CreatePage, video: VideoPage) -> None:
    """Wire "Send to Video", "Make a film instead" and the dropped file with settings."""
    film_outs = [tabs, *video.fill_outs]

    def act(request: gr.Request, event: gr.EventData, now: Results, board: Board, *wish: Any) -> Update:
        if event._data["do"] != "video" or not now.pictures:
            return {create.stat: gr.skip()}
        path = desk.path_of(now.large.address, visitor_of(request))
        if path is None:
            return {create.stat: parts.not_found()}
        try:
            film = again.film_from(path, desk.keep_picture(path))
        except FluxSvdError as error:
            return {create.stat: parts.refused(error, passing=1)}
        return {**video.take_picture(film, board, wish), tabs: gr.Tabs(selected=_VIDEO)}

    def make_film(prompt: str, board: Board, *wish: Any) -> Update:
        return {**video.fill(prompt, board, wish), tabs: gr.Tabs(selected=_VIDEO)}

    def restore(path: str | None, board: Board, *wish: Any) -> Update:
        if path is None:
            return {create.given_note: ""}
        request, words = create.restore(path)
        found: Update = {create.given_note: words, create.given: None}
        if isinstance(request, ImageRequest):
            found |= create.filled(request)
        elif isinstance(request, VideoRequest):
            found |= {**video.fill_from(request, board, wish), tabs: gr.Tabs(selected=_VIDEO)}
        return found

    create.acts.click(act, [create.results, *video.wish], [create.stat, video.stat, *film_outs], **QUIET).then(
        *video.looking, **QUIET
    )
    create.others.click(lambda: gr.Tabs(selected=_MODELS), None, tabs, concurrency_limit=None, **QUIET)
    create.about.click(make_film, [create.prompt, *video.wish], film_outs, **QUIET).then(
        *video.looking, **QUIET
    )
    create.given.upload(
        restore, [create.given, *video.wish], [create.given_note, create.given, *create.form, *film_outs], **QUIET
    ).then(*video.looking, **QUIET)
