"""Results that were thrown away: moved, not removed, until some weeks have passed. A crash leaves no half of a wish.

Each is a folder with a manifest that is on disk before the first file moves and tells one of four states: moving → thrown →
restoring or gone. Three are wishes, which whoever comes after a crash carries out; what is thrown lies still, whatever takes
the name it had. The result itself moves last into the trash and first out of it: so no half of it is left under a free name.
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
        """Move the files (relative to the outputs, the result first) into the trash and return the id to have them back by."""
        stamp = datetime.datetime.fromtimestamp(now).strftime("%Y%m%d-%H%M%S")
        folder = self._folder / f"{stamp}-{secrets.token_hex(3)}"
        last = next((path for path in paths if (self._outputs / path).exists()), paths[0])
        _tell(folder, {"files": list(paths), "at": now, "last": last}, "moving")
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
        folder = self._folder / thrown_id
        self._carry_out(folder)
        if _manifest(folder):  # else a restore that was interrupted is finished with that
            taken = self._taken(thrown_id, thrown.paths)
            if taken:
                raise InvalidRequest("trash", taken[0], "a place that is free; another file has it now")
            _tell(folder, _manifest(folder), "restoring")
            self._carry_out(folder)
        return thrown.paths

    def empty(self, before: float) -> int:
        """Remove for good what was thrown away before that time, and return how many things that were."""
        self.reconcile()
        old = [one for one in self.contents() if one.at < before]
        for one in old:
            folder = self._folder / one.id
            _tell(folder, _manifest(folder), "gone")
            self._carry_out(folder)
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
                continue
            files.remove_leftovers(folder)  # of a manifest that was never finished: nothing was moved yet
            if not any(folder.iterdir()):
                folder.rmdir()

    def _carry_out(self, folder: Path) -> None:
        """Finish what is unfinished; a file that has the name of a thrown one by now is neither moved nor overwritten."""
        manifest = _manifest(folder)
        if manifest["state"] == "moving":
            self._move_in(folder, manifest)
        elif manifest["state"] == "restoring":
            self._move_out(folder, manifest)
        elif manifest["state"] == "gone":
            self._discard(folder, manifest["files"])

    def _move_in(self, folder: Path, manifest: dict[str, Any]) -> None:
        paths, last = manifest["files"], self._inside(folder.name, manifest["last"])
        if not last.exists() and self._taken(folder.name, paths):
            self._discard(folder, paths)  # its job was carried out again after the crash, and wrote all of it anew
            return
        if not last.exists():
            for path in reversed(paths):
                if (self._outputs / path).exists():
                    files.move(self._outputs / path, self._inside(folder.name, path))
        _tell(folder, manifest, "thrown")

    def _move_out(self, folder: Path, manifest: dict[str, Any]) -> None:
        paths, last = manifest["files"], self._inside(folder.name, manifest["last"])
        if last.exists() and self._taken(folder.name, paths):
            _tell(folder, manifest, "thrown")
            return
        for path in paths:
            if self._inside(folder.name, path).exists() and not (self._outputs / path).exists():
                files.move(self._inside(folder.name, path), self._outputs / path)
        self._discard(folder, paths)

    def _discard(self, folder: Path, paths: Sequence[str]) -> None:
        for path in paths:
            files.remove(self._inside(folder.name, path))
        files.remove(folder / "manifest.json")
        shutil.rmtree(folder, ignore_errors=True)

    def _taken(self, thrown_id: str, paths: Sequence[str]) -> list[str]:
        """Return the paths of files that lie in the trash and whose places have a file again."""
        return [path for path in paths if (self._outputs / path).exists() and self._inside(thrown_id, path).exists()]

    def _inside(self, thrown_id: str, path: str) -> Path:
        return self._folder / thrown_id / Path(path).name

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*") if path.is_dir())


def _tell(folder: Path, manifest: dict[str, Any], state: str) -> None:
    files.write_json(folder / "manifest.json", {**manifest, "state": state})


def _manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest, or {} if it is none: every path must lead to a place inside the outputs."""
    manifest = files.read_json(folder / "manifest.json")
    with suppress(KeyError, TypeError, IndexError):
        paths = manifest["files"]
        inside = all(not Path(path).is_absolute() and ".." not in Path(path).parts for path in paths)
        # Before there were states a manifest told its wish, and kept "delete" after it was carried out.
        moved = any((folder / Path(path).name).exists() for path in paths)
        was = {"delete": "thrown" if moved else "moving", "restore": "restoring", "purge": "gone"}
        state = manifest["state"] if "state" in manifest else was[manifest["wish"]]
        last, at = manifest.get("last", paths[0]), manifest["at"]
        if inside and last in paths and state in ("moving", "thrown", "restoring", "gone") and isinstance(at, float | int):
            return {"files": paths, "at": at, "last": last, "state": state}
    return {}
