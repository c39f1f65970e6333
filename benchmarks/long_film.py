"""How much memory does a film of half a minute take, beside one of four seconds?

    python benchmarks/long_film.py [--frames 45 361] [--steps N] [--json FILE]

Runs on the pocket models, each film in a process of its own, in one thread. Peak is the largest resident size of that process;
the encoder is another process and not counted. `--steps` lowers the denoising steps of keyframes and transitions; without it
every step is the recipe's own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROMPT = "a yellow star moving from left to right on a black background"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[45, 361])
    parser.add_argument("--steps", type=int, help="denoising steps of keyframes and transitions (default: the models' own)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", action="store_true", help="make one film in this process and print its figures")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure_film(arguments.frames[0], arguments.steps)))
        return
    rows = [measure_apart(frames, arguments.steps) for frames in arguments.frames]
    ratio = round(rows[-1]["peak_bytes"] / rows[0]["peak_bytes"], 4)
    for row in rows:
        mib = row["peak_bytes"] / 2**20
        print(f"{row['frames']:4} frames, {row['keyframes']:2} keyframes: peak {mib:6.0f} MiB, {row['seconds']:.0f} s")
    print(f"last over first: {ratio:.3f}")
    if arguments.json:
        from flux_svd.device import cpu_name
        from flux_svd.planner import installed_versions

        told = {
            "command": "python benchmarks/long_film.py" + (f" --steps {arguments.steps}" if arguments.steps else ""),
            "date": time.strftime("%Y-%m-%d"), "device": cpu_name(), "platform": platform.platform(),
            "versions": dict(installed_versions("torch", "diffusers", "transformers")), "films": rows, "ratio": ratio,
        }  # fmt: skip
        arguments.json.write_text(json.dumps(told, indent=1) + "\n")


def measure_apart(frames: int, steps: int | None) -> dict[str, Any]:
    """Return what `measure_film` returns, of a new process."""
    command = [sys.executable, __file__, "--here", "--frames", str(frames)]
    command += [] if steps is None else ["--steps", str(steps)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def measure_film(frames: int, steps: int | None) -> dict[str, Any]:
    """Make a film of that many frames and return this process's peak memory (bytes) and the seconds it took."""
    from flux_svd.recipe import VideoRecipe
    from flux_svd.request import make_request
    from flux_svd.session import Session

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        session = Session(home=Path(folder) / "home", output_dir=Path(folder) / "out")
        wish = {"kind": "video", "prompt": PROMPT, "seed": 7, "total_frames": frames, "steps": steps, "transition_steps": steps}
        film = session.run(session.plan(make_request(wish)))[0].recipe
    assert isinstance(film, VideoRecipe)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage: bytes on macOS, KiB on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {
        "frames": film.frames, "keyframes": len(film.keyframes), "size": [film.width, film.height],
        "transition_steps": film.transitions[0].steps, "peak_bytes": peak, "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
