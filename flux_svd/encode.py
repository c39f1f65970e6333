"""Frames, one by one → a verified film file, through the ffmpeg that imageio-ffmpeg brings. Knows no recipe and no model."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flux_svd import files
from flux_svd.errors import EncodingFailed

Frame = NDArray[np.uint8]  # (height, width, 3)
ENCODE_TIMEOUT_SECONDS = 600.0
# Grey levels between 8 × 8 means at crf 18. Seen: 0.5 on a moving disc, 1.8 on pure noise; the disc film reversed 11.5,
# its channels swapped 80.
MAX_MEAN_DIFFERENCE = 6.0
# Without these ffmpeg rounds down on the way to RGB: films came out darker by 0.9 to 1.4 grey levels; with them by 0.1.
EXACT_COLOURS = ("-sws_flags", "accurate_rnd+full_chroma_int+bicubic")


def encode_film(frames: Iterable[Frame], *, fps: int, crf: int, scratch: Path | None = None) -> bytes:
    """Return H.264 MP4 bytes (yuv420p, faststart); the same frames give the same bytes, since one thread encodes bit-exactly.

    Frames are taken one by one; of each only means of 8 × 8 pixels are kept, to verify the file. What taking them raises passes.

    Args:
        scratch: where the unfinished film is, a folder that is swept after a crash; None is the system's.

    Raises:
        EncodingFailed: ffmpeg is missing, fails, or its film does not decode to these frames.
        DiskFull: there is no room for the film.
    """
    import imageio_ffmpeg

    coming = iter(frames)
    first = next(coming)
    height, width = first.shape[:2]
    meant = []
    with files.scratch_folder(scratch or Path(tempfile.gettempdir())) as folder, lack_of_room(folder):
        path = folder / "film.mp4"
        with _ffmpeg_errors():
            writer = imageio_ffmpeg.write_frames(
                str(path), (width, height), fps=fps, codec="libx264", pix_fmt_in="rgb24", pix_fmt_out="yuv420p",
                macro_block_size=2, quality=None, ffmpeg_timeout=ENCODE_TIMEOUT_SECONDS, ffmpeg_log_level="error",
                output_params=["-crf", str(crf), "-preset", "medium", "-threads", "1", "-fflags", "+bitexact",
                               "-flags:v", "+bitexact", "-map_metadata", "-1", "-movflags", "+faststart",
                               # say what the numbers are: BT.709, as players assume for video
                               "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-colorspace", "bt709",
                               "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"],
            )
            writer.send(None)
        try:
            for frame in itertools.chain([first], coming):
                with _ffmpeg_errors():
                    writer.send(np.ascontiguousarray(frame))
                meant.append(block_means(frame).astype(np.float16))  # exact to an eighth of a grey level
        finally:
            with _ffmpeg_errors():
                writer.close()
        verify_film(path, (width, height), meant)
        return path.read_bytes()


def verify_film(path: Path, size: tuple[int, int], meant: Sequence[NDArray[np.floating[Any]]]) -> None:
    """Decode `path` and compare it with what went in, frame by frame.

    Args:
        size: (width, height) of the frames.
        meant: `block_means` of each.

    Raises:
        EncodingFailed: it does not decode, has another size or number of frames, or shows something else.
    """
    count, total = 0, 0.0
    for decoded in iterate_film(path):
        if count == len(meant) or decoded.shape[1::-1] != size:
            raise EncodingFailed(f"the film decodes to frames of {decoded.shape[1]} × {decoded.shape[0]} or to more than "
                                 f"{len(meant)}; {size[0]} × {size[1]} went in")
        total += float(np.abs(block_means(decoded) - meant[count]).mean())
        count += 1
    if count != len(meant):
        raise EncodingFailed(f"the film decodes to {count} frames, not {len(meant)}")
    if total / count > MAX_MEAN_DIFFERENCE:
        raise EncodingFailed(f"the film decodes to other pictures: {total / count:.0f} grey levels apart on average")


def iterate_film(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a film file, each (height, width, 3) uint8.

    Raises:
        EncodingFailed: the file does not decode, or holds no frame.
    """
    import imageio_ffmpeg

    found = False
    try:
        reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24", output_params=[*EXACT_COLOURS])
        facts: dict[str, Any] = next(reader)
        width, height = facts["size"]
        for data in reader:
            found = True
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, KeyError, ValueError, StopIteration) as error:
        raise EncodingFailed(f"{path.name} does not decode: {_last_line(error)}") from error
    if not found:
        raise EncodingFailed(f"{path.name} holds no frame")


def block_means(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return means of 8 × 8 pixels: (height/8, width/8, 3); fine colour detail is lost by yuv420p and is no error."""
    height, width = (side // 8 * 8 for side in frame.shape[:2])
    blocks = frame[:height, :width].reshape(height // 8, 8, width // 8, 8, 3)
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return means


@contextmanager
def lack_of_room(folder: Path) -> Iterator[None]:
    """Where ffmpeg, writing into `folder`, fails and no room is left there, say that and how much is missing.

    Raises:
        DiskFull: as `files.need_room`.
    """
    try:
        yield
    except EncodingFailed:
        files.need_room(folder)
        raise


@contextmanager
def _ffmpeg_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise EncodingFailed(f"ffmpeg could not encode the film: {_last_line(error)}") from error


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
