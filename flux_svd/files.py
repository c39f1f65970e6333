"""Files that are whole or absent: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there; after a crash the file is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _temporary(path, data).replace(path)
    _sync_folder(path.parent)


def write_new(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """Write `data` under a name of its own, `stem`, `stem-2`, `stem-3` …, and return it; nothing is ever overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(folder / (stem + suffix), data)
    try:
        number = 1
        while True:
            path = folder / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}"
            try:
                path.hardlink_to(temporary)  # fails when the name is taken, also by another process
                break
            except FileExistsError:
                number += 1
            except OSError:  # a file system without hard links
                if not path.exists():
                    temporary.replace(path)
                    break
                number += 1
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(folder)
    return path


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in `path`, or {} where the file is absent or not such a file."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _temporary(path: Path, data: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows has no handle on a folder
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
