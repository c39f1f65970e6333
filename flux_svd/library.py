"""SQLite: an index over the results in an output folder, to search, star and throw away. The files and their sidecars are
the truth; the index is made again from them whenever it is lost. Knows no engine."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flux_svd import files, schema
from flux_svd.artifact import load_recipe, load_request
from flux_svd.database import Database
from flux_svd.errors import InvalidRequest
from flux_svd.plan import film_stage_names
from flux_svd.recipe import VideoRecipe, fingerprint
from flux_svd.request import Request, make_request
from flux_svd.results import read_row, scan, sidecar_of
from flux_svd.trash import KEPT_SECONDS, Thrown, Trash

_LOG = logging.getLogger(__name__)
KEYFRAME_MARK = "_keyframe-"  # in the names of files that films leave beside them


@dataclass(frozen=True)
class Item:
    """A result.

    Attributes:
        model: of its pictures.
        made: seconds since 1970.
        score: cosine of picture and prompt; None where it is not known.
        problem: what is wrong with its files, or "".
    """

    path: Path
    kind: str
    prompt: str
    model: str
    made: float
    score: float | None
    starred: bool
    owner: str
    job: str
    problem: str


class Library:
    """All results of one output folder. Safe to share between threads and processes.

    Args:
        outputs: the folder of the results; it may be on a network file system.
        home: the data folder, where the index is.

    Attributes:
        damaged: where a damaged index was moved; it was then made again.

    Raises:
        StorageFailed: the index cannot be used.
    """

    def __init__(self, outputs: Path, home: Path, *, now: Callable[[], float] = time.time) -> None:
        self.outputs, self._now = outputs.resolve(), now
        index = _index(outputs, home)
        self._db = Database(index, schema.LIBRARY)
        self._lock = index.with_suffix(".lock")
        self._trash = Trash(self.outputs)
        self.damaged = self._db.moved_aside
        self.reconcile()

    def search(
        self, words: str = "", *, kind: str | None = None, model: str | None = None, since: float | None = None,
        until: float | None = None, min_score: float | None = None, starred: bool | None = None, owner: str | None = None,
        limit: int = 100, offset: int = 0, best_first: bool = False, with_keyframes: bool = True,
    ) -> list[Item]:
        """Return the results that have all these words in prompt or name and the rest as asked, last made or best first.

        `with_keyframes` counts the keyframes of films among the pictures.
        """
        tests: list[tuple[str, Any]] = [
            ("words LIKE ? ESCAPE '!'", f"%{_escaped(word)}%") for word in words.casefold().split()
        ]
        tests += [
            (test, value)
            for test, value in (
                ("kind = ?", kind), ("model = ?", model), ("made >= ?", since), ("made < ?", until), ("score >= ?", min_score),
                ("starred = ?", starred), ("owner = ?", owner),
            )
            if value is not None
        ]  # fmt: skip
        if not with_keyframes:
            tests.append(("path NOT LIKE ? ESCAPE '!'", f"%{_escaped(KEYFRAME_MARK)}%"))
        where = " AND ".join(["1", *(test for test, _ in tests)])
        order = "score DESC, made DESC, path DESC" if best_first else "made DESC, path DESC"
        asked = f"SELECT * FROM item WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"
        return [self._item(row) for row in self._db.read(asked, *(value for _, value in tests), limit, offset)]

    def count(self) -> int:
        return int(self._db.read("SELECT count(*) FROM item")[0][0])

    def problems(self) -> list[Item]:
        """Return the results whose files are damaged or incomplete, as far as is known."""
        return [self._item(row) for row in self._db.read("SELECT * FROM item WHERE problem <> '' ORDER BY path")]

    def damaged_trash(self) -> list[Path]:
        return self._trash.damaged()

    def item(self, path: Path) -> Item:
        """Return one result.

        Raises:
            InvalidRequest: there is no such result here.
        """
        rows = self._db.read("SELECT * FROM item WHERE path = ?", self._name(path))
        if not rows:
            raise InvalidRequest("file", str(path), f"a result in {self.outputs}")
        return self._item(rows[0])

    def request(self, path: Path) -> Request:
        """Return the request that made a result: from its sidecar, or from the file where that is damaged.

        Raises:
            InvalidRequest: there is no such result here, or neither holds a request of this version.
        """
        item = self.item(path)
        told = files.read_json(sidecar_of(item.path)).get("request")
        return make_request(told) if isinstance(told, dict) else load_request(item.path)

    def add(self, path: Path) -> None:
        """Take in a result that was just made, or one whose files changed.

        Raises:
            InvalidRequest: the file lies outside the output folder.
        """
        row = read_row(self.outputs, self._name(path))
        with self._db.writing() as db:
            if row is not None:
                _insert(db, row)

    def star(self, path: Path, starred: bool = True) -> None:
        """Mark a result, or take its mark away; the mark is kept in its sidecar.

        Raises:
            InvalidRequest: there is no such result here, or its sidecar is damaged.
        """
        item = self.item(path)
        with files.alone(self._lock):
            sidecar = files.read_json(sidecar_of(item.path))
            if not sidecar:
                raise InvalidRequest("file", str(path), "a result whose sidecar can be read")
            files.write_json(sidecar_of(item.path), {**sidecar, "starred": starred})
            self.add(item.path)

    def delete(self, path: Path) -> str:
        """Throw a result and its sidecar away and return the id to have them back by, as long as the trash keeps them.

        Raises:
            InvalidRequest: there is no such result here.
        """
        item = self.item(path)
        name = self._name(item.path)
        with files.alone(self._lock):
            thrown = self._trash.throw([name, sidecar_of(Path(name)).as_posix()], self._now())
            with self._db.writing() as db:
                db.execute("DELETE FROM item WHERE path = ?", (name,))
        return thrown

    def restore(self, thrown_id: str) -> Path:
        """Put a result back from the trash and return its file.

        Raises:
            InvalidRequest: it is not in the trash, or its place is taken.
        """
        with files.alone(self._lock):
            path = self.outputs / self._trash.restore(thrown_id)[0]
            self.add(path)
        return path

    def trash(self) -> list[Thrown]:
        """Return what can be restored, oldest first."""
        return self._trash.contents()

    def thrown(self, thrown_id: str, owner: str) -> Path | None:
        """Return where a result of this owner lies in the trash, its sidecar beside it; None if they have none of this id."""
        path = self._trash.path_of(thrown_id)
        if path is None or files.read_json(sidecar_of(path)).get("owner", "") != owner:
            return None
        return path

    def empty_trash(self, older_than_seconds: float = KEPT_SECONDS) -> int:
        """Remove for good what has been in the trash longer than that, and return how many results that were."""
        with files.alone(self._lock):
            return self._trash.empty(self._now() - older_than_seconds)

    def reconcile(self) -> int:
        """Bring the index up to date with the folder and return how many results were read anew.

        Finishes what a crash interrupted and empties the trash of what is old. Sizes and times tell what has changed; bytes
        are compared by `rebuild`.
        """
        with files.alone(self._lock):
            self._trash.empty(self._now() - KEPT_SECONDS)
            known = {row["path"]: row["stamp"] for row in self._db.read("SELECT path, stamp FROM item")}
            found = dict(scan(self.outputs))
            changed = [name for name, stamp in found.items() if known.get(name) != stamp]
            rows = [row for row in (read_row(self.outputs, name) for name in changed) if row is not None]
            gone = (set(known) - set(found)) | (set(known) & set(changed))
            if gone or rows:
                with self._db.writing() as db:
                    db.executemany("DELETE FROM item WHERE path = ?", [(name,) for name in gone])
                    for row in rows:
                        _insert(db, row)
        return len(rows)

    def rebuild(self) -> int:
        """Make the whole index again, comparing the bytes of every file with its sidecar; return how many results there are."""
        with files.alone(self._lock):
            rows = [read_row(self.outputs, name, compare=True) for name, _ in scan(self.outputs)]
            with self._db.writing() as db:
                db.execute("DELETE FROM item")
                for row in rows:
                    if row is not None:
                        _insert(db, row)
        return self.count()

    def needed_stages(self) -> set[str]:
        """Return the fingerprints of the stages of starred results, which stay for the next change of them.

        Those of a result that is damaged, or of another version, cannot be known.
        """
        names: set[str] = set()
        for item in self.search(starred=True, limit=-1):
            if not item.problem:
                try:
                    recipe = load_recipe(item.path, enlarged=True)
                except InvalidRequest as error:
                    _LOG.warning("the stages of %s cannot be kept: %s", item.path, error)
                    continue
                names |= film_stage_names(recipe) if isinstance(recipe, VideoRecipe) else {fingerprint(recipe)}
        return names

    def close(self) -> None:
        self._db.close()

    def _name(self, path: Path) -> str:
        whole = path if path.is_absolute() else path.absolute()
        for candidate in (whole, whole.resolve()):
            if candidate.is_relative_to(self.outputs) and ".." not in candidate.parts:
                return candidate.relative_to(self.outputs).as_posix()
        raise InvalidRequest("file", str(path), f"a result in {self.outputs}")

    def _item(self, row: sqlite3.Row) -> Item:
        values = {name: row[name] for name in Item.__dataclass_fields__}
        return Item(**{**values, "path": self.outputs / row["path"], "starred": bool(row["starred"])})


def needed_stages(outputs: Path, home: Path) -> set[str]:
    """Return the stages that starred results in `outputs` need; nothing is created where there is no library."""
    if not _index(outputs, home).exists():
        return set()
    library = Library(outputs, home)
    try:
        return library.needed_stages()
    finally:
        library.close()


def _index(outputs: Path, home: Path) -> Path:
    return home / "library" / f"{hashlib.sha256(str(outputs.resolve()).encode()).hexdigest()[:16]}.db"


def _insert(db: sqlite3.Connection, row: Mapping[str, Any]) -> None:
    names = ", ".join(row)
    db.execute(f"INSERT OR REPLACE INTO item ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def _escaped(word: str) -> str:
    return "".join(f"!{letter}" if letter in "!%_" else letter for letter in word)
