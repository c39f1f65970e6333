"""Pictures from outside, made safe: bounded before decoding, one frame, upright, RGB, 8 bit, without foreign metadata."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from flux_svd.errors import UnreadableFile

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 40_000_000  # more than any camera picture a user edits; 120 MB decoded
MAX_BYTES = 40 * 2**20
IDENTICAL_DB = 99.0  # stands for an infinite PSNR, so that reports stay finite numbers


def read_picture(source: Path | bytes, *, field: str) -> Image.Image:
    """Return the picture as upright RGB; content decides what it is, not its name.

    Raises:
        UnreadableFile: missing, too large, not PNG, JPEG or WebP, animated, or damaged. Nothing larger than the header is
            decoded before the size is known.
    """
    name = source.name if isinstance(source, Path) else "the given picture"
    data = _bytes_of(source, name, field)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own cap is lower
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MAX_PIXELS:
            raise UnreadableFile(field, name, f"at most {MAX_PIXELS // 1_000_000} megapixels; this one has "
                                 f"{picture.width} × {picture.height}")
        if getattr(picture, "n_frames", 1) > 1:
            raise UnreadableFile(field, name, "one still picture; this one is animated")
        return _flat(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise UnreadableFile(field, name, "a PNG, JPEG or WebP picture; the content is something else") from None
    except Image.DecompressionBombError:
        raise UnreadableFile(field, name, f"at most {MAX_PIXELS // 1_000_000} megapixels") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UnreadableFile(field, name, f"an undamaged picture ({error})") from None


def cover(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Return the picture at width × height pixels: scaled to cover them, what stands over cut evenly at both sides."""
    return ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.LANCZOS)


def encode_png(picture: Image.Image, *, pnginfo: object = None) -> bytes:
    """Return the picture as PNG bytes; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=pnginfo)
    return buffer.getvalue()


def psnr(picture: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio in dB of two pictures or films (…, height, width, 3), `IDENTICAL_DB` at most."""
    error = float(np.mean((picture.astype(np.float64) - other) ** 2))
    return min(IDENTICAL_DB, 10 * math.log10(255**2 / error)) if error else IDENTICAL_DB


def _flat(picture: Image.Image) -> Image.Image:
    """Return plain RGB; transparency is laid on white, 16-bit grey is scaled to 8 bit."""
    if picture.mode.startswith("I"):
        picture = picture.point(lambda value: value / 257).convert("L") if picture.mode != "I;16" else _grey16(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    flat = Image.new("RGB", picture.size)
    flat.paste(picture.convert("RGB"))
    return flat


def _grey16(picture: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(picture, dtype=np.uint16) / 257).round().astype(np.uint8))


def _bytes_of(source: Path | bytes, name: str, field: str) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        try:
            if source.stat().st_size > MAX_BYTES:
                raise UnreadableFile(field, name, f"a file of at most {MAX_BYTES // 2**20} MB")
            data = source.read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UnreadableFile(field, str(source), f"a file that can be read ({reason})") from None
    if len(data) > MAX_BYTES:
        raise UnreadableFile(field, name, f"a file of at most {MAX_BYTES // 2**20} MB")
    return data
