"""A large model at full size with random weights, on a GPU: our engine's seconds and peak against its plan and a bare call.

Writes the model into a scratch folder once (flux2-klein-4b 16 GB, flux1-dev 34 GB), then times it through a session and through
the stock pipeline of diffusers, each after a warm-up. Random weights take the time and memory of trained ones; what they draw
means nothing. `--cap` holds the whole process to so much of the GPU. `all` goes through ten plans, each in a process of its own,
and tells which keep measured peak ≤ predicted ≤ 1.25 × measured. Not yet run on a GPU.

    python -m benchmarks.full_size all --scratch /scratch --untried --json all.json
    python -m benchmarks.full_size flux2-klein-4b --scratch /scratch --runs 5 --json klein.json
    python -m benchmarks.full_size flux1-dev --scratch /scratch --cap 12GB --untried --json dev-12.json
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import diffusers
import torch

from flux_svd import measuring, weights
from flux_svd.catalog import IMAGE_FAMILIES, ModelSpec, find_model
from flux_svd.memory import parse_bytes
from flux_svd.session import Session
from flux_svd.store import Store
from tests import full_size
from tests.tiny.builders import build_model

PLANS = (  # model and the device memory it is held to; "" is all of it
    ("flux1-dev", ""), ("flux1-dev", "24GB"), ("flux1-dev", "12GB"), ("flux1-dev", "8GB"),
    ("flux2-klein-4b", ""), ("flux2-klein-4b", "12GB"), ("flux2-klein-4b", "8GB"),
    ("flux2-klein-9b", ""), ("flux2-klein-9b", "12GB"), ("svd-xt", "12GB"),
)  # fmt: skip


def main() -> None:
    arguments = read_arguments()
    if arguments.model == "all":
        tell({"plans": [time_plan(*plan, arguments) for plan in PLANS]}, arguments.json)
        return
    spec = find_model(arguments.model, families=(*IMAGE_FAMILIES, "svd"))
    home = arguments.scratch / ("tiny" if arguments.tiny else "full")
    folder = write_model(spec, home, tiny=arguments.tiny)
    cap = parse_bytes(arguments.cap) if arguments.cap else None
    if cap and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(cap / torch.cuda.mem_get_info()[1])
    with tempfile.TemporaryDirectory() as place:
        session = Session(home=home, output_dir=Path(place), store=Store(home, stages=Path(place) / "stages"),
                          vram_bytes=cap, untried=arguments.untried)  # fmt: skip
        result = measuring.bench(session, [spec.name], arguments.runs, lambda progress: None, threading.Event())
        session.unload()
    result |= {"weights": "tiny and random" if arguments.tiny else "full size, random", "cap_bytes": cap}
    if spec.family != "svd" and not arguments.alone:
        result["bare"] = time_bare(spec, folder, arguments.runs)
    tell(result, arguments.json)


def tell(result: dict[str, Any], file: Path | None) -> None:
    print(json.dumps(result, indent=1))
    if file is not None:
        file.write_text(json.dumps(result, indent=1) + "\n")


def time_plan(model: str, cap: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what one plan took, measured in a process of its own; a failure is part of the answer."""
    command = [sys.executable, "-m", "benchmarks.full_size", model, "--scratch", str(arguments.scratch)]
    command += ["--runs", str(arguments.runs), *(["--cap", cap, "--alone"] if cap and not arguments.tiny else [])]
    command += [f"--{name}" for name in ("untried", "tiny") if getattr(arguments, name)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    told: dict[str, Any] = {"model": model, "cap": cap}
    if made.returncode != 0:
        return {**told, "error": made.stderr.strip().rpartition("\n")[2], "exit_status": made.returncode}
    answer = json.loads(made.stdout)
    measured, predicted = (answer["rows"][0][name] for name in ("peak_bytes", "predicted_peak_bytes"))
    return {**told, "keeps_its_prediction": measured <= predicted <= 1.25 * measured if measured else None, **answer}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model, or all")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the random weights; kept for the next time")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cap", metavar="12GB", help="hold the process to so much device memory")
    parser.add_argument("--untried", action="store_true", help="allow levers without a recorded run")
    parser.add_argument("--alone", action="store_true", help="without the bare call, which needs the whole model on the device")
    parser.add_argument("--tiny", action="store_true", help="tiny parts: tries this tool on a machine without a GPU")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def write_model(spec: ModelSpec, home: Path, *, tiny: bool) -> Path:
    """Write the model with random weights where a session finds it; its tokenizers know bytes alone."""
    folder = home / "models" / spec.name
    if not (folder / "model_index.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        build_model(spec.name, folder)  # index, scheduler, tokenizers; the parts are replaced
        for part in () if tiny else (row.folder for row in spec.components):
            model = full_size.build_random(spec.name, part)
            model.save_pretrained(folder / part, safe_serialization=True)
            del model
            gc.collect()
    weights.accept_licence(spec, home)
    return folder


def time_bare(spec: ModelSpec, folder: Path, runs: int) -> dict[str, Any]:
    """Return seconds and peak of the stock pipeline with the same prompt, size and steps, all of it on the device."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for run in range(runs + 1):
        begun = time.monotonic()
        pipeline(prompt=measuring.PROMPTS[0], width=spec.size[0], height=spec.size[1], num_inference_steps=spec.steps,
                 guidance_scale=spec.guidance or 1.0, max_sequence_length=spec.prompt_tokens,
                 generator=torch.Generator("cpu").manual_seed(run))  # fmt: skip
        seconds.append(round(time.monotonic() - begun, 3))
    peak = int(torch.cuda.max_memory_allocated()) if device == "cuda" else 0
    return {"seconds": seconds[1:], "median_seconds": statistics.median(seconds[1:]), "peak_bytes": peak}


if __name__ == "__main__":
    main()
