"""Where each kind of file keeps that a model made it, and the request and recipe: written, not read (`artifact` reads ours).

MP4 and MOV take two boxes at the end, WebM two tags, GIF an XMP and a comment block, WebP an XMP and a chunk of our own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError

from flux_svd import artifact
from flux_svd.errors import EncodingFailed
from flux_svd.recipe import VideoRecipe
from flux_svd.request import Request


def mark(data: bytes, suffix: str, request: Request, recipe: VideoRecipe) -> bytes:
    """Return the file's bytes with its marks; a WebM has them already, from `tags_file`."""
    if suffix in (".mp4", ".mov"):
        return artifact.mark_film(data, request, recipe)
    if suffix == ".gif":
        return _mark_gif(data, artifact.describe_source(recipe, request.prompt), artifact.describe_making(request, recipe))
    if suffix == ".webp":
        return _mark_webp(data, artifact.describe_source(recipe, request.prompt), artifact.describe_making(request, recipe))
    return data


def tags_file(folder: Path, request: Request, recipe: VideoRecipe) -> Path:
    """Write the tags of a WebM as an ffmetadata file and return it."""
    path = folder / "tags.txt"
    values = {
        "DIGITAL_SOURCE_TYPE": artifact.SOURCE_TYPE,
        "XMP": artifact.describe_source(recipe, request.prompt),
        "FLUX_SVD": artifact.describe_making(request, recipe),
    }
    lines = [f"{key}={_escaped(value)}" for key, value in values.items()]
    path.write_text(";FFMETADATA1\n" + "\n".join(lines) + "\n", "utf-8")
    return path


def frames_of_webp(path: Path, fps: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames (height, width, 3) of an animated WebP as often as they are shown at `fps`: equal ones are stored once.

    Raises:
        EncodingFailed: the file does not decode.
    """
    try:
        with Image.open(path, formats=["WEBP"]) as picture:
            for frame in ImageSequence.Iterator(picture):
                shown = np.asarray(frame.convert("RGB"))
                for _ in range(max(1, round(frame.info["duration"] * fps / 1000))):
                    yield shown
    except (OSError, UnidentifiedImageError, KeyError, EOFError) as error:
        raise EncodingFailed(f"the webp does not decode: {error}") from error


def _escaped(value: str) -> str:
    """Return the value for an ffmetadata file: = ; # \\ and line ends take a backslash."""
    return "".join("\\" + letter if letter in "=;#\\\n" else letter for letter in value)


def _mark_gif(data: bytes, source: str, making: str) -> bytes:
    """Return the GIF with an XMP block (XMP specification part 3, section 1.1.2) and a comment before its trailer."""
    if not data.startswith(b"GIF89a") or data[-1:] != b";":
        raise EncodingFailed("the gif has no trailer")
    magic = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"  # lets a reader that knows no XMP find the end of the block
    xmp = b"\x21\xff\x0bXMP DataXMP" + source.encode() + magic
    text = making.encode()
    parts = b"".join(bytes([len(text[at : at + 255])]) + text[at : at + 255] for at in range(0, len(text), 255))
    return data[:-1] + xmp + b"\x21\xfe" + parts + b"\x00" + b";"


def _mark_webp(data: bytes, source: str, making: str) -> bytes:
    """Return the WebP with an XMP chunk, its flag in the VP8X header, and a chunk of our own, which readers pass over.

    Source: RFC 9649, sections 2.7 and 2.7.1.
    """
    if data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8X":
        raise EncodingFailed("the webp is not an animated one")
    flagged = data[:20] + bytes([data[20] | 0b100]) + data[21:]
    body = flagged[8:] + _chunk(b"XMP ", source.encode()) + _chunk(b"FXSV", making.encode())
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\x00" * (len(payload) % 2)
