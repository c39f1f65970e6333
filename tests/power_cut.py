"""A recorder of what is written, flushed and renamed, and a disk on which everything that was not flushed can be dropped.

POSIX promises only what was flushed: the bytes of a file after fsync of the file, its name after fsync of its folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

Op = tuple[Any, ...]  # ("open", inode, path) ("write", inode, bytes) ("sync", inode) ("sync folder", path) ("rename", a, b) …


@dataclass
class Recorder:
    """The operations under `root`, in order; `("promise", text)` stands where something was promised to be there for good."""

    root: Path
    ops: list[Op] = field(default_factory=list)
    _files: dict[int, int] = field(default_factory=dict)
    _folders: dict[int, str] = field(default_factory=dict)

    def promise(self, *what: Any) -> None:
        self.ops.append(("promise", *what))

    @contextmanager
    def recording(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record what the block does through `os`; it is done as well."""
        with monkeypatch.context() as patched:
            for name in ("open", "write", "fsync", "close", "replace", "link", "unlink", "mkdir"):
                patched.setattr(os, name, getattr(self, f"_{name}")(getattr(os, name)))
            yield

    def _name(self, path: Any) -> str | None:
        whole = Path(os.fspath(path)).absolute() if not isinstance(path, int) else self.root.parent
        if whole == self.root:
            return ""
        return whole.relative_to(self.root).as_posix() if whole.is_relative_to(self.root) else None

    def _open(self, real: Any) -> Any:
        def call(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            name, new = self._name(path), not os.path.exists(path)  # noqa: PTH110
            handle: int = real(path, flags, *rest, **options)
            if name is not None and flags & os.O_CREAT:
                inode = len(self.ops)
                if new:
                    self.ops.append(("open", inode, name))
                    self._files[handle] = inode
            elif name is not None and Path(path).is_dir():
                self._folders[handle] = name
            return handle

        return call

    def _write(self, real: Any) -> Any:
        def call(handle: int, data: Any) -> int:
            count: int = real(handle, data)
            if handle in self._files:
                self.ops.append(("write", self._files[handle], bytes(data[:count])))
            return count

        return call

    def _fsync(self, real: Any) -> Any:
        def call(handle: int) -> None:
            real(handle)
            if handle in self._files:
                self.ops.append(("sync", self._files[handle]))
            elif handle in self._folders:
                self.ops.append(("sync folder", self._folders[handle]))

        return call

    def _close(self, real: Any) -> Any:
        def call(handle: int) -> None:
            real(handle)
            self._files.pop(handle, None)
            self._folders.pop(handle, None)

        return call

    def _two(self, real: Any, kind: str) -> Any:
        def call(first: Any, second: Any, **options: Any) -> None:
            real(first, second, **options)
            if self._name(second) is not None:
                self.ops.append((kind, self._name(first), self._name(second)))

        return call

    def _replace(self, real: Any) -> Any:
        return self._two(real, "rename")

    def _link(self, real: Any) -> Any:
        return self._two(real, "link")

    def _one(self, real: Any, kind: str) -> Any:
        def call(path: Any, *rest: Any, **options: Any) -> None:
            real(path, *rest, **options)
            if self._name(path) is not None:
                self.ops.append((kind, self._name(path)))

        return call

    def _unlink(self, real: Any) -> Any:
        return self._one(real, "unlink")

    def _mkdir(self, real: Any) -> Any:
        return self._one(real, "mkdir")


def after_power_cut(ops: Sequence[Op], root: Path, *, names_survive: bool) -> list[Op]:
    """Lay out under `root` what is on disk when the power goes after `ops`, and return the promises made until then.

    Unflushed bytes are gone in any case; unflushed names are gone too, or with `names_survive` all there.
    """
    live: dict[str, Any] = {"": "folder"}  # path → inode or "folder", as the program sees it
    disk: dict[str, Any] = {"": "folder"}  # … and as the disk has it
    written: dict[int, bytes] = {}
    flushed: dict[int, bytes] = {}
    promises = []
    for op in ops:
        if op[0] == "open":
            live[op[2]], written[op[1]] = op[1], b""
        elif op[0] == "write":
            written[op[1]] += op[2]
        elif op[0] == "sync":
            flushed[op[1]] = written[op[1]]
        elif op[0] == "mkdir":
            live[op[1]] = "folder"
        elif op[0] == "unlink":
            live.pop(op[1])
        elif op[0] == "rename":
            live[op[2]] = live.pop(op[1])
        elif op[0] == "link":
            live[op[2]] = live[op[1]]
        elif op[0] == "sync folder":
            inside = {name for name in {*live, *disk} if name and _parent(name) == op[1]}
            for name in inside:
                if name in live:
                    disk[name] = live[name]
                else:
                    del disk[name]
        else:
            promises.append(op)
    shown = live if names_survive else disk
    root.mkdir(parents=True)
    for name in sorted(shown):
        parents = [_parent(name)] if name else []
        while parents and parents[-1]:
            parents.append(_parent(parents[-1]))
        if not name or any(parent not in shown for parent in parents if parent):
            continue  # a name in a folder that is not there is not there
        if shown[name] == "folder":
            (root / name).mkdir(exist_ok=True)
        else:
            (root / name).write_bytes(flushed.get(shown[name], b""))
    return promises


def _parent(name: str) -> str:
    return name.rpartition("/")[0]
