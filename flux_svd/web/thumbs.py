"""Small pictures of results for the library's grid: made once, kept in the data folder, made again when the result changes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image

from flux_svd import files
from flux_svd.encode import iterate_film
from flux_svd.errors import FluxSvdError
from flux_svd.pictures import read_picture

HEIGHT = 376  # pixels: twice a row of the grid, for dense screens
_KEPT_BYTES = 256 * 2**20
_SWEEP = 200  # new thumbnails between two sweeps


class Thumbs:
    """Thumbnails of one data folder."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "thumbs"
        self._made = 0

    def read(self, path: Path) -> bytes | None:
        """Return the thumbnail of a picture or film as WebP, or None where it cannot be read."""
        try:
            told = path.stat()
        except OSError:
            return None
        name = hashlib.sha256(f"{path} {told.st_mtime_ns} {told.st_size} {HEIGHT}".encode()).hexdigest()
        kept = self._folder / f"{name}.webp"
        try:
            return kept.read_bytes()
        except OSError:
            pass
        try:
            data = _draw(path)
        except (FluxSvdError, OSError, ValueError, StopIteration):
            return None
        files.write_atomically(kept, data)
        self._made += 1
        if self._made % _SWEEP == 0:
            self._sweep()
        return data

    def _sweep(self) -> None:
        """Remove the oldest beyond the limit; they are made again when asked for."""
        kept = sorted(self._folder.glob("*.webp"), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in kept:
            total += file.stat().st_size
            if total > _KEPT_BYTES:
                files.remove(file)


def _draw(path: Path) -> bytes:
    is_film = path.suffix == ".mp4"
    picture = Image.fromarray(next(iter(iterate_film(path)))) if is_film else read_picture(path, field="file")
    picture.thumbnail((8 * HEIGHT, HEIGHT))
    stored = io.BytesIO()
    picture.save(stored, "WEBP", quality=80)
    return stored.getvalue()
