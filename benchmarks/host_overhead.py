"""What our engine costs over a bare diffusers call: paired runs with pocket-flux, on the CPU.

Each pair draws the same picture both ways, in alternating order, and checks that the two are equal bit for bit. The figure
is the median of the pairs' ratios, so a busy machine disturbs both sides alike; the ratio of processor time beside it does
not count waiting for a core at all. Our side includes everything the engine
adds: progress, the checks of latents and pixels after every step, and previews where they fall due.

    python benchmarks/host_overhead.py --pairs 40 --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import diffusers
import numpy as np
import torch
from PIL import Image

import flux_svd
from flux_svd.catalog import MODELS
from flux_svd.device import cpu_name
from flux_svd.engines.flux import FluxEngine
from flux_svd.memory import Placement
from flux_svd.planner import installed_versions
from flux_svd.recipe import ImageRecipe

FOLDER = Path(flux_svd.__file__).parent / "pocket" / "weights" / "pocket-flux"
TARGET = 1.05


def main() -> None:
    arguments = read_arguments()
    torch.set_num_threads(arguments.threads)
    result = measure(arguments.pairs, arguments.steps, arguments.side)
    if arguments.json:
        print(json.dumps(result))
        return
    print(
        f"{result['pairs']} pairs, {result['steps']} steps at {result['side']}², {result['previews']} previews a picture, "
        f"{result['device']}, {result['threads']} thread(s)\n"
        f"bare {result['bare_seconds']:.4f} s, ours {result['our_seconds']:.4f} s, median ratio {result['median_ratio']:.3f} "
        f"(quartiles {result['quartiles'][0]:.3f} to {result['quartiles'][2]:.3f}; target {TARGET} or less), "
        f"of processor time {result['median_processor_ratio']:.3f}"
    )


def measure(pairs: int, steps: int, side: int) -> dict[str, object]:
    """Return the figures of `pairs` paired runs; raise AssertionError if any two pictures differ."""
    spec = MODELS["pocket-flux"]
    engine = FluxEngine(spec, FOLDER, Placement(spec.name, "cpu", "none", 0, 0), "fp32")
    bare = diffusers.FluxPipeline.from_pretrained(FOLDER, dtype=torch.float32, local_files_only=True)
    bare.set_progress_bar_config(disable=True)
    previews: list[bytes] = []

    def count(step: int, of: int, preview: bytes | None) -> None:
        if preview is not None:
            previews.append(preview)

    def draw_ours(seed: int) -> Image.Image:
        recipe = ImageRecipe(
            model=spec.name, revision="", prompt="a red circle on a blue background", negative_prompt="", seed=seed,
            width=side, height=side, steps=steps, guidance=spec.guidance, guidance_kind=spec.guidance_kind, references=(),
            precision="fp32", prompt_tokens=spec.prompt_tokens, decode_tile=0, versions=(),
        )  # fmt: skip
        return engine.draw(recipe, (), count)

    def draw_bare(seed: int) -> Image.Image:
        picture: Image.Image = bare(
            "a red circle on a blue background", negative_prompt="", true_cfg_scale=spec.guidance, guidance_scale=0.0,
            width=side, height=side, num_inference_steps=steps, max_sequence_length=spec.prompt_tokens,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]  # fmt: skip
        return picture

    timed(draw_ours, 0), timed(draw_bare, 0)  # first calls fill caches
    previews.clear()
    ours, theirs = [], []
    for pair in range(pairs):
        order = (draw_ours, draw_bare) if pair % 2 else (draw_bare, draw_ours)
        (first, first_time), (second, second_time) = (timed(draw, pair) for draw in order)
        assert np.array_equal(np.asarray(first), np.asarray(second)), f"the pictures of seed {pair} differ"
        ours.append(first_time if pair % 2 else second_time)
        theirs.append(second_time if pair % 2 else first_time)
    wall, processor = ([one[kind] / other[kind] for one, other in zip(ours, theirs, strict=True)] for kind in (0, 1))
    return {
        "pairs": pairs,
        "steps": steps,
        "side": side,
        "median_ratio": statistics.median(wall),
        "quartiles": statistics.quantiles(wall, n=4),
        "median_processor_ratio": statistics.median(processor),
        "our_seconds": statistics.median(seconds for seconds, _ in ours),
        "bare_seconds": statistics.median(seconds for seconds, _ in theirs),
        "previews": len(previews) / pairs,
        "command": f"python benchmarks/host_overhead.py --pairs {pairs} --steps {steps} --json",
        "date": time.strftime("%Y-%m-%d"),
        "device": cpu_name(),
        "threads": torch.get_num_threads(),
        "versions": dict(installed_versions("torch", "diffusers")),
    }


def timed(draw: Callable[[int], Image.Image], seed: int) -> tuple[Image.Image, tuple[float, float]]:
    """Return the picture of `seed`, and the wall and processor seconds it took."""
    wall, processor = time.perf_counter(), time.process_time()
    picture = draw(seed)
    return picture, (time.perf_counter() - wall, time.process_time() - processor)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=40, help="paired runs (2 or more)")
    parser.add_argument("--steps", type=int, default=MODELS["pocket-flux"].steps, help="denoising steps of each picture")
    parser.add_argument("--side", type=int, default=128, help="pixels of a side")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
