"""Pocket jobs that are killed or run out of memory in the middle: they go on, and their files have the same bytes."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from flux_svd.engines import trail
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.svd import SvdEngine
from flux_svd.errors import OutOfMemory, Phase
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.request import make_request
from flux_svd.session import Session

PICTURE = {"kind": "image", "prompt": "a red circle on a blue background", "seed": 7, "steps": 4}
FILM = {
    "kind": "video", "prompt": "a red circle", "seed": 7, "steps": 2, "transition_steps": 3, "width": 64, "height": 64,
    "stages": [{"prompt": "a red circle"}, {"prompt": "a blue circle"}], "frames_per_transition": 3,
}  # fmt: skip


def made(home: Path, outputs: Path, wish: dict[str, Any], hear: Any = None) -> tuple[list[str], list[Progress], Any]:
    """Make a wish and return the digests of its files, what was told on the way, and the artifact."""
    session, told = Session(home=home, output_dir=outputs), list[Progress]()
    result = session.run(plan(session, wish), lambda progress: (told.append(progress), hear and hear(progress)))[0]
    files = sorted(path for path in outputs.rglob("*") if path.suffix in (".png", ".mp4"))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files], told, result


def plan(session: Session, wish: dict[str, Any]) -> Plan:
    return session.plan(make_request(wish))


@pytest.mark.parametrize(("wish", "phase", "step"), [(PICTURE, "draw", 3), (FILM, "animate", 7)], ids=["picture", "film"])
def test_a_job_killed_while_denoising_goes_on_from_its_checkpoint(
    wish: dict[str, Any], phase: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = made(tmp_path / "other", tmp_path / "other-outputs", wish)
    monkeypatch.setattr(trail, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(trail, "WRITING_SHARE", 1e9)
    home, outputs = tmp_path / "home", tmp_path / "outputs"

    def die(progress: Progress) -> None:
        if (progress.phase, progress.step) == (phase, step):
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        torch.set_num_threads(1)
        made(home, outputs, wish, die)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(300)
    assert child.exitcode == -9
    assert len(list(home.rglob("*.latents"))) == 1
    again, told, _ = made(home, outputs, wish)
    assert again == whole
    first = next(progress.step for progress in told if progress.phase == phase and progress.step)
    assert 1 < first <= step + 1  # not from the beginning
    assert list(home.rglob("*.latents*")) == []


@pytest.mark.parametrize("phase", ["load", "encode", "denoise", "decode"])
@pytest.mark.parametrize("engine", [FluxEngine, SvdEngine], ids=["picture", "film"])
def test_a_job_that_runs_out_of_memory_once_in_a_phase_has_the_same_bytes(
    engine: type[Any], phase: Phase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = PICTURE if engine is FluxEngine else FILM
    whole, _, _ = made(tmp_path / "other", tmp_path / "other-outputs", wish)
    method = {"load": "__init__", "encode": "embed" if engine is FluxEngine else "_encode",
              "denoise": "denoise" if engine is FluxEngine else "sample", "decode": "decode"}[phase]  # fmt: skip
    original, left = getattr(engine, method), [1]

    def fail_once(*given: Any, **named: Any) -> Any:
        if left:
            left.pop()
            short = OutOfMemory("The device ran out of memory")
            short.phase = phase
            raise short
        return original(*given, **named)

    monkeypatch.setattr(engine, method, fail_once)
    again, told, result = made(tmp_path / "home", tmp_path / "outputs", wish)
    assert again == whole
    assert left == []
    assert [note for note in result.run.notes if note.startswith("memory ran out while")]
    assert any(progress.note.startswith("memory ran out") for progress in told)
