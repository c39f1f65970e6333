"""What is kept between runs under the data folder: given pictures, finished stages and learned times. Knows no engine.

A stage is named by its fingerprint, so a later plan that needs the same stage finds it. Its digest stands beside it; a
stage whose bytes do not match is not used.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from flux_svd import files
from flux_svd.errors import InvalidRequest
from flux_svd.pictures import encode_png, read_picture

StageKind = Literal["png", "npy"]


class Store:
    """The data folder; nothing is created before something is kept."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def keep_picture(self, source: Path | bytes, *, field: str = "references") -> str:
        """Return the id (sha256 of the sanitised PNG) under which the given picture is kept.

        Raises:
            UnreadableFile: the picture cannot be used.
        """
        data = encode_png(read_picture(source, field=field))
        picture_id = hashlib.sha256(data).hexdigest()
        path = self.home / "pictures" / f"{picture_id}.png"
        if not path.exists():
            files.write_atomically(path, data)
        return picture_id

    def picture(self, picture_id: str, *, field: str = "references") -> Path:
        """Return the file of a kept picture.

        Raises:
            InvalidRequest: there is no such picture.
        """
        path = self.home / "pictures" / f"{picture_id}.png"
        if len(picture_id) != 64 or not set(picture_id) <= set("0123456789abcdef") or not path.is_file():
            raise InvalidRequest(field, picture_id, "the id of a picture that was given to this machine before")
        return path

    def keep_stage(self, fingerprint: str, kind: StageKind, data: bytes) -> None:
        path = self._stage(fingerprint, kind)
        files.write_atomically(path, data)
        files.write_atomically(path.with_suffix(path.suffix + ".sha256"), hashlib.sha256(data).hexdigest().encode())

    def find_stage(self, fingerprint: str, kind: StageKind) -> bytes | None:
        """Return the bytes of a finished stage, or None where it is absent or damaged."""
        path = self._stage(fingerprint, kind)
        try:
            data = path.read_bytes()
            digest = path.with_suffix(path.suffix + ".sha256").read_text()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest else None

    def learned_seconds(self, key: str) -> float | None:
        """Return the seconds one step of this kind took here last, or None."""
        value = files.read_json(self._times).get(key)
        return float(value) if isinstance(value, int | float) else None

    def learn_seconds(self, key: str, seconds: float) -> None:
        times = files.read_json(self._times)
        files.write_json(self._times, {**times, key: round(seconds, 4)})

    @property
    def _times(self) -> Path:
        return self.home / "times.json"

    def _stage(self, fingerprint: str, kind: StageKind) -> Path:
        return self.home / "stages" / fingerprint[:2] / f"{fingerprint}.{kind}"
