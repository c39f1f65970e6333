"""Twice the frames of a film: one more between every two, guessed from what is there; the film's own stay as they are.

Knows two ways: ffmpeg's motion compensation, and a function that is given. Neither knows what was meant: fine for small steps
between generated frames, smeared where things cross or turn.
"""

from __future__ import annotations

import collections
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable

import numpy as np
from numpy.typing import NDArray

from flux_svd.errors import EncodingFailed

Frame = NDArray[np.uint8]  # (height, width, 3)
Between = Callable[[Frame, Frame], Frame]
_FILTER = "minterpolate=fps={fps}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
# The filter looks some frames ahead and keeps back the last ones: with the last frame three times more all 2n − 1 come out.
_PADDING = 3
# Grey levels between its even frames and ours: 0.01 seen on a moving disc (yuv in between); a frame late 1.0 and more.
MAX_DRIFT = 3.0


def densify_with(frames: Iterable[Frame], between: Between) -> Generator[Frame, None, None]:
    """Yield 2n − 1 frames: those given, and between every two what `between` makes of them."""
    before: Frame | None = None
    for frame in frames:
        if before is not None:
            yield between(before, frame)
        yield frame
        before = frame


def densify_by_motion(frames: Iterable[Frame], width: int, height: int, ffmpeg: str) -> Generator[Frame, None, None]:
    """Yield 2n − 1 frames: those given, and between every two what ffmpeg's motion compensation finds.

    Raises:
        EncodingFailed: ffmpeg fails, has no such filter, or its frames are not where they should be.
    """
    options = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "1", "-i", "-", "-vf",
               _FILTER.format(fps=2), "-threads", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]  # fmt: skip
    own: collections.deque[Frame] = collections.deque()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [ffmpeg, "-v", "error", "-nostdin", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told
        )
        failures: list[BaseException] = []
        feeder = threading.Thread(target=_feed, args=(process, frames, own, failures), daemon=True)
        feeder.start()
        try:
            shown = 0
            while True:
                guessed = _read(process, width, height)
                if guessed is None or not own:
                    break  # the filter reads ahead, so where nothing of ours waits it has come to the padding
                if shown % 2 == 0:
                    ours = own.popleft()
                    drift = float(np.abs(guessed.astype(np.int16) - ours).mean())
                    if drift > MAX_DRIFT:
                        where = f"frame {shown // 2 + 1}: {drift:.1f} grey levels off"
                        raise EncodingFailed(f"motion compensation lost its place at {where}")
                    guessed = ours
                yield guessed
                shown += 1
            if failures:
                raise failures[0]
            if own or shown == 0:
                told.seek(0)
                said = told.read().decode("utf-8", "replace").strip().splitlines()
                raise EncodingFailed(f"ffmpeg made no frames between: {said[-1][:200] if said else 'it said nothing'}")
        finally:
            process.kill()
            if process.stdout is not None:
                process.stdout.close()  # whatever it had started cannot write on, and so reads no more
            process.wait()
            feeder.join()


def _feed(
    process: subprocess.Popen[bytes], frames: Iterable[Frame], own: collections.deque[Frame], failures: list[BaseException]
) -> None:
    """Write all frames to ffmpeg, and note in `own` what was written."""
    assert process.stdin is not None
    try:
        last: Frame | None = None
        for last in frames:
            own.append(last)
            process.stdin.write(np.ascontiguousarray(last).data)
        for _ in range(_PADDING if last is not None else 0):
            process.stdin.write(np.ascontiguousarray(last).data)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended: the reader says why
    except BaseException as error:  # told by the reader, in the thread that asked
        failures.append(error)
        process.kill()


def _read(process: subprocess.Popen[bytes], width: int, height: int) -> Frame | None:
    assert process.stdout is not None
    data = process.stdout.read(width * height * 3)
    return np.frombuffer(data, np.uint8).reshape(height, width, 3) if len(data) == width * height * 3 else None
