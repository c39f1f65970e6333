"""What is kept between runs under the data folder: given pictures, finished stages and learned times. Knows no engine.

A stage is named by its fingerprint, so a later plan that needs the same stage finds it. Beside it stands its sidecar with
size, digest and facts; a stage whose bytes do not match is not used. The time of the sidecar is that of the last use: when
the stages outgrow their share of the disk, the longest unused go first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from flux_svd import files
from flux_svd.errors import InvalidRequest, UnreadableFile
from flux_svd.pictures import encode_png, read_picture

StageKind = Literal["png", "npy", "mp4", "json", "latents", "webp"]
STAGES_BYTES = 20 * 2**30  # some 4,000 films of 45 frames at 1024 × 576 with all their parts


@dataclass(frozen=True)
class Stage:
    """A finished stage: its bytes, and small facts about how it came to be (JSON values)."""

    data: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """The data folder; nothing is created before something is kept. Safe to share between threads and processes.

    Args:
        home: the data folder.
        stages: where the stages are; None is in the data folder.
        stages_bytes: how much of the disk they may take.
    """

    def __init__(self, home: Path, *, stages: Path | None = None, stages_bytes: int = STAGES_BYTES) -> None:
        self.home = home
        self.stages = stages or home / "stages"
        self.stages_bytes = stages_bytes

    @property
    def scratch(self) -> Path:
        """Where unfinished work may lie; it is swept with the rest."""
        return self.home / "scratch"

    def keep_picture(self, source: Path | bytes, *, field: str = "references") -> str:
        """Return the id (sha256 of the sanitised PNG) under which the given picture is kept; it is never evicted.

        A kept one that was damaged meanwhile is whole again after that.

        Raises:
            UnreadableFile: the picture cannot be used.
            DiskFull: there is no room.
        """
        data = encode_png(read_picture(source, field=field))
        picture_id = hashlib.sha256(data).hexdigest()
        path = self.home / "pictures" / f"{picture_id}.png"
        if _digest(path) != picture_id:
            files.write_atomically(path, data)
        return picture_id

    def picture(self, picture_id: str, *, field: str = "references") -> Path:
        """Return the file of a kept picture, after comparing its bytes with those that were given.

        Raises:
            InvalidRequest: there is no such picture.
            UnreadableFile: its file is damaged.
        """
        path = self.home / "pictures" / f"{picture_id}.png"
        if len(picture_id) != 64 or not set(picture_id) <= set("0123456789abcdef") or not path.is_file():
            raise InvalidRequest(field, picture_id, "the id of a picture that was given to this machine before")
        if _digest(path) != picture_id:
            raise UnreadableFile(
                field, picture_id, f"a kept picture that is whole; {path} is damaged: give the picture again, or leave it out"
            )
        return path

    def keep_stage(self, fingerprint: str, kind: StageKind, data: bytes, facts: Mapping[str, Any] | None = None) -> None:
        """Keep a finished stage; when this returns, a power cut loses it no more.

        Raises:
            DiskFull: there is no room.
        """
        path = self.stage_file(fingerprint, kind)
        sidecar = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "facts": dict(facts or {})}
        files.write_atomically(path, data)
        files.write_json(_sidecar(path), sidecar)

    def drop_stage(self, fingerprint: str, kind: StageKind) -> None:
        """Remove a stage that is of no more use, such as the checkpoint of a finished one; it may be absent."""
        path = self.stage_file(fingerprint, kind)
        if path.exists():
            files.remove(_sidecar(path))
            files.remove(path)

    def find_stage(self, fingerprint: str, kind: StageKind) -> Stage | None:
        """Return a finished stage, or None where it is absent or damaged."""
        path = self.stage_file(fingerprint, kind)
        told = files.read_json(_sidecar(path))
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != told.get("sha256"):
            return None
        with suppress(OSError):
            os.utime(_sidecar(path))
        return Stage(data, told.get("facts", {}))

    def stage_file(self, fingerprint: str, kind: StageKind) -> Path:
        return self.stages / fingerprint[:2] / f"{fingerprint}.{kind}"

    @contextmanager
    def pinned(self, fingerprints: Collection[str]) -> Iterator[None]:
        """Keep these stages from being evicted, by any process, while the block runs."""
        with files.written_temporarily(self.home / "pins", json.dumps(sorted(fingerprints)).encode()):
            yield

    def evict(self, needed: Callable[[], Collection[str]] = tuple) -> int:
        """Remove the longest unused stages until the rest fits its share, and return how many bytes that freed.

        What a run has pinned, and what is `needed` (asked only then), stays in any case.
        """
        found = sorted(self._stages(), key=lambda entry: entry[0])
        total = sum(size for _, size, _ in found)
        freed = 0
        if total <= self.stages_bytes:
            return freed
        keep = {*needed(), *self._pins()}
        for _, size, path in found:
            if total - freed <= self.stages_bytes:
                break
            if path.stem not in keep:
                # The sidecar first: without it the stage is not found, so a crash between the two leaves no half stage.
                files.remove(_sidecar(path))
                files.remove(path)
                freed += size
        return freed

    def reconcile(self) -> int:
        """Remove the temporary files and pins of processes that died, and return how many there were."""
        if not self.home.exists() and not self.stages.exists():
            return 0
        return files.remove_leftovers(self.home) + files.remove_leftovers(self.stages)

    def learned_seconds(self, key: str) -> float | None:
        """Return the seconds one step of this kind took here last, or None."""
        value = files.read_json(self._times).get(key)
        return float(value) if isinstance(value, int | float) else None

    def learn_seconds(self, key: str, seconds: float) -> None:
        with files.changed_json(self._times) as times:
            times[key] = round(seconds, 4)

    @property
    def _times(self) -> Path:
        return self.home / "times.json"

    def _stages(self) -> Iterator[tuple[float, int, Path]]:
        """Yield (last use, bytes, file) of every stage; a file without a sidecar counts as never used."""
        for path in self.stages.glob("??/*"):
            if path.suffix[1:] in get_args(StageKind):
                with suppress(OSError):  # evicted by another process meanwhile
                    size = path.stat().st_size
                    sidecar = _sidecar(path)
                    yield (sidecar.stat().st_mtime if sidecar.exists() else path.stat().st_mtime), size, path

    def _pins(self) -> set[str]:
        """Return what living runs have pinned."""
        pinned: set[str] = set()
        for data in files.read_living(self.home / "pins"):
            with suppress(ValueError):  # its run has not begun yet
                pinned |= set(json.loads(data))
        return pinned


def _digest(path: Path) -> str:
    """Return the sha256 of a file; "" where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".facts")
