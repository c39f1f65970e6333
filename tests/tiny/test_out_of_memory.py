"""Memory that runs out at any call of any part of a tiny film: it finishes a rung lower, with the same pixels."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, FluxTransformer2DModel, UNetSpatioTemporalConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPVisionModelWithProjection, T5EncoderModel

from flux_svd.artifact import VideoArtifact
from flux_svd.catalog import MODELS
from flux_svd.engines import preview
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.svd import SvdEngine
from flux_svd.errors import DoesNotFit
from flux_svd.memory import Placement
from flux_svd.plan import Plan
from flux_svd.progress import ignore_steps
from flux_svd.recipe import fingerprint
from flux_svd.request import make_request
from flux_svd.session import Session
from flux_svd.storyboard import MotionStage
from tests.tiny.builders import SIDE, image_recipe, picture, placement, transition_recipe, video_recipe

FolderOf = Callable[[str], Path]
DRAW, ANIMATE = "flux1-schnell", "svd-xt"
CALLS = [  # every way into a part of either model
    (CLIPTextModel, "forward"), (T5EncoderModel, "forward"), (FluxTransformer2DModel, "forward"), (AutoencoderKL, "decode"),
    (CLIPVisionModelWithProjection, "forward"), (AutoencoderKLTemporalDecoder, "encode"),
    (UNetSpatioTemporalConditionModel, "forward"), (AutoencoderKLTemporalDecoder, "decode"),
]  # fmt: skip


class Memory:
    """Counts calls of model parts and runs out at the given ones (from 1); previews, which come by the clock, are off."""

    def __init__(self) -> None:
        self.calls, self.fail_at = 0, set[int]()
        self.spared = False  # whether the last failure hit the strip of a transition, which is worth no rung

    def count(self) -> None:
        self.calls += 1
        if self.calls in self.fail_at:
            self.spared = any(frame.name == "strip" for frame in traceback.extract_stack())
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    counted = Memory()
    monkeypatch.setattr(preview, "INTERVAL", math.inf)  # a slow machine would make more calls than a quick one
    for kind, name in CALLS:
        original = getattr(kind, name)

        def call(self: Any, *given: Any, original: Any = original, **named: Any) -> Any:
            counted.count()
            return original(self, *given, **named)

        monkeypatch.setattr(kind, name, functools.wraps(original)(call))
    embed = FluxEngine.embed

    def forgetful(self: Any, recipe: Any) -> Any:  # so that every film asks the encoders
        self._texts.clear()
        return embed(self, recipe)

    monkeypatch.setattr(FluxEngine, "embed", forgetful)
    return counted


@pytest.fixture
def run(tmp_path: Path, folder_of: FolderOf) -> Callable[[Plan], VideoArtifact]:
    """Return a function that makes a film in a data folder of its own, all of them with one set of warm engines."""
    engines: list[Any] = []
    made: list[Path] = []

    def run(plan: Plan) -> VideoArtifact:
        home = tmp_path / f"home-{len(made)}"
        (home / "models").mkdir(parents=True)
        made.append(home)
        for name in (DRAW, ANIMATE):
            (home / "models" / name).symlink_to(folder_of(name))
        session = Session(home=home, output_dir=home / "outputs")
        if engines:
            session._engines = engines[0]
        engines.append(session._engines)
        (film,) = session.run(plan)
        assert isinstance(film, VideoArtifact)
        assert list(home.rglob("*.latents")) == []
        return film

    return run


def film_plan(consent: bool = False, side: int = SIDE) -> Plan:
    """Return the plan of a film of two keyframes and five frames, by hand: the planner knows the models at full size."""
    keys = tuple(
        image_recipe(DRAW, prompt=text, prompt_tokens=24, width=side, height=side) for text in ("a red fox", "a grey owl")
    )
    way = transition_recipe(start=fingerprint(keys[0]), end=fingerprint(keys[1]), width=side, height=side)
    request = make_request({"kind": "video", "prompt": "a fox", "stages": [{"prompt": "a"}, {"prompt": "b"}], "consent": consent})
    stages = tuple(MotionStage("", text) for text in ("a red fox", "a grey owl"))
    placements = (placement(DRAW), placement(ANIMATE), Placement("pocket-clip", "cpu", "none", 0, 0))
    left = tuple(Placement(name, "cpu", "phases", 0, 0) for name in (DRAW, ANIMATE))
    return Plan(request, 7, (video_recipe(way, keyframes=keys, width=side, height=side),), placements, (), stages, fallbacks=left)


def digest(film: VideoArtifact) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in (film.path, *film.keyframes)]


@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_memory_that_runs_out_at_any_call_leaves_the_film_as_it_would_be(
    stride: int, memory: Memory, run: Callable[[Plan], VideoArtifact]
) -> None:
    whole = digest(run(film_plan()))
    calls = memory.calls
    assert calls >= 35  # 2 × (2 encoders, 4 steps, 1 decode), 14 UNet calls, 2 × 3 encodings, a decode, 2 round trips
    for index in range(1, calls + 1, stride):
        memory.calls, memory.fail_at = 0, {index}
        film = run(film_plan())
        assert digest(film) == whole, f"call {index}"
        told = [note for note in film.run.notes if note.startswith("memory ran out")]
        assert len(told) == (0 if memory.spared else 1), f"call {index}: {film.run.notes}"
        if memory.spared:
            continue
        assert "parts loaded from disk one by one" in told[0]
        # at most the conditions (6 calls) and the step that was begun (5) are computed again
        assert index < memory.calls <= calls + 12, f"call {index}: work was done again"


def test_memory_that_always_runs_out_is_told_with_what_to_do_and_the_next_job_works(
    memory: Memory, run: Callable[[Plan], VideoArtifact]
) -> None:
    memory.fail_at = set(range(1, 1000))
    with pytest.raises(DoesNotFit, match=r"nothing smaller is left to try: .* Close other programs"):
        run(film_plan())
    memory.fail_at = set()
    assert run(film_plan()).recipe == film_plan().recipes[0]


@pytest.mark.parametrize(("decode", "tiles"), [(7, [32, 32]), (14, [0, 32])], ids=["first picture", "second picture"])
def test_with_consent_pictures_are_decoded_in_tiles_from_the_one_that_failed_and_say_so_in_their_recipes(
    decode: int, tiles: list[int], memory: Memory, run: Callable[[Plan], VideoArtifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flux_svd.ladder.TILES", (32,))  # of four latents: diffusers overlaps tiles by a quarter
    memory.fail_at = {decode}
    film = run(film_plan(consent=True, side=64))
    keys = film.recipe.keyframes
    assert [key.decode_tile for key in keys] == tiles  # type: ignore[union-attr]
    assert [(way.start, way.end) for way in film.recipe.transitions] == [tuple(map(fingerprint, keys))]
    assert any("went on decoding tiles of 32 pixels" in note for note in film.run.notes)
    # the transformer was not asked again: 2 encoders, 4 steps and 2 decodes, then the second picture, then the way
    assert memory.calls <= 60


@pytest.mark.parametrize(("fails_at", "lowered"), [(11, [False, True]), (4, [True, True])])
def test_with_consent_a_picture_begins_anew_with_weights_in_fp8_and_what_is_finished_keeps_its_recipe(
    fails_at: int, lowered: list[bool], memory: Memory, run: Callable[[Plan], VideoArtifact]
) -> None:
    planned = film_plan(consent=True)
    small = Placement(DRAW, "cpu", "none", 0, 0, stored="fp8")
    plan = dataclasses.replace(planned, fallbacks=(small, *planned.fallbacks))
    memory.fail_at = {fails_at}  # two encoders, four steps and a decode of each picture: its second step
    film = run(plan)
    wished = [image_recipe(DRAW, prompt=text, prompt_tokens=24) for text in ("a red fox", "a grey owl")]
    expected = [
        dataclasses.replace(recipe, precision="fp8") if low else recipe for recipe, low in zip(wished, lowered, strict=True)
    ]
    assert list(film.recipe.keyframes) == expected
    assert (film.recipe.transitions[0].start, film.recipe.transitions[0].end) == tuple(fingerprint(one) for one in expected)
    [told] = [note for note in film.run.notes if note.startswith("memory ran out")]
    assert "its precision is lower, which the request allows" in told
    memory.fail_at = set()
    for path, recipe, low in zip(film.keyframes, expected, lowered, strict=True):
        alone = FluxEngine(
            MODELS[DRAW],
            path.parents[2] / "models" / DRAW,
            placement(DRAW),
            "bf16" if low else "fp32",
            stored="fp8" if low else "",
        )
        with Image.open(path) as drawn:  # as if it had been drawn so from the first step
            assert np.array_equal(np.asarray(drawn), np.asarray(alone.draw(recipe, [], ignore_steps)))


@pytest.mark.parametrize("offload", ["none", "model", "phases"])
def test_decoding_on_the_processor_gives_the_same_picture_and_frames(offload: str, folder_of: FolderOf) -> None:
    pixels = []
    for aside in (False, True):
        placed = Placement(DRAW, "cpu", offload, 0, 0, decode_on_cpu=aside)  # type: ignore[arg-type]
        engine = FluxEngine(MODELS[DRAW], folder_of(DRAW), placed, "fp32")
        pixels.append(np.asarray(engine.draw(image_recipe(DRAW), [], ignore_steps)))
    assert np.array_equal(*pixels)
    films, keys, way = [], (picture(1), picture(2)), transition_recipe(steps=1)
    for aside in (False, True):
        placed = Placement(ANIMATE, "cpu", offload, 0, 0, decode_on_cpu=aside)  # type: ignore[arg-type]
        video = SvdEngine(MODELS[ANIMATE], folder_of(ANIMATE), placed, "fp32")
        latents = video.sample(way, *keys, ignore_steps)
        films.append(np.stack(list(video.decode([latents], keys, (0, 4), video_recipe(way), ignore_steps).frames)))
    assert np.array_equal(*films)


@pytest.mark.parametrize("name", [DRAW, ANIMATE])
def test_parts_that_wait_on_the_disk_are_not_in_memory_together(name: str, folder_of: FolderOf) -> None:
    placed = Placement(name, "cpu", "phases", 0, 0)
    present: list[set[str]] = []
    parts = ("text_encoder", "text_encoder_2", "transformer", "image_encoder", "unet")

    def look(step: int, steps: int, shown: bytes | None) -> None:
        present.append({part for part in parts if getattr(engine._pipeline, part, None) is not None})

    engine: Any
    if name == DRAW:
        engine = FluxEngine(MODELS[name], folder_of(name), placed, "fp32")
        engine.draw(image_recipe(name), [], look)
        assert present == [{"transformer"}] * 4
    else:
        engine = SvdEngine(MODELS[name], folder_of(name), placed, "fp32")
        engine.sample(transition_recipe(), picture(1), picture(2), look)
        assert present == [{"unet"}] * transition_recipe().unet_calls
