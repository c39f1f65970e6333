"""A SQLite file opened with care: durable, checked, migrated with a backup, moved aside when damaged. Knows no table.

Write-ahead logging with synchronous=FULL: a commit survives a power cut (https://www.sqlite.org/pragma.html#pragma_synchronous).
Its shared memory needs one machine, so network file systems are refused (https://www.sqlite.org/wal.html, section 1).
"""

from __future__ import annotations

import datetime
import errno
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from flux_svd import files
from flux_svd.errors import StorageFailed
from flux_svd.failpoints import pass_point

BUSY_SECONDS = 10.0
_NETWORK = ("nfs", "cifs", "smb", "afs", "afp", "webdav", "ncp", "ceph", "gluster", "lustre", "gpfs", "beegfs", "9p", "fuse.")
# What begins so and is a layer over a disk of this machine. Disks themselves (NTFS, exFAT) are of the kind fuseblk.
_LAYERS = ("fuse.fuse-overlayfs", "fuse.overlay", "fuse.bindfs", "fuse.mergerfs", "fuse.gocryptfs", "fuse.encfs")


class Database:
    """One connection to one file, shared by the threads of this process.

    Args:
        path: the file; made if absent.
        migrations: scripts; the n-th leads from version n to version n + 1.

    Attributes:
        moved_aside: where a damaged file went when this one was opened, or None.

    Raises:
        StorageFailed: on a network file system, not writable, or made by a newer version.
        DiskFull: there is no room.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        self.moved_aside: Path | None = None
        self._lock = threading.RLock()
        refuse_network(path)
        try:
            files.make_folder(path.parent)
            with FileLock(path.with_name(path.name + ".opening"), thread_local=False):
                self._connection = self._open(migrations)
        except (OSError, sqlite3.Error) as error:
            raise _explained(error, path) from error

    def read(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a question.

        Raises:
            StorageFailed: the file cannot be read.
        """
        try:
            with self._lock:
                return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _explained(error, self.path) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection inside a transaction that no other process writes beside; an exception undoes it.

        Raises:
            StorageFailed, DiskFull: nothing of the transaction was kept.
        """
        with self._lock:
            try:
                pass_point()
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    pass_point()
                    self._connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):  # a full disk has undone it already
                        self._connection.execute("ROLLBACK")
                    raise
                pass_point()
            except (OSError, sqlite3.Error) as error:
                raise _explained(error, self.path) from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _open(self, migrations: Sequence[str]) -> sqlite3.Connection:
        try:
            connection = self._connected()
        except sqlite3.DatabaseError as error:
            if not _is_damaged(error):
                raise
            self._move_aside()
            connection = self._connected()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            connection.close()
            raise StorageFailed(f"{self.path} was made by a newer version of flux_svd; update the program, or move the file away")
        if 0 < version < len(migrations):
            backup = sqlite3.connect(self.path.with_name(f"{self.path.name}.version-{version}"))
            connection.backup(backup)
            backup.close()
        for number in range(version, len(migrations)):
            connection.executescript(f"BEGIN IMMEDIATE;\n{migrations[number]};\nPRAGMA user_version = {number + 1};\nCOMMIT;")
        return connection

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if answer != "ok":
                raise sqlite3.DatabaseError(f"malformed: {answer}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _move_aside(self) -> None:
        """Give the damaged file and what belongs to it another name; nothing of it is lost or overwritten.

        The file itself goes last: a crash before that must not leave its log beside a new one.
        """
        stamp = datetime.datetime.now().strftime("damaged-%Y%m%d-%H%M%S-%f")
        for suffix in ("-wal", "-shm", ""):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                files.move(part, part.with_name(f"{self.path.name}.{stamp}{suffix}"))
        self.moved_aside = self.path.with_name(f"{self.path.name}.{stamp}")


def refuse_network(path: Path) -> None:
    """Raise where `path` lies on a network file system.

    Raises:
        StorageFailed: it names the file system and what to do.
    """
    place = path.resolve()  # a link may lead to another file system
    best, kind = "", ""
    for mount in psutil.disk_partitions(all=True):
        point = mount.mountpoint.rstrip("/") or "/"
        if (place == Path(point) or Path(point) in place.parents) and len(point) >= len(best):
            best, kind = point, mount.fstype.lower()
    # A sandbox (gVisor) shows its own disk as 9p, at the root.
    if kind.startswith(_NETWORK) and not kind.startswith(_LAYERS) and (kind, best) != ("9p", "/"):
        raise StorageFailed(
            f"{place.parent} is on a network file system ({kind} at {best}), where the job ledger and the library cannot be "
            "kept safely. Set FLUX_SVD_HOME to a folder on a disk of this machine; results may stay on the network."
        )


def _explained(error: Exception, path: Path) -> StorageFailed:
    text = str(error)
    if "disk is full" in text or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return files.disk_full(path, 2**20)
    if isinstance(error, OSError):
        return StorageFailed(f"{path} cannot be used: {error.strerror}")
    if "locked" in text:
        return StorageFailed(f"{path} was busy for {BUSY_SECONDS:g} seconds; is another flux-svd stuck?")
    if _is_damaged(error):
        return StorageFailed(f"{path} is damaged; start again, and it is moved aside and rebuilt")
    return StorageFailed(f"{path} cannot be used: {text}")


def _is_damaged(error: Exception) -> bool:
    return any(phrase in str(error) for phrase in ("malformed", "not a database", "file is encrypted"))
