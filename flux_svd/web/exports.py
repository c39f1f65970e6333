"""A finished film as another kind of file: the form on the page, and the routes that make it and give it to its owner.

ffmpeg does the work in a process of its own; one film at a time, so that pages stay quick. What was made is kept for a while.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from flux_svd import files
from flux_svd.errors import FluxSvdError, UnreadableFile
from flux_svd.export import Exported, export_film, formats_here
from flux_svd.formats import FORMATS
from flux_svd.recipe import VideoRecipe
from flux_svd.web import query
from flux_svd.web.library import stream_zip
from flux_svd.web.owner import owner_of
from flux_svd.web.parts import esc
from flux_svd.web.shelf import Shelf

TITLES = {
    "mp4": "MP4 (H.264)", "webm": "WebM (VP9)", "av1": "WebM (AV1)", "gif": "GIF", "webp": "WebP", "png": "PNG (ZIP)",
    "prores": "ProRes (MOV)",
}  # fmt: skip
_KEPT, _KEPT_SECONDS = 20, 86_400  # exports of all owners; the oldest go first


@dataclass(frozen=True)
class _Ready:
    owner: str
    path: Path
    made: float


class ExportRoutes:
    """The routes of one data folder; exports lie there until they are old."""

    def __init__(self, home: Path, shelf: Shelf) -> None:
        self._folder, self._shelf = home / "exports", shelf
        self._ready: OrderedDict[str, _Ready] = OrderedDict()
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._swept = False

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/exports/{file_id}/upload", self.make, methods=["POST"]),
            Route("/exports/{ticket}/file", self.give),
        ]

    async def make(self, request: Request) -> JSONResponse:
        """Make an export of a film of the asker's; the body is its sound, or empty."""
        owner, asked = owner_of(request.cookies), request.query_params
        path = self._shelf.path_of(request.path_params["file_id"], owner)
        if path is None or path.suffix != ".mp4":
            return JSONResponse({"error": "not found"}, 404)
        sound = await request.body()
        try:
            wish: dict[str, Any] = {name: query.whole_or_none(asked, name) for name in ("fps", "crf")}
            wish["densify"] = asked.get("densify") == "1"
            return JSONResponse(await run_in_threadpool(self.export, path, asked.get("format", ""), wish, sound, owner))
        except FluxSvdError as error:
            return JSONResponse({"error": _said(error).replace(str(self._folder), "")})

    async def give(self, request: Request) -> Response:
        """Give a finished export to whom it was made for."""
        with self._lock:
            ready = self._ready.get(request.path_params["ticket"])
        if ready is None or ready.owner != owner_of(request.cookies) or not ready.path.exists():
            return PlainTextResponse("not found", 404)
        headers = {"Cache-Control": "private, no-store"}
        if ready.path.is_dir():
            frames = sorted(ready.path.glob("*.png"))
            named = {"Content-Disposition": f'attachment; filename="{ready.path.name}.zip"'}
            return StreamingResponse(stream_zip(frames), media_type="application/zip", headers={**headers, **named})
        return FileResponse(ready.path, filename=ready.path.name, content_disposition_type="attachment", headers=headers)

    def export(self, film: Path, name: str, wish: dict[str, Any], sound: bytes, owner: str) -> dict[str, Any]:
        """Make a film as another kind of file and return the address its owner gets it at, with what is in it.

        Args:
            name: of one of `FORMATS`.
            wish: "fps", "crf" (None for the usual ones) and "densify".
            sound: the bytes of a file with sound, or none.

        Raises:
            InvalidRequest: a value is not accepted.
            FluxSvdError: it cannot be made, or another one is just being made.
        """
        ticket = secrets.token_urlsafe(24)
        with self._one_at_a_time():
            self._sweep()
            folder = self._folder / ticket
            files.make_folder(folder)
            audio = folder / "sound" if sound else None
            try:
                if audio:
                    files.write_atomically(audio, sound)
                made = export_film(film, name, audio=audio, folder=folder, **wish)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            if audio:
                audio.unlink()
        with self._lock:
            self._ready[ticket] = _Ready(owner, made.path, time.time())
        return {"url": f"exports/{ticket}/file", **_told(made)}

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._turn.acquire(blocking=False):
            raise FluxSvdError("Another film is being exported. Try again when it is done.")
        try:
            yield
        finally:
            self._turn.release()

    def _sweep(self) -> None:
        """Remove what is old, and once what an earlier server left."""
        if not self._swept:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._swept = True
        with self._lock:
            old = [ticket for ticket, ready in self._ready.items() if time.time() - ready.made > _KEPT_SECONDS]
            old += [ticket for ticket in list(self._ready)[: max(0, len(self._ready) - _KEPT + 1)] if ticket not in old]
            for ticket in old:
                del self._ready[ticket]
        for ticket in old:
            shutil.rmtree(self._folder / ticket, ignore_errors=True)


def export_form(address: str, film: VideoRecipe) -> str:
    """Return the folded form that exports the film at this address of the shelf; `film.js` sends it."""
    options = "".join(
        f'<option value="{name}" data-crf="{"/".join(map(str, FORMATS[name].crf or ()))}" data-fps="{FORMATS[name].max_fps}" '
        f'data-sound="{FORMATS[name].audio}">{esc(TITLES[name])}</option>'
        for name in formats_here()
    )
    return (
        f'<details class="told"><summary>Export</summary><form data-export="{esc(address.split("/")[1])}"><div class="fields">'
        f'<label class="field"><span class="label">Kind of file</span><select name="format">{options}</select></label>'
        '<label class="field"><span class="label">Compression, lower keeps more detail</span>'
        '<input name="crf" type="number" min="0" step="1"></label>'
        '<label class="field"><span class="label">Frames a second</span>'
        f'<input name="fps" type="number" min="1" step="1" placeholder="{film.fps}"></label>'
        '<div class="field"><span class="label">Sound, cut to the length of the film</span><div class="give">'
        '<input name="sound" type="file" accept="audio/*,video/mp4,video/webm" aria-label="Sound, cut to the length of the film">'
        '<span>Drop a file, or click to choose one</span>'
        '<button type="button" class="do icb i-bin" data-ungive aria-label="Remove the sound" hidden></button></div></div>'
        '<label class="tick"><input name="densify" type="checkbox">'
        "<span>Twice the frames, guessed between the others</span></label>"
        '<button type="submit" class="do edge">Export</button></div><p class="small" role="status"></p></form></details>'
    )


def _told(made: Exported) -> dict[str, Any]:
    files_in = sorted(made.path.iterdir()) if made.path.is_dir() else [made.path]
    return {
        "name": made.path.name, "bytes": sum(one.stat().st_size for one in files_in), "frames": made.frames, "fps": made.fps,
        "seconds": round(made.seconds_long, 2),
    }  # fmt: skip


def _said(error: FluxSvdError) -> str:
    if isinstance(error, UnreadableFile):  # its value is a path of this machine
        return f"{error.field}: not accepted. Allowed: {error.allowed}."
    return str(error)
