"""Files that are whole or absent: written under a temporary name, flushed to disk, renamed, and the folder flushed.

When a function here returns, what it wrote survives a power cut. Temporary files are locked while their writer lives, so
that whoever cleans up can tell a dead process's from a living one's. What the operating system refuses becomes our error here.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from flux_svd.errors import DiskFull, StorageFailed
from flux_svd.failpoints import pass_point

TEMPORARY = ".writing-"  # how the name of every unfinished file begins
_LEAST = 2**20  # bytes that somebody is asked to free; less would not carry a job a step further


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there; after a crash the file is the old one or the new one.

    Raises:
        DiskFull: there is no room.
        StorageFailed: the folder cannot be used.
    """
    with usable(path.parent, len(data)):
        with written_temporarily(path.parent, data) as temporary:
            pass_point()
            temporary.replace(path)
        pass_point()
        _sync_folder(path.parent)
        pass_point()


def write_new(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """Write `data` under a name of its own, `stem`, `stem-2`, `stem-3` …, and return it; nothing is ever overwritten.

    Raises:
        DiskFull: there is no room.
        StorageFailed: the folder cannot be used.
    """
    with usable(folder, len(data)):
        with written_temporarily(folder, data) as temporary:
            pass_point()
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
        pass_point()
        _sync_folder(folder)
        pass_point()
    return path


def move(path: Path, target: Path) -> None:
    """Give the file another name on the same file system, for good; what has the name already is replaced."""
    with usable(target.parent):
        make_folder(target.parent)
        pass_point()
        path.replace(target)
        _sync_folder(target.parent)
        pass_point()
        if path.parent != target.parent:
            _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove the file for good; it may be gone already."""
    with usable(path.parent):
        pass_point()
        with suppress(FileNotFoundError):
            path.unlink()
            _sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make the folder and those above it, so that they are still there after a power cut.

    Raises:
        DiskFull: there is no room.
        StorageFailed: there can be no such folder; a file has its name, or it may not be made.
    """
    with usable(folder):
        _make_folder(folder)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in `path`, or {} where the file is absent or not such a file."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@contextmanager
def changed_json(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the object in `path` to be changed, and write it if it was; no other process changes it meanwhile."""
    locks = path.parent / "locks"
    make_folder(locks)
    with alone(locks / f"{path.name}.lock"):
        value = read_json(path)
        before = json.dumps(value, sort_keys=True)
        yield value
        if json.dumps(value, sort_keys=True) != before:
            write_json(path, value)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock file while the block runs: it excludes other processes, and the other threads of this one.

    Raises:
        StorageFailed: its folder cannot be used.
    """
    owned = FileLock(lock, thread_local=False)
    with usable(lock.parent):
        owned.acquire()
    try:
        yield
    finally:
        owned.release()


def remove_leftovers(folder: Path) -> int:
    """Remove the temporary files of dead processes under `folder` and return how many there were; the living keep theirs."""
    removed = 0
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names if name.startswith(TEMPORARY)]
    for path in found:
        with suppress(OSError):  # gone by now, or (on Windows) open in its writer
            handle = os.open(path, os.O_RDWR)
            try:
                if _lock(handle):
                    shutil.rmtree(_work_of(path), ignore_errors=True)
                    path.unlink()
                    removed += 1
            finally:
                os.close(handle)
    return removed


def read_living(folder: Path) -> list[bytes]:
    """Return what the temporary files of living processes in `folder` hold; those of dead ones are removed."""
    remove_leftovers(folder)
    found = []
    for path in folder.glob(TEMPORARY + "*"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return found


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside `folder` to work in; it is removed afterwards, or after a crash by `remove_leftovers`.

    Raises:
        DiskFull: there is no room for what is written in it.
        StorageFailed: the folder cannot be used.
    """
    with usable(folder):
        make_folder(folder)
        handle, temporary = _open_temporary(folder)
        work = _work_of(temporary)
    with _told_when_full(folder, 0):
        try:
            with usable(folder):
                work.mkdir()
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            with suppress(FileNotFoundError):
                temporary.unlink()
            os.close(handle)


@contextmanager
def written_temporarily(folder: Path, data: bytes) -> Iterator[Path]:
    """Yield a file in `folder` that holds `data` on disk, locked; it is removed afterwards, unless it has got another name.

    Raises:
        DiskFull: there is no room.
        StorageFailed: the folder cannot be used.
    """
    with usable(folder, len(data)):
        pass_point()
        make_folder(folder)
        handle, temporary = _open_temporary(folder)
    with _told_when_full(folder, len(data)):
        try:
            with usable(folder, len(data)):
                half = len(data) // 2
                _write(handle, data[:half])
                pass_point()
                _write(handle, data[half:])
                pass_point()
                os.fsync(handle)
            yield temporary
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
            os.close(handle)


@contextmanager
def usable(folder: Path, needed: int = 0) -> Iterator[None]:
    """Tell what the operating system refuses in the block as our error about `folder`.

    Raises:
        DiskFull: there is no room, for `needed` bytes if that is known.
        StorageFailed: anything else is wrong with the folder.
    """
    try:
        with _told_when_full(folder, needed):
            yield
    except OSError as error:
        raise unusable(folder, error) from error


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder") from None
    _sync_folder(folder.parent)


def _work_of(temporary: Path) -> Path:
    return temporary.with_name(temporary.name + ".work")


def _open_temporary(folder: Path) -> tuple[int, Path]:
    while True:
        path = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        # Between these two lines a cleaner may take the file for a dead process's: then it is gone, and another is made.
        if _lock(handle) and path.exists():
            return handle, path
        os.close(handle)


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _lock(handle: int) -> bool:
    """Return whether the file is ours alone now; it stays so until the handle is closed, also by death."""
    if os.name != "posix":
        return True  # there an open file cannot be unlinked, which serves as well
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows has no handle on a folder
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _told_when_full(path: Path, needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise disk_full(path, needed) from error


def need_room(folder: Path, needed: int = _LEAST) -> None:
    """Check that there is room for so many bytes where `folder` is, or will be.

    Raises:
        DiskFull: it says how much is missing.
        StorageFailed: the folder cannot be used.
    """
    with usable(folder):
        free = shutil.disk_usage(_existing(folder)).free
    if free < needed:
        raise disk_full(folder, needed)


def disk_full(path: Path, needed: int) -> DiskFull:
    """Return the error that says how much is missing at `path` for `needed` bytes."""
    place = _existing(path)
    missing = max(needed - shutil.disk_usage(place).free, 0)
    amount = f"{max(missing or needed, _LEAST) / 2**20:.1f} MiB"
    told = f"at least {amount} more" if missing else f"room for {amount}"
    return DiskFull(f"{place}: the disk is full; free {told} and go on. What was finished is kept.")


def unusable(folder: Path, error: OSError) -> StorageFailed:
    """Return the error that says what the operating system has against `folder`, and what to do."""
    return StorageFailed(
        f"{folder} cannot be used: {error.strerror or error}. Results and data need a folder that can be written: name another "
        "with --output (results) or FLUX_SVD_HOME (data), or make this one writable."
    )


def _existing(path: Path) -> Path:
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return place
