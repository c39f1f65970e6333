"""The library's own routes: lists, thumbnails, details, stars, the trash, and a download of many at once.

Every id is one that the shelf gave to the asker; what is not theirs is not found.
"""

from __future__ import annotations

import glob
import json
import secrets
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from flux_svd import files
from flux_svd.artifact import SOURCE_TYPE
from flux_svd.catalog import MODELS
from flux_svd.errors import FluxSvdError, InvalidRequest
from flux_svd.library import KEYFRAME_MARK, Item, Library
from flux_svd.recipe import VideoRecipe, recipe_from_json
from flux_svd.results import sidecar_of
from flux_svd.web import query
from flux_svd.web.details import made_with
from flux_svd.web.owner import may_list, owner_of
from flux_svd.web.shelf import Shelf
from flux_svd.web.thumbs import Thumbs

PAGE = 60  # results a list answers at once
MAX_CHOSEN = 500  # results of one wish

_LOOK_AGAIN = 2.0  # seconds between two looks at the folder
_TICKETS = 100


class LibraryRoutes:
    """The routes of one output folder; its library is opened with the first question."""

    def __init__(self, outputs: Path, home: Path, shelf: Shelf) -> None:
        self._outputs, self._home, self._shelf, self._thumbs = outputs, home, shelf, Thumbs(home)
        self._library: Library | None = None
        self._looked = 0.0
        self._lock = threading.Lock()
        self._tickets: OrderedDict[str, tuple[str, tuple[Path, ...]]] = OrderedDict()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/library/items", self._told(self.items)),
            Route("/library/item/{file_id}", self._told(self.item)),
            Route("/library/thumb/{file_id}", self.thumb),
            Route("/library/star", self._told(self.star), methods=["POST"]),
            Route("/library/delete", self._told(self.delete), methods=["POST"]),
            Route("/library/restore", self._told(self.restore), methods=["POST"]),
            Route("/library/trash", self._told(self.trash)),
            Route("/library/trash/{thrown_id}/thumb", self.trash_thumb),
            Route("/library/zip", self._told(self.pack), methods=["POST"]),
            Route("/library/zip/{ticket}", self.unpack),
        ]

    def path_of(self, file_id: str, owner: str) -> Path | None:
        """Return the result of an id that this owner was given, or None."""
        return self._shelf.path_of(file_id, owner)

    def items(self, request: Request, told: Any) -> dict[str, Any]:
        """Return a page of results as asked; `more` says whether there is another."""
        if not may_list(request):
            return {"items": [], "more": False, "models": [], "nameless": True}
        asked, owner = request.query_params, owner_of(request.cookies)
        offset = query.whole(asked, "offset", 0)
        library = self._open(look=offset == 0)
        found = library.search(
            asked.get("words", "")[:400], kind=asked.get("kind") or None, model=asked.get("model") or None,
            since=query.number(asked, "since"), until=query.number(asked, "until"),
            min_score=query.number(asked, "score"), starred=True if asked.get("starred") else None, owner=owner,
            limit=PAGE + 1, offset=offset, best_first=asked.get("order") == "best", with_keyframes=bool(asked.get("keyframes")),
        )  # fmt: skip
        shown = [self._shown(item, owner) for item in found[:PAGE]]
        return {"items": shown, "more": len(found) > PAGE, "models": [spec.name for spec in MODELS.values()]}

    def item(self, request: Request, told: Any) -> dict[str, Any]:
        """Return everything that is known of one result."""
        owner = owner_of(request.cookies)
        path = self._mine(request.path_params["file_id"], owner)
        library = self._open(look=True)
        item = library.item(path)
        sidecar = files.read_json(sidecar_of(path))
        recipe, run = sidecar.get("recipe", {}), sidecar.get("run", {})
        spec = MODELS.get(item.model)
        near = path.parent.glob(f"{glob.escape(path.stem)}{KEYFRAME_MARK}*.png") if item.kind == "video" else ()
        numbered = {one.stem.rsplit("-", 1)[1]: one for one in near if "_candidate-" not in one.stem}
        beside = [numbered[number] for number in sorted(numbered, key=lambda text: (len(text), text))]
        return {
            **self._shown(item, owner),
            "name": path.name, "bytes": path.stat().st_size if path.is_file() else 0, "sha256": sidecar.get("sha256", ""),
            "request": _exact(_compact(sidecar.get("request", {}))), "recipe": _exact(recipe), "run": run,
            "made_with": made_with(recipe),
            "placement": sidecar.get("placement"), "job": item.job,
            "keyframes": [self._shown(library.item(one), owner) for one in beside],
            "source_type": SOURCE_TYPE, "licence": spec.licence.title if spec else "",
            "licence_url": spec.licence.url if spec else "",
        }  # fmt: skip

    async def thumb(self, request: Request) -> Response:
        path = self._shelf.path_of(request.path_params["file_id"], owner_of(request.cookies))
        return await self._picture(path)

    async def trash_thumb(self, request: Request) -> Response:
        path = await run_in_threadpool(self._open().thrown, request.path_params["thrown_id"], owner_of(request.cookies))
        return await self._picture(path)

    def star(self, request: Request, told: Any) -> dict[str, Any]:
        """Star results, or take their stars away."""
        starred = told.get("starred")
        if not isinstance(starred, bool):
            raise InvalidRequest("starred", starred, "true or false")
        paths = self._chosen(request, told)
        for path in paths:
            self._open().star(path, starred)
        return {"starred": len(paths)}

    def delete(self, request: Request, told: Any) -> dict[str, Any]:
        """Throw results away and return the ids to have them back by."""
        return {"thrown": [self._open().delete(path) for path in self._chosen(request, told)]}

    def trash(self, request: Request, told: Any) -> dict[str, Any]:
        """Return what of the asker's is in the trash, last thrown first."""
        if not may_list(request):
            return {"items": []}
        owner = owner_of(request.cookies)
        found = []
        for thrown in reversed(self._open().trash()):
            path = self._open().thrown(thrown.id, owner)
            if path is not None:
                prompt = files.read_json(sidecar_of(path)).get("request", {}).get("prompt", "")
                found.append({"id": thrown.id, "prompt": prompt or path.name, "at": thrown.at, "kind": _kind(path)})
        return {"items": found[:MAX_CHOSEN]}

    def restore(self, request: Request, told: Any) -> dict[str, Any]:
        """Put results back from the trash."""
        owner = owner_of(request.cookies)
        ids = _ids(told)
        if any(self._open().thrown(one, owner) is None for one in ids):
            raise _NotFound
        for one in ids:
            self._open().restore(one)
        return {"restored": len(ids)}

    def pack(self, request: Request, told: Any) -> dict[str, Any]:
        """Return the address of an archive of these results, with their sidecars; it serves once."""
        paths = self._chosen(request, told)
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            self._tickets[ticket] = owner_of(request.cookies), tuple(paths)
            while len(self._tickets) > _TICKETS:
                self._tickets.popitem(last=False)
        return {"url": f"library/zip/{ticket}"}

    async def unpack(self, request: Request) -> Response:
        with self._lock:
            owner, paths = self._tickets.pop(request.path_params["ticket"], ("", ()))
        if not paths or owner != owner_of(request.cookies):
            return _absent()
        headers = {"Content-Disposition": 'attachment; filename="flux_svd.zip"', "Cache-Control": "no-store"}
        return StreamingResponse(stream_zip(paths), media_type="application/zip", headers=headers)

    def _told(self, answer: Callable[[Request, Any], dict[str, Any]]) -> Callable[[Request], Any]:
        async def route(request: Request) -> Response:
            try:
                told = json.loads(await request.body()) if request.method == "POST" else {}
                if not isinstance(told, dict):
                    raise InvalidRequest("body", told, "a JSON object")
                return JSONResponse(await run_in_threadpool(answer, request, told), headers={"Cache-Control": "no-store"})
            except _NotFound:
                return _absent()
            except (ValueError, RecursionError):
                return JSONResponse({"detail": "body: JSON is expected"}, 400)
            except FluxSvdError as error:
                return JSONResponse({"detail": str(error)}, 400 if isinstance(error, InvalidRequest) else 500)

        return route

    def _open(self, *, look: bool = False) -> Library:
        """Return the library; with `look` the folder was looked at a moment ago, for what came without it."""
        with self._lock:
            if self._library is None:
                self._outputs.mkdir(parents=True, exist_ok=True)
                self._library = Library(self._outputs, self._home)
            elif look and time.monotonic() - self._looked > _LOOK_AGAIN:
                self._library.reconcile()
            self._looked = time.monotonic()
            return self._library

    def _shown(self, item: Item, owner: str) -> dict[str, Any]:
        sidecar = files.read_json(sidecar_of(item.path))
        recipe = sidecar.get("recipe", {})
        address = "" if item.problem and not item.path.is_file() else self._shelf.put(item.path, owner)
        frames, fps = _length(recipe)
        scale = sidecar.get("enlarged", {}).get("scale", 1)
        return {
            "id": address.split("/")[1] if address else "", "address": address, "kind": item.kind, "prompt": item.prompt,
            "alt": sidecar.get("alt") or item.prompt, "model": item.model, "made": item.made, "score": item.score,
            "starred": item.starred, "problem": item.problem, "width": scale * recipe.get("width", 1),
            "height": scale * recipe.get("height", 1),
            "seconds": round(frames / fps, 2) if frames and fps else None, "frames": frames, "fps": fps,
            "seed": _exact(recipe.get("seed", sidecar.get("request", {}).get("seed"))),
        }  # fmt: skip

    def _mine(self, file_id: object, owner: str) -> Path:
        path = self._shelf.path_of(file_id, owner) if isinstance(file_id, str) else None
        if path is None:
            raise _NotFound
        return path

    def _chosen(self, request: Request, told: Any) -> list[Path]:
        owner = owner_of(request.cookies)
        return [self._mine(one, owner) for one in _ids(told)]

    async def _picture(self, path: Path | None) -> Response:
        data = await run_in_threadpool(self._thumbs.read, path) if path is not None else None
        if data is None:
            return _absent()
        return Response(data, media_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})


def stream_zip(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield a ZIP of these files and their sidecars, stored as they are, a piece at a time; files gone by then are left out."""
    pipe = _Pipe()
    taken: set[str] = set()
    with zipfile.ZipFile(cast("IO[bytes]", pipe), "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            for file in (path, sidecar_of(path)):
                name = _free_name(file, taken)
                try:
                    with file.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                        while piece := source.read(2**18):
                            target.write(piece)
                            yield pipe.take()
                except FileNotFoundError:
                    continue
    yield pipe.take()


class _NotFound(Exception):
    """What is asked for is not there, or not the asker's."""


class _Pipe:
    """A file to write to that keeps only what was not taken yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def _free_name(file: Path, taken: set[str]) -> str:
    name, number = file.name, 2
    while name in taken:
        name, number = f"{number}-{file.name}", number + 1
    taken.add(name)
    return name


def _ids(told: Mapping[str, Any]) -> list[str]:
    ids = told.get("ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_CHOSEN or not all(isinstance(one, str) for one in ids):
        raise InvalidRequest("ids", type(ids).__name__, f"a list of 1 to {MAX_CHOSEN} ids")
    return list(dict.fromkeys(ids))


def _compact(request: Any) -> dict[str, Any]:
    """Return the request without what was left open."""
    return {key: value for key, value in request.items() if value not in (None, [], "")} if isinstance(request, dict) else {}


def _exact(value: Any) -> Any:
    """Return the value with whole numbers that a browser would round, such as seeds, as text."""
    if isinstance(value, dict):
        return {key: _exact(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_exact(one) for one in value]
    return str(value) if isinstance(value, int) and abs(value) > 2**53 else value


def _length(recipe: Any) -> tuple[int | None, int | None]:
    """Return (frames, frames a second) of a film's recipe; None for a picture, and for a film of another version's recipe."""
    try:
        made = recipe_from_json(json.dumps(recipe))
    except ValueError:
        return None, None
    return (made.frames, made.fps) if isinstance(made, VideoRecipe) else (None, None)


def _kind(path: Path) -> str:
    return "video" if path.suffix == ".mp4" else "image"


def _absent() -> Response:
    return JSONResponse({"detail": "not found"}, 404)
