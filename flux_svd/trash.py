"""Results that were thrown away: moved, not removed, until some weeks have passed. A crash leaves no half of a wish.

Each is a folder with a manifest that is on disk before the first file moves. The manifest says what is wished (delete,
restore, purge); whoever comes after a crash carries it out.
"""

from __future__ import annotations

import datetime
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flux_svd import files
from flux_svd.errors import InvalidRequest

FOLDER = ".trash"
KEPT_SECONDS = 30 * 86400.0
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}\Z")


@dataclass(frozen=True)
class Thrown:
    """What was thrown away together: a result and its sidecar.

    Attributes:
        paths: where they were, relative to the outputs.
        at: seconds since 1970.
    """

    id: str
    paths: tuple[str, ...]
    at: float


class Trash:
    """The trash of one output folder; it lies inside, so that files move on one file system."""

    def __init__(self, outputs: Path) -> None:
        self._outputs, self._folder = outputs, outputs / FOLDER

    def throw(self, paths: Sequence[str], now: float) -> str:
        """Move the files (relative to the outputs) into the trash and return the id to have them back by."""
        stamp = datetime.datetime.fromtimestamp(now).strftime("%Y%m%d-%H%M%S")
        folder = self._folder / f"{stamp}-{secrets.token_hex(3)}"
        files.write_json(folder / "manifest.json", {"wish": "delete", "files": list(paths), "at": now})
        self._carry_out(folder)
        return folder.name

    def restore(self, thrown_id: str) -> tuple[str, ...]:
        """Put what was thrown away back in its place and return the paths.

        Raises:
            InvalidRequest: there is no such thing in the trash, or its place is taken.
        """
        thrown = next((one for one in self.contents() if one.id == thrown_id), None)
        if thrown is None:
            raise InvalidRequest("trash", thrown_id, "the id of something in the trash")
        taken = [path for path in thrown.paths if (self._outputs / path).exists() and self._inside(thrown_id, path).exists()]
        if taken:
            raise InvalidRequest("trash", taken[0], "a place that is free; another file has it now")
        self._wish(self._folder / thrown_id, "restore")
        return thrown.paths

    def empty(self, before: float) -> int:
        """Remove for good what was thrown away before that time, and return how many things that were."""
        old = [one for one in self.contents() if one.at < before]
        for one in old:
            self._wish(self._folder / one.id, "purge")
        return len(old)

    def contents(self) -> list[Thrown]:
        """Return what is in the trash, oldest first."""
        found = []
        for folder in self._folders():
            manifest = _manifest(folder)
            if manifest:
                found.append(Thrown(folder.name, tuple(manifest["files"]), manifest["at"]))
        return found

    def path_of(self, thrown_id: str) -> Path | None:
        """Return where the result thrown away under this id lies now, its sidecar beside it; None without any."""
        if not _ID.match(thrown_id):
            return None
        manifest = _manifest(self._folder / thrown_id)
        return self._inside(thrown_id, manifest["files"][0]) if manifest.get("files") else None

    def damaged(self) -> list[Path]:
        """Return folders whose manifest cannot be read; what is in them stays."""
        return [folder for folder in self._folders() if not _manifest(folder) and any(folder.iterdir())]

    def reconcile(self) -> None:
        """Carry out what a crash interrupted."""
        for folder in self._folders():
            if _manifest(folder):
                self._carry_out(folder)
            elif not any(folder.iterdir()):
                folder.rmdir()

    def _wish(self, folder: Path, wish: str) -> None:
        files.write_json(folder / "manifest.json", {**_manifest(folder), "wish": wish})
        self._carry_out(folder)

    def _carry_out(self, folder: Path) -> None:
        manifest = _manifest(folder)
        for path in manifest["files"]:
            outside, inside = self._outputs / path, self._inside(folder.name, path)
            if manifest["wish"] == "delete" and outside.exists():
                files.move(outside, inside)
            elif manifest["wish"] == "restore" and inside.exists():
                files.move(inside, outside)
            elif manifest["wish"] == "purge":
                files.remove(inside)
        if manifest["wish"] != "delete":
            files.remove(folder / "manifest.json")
            shutil.rmtree(folder, ignore_errors=True)

    def _inside(self, thrown_id: str, path: str) -> Path:
        return self._folder / thrown_id / Path(path).name

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*") if path.is_dir())


def _manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest, or {} if it is none: every path must lead to a place inside the outputs."""
    manifest = files.read_json(folder / "manifest.json")
    with suppress(KeyError, TypeError):
        inside = all(not Path(path).is_absolute() and ".." not in Path(path).parts for path in manifest["files"])
        if inside and manifest["wish"] in ("delete", "restore", "purge") and isinstance(manifest["at"], float | int):
            return manifest
    return {}
