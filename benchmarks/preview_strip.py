"""What does the strip of a finished transition cost, beside making the transition?

    python benchmarks/preview_strip.py [--transitions 5] [--json FILE]

On pocket-svd, 23 frames of 160 × 96, one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

from PIL import Image

from flux_svd.catalog import MODELS
from flux_svd.device import cpu_name
from flux_svd.engines.warm import WarmEngines
from flux_svd.planner import installed_versions
from flux_svd.pocket.judge_films import transition_recipe
from flux_svd.progress import ignore_steps
from flux_svd.request import make_request
from flux_svd.session import Session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    shares, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        plan = Session(home=Path(folder)).plan(make_request({"kind": "video", "prompt": "a red circle", "seed": 7}))
        engine = WarmEngines(Path(folder)).svd(plan.placement_of("pocket-svd"), "fp32")
        keys = [Image.effect_noise((160, 96), spread).convert("RGB") for spread in (20, 60)]
        for number in range(arguments.transitions + 1):
            began = time.perf_counter()
            latents = engine.sample(transition_recipe(number, MODELS["pocket-svd"].steps), keys[0], keys[1], ignore_steps)
            made = time.perf_counter()
            engine.strip(latents)
            ended = time.perf_counter()
            if number:  # the first warms up
                shares.append((ended - made) / (made - began))
                seconds.append(made - began)
    result = {
        "command": f"python benchmarks/preview_strip.py --transitions {arguments.transitions}",
        "date": time.strftime("%Y-%m-%d"),
        "device": cpu_name(),
        "platform": platform.platform(),
        "versions": dict(installed_versions("torch", "diffusers")),
        "strip over transition": {"median": round(statistics.median(shares), 4), "most": round(max(shares), 4), "n": len(shares)},
        "seconds of a transition": round(statistics.median(seconds), 2),
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
