"""The page Library: its frame as markup, and what leads from a result to the other pages. `static/library.js` fills it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from flux_svd import again
from flux_svd.artifact import load_request
from flux_svd.errors import FluxSvdError, UnreadableFile
from flux_svd.request import Request, VideoRequest
from flux_svd.web import parts
from flux_svd.web.board import Board
from flux_svd.web.create import CreatePage
from flux_svd.web.desk import Desk, visitor_of
from flux_svd.web.parts import QUIET, Update, esc
from flux_svd.web.references import MAX_REFERENCES
from flux_svd.web.video import VideoPage

_KINDS = (("", "All"), ("image", "Pictures"), ("video", "Films"))
_ORDERS = (("new", "Newest"), ("best", "Best match"))
_MANY = (("compare", "Compare"), ("star", "Star"), ("zip", "Download"), ("delete", "Move to trash"))

_BORROWED = "Results go with this machine when it is given back: download what you want to keep."

# Runs once, when the page is first shown; what is chosen there comes back as a click event.
_SCRIPT = "window.fluxLibrary(element, (told) => trigger('click', told));"


def build_library(*, lasting: bool) -> gr.HTML:
    """Build the page into the current Blocks context and return it; its clicks carry `do` and `id`.

    Args:
        lasting: what is made here stays on this machine; a borrowed one takes it along, which is said then.
    """
    return gr.HTML(frame(lasting=lasting), apply_default_css=False, js_on_load=_SCRIPT, elem_id="lib")


def connect_library(
    desk: Desk,
    library: gr.HTML,
    tabs: gr.Tabs,
    create: CreatePage,
    video: VideoPage,
    film_outs: Sequence[Any],
    ids: tuple[str, str],
) -> None:
    """Wire what leads from a result back to the forms: all settings, all but the seed, as a reference, as a keyframe.

    Args:
        film_outs: what `video.fill_from` changes; `ids`: of the tabs Create and Video.
    """

    def to(tab: str) -> gr.Tabs:
        return gr.Tabs(selected=tab)  # made in a handler, where it is an update and no new part of the page

    def act(request: gr.Request, event: gr.EventData, references: tuple[str, ...], board: Board, *film: Any) -> Update:
        path = desk.shelf.path_of(str(event._data["id"]), visitor_of(request).owner)
        if path is None:
            return {create.stat: parts.not_found(), tabs: to(ids[0])}
        try:
            if event._data["do"] == "reference":
                return {**add_reference(path, references), tabs: to(ids[0])}
            wish = _wish_of(event._data["do"], path, desk)
        except UnreadableFile as error:
            said = UnreadableFile("file", path.name, error.allowed)
            return {create.stat: parts.refused(said, passing=1), tabs: to(ids[0])}
        except FluxSvdError as error:
            return {create.stat: parts.refused(error, passing=1), tabs: to(ids[0])}
        if isinstance(wish, VideoRequest):
            found = video.take_picture if event._data["do"] == "keyframe" else video.fill_from
            return {**found(wish, board, film), tabs: to(ids[1])}
        return {**create.filled(wish), create.stat: parts.status("Ready"), tabs: to(ids[0])}

    def add_reference(path: Path, references: tuple[str, ...]) -> Update:
        able = ["auto"] if "references" in desk.obeyed("auto") else []
        able += [spec.name for spec in desk.image_models() if "references" in spec.obeys]  # a pocket one at least
        chosen = (*references, desk.keep_picture(path))[-MAX_REFERENCES:]
        return {
            create.model: able[0], create.references.ids: chosen, create.references.area: create.references.drawn(chosen),
            create.stat: parts.status("Added as a reference"),
        }  # fmt: skip

    outs = [tabs, create.stat, video.stat, *create.form, *film_outs]
    at_once: dict[str, Any] = {**QUIET, "concurrency_limit": None}
    library.click(act, [create.references.ids, *video.wish], outs, **at_once).then(
        *video.looking, **at_once
    )


def _wish_of(what: str, path: Path, desk: Desk) -> Request:
    """Return the request a result is to be used as: "all" of it, "remix" without its seed, or "keyframe" of a new film.

    Raises:
        FluxSvdError: the file tells no request of this version.
    """
    if what == "keyframe":
        return again.film_from(path, desk.keep_picture(path))
    if what == "remix":
        return load_request(path).model_copy(update={"seed": None})
    return again.request_of(path)


def frame(*, lasting: bool) -> str:
    kinds = "".join(
        f'<label><input type="radio" name="lib_kind" value="{value}"{"" if value else " checked"}><span>{words}</span></label>'
        for value, words in _KINDS
    )
    orders = "".join(f'<option value="{value}">{words}</option>' for value, words in _ORDERS)
    many = "".join(f'<button type="button" class="do" data-many="{what}">{words}</button>' for what, words in _MANY)
    more = (
        _field("Order", f'<select name="lib_order">{orders}</select>')
        + _field("Model", '<select name="lib_model"><option value="">All</option></select>')
        + _field("From day", '<input type="date" name="lib_since">')
        + _field("To day", '<input type="date" name="lib_until">')
        + _field("Match at least", '<input type="number" name="lib_score" min="0" max="1" step="0.01" placeholder="0.25">')
        + '<label class="tick"><input type="checkbox" id="lib_starred"><span>Starred only</span></label>'
        + '<label class="tick"><input type="checkbox" id="lib_keys"><span>Keyframes of films too</span></label>'
    )
    return (
        '<h2 class="vh">Library</h2><div id="lib_f" role="search">'
        + _field("Search", '<input type="search" name="lib_words" placeholder="Words from the prompt" maxlength="400">')
        + f'<fieldset class="seg"><legend class="label">Show</legend><div class="wrap">{kinds}</div></fieldset>'
        + '<div class="tools">'
        '<button type="button" class="do edge" id="lib_more" aria-expanded="false" aria-controls="lib_fields">'
        "More filters</button>"
        '<button type="button" class="do edge" id="lib_select" aria-pressed="false">Select</button>'
        '<button type="button" class="do edge" id="lib_trash" aria-pressed="false">Trash</button></div>'
        f'<div class="fields" id="lib_fields" hidden>{more}</div></div>'
        + ("" if lasting else f'<p class="small quiet borrowed">{_BORROWED}</p>')
        + '<p id="lib_note" class="small" role="status"></p>'
        '<div id="lib_chosen" role="toolbar" aria-label="Selected results" hidden><span id="lib_count"></span>'
        f'{many}<button type="button" class="do">Done</button></div>'
        '<div id="lib_grid" class="well"></div><div id="lib_end"></div>'
        '<dialog id="lib_sheet" aria-labelledby="lib_title"></dialog>'
    )


def _field(words: str, box: str) -> str:
    return f'<label class="field"><span class="label">{esc(words)}</span>{box}</label>'
