"""How each row of `benchmarks.full_size` is measured, in a process of its own; every part is written as soon as it is there."""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flux_svd import device, files, measuring
from flux_svd.catalog import MODELS
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.levers.reading import read_part
from flux_svd.fitting import describe_placement
from flux_svd.memory import Placement, Shape, parse_bytes, work_of
from flux_svd.placing import LEVERS, placements
from flux_svd.progress import ignore_steps
from flux_svd.recipe import ImageRecipe
from flux_svd.request import make_request
from flux_svd.session import Session
from flux_svd.store import Store
from tests.tiny.builders import PROMPT_TOKENS, image_recipe, picture

CUDA = torch.cuda.is_available()
HERE = torch.device("cuda" if CUDA else "cpu")
TINY_SIDE = 64  # pixels
FRAMES, CHUNKS = (14, 23, 25), (1, 2, 4, 8)  # of transitions as SVD was trained and as films are planned; decoded together
FILM_FRAMES = 23
GIB = 2**30


def measure(name: str, kind: str, model: str, cap: str, home: Path, arguments: argparse.Namespace) -> None:
    """Measure what of the row is missing in its file."""
    if arguments.tiny:  # plans count full sizes, which a machine without a GPU may not hold
        real = device.read_budget
        device.read_budget = lambda *a, **k: replace(real(*a, **k), device_bytes=2**42, host_bytes=2**42)
    row = _Row(name, model, cap if CUDA else "", home, arguments)
    if row.cap:
        torch.cuda.set_per_process_memory_fraction(row.cap / torch.cuda.mem_get_info()[1])
    {"plan": time_plan, "speed": time_ways, "lowered": time_lowered, "table": fill_table}[kind](row)


class _Row:
    def __init__(self, name: str, model: str, cap: str, home: Path, arguments: argparse.Namespace) -> None:
        self.spec, self.home, self.arguments = MODELS[model], home, arguments
        self.folder, self.cap = home / "models" / model, parse_bytes(cap) if cap else None
        self._file = arguments.out / f"{name}.json"
        self.parts: dict[str, Any] = files.read_json(self._file).get("parts", {})
        self._facts = {
            "model": model, "cap": cap, "weights": "tiny and random" if arguments.tiny else "full size, random",
            "machine": measuring.describe_machine(home),
        }  # fmt: skip

    def keep(self, name: str, **part: Any) -> None:
        self.parts[name] = part
        files.write_json(self._file, {**self._facts, "whole": False, "error": "", "parts": self.parts})

    @property
    def size(self) -> tuple[int, int]:
        return (TINY_SIDE, TINY_SIDE) if self.arguments.tiny else self.spec.size

    def recipe(self, **changes: Any) -> ImageRecipe:
        tokens = PROMPT_TOKENS[self.spec.family] if self.arguments.tiny else self.spec.prompt_tokens
        width, height = self.size
        settings = {"width": width, "height": height, "prompt_tokens": tokens, "precision": "bf16"}
        return image_recipe(self.spec.name, **{**settings, "steps": self.arguments.steps, **changes})


def time_plan(row: _Row) -> None:
    """Let a session plan for the card and run it: a picture, or a film between two given pictures, so that nothing is drawn."""
    if "plan" in row.parts:
        return
    facts, plan = [], None
    with tempfile.TemporaryDirectory() as place:
        store = Store(row.home, stages=Path(place) / "stages")
        session = Session(home=row.home, output_dir=Path(place), store=store, vram_bytes=row.cap, untried=True)
        for seed in range(row.arguments.runs + 1):
            plan = session.plan(make_request(_wish(row, store, seed)))
            facts.append(session.run(plan)[-1].run)
        session.unload()
    assert plan is not None
    placed = plan.placement_of(row.spec.name)
    peak, seconds = max(fact.peak_bytes for fact in facts), [fact.seconds for fact in facts[1:]]
    row.keep(
        "plan", what=f"{placed.rung}: {describe_placement(placed)}{', all within ' + row._facts['cap'] if row.cap else ''}",
        measured=f"peak {peak / GIB:.2f} GiB, predicted {placed.peak_bytes / GIB:.2f}; {statistics.median(seconds):.2f} s",
        wanted="measured ≤ predicted ≤ 1.25 × measured", holds=peak <= placed.peak_bytes <= 1.25 * peak if peak else None,
        peak_bytes=peak, predicted_peak_bytes=placed.peak_bytes, host_peak_bytes=measuring.host_peak_bytes(),
        predicted_host_peak_bytes=plan.host_peak_bytes, seconds=seconds, cold_seconds=facts[0].seconds,
        predicted_seconds=plan.seconds,
    )  # fmt: skip


def time_ways(row: _Row) -> None:
    """Time ways to compute one picture against a bare call of diffusers with the same weights, turn by turn.

    What both begin with is the prompt already encoded. The error is of latents, against the engine's own in bfloat16, uncompiled.
    """
    whole = Placement(row.spec.name, HERE.type, "none", 0, 0)  # type: ignore[arg-type]
    engine = FluxEngine(row.spec, row.folder, whole, "bf16")
    texts = engine.embed(row.recipe())
    bare = _bare_call(engine, row.recipe(), texts)
    exact = engine.denoise(row.recipe(seed=0), texts, [], ignore_steps)
    small: FluxEngine | None = None
    for name, wanted, changes in (
        ("eager", None, {}), ("compiled", 1.3, {"compiled": True}), ("fp8", None, {"precision": "fp8"}),
        ("fp8 compiled", 2.5, {"precision": "fp8", "compiled": True}),
    ):  # fmt: skip
        if name in row.parts:
            continue
        if "precision" in changes and small is None:
            small = FluxEngine(row.spec, row.folder, whole, "bf16", stored="fp8")
        used, told = small if "precision" in changes and small else engine, row.recipe(**changes)

        def ours(seed: int, used: FluxEngine = used, told: ImageRecipe = told) -> Tensor:
            latents = used.denoise(replace(told, seed=seed), texts, [], ignore_steps)
            used.decode(told, latents)
            return latents

        error = _error(ours(0), exact)
        bare_seconds, seconds = _in_turns(bare, ours, row.arguments.runs)
        faster = statistics.median(first / second for first, second in zip(bare_seconds, seconds, strict=True))
        row.keep(
            name, what=f"{row.size[0]} × {row.size[1]}, {row.arguments.steps} steps, {name}, against bare diffusers in bf16",
            measured=f"{faster:.2f} times as fast ({statistics.median(seconds):.2f} s), latents off by {error:.4f}",
            wanted=f"≥ {wanted} times" if wanted else "", holds=faster >= wanted if wanted and CUDA else None,
            times_as_fast=faster, error=error, seconds=seconds, bare_seconds=bare_seconds,
            bare_error=_error(bare(0, "latent").cpu(), exact) if name == "eager" else None,
        )  # fmt: skip


def time_lowered(row: _Row) -> None:
    """Time the first placement on a card of this size that consent adds, against the same precision with all of it resident."""
    budget = device.read_budget(row.home, vram_bytes=row.cap)
    budget = replace(budget, tried=LEVERS, lower_precision=True)
    fitting = list(placements(row.spec, "bf16", Shape(*row.size), budget))
    placed = next((one for one in fitting if one.stored == "fp8"), replace(fitting[0], stored="fp8"))
    engine = FluxEngine(row.spec, row.folder, placed, "bf16", fold_modulation=placed.fold_modulation, stored="fp8")
    recipe = row.recipe(precision="fp8")
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    texts, seconds = engine.embed(recipe), []
    for seed in range(row.arguments.runs + 1):
        begun = time.monotonic()
        engine.decode(recipe, engine.denoise(replace(recipe, seed=seed), texts, [], ignore_steps))
        seconds.append(time.monotonic() - begun)
    resident = files.read_json(row.arguments.out / "dev-speed.json").get("parts", {}).get("fp8", {}).get("seconds")
    ratio = statistics.median(seconds[1:]) / statistics.median(resident) if resident else None
    row.keep(
        "fp8", what=f"{placed.rung}: {describe_placement(placed)}, all within {row._facts['cap']}",
        measured=f"{statistics.median(seconds[1:]):.2f} s" + (f", {ratio:.2f} times resident fp8" if ratio else ""),
        wanted="≤ 1.25 times resident fp8", holds=ratio <= 1.25 if ratio and CUDA else None, times_resident=ratio,
        seconds=seconds[1:], peak_bytes=_peak(0), predicted_peak_bytes=placed.peak_bytes,
    )  # fmt: skip


def fill_table(row: _Row) -> None:
    """Time UNet calls of SVD, both branches at once, and decoding, and tell what each works with beside the weights.

    Each part has `seconds` (of one call), `peak_bytes` (beside weights; 0 without a GPU) and `predicted_bytes`; those of the UNet
    have `frames`, those of decoding `decode_chunk`.
    """
    precision: Any = "bf16" if CUDA else "fp32"
    width, height = row.size
    model = read_part(row.folder, "unet", precision).to(HERE)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(HERE, model.dtype)

    for frames in FRAMES if not row.arguments.tiny else (3, 5, 7):
        given = (random(2, frames, 8, height // 8, width // 8), torch.tensor(1.0, device=HERE),
                 random(2, 1, model.config.cross_attention_dim), random(2, 3))  # fmt: skip
        _fill(row, f"unet {frames}", functools.partial(model, *given), "denoise_bytes", Shape(width, height, frames=frames))
        del given
    del model
    model = read_part(row.folder, "vae", precision).to(HERE)
    for chunk in CHUNKS:
        latents = random(chunk, 4, height // 8, width // 8)
        shape = Shape(width, height, frames=FILM_FRAMES, decode_chunk=chunk)
        decode = functools.partial(model.decode, latents, num_frames=chunk)
        _fill(row, f"decode {chunk}", decode, "decode_bytes", shape)
    lines = [f"| {row.spec.name}, {width} × {height} | seconds | GiB beside weights | predicted |", "|---|---|---|---|"]
    for name, part in row.parts.items():
        amounts = " | ".join(f"{part[kind] / GIB:.2f}" for kind in ("peak_bytes", "predicted_bytes"))
        lines.append(f"| {name} | {part['seconds']:.3f} | {amounts} |")
    files.write_atomically(row.arguments.out / "svd-table.md", ("\n".join(lines) + "\n").encode())


def _fill(row: _Row, name: str, call: Callable[[], Any], what: str, shape: Shape) -> None:
    if name in row.parts:
        return
    seconds = []
    with torch.no_grad():
        for _ in range(row.arguments.runs + 1):
            if CUDA:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            held, begun = int(torch.cuda.memory_allocated()) if CUDA else 0, time.monotonic()
            call()
            peak = _peak(held)
            seconds.append(time.monotonic() - begun)
    predicted = getattr(work_of(row.spec, "bf16", shape), what)
    row.keep(
        name, what=name, measured=f"{statistics.median(seconds[1:]):.3f} s, {peak / GIB:.2f} GiB beside weights",
        wanted=f"≤ {predicted / GIB:.2f} GiB, as predicted", holds=peak <= predicted if peak else None,
        seconds=statistics.median(seconds[1:]), peak_bytes=peak, predicted_bytes=predicted,
        frames=shape.frames if what == "denoise_bytes" else None,
        decode_chunk=shape.decode_chunk if what == "decode_bytes" else None,
    )  # fmt: skip


def _peak(held: int) -> int:
    """Return the most that was held of the GPU since the last reset, beyond `held`, when all work is done; 0 without one."""
    if not CUDA:
        return 0
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated()) - held


def _wish(row: _Row, store: Store, seed: int) -> dict[str, Any]:
    width, height = row.size
    size = {"width": width, "height": height, "seed": seed}
    if row.spec.family != "svd":
        steps = {"steps": 2} if row.arguments.tiny else {}
        return {"kind": "image", "prompt": measuring.PROMPTS[0], "model": row.spec.name, **size, **steps}
    stages = []
    for number in (0, 1):
        file = row.home / f"key-{number}.png"
        picture(number, width, height).save(file)
        stages.append({"prompt": measuring.PROMPTS[number], "picture": store.keep_picture(file)})
    few = {"frames_per_transition": 5, "transition_steps": 1} if row.arguments.tiny else {"frames_per_transition": FILM_FRAMES}
    return {"kind": "video", "prompt": measuring.PROMPTS[0], "video_model": row.spec.name, "stages": stages, **size, **few}


def _bare_call(engine: FluxEngine, recipe: ImageRecipe, texts: Any) -> Callable[..., Any]:
    """Return the stock pipeline's call on the engine's own weights: (seed, kind of output) → what it made."""
    tokens, pooled = texts[0].tokens.to(HERE), texts[0].pooled.to(HERE)

    def call(seed: int, output: str = "pil") -> Any:
        return engine._pipeline(
            prompt_embeds=tokens, pooled_prompt_embeds=pooled, width=recipe.width, height=recipe.height,
            num_inference_steps=recipe.steps, guidance_scale=recipe.guidance, output_type=output,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images  # fmt: skip

    return call


def _in_turns(first: Callable[[int], Any], second: Callable[[int], Any], runs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of both for each run, one after the other, after a run that is not counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for call, kept in zip((first, second), seconds, strict=True):
            begun = time.monotonic()
            call(run)
            kept.append(time.monotonic() - begun)
    return seconds[0][1:], seconds[1][1:]


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact.float()).norm() / exact.float().norm())
