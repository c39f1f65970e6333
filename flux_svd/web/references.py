"""Pictures to work from: given by dropping, pasting or choosing, kept made safe, shown small, and removed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from flux_svd.errors import FluxSvdError, InvalidRequest, UnreadableFile
from flux_svd.web import parts
from flux_svd.web.desk import Desk
from flux_svd.web.parts import QUIET, Update, esc

MAX_REFERENCES = 8  # as many as a request takes
HINT, HINT_WORDS = "Say what changes; the rest stays. For example:", "the same object at the right"
UPLOAD_PATH = "/pictures/upload"

# Sends each picture to our own route and tells the page the ids; runs once, when the area is first shown.
_SCRIPT = """
const send = async (files) => {
  const ids = [], refused = [];
  for (const file of files) {
    const answer = await (await fetch('pictures/upload', { method: 'POST', body: file })).json();
    if (answer.id) ids.push(answer.id); else refused.push(answer.error || answer.detail);
  }
  if (ids.length || refused.length) trigger('click', { do: 'add', ids: ids, refused: refused[0] || '' });
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  if (button.dataset.do === 'choose') element.querySelector('input').click();
  else trigger('click', { do: button.dataset.do, i: +button.dataset.i });
});
element.addEventListener('change', (event) => { send([...event.target.files]); });
element.addEventListener('dragover', (event) => { event.preventDefault(); });
element.addEventListener('drop', (event) => { event.preventDefault(); send([...event.dataTransfer.files]); });
document.addEventListener('paste', (event) => {
  const files = [...event.clipboardData.files];
  if (files.length && element.offsetParent !== null) send(files);
});
"""


class References:
    """The area on the page; `ids` holds what is in it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.ids = gr.State(())
        self.area = gr.HTML(self.drawn(()), apply_default_css=False, js_on_load=_SCRIPT, elem_id="f_references")

    def wire(self) -> Any:
        """Connect the area and return the event after which the plan is to be told again."""
        return self.area.click(self.change, self.ids, [self.ids, self.area], trigger_mode="multiple", **QUIET)

    def change(self, event: gr.EventData, ids: tuple[str, ...]) -> Update:
        data = event._data
        if data["do"] == "remove":
            index = int(data["i"])
            return self.shown((*ids[:index], *ids[index + 1 :]))
        added = tuple(str(one) for one in data["ids"][:MAX_REFERENCES] if one not in ids)
        try:
            for one in added:
                self.desk.session.store.picture(one)
        except InvalidRequest as error:
            return {self.area: self.drawn(ids, str(error))}
        over = len(ids) + len(added) > MAX_REFERENCES
        words = f"At most {MAX_REFERENCES} pictures." if over else str(data["refused"])[:400]
        return self.shown((*ids, *added)[:MAX_REFERENCES], words)

    def added(self, ids: Sequence[str], picture_id: str) -> Update:
        """Return the area with one more picture; the oldest gives way where there are too many."""
        return self.shown((*(one for one in ids if one != picture_id), picture_id)[-MAX_REFERENCES:])

    def drawn(self, ids: Sequence[str], problem: str = "") -> str:
        thumbs = "".join(
            f'<li><img src="{self._thumb(one)}" alt="Reference {n}"><button type="button" class="do icb i-bin" data-do="remove" '
            f'data-i="{n - 1}" aria-label="Remove reference {n}"></button></li>'
            for n, one in enumerate(ids, 1)
        )
        room = "" if len(ids) >= MAX_REFERENCES else (
            '<button type="button" class="ghost" data-do="choose">Drop or paste pictures, or click to choose them</button>'
            '<input type="file" accept="image/png,image/jpeg,image/webp" multiple hidden aria-label="Reference pictures">'
        )  # fmt: skip
        said = f'<div role="alert" class="small bad">{esc(problem)}</div>' if problem else ""
        hint = f'<p class="small quiet">{HINT} <bdi>{HINT_WORDS}</bdi></p>' if ids else ""
        return f'<div class="refs"><ul>{thumbs}</ul>{hint}{room}{said}</div>'

    def shown(self, ids: tuple[str, ...], problem: str = "") -> Update:
        """Return the area with these pictures."""
        return {self.ids: ids, self.area: self.drawn(ids, problem)}

    def _thumb(self, picture_id: str) -> str:
        return small_given(self.desk, picture_id, 144)


def small_given(desk: Desk, picture_id: str, height: int) -> str:
    """Return a kept picture, at most `height` pixels high, as a data address.

    Raises:
        InvalidRequest: there is no such picture.
    """
    with Image.open(desk.session.store.picture(picture_id), formats=["PNG"]) as picture:
        return parts.small_picture(picture, height)


def upload_route(desk: Desk) -> BaseRoute:
    """Return the route that keeps a picture sent as the plain body and answers with its id, or with why not."""

    async def upload(request: Request) -> JSONResponse:
        data = await request.body()
        try:
            return JSONResponse({"id": await run_in_threadpool(desk.keep_picture, data)})
        except UnreadableFile as error:
            return JSONResponse({"error": f"Not a usable picture. Allowed: {error.allowed}."})
        except FluxSvdError as error:
            return JSONResponse({"error": str(error)})

    return Route(UPLOAD_PATH, upload, methods=["POST"])
