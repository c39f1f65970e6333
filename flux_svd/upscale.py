"""A picture → the same picture two or four times as large: by interpolation always, by a learned upscaler the user brings.

A copy keeps what its original carries, request, recipe and AI-made marker, and says that it was enlarged; beside a result of
the library it is one too, of the same owner. Knows no plan.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from flux_svd import artifact, files
from flux_svd.artifact import RunFacts
from flux_svd.errors import InvalidRequest
from flux_svd.pictures import read_picture
from flux_svd.results import sidecar_of

SCALES = (2, 4)
MAX_PIXELS = 80_000_000  # of the result: 240 MB in memory


def upscale_file(source: Path, scale: int, *, upscaler: Path | None = None, folder: Path | None = None) -> Path:
    """Write an enlarged copy of `source` and return its path.

    Args:
        scale: 2 or 4.
        upscaler: a .safetensors file of a network that enlarges as many times; without one, Lanczos interpolation.
        folder: where to write; beside the original if none is given.

    Raises:
        InvalidRequest: another scale, or one that would be larger than `MAX_PIXELS`.
        UnreadableFile: the picture or the network cannot be read.
        ModelUnavailable: the library that runs upscalers is not installed.
        DiskFull: there is no room.
    """
    if scale not in SCALES:
        raise InvalidRequest("scale", scale, " or ".join(map(str, SCALES)))
    begun = time.monotonic()
    picture = read_picture(source, field="file")
    if picture.width * picture.height * scale**2 > MAX_PIXELS:
        raise InvalidRequest(
            "scale", scale, f"at most {MAX_PIXELS // 1_000_000} megapixels; {picture.width} × {picture.height} would be larger"
        )
    if upscaler is None:
        method = "Lanczos"
        larger = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.LANCZOS)
    else:
        from flux_svd.engines.upscaler import LearnedUpscaler  # with torch

        method = upscaler.name
        larger = LearnedUpscaler(upscaler).enlarge(picture, scale)
    data = artifact.encode_enlarged(larger, source, scale, method)
    path = files.write_new(folder or source.parent, f"{source.stem}_x{scale}", ".png", data)
    told = files.read_json(sidecar_of(source))
    if told:
        run = RunFacts(seconds=time.monotonic() - begun, device="", peak_bytes=0, scores={}, notes=(f"enlarged by {method}",))
        changed = {
            "file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "run": asdict(run),
            "placement": None, "job": "", "starred": False, "enlarged": {"scale": scale, "method": method},
        }  # fmt: skip
        files.write_json(sidecar_of(path), told | changed)
    return path
