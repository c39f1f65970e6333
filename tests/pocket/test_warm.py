"""Engines that stay warm: loaded once for jobs of every size, evicted by need, flat in memory over many jobs."""

from __future__ import annotations

import dataclasses
import gc
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from flux_svd import device
from flux_svd.catalog import MODELS
from flux_svd.engines import warm
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.svd import SvdEngine
from flux_svd.engines.warm import WarmEngines
from flux_svd.memory import GIB, Placement
from flux_svd.request import make_request
from flux_svd.session import Session
from flux_svd.ways import sizes_of
from tests.tiny.builders import build_model


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that are loaded from now on, one for each time."""
    seen: list[str] = []
    for kind in (FluxEngine, SvdEngine):
        original: Callable[..., None] = kind.__init__

        def init(self: Any, spec: Any, *rest: Any, original: Callable[..., None] = original, **named: Any) -> None:
            seen.append(spec.name)
            original(self, spec, *rest, **named)

        monkeypatch.setattr(kind, "__init__", init)
    return seen


def image(session: Session, seed: int, **fields: Any) -> None:
    session.run(session.plan(make_request({"kind": "image", "prompt": "a red circle", "seed": seed, "steps": 1, **fields})))


def film(session: Session, seed: int) -> None:
    wish = {
        "kind": "video", "prompt": "a red circle", "seed": seed, "steps": 1, "transition_steps": 1, "width": 64, "height": 64,
        "stages": [{"prompt": "a red circle"}, {"prompt": "a blue circle"}], "frames_per_transition": 3,
    }  # fmt: skip
    session.run(session.plan(make_request(wish)))


def test_size_steps_prompt_and_tiles_reload_nothing(loads: list[str], home: Path, outputs: Path) -> None:
    session = Session(home=home, output_dir=outputs)
    for seed, fields in enumerate(({}, {"width": 64, "height": 64}, {"steps": 2}, {"prompt": "a blue star"}, {"guidance": 1.0})):
        image(session, seed, **fields)
    film(session, 9)
    film(session, 10)
    assert loads == ["pocket-flux", "pocket-svd"]
    session.unload()
    assert session.warm_models() == ()
    image(session, 20)
    assert loads == ["pocket-flux", "pocket-svd", "pocket-flux"]


def test_where_the_vae_decodes_reloads_nothing_and_another_offload_does(loads: list[str], home: Path) -> None:
    engines, resident = WarmEngines(home), Placement("pocket-flux", "cpu", "none", 0, 0)
    first = engines.flux(resident, "fp32")
    assert engines.flux(dataclasses.replace(resident, decode_on_cpu=True), "fp32") is first
    engines.flux(dataclasses.replace(resident, offload="phases"), "fp32")
    assert (loads, len(engines.models())) == (["pocket-flux"] * 2, 1)  # one way of holding a model at a time


@pytest.mark.parametrize("room", [True, False])
def test_a_large_engine_gives_way_only_where_its_room_is_needed(
    room: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "_fits_now", lambda placement: room)
    for name in ("flux1-schnell", "svd-xt"):
        (home / "models").mkdir(parents=True, exist_ok=True)
        build_model(name, home / "models" / name)
    engines = WarmEngines(home)
    engines.flux(Placement("pocket-flux", "cpu", "none", 0, 0), "fp32")
    engines.flux(Placement("flux1-schnell", "cpu", "none", 0, 0), "fp32")
    engines.svd(Placement("svd-xt", "cpu", "none", 0, 0), "fp32")
    assert engines.models() == (("pocket-flux", "flux1-schnell", "svd-xt") if room else ("pocket-flux", "svd-xt"))


def test_what_warm_engines_hold_counts_as_free_for_the_next_plan(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 16 * GIB  # whatever else this machine does meanwhile
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free, total=2 * free))
    (home / "models").mkdir(parents=True)
    build_model("flux1-schnell", home / "models" / "flux1-schnell")
    session = Session(home=home)
    with session._telling_what_is_held():
        session._engines.flux(Placement("flux1-schnell", "cpu", "none", 0, 0), "fp32")
    weights = sum(sizes_of(MODELS["flux1-schnell"], "fp32").values())  # of the published model; the stand-in is tiny
    assert device.read_budget(home).host_bytes == free + weights
    session.unload()
    assert device.read_budget(home).host_bytes == free


def test_levers_that_have_run_on_a_device_are_known_from_then_on(home: Path) -> None:
    here = device.read_budget(home).device_name
    assert device.read_budget(home).tried == frozenset()
    device.record_levers(home, here, ["stream"])
    device.record_levers(home, here, ["fold", "stream"])
    device.record_levers(home, "another GPU", ["other"])
    assert device.read_budget(home).tried == {"stream", "fold"}
    assert device.read_budget(home, vram_bytes=4 * GIB).tried == {"stream", "fold"}


def soak(session: Session, jobs: int) -> tuple[float, int, int]:
    """Run short mixed jobs; return MB of resident memory gained a job over the last half, and open files halfway and after."""
    process, resident, opened = psutil.Process(), [], []
    gc.collect()
    gc.freeze()  # what is there before is not looked through after every job
    for job in range(jobs):
        if job % 5 == 4:
            film(session, job)
        else:
            side = 32 * (2 + job % 4)
            image(session, job, width=side, height=128, prompt=f"a red circle and {job} more words")
        gc.collect()
        resident.append(process.memory_info().rss / 1e6)
        opened.append(process.num_fds() if os.name == "posix" else process.num_handles())
    gc.unfreeze()
    half = resident[jobs // 2 :]
    slope = float(np.polyfit(np.arange(len(half)), half, 1)[0])
    return slope, opened[jobs // 2], opened[-1]


@pytest.mark.parametrize("jobs", [40, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_memory_and_open_files_stay_flat_over_many_jobs(jobs: int, home: Path, outputs: Path) -> None:
    slope, halfway, after = soak(Session(home=home, output_dir=outputs), jobs)
    assert slope <= 0.2, f"{slope:.3f} MB a job"
    assert after <= halfway
