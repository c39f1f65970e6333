"""How well do a film's raw ends match their keyframes, with pinned ends and without, beside the VAE's own round trip?

    python benchmarks/film_ends.py [--films 4] [--steps 10] [--json FILE]

Runs on the pocket models. "raw" is before the fade that makes keyframes exact in the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

from flux_svd.device import cpu_name
from flux_svd.planner import installed_versions
from flux_svd.progress import ignore_steps
from flux_svd.recipe import VideoRecipe
from flux_svd.request import make_request
from flux_svd.session import Session

PROMPTS = (
    "a yellow star moving from left to right on a black background",
    "a red circle moving from top to bottom on a white background",
    "a blue square moving from the top left to the bottom right on a yellow background",
    "a green triangle moving from right to left on a white background",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=4)
    parser.add_argument("--steps", type=int, default=None, help="denoising steps of each transition")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [_measure(PROMPTS[n % len(PROMPTS)], n, arguments.steps) for n in range(arguments.films)]
    result = {
        "command": f"python benchmarks/film_ends.py --films {arguments.films}",
        "date": time.strftime("%Y-%m-%d"),
        "device": cpu_name(),
        "platform": platform.platform(),
        "versions": dict(installed_versions("torch", "diffusers", "transformers")),
        "films": rows,
        "mean": {key: round(statistics.mean(row[key] for row in rows), 2) for key in ("raw", "unpinned", "round_trip", "inner")},
    }
    print(f"{'raw':>6} {'unpinned':>9} {'round trip':>11} {'unpinned inner key':>19}   dB")
    for row in rows:
        print(f"{row['raw']:6.2f} {row['unpinned']:9.2f} {row['round_trip']:11.2f} {row['inner']:19.2f}   {row['prompt']}")
    print("mean", result["mean"])
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def _measure(prompt: str, seed: int, steps: int | None) -> dict[str, object]:
    """Return mean PSNR (dB) over the three keyframes: raw, raw without pinning, and the VAE's round trip."""
    with tempfile.TemporaryDirectory() as folder:
        session = Session(home=Path(folder) / "home", output_dir=Path(folder) / "out")
        plan = session.plan(make_request({"kind": "video", "prompt": prompt, "seed": seed, "transition_steps": steps}))
        recipe = plan.recipes[0]
        assert isinstance(recipe, VideoRecipe)
        first = recipe.transitions[0]
        flux = session._engines.flux(plan.placements[0], recipe.keyframes[0].precision)
        keys = [flux.draw(key, [], ignore_steps) for key in recipe.keyframes]
        svd = session._engines.svd(plan.placements[1], first.precision)
        ends: dict[bool, tuple[float, ...]] = {}
        best: list[float] = []
        for pinned in (True, False):
            # Each transition alone, so that both of its ends count, the last frame included.
            values: list[float] = []
            for n, part in enumerate(recipe.transitions):
                one = dataclasses.replace(recipe, transitions=(part,), keyframes=recipe.keyframes[n : n + 2])
                latents = svd.sample(part, keys[n], keys[n + 1], ignore_steps, pin_ends=pinned)
                film = svd.decode([latents], keys[n : n + 2], (0, part.kept_frames - 1), one, ignore_steps)
                for _ in film.frames:
                    pass  # the ends are told as the frames come
                values += film.raw_psnr
                if pinned:
                    best += film.round_trip_psnr
            ends[pinned] = tuple(values)
        return {
            "prompt": prompt,
            "raw": round(statistics.mean(ends[True]), 2),
            "unpinned": round(statistics.mean(ends[False]), 2),
            "inner": round(ends[False][1], 2),
            "round_trip": round(statistics.mean(best), 2),
        }


if __name__ == "__main__":
    main()
