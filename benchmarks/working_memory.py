"""What the large models work with beside their weights, counted at full size on the meta device, against what plans predict.

No GPU and no weights are needed. Counted are the bytes that live tensors hold at most (`tests/full_size.py`); predictions add a
tenth while denoising and three quarters in the VAE for workspaces and fragmentation.

    python -m benchmarks.working_memory --json docs/benchmarks/working_memory.json
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable
from pathlib import Path

from flux_svd.catalog import MODELS
from flux_svd.memory import GIB, Shape, work_of
from flux_svd.planner import installed_versions
from tests import full_size

SIZES = ((512, 512), (1024, 1024), (2048, 2048))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    file = parser.parse_args().json
    rows = count_steps() + count_decodes() + count_films()
    if file is not None:
        versions = dict(installed_versions("torch", "diffusers", "transformers"))
        facts = {"command": "python -m benchmarks.working_memory --json FILE", "date": datetime.date.today().isoformat(),
                 "device": "none: counted on the meta device", "versions": versions}  # fmt: skip
        file.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print(f"{row['what']:<46} counted {row['counted'] / GIB:6.2f} GiB, predicted {row['predicted'] / GIB:6.2f} GiB")


def count_steps() -> list[dict[str, object]]:
    rows = []
    for model in ("flux1-dev", "flux2-klein-4b", "flux2-klein-9b", "flux2-dev"):
        built = full_size.build(model, "transformer")
        step: Callable[..., int] = full_size.flux1_step if model == "flux1-dev" else full_size.flux2_step
        for width, height in SIZES:
            predicted = work_of(MODELS[model], "bf16", Shape(width, height)).denoise_bytes
            rows.append(row(f"{model}, a step at {width} × {height}", step(built, width, height), predicted))
    return rows


def count_decodes() -> list[dict[str, object]]:
    rows = []
    for model, channels in (("flux1-dev", 16), ("flux2-klein-4b", 32)):
        built = full_size.build(model, "vae")
        for width, height in SIZES:
            predicted = work_of(MODELS[model], "bf16", Shape(width, height)).decode_bytes
            rows.append(row(f"{model}, decoding {width} × {height} at once",
                            full_size.decode(built, width, height, 1, channels), predicted))  # fmt: skip
    return rows


def count_films() -> list[dict[str, object]]:
    spec, unet, vae = MODELS["svd-xt"], full_size.build("svd-xt", "unet"), full_size.build("svd-xt", "vae")
    rows = []
    for frames in (14, 23, 25):
        predicted = work_of(spec, "fp16", Shape(1024, 576, frames=frames)).denoise_bytes
        rows.append(row(f"svd-xt, a UNet call of {frames} frames", full_size.unet_call(unet, 1024, 576, frames), predicted))
    for chunk in (1, 4, 8):
        predicted = work_of(spec, "fp16", Shape(1024, 576, frames=25, decode_chunk=chunk)).decode_bytes
        rows.append(row(f"svd-xt, decoding {chunk} frames", full_size.decode(vae, 1024, 576, chunk), predicted))
    return rows


def row(what: str, counted: int, predicted: int) -> dict[str, object]:
    return {"what": what, "counted": counted, "predicted": predicted}


if __name__ == "__main__":
    main()
