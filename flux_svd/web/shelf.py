"""Results a browser may fetch: under ids that cannot be guessed, for the visitor they belong to, from the output folder only."""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from flux_svd.web.owner import owner_of

_KINDS = {".png": "image/png", ".mp4": "video/mp4"}
_ID = re.compile(r"[A-Za-z0-9_-]{32}\Z")
_KEPT = 20_000  # ids, about 10 MB; the oldest go first


@dataclass(frozen=True)
class _Entry:
    path: Path
    owner: str


class Shelf:
    """The ids given out since the server started. `root` is the only folder anything is served from."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._ids: dict[_Entry, str] = {}
        self._lock = threading.Lock()

    def put(self, path: Path, owner: str) -> str:
        """Return the address of `path` for `owner` ("" for a caller without a cookie, who has only the id).

        Raises:
            ValueError: the file lies outside the output folder or is of no kind that is served.
        """
        entry = _Entry(path.resolve(), owner)
        if not entry.path.is_relative_to(self.root) or entry.path.suffix not in _KINDS:
            raise ValueError(f"{path.name} is not a result in the output folder")
        with self._lock:
            found = self._ids.get(entry)
            if found is None:
                found = self._ids[entry] = secrets.token_urlsafe(24)
                self._entries[found] = entry
                while len(self._entries) > _KEPT:
                    self._ids.pop(self._entries.popitem(last=False)[1])
        return f"files/{found}/{entry.path.name}"

    def path_of(self, file_id: str, owner: str) -> Path | None:
        """Return the file that `put` gave this id for this very owner, or None."""
        entry = self._entries.get(file_id)
        return entry.path if entry is not None and entry.owner == owner else None

    async def answer(self, request: Request) -> Response:
        """Return the file, or 404 for whatever is not this visitor's own result."""
        file_id = request.path_params["file_id"]
        entry = self._entries.get(file_id) if _ID.match(file_id) else None
        if entry is None or request.path_params["name"] != entry.path.name:
            return _absent()
        if entry.owner and entry.owner != owner_of(request.cookies):
            return _absent()
        return self.send(entry.path, download="download" in request.query_params)

    def send(self, path: Path, *, download: bool = False) -> Response:
        """Return a result as an answer, or 404 where it is none: gone, a link, or outside the output folder."""
        is_inside = path.is_relative_to(self.root) and path.suffix in _KINDS
        if not is_inside or not path.is_file() or path.resolve() != path:
            return _absent()
        return FileResponse(
            path,
            media_type=_KINDS[path.suffix],
            filename=path.name,
            content_disposition_type="attachment" if download else "inline",
            headers={"Cache-Control": "private, max-age=86400"},
        )


def _absent() -> Response:
    return PlainTextResponse("not found", 404)
