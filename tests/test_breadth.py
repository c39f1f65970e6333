"""What pictures may be wished for beyond a prompt: named sizes and efforts, curves, starts, variations, many references."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from flux_svd import session as session_module
from flux_svd.artifact import load_recipe
from flux_svd.catalog import IMAGE_FAMILIES, MODELS
from flux_svd.cli import main
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Plan
from flux_svd.presets import PRESETS, SHAPES, STRENGTH, VARIATION, VARIATIONS, Preset, Shape, curve_of_steps, proportion, size_for
from flux_svd.recipe import ImageRecipe
from tests.fakes import FakeEngines
from tests.test_planner import EVERYTHING, film_of, gpu, plan_of

PICTURE = "0" * 64
DRAWING = [spec for spec in MODELS.values() if spec.family in IMAGE_FAMILIES]


def large(**fields: Any) -> Plan:
    return plan_of(gpu(141, host=300), EVERYTHING, **fields)


def recipe_of(plan: Plan, index: int = 0) -> ImageRecipe:
    recipe = plan.recipes[index]
    assert isinstance(recipe, ImageRecipe)
    return recipe


def said(plan: Plan, what: str) -> str:
    return next(f"{note.value} ({note.why})" for note in plan.decisions if note.what == what)


def refusal(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        large(**fields)
    return caught.value


def test_every_name_that_may_be_asked_for_has_its_row() -> None:
    assert set(get_args(Shape)) == set(SHAPES)
    assert set(get_args(Preset)) == set(PRESETS)
    assert {name for rows in PRESETS.values() for name in rows} <= {spec.name for spec in DRAWING}


@pytest.mark.parametrize("spec", DRAWING, ids=lambda spec: spec.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_drawn_by_every_model(shape: Shape, spec: Any) -> None:
    recipe = recipe_of(large(model=spec.name, shape=shape))
    named = SHAPES[shape]
    assert recipe.width / recipe.height == pytest.approx(named.width / named.height, rel=0.13)  # 0.11 was seen, for pockets
    assert spec.pocket or (recipe.width, recipe.height) == (named.width, named.height)


def test_a_shape_of_a_film_suits_both_models() -> None:
    for shape in SHAPES:
        _, film = film_of(shape=shape)
        assert (film.width % 32, film.height % 32) == (0, 0)
    assert size_for("film", MODELS["pocket-flux"].film_size, 32, 256) == (160, 96)


def test_a_shape_that_is_scaled_is_said() -> None:
    assert "Record sleeve" in said(plan_of(shape="square-vinyl"), "size")
    assert "the shape of 1024 × 1024 at a size pocket-flux draws" in said(plan_of(shape="square-vinyl"), "size")
    assert said(large(model="flux1-dev", shape="film"), "size") == "1024 × 576 (Film frame, 16:9)"


def test_a_draft_of_a_shape_is_smaller_and_has_the_same_proportions() -> None:
    draft = large(model="flux1-dev", preset="draft", shape="film")
    assert said(draft, "size") == "768 × 432 (Film frame, 16:9: the shape of 1024 × 576 at the size of preset draft)"
    for shape, named in SHAPES.items():
        for model in ("flux1-dev", "flux2-klein-4b"):
            recipe = recipe_of(large(model=model, preset="draft", shape=shape))
            assert proportion(recipe.width, recipe.height) == proportion(named.width, named.height), (shape, model)
            assert recipe.width < named.width
            same = recipe_of(large(model=model, preset="balanced", shape=shape))
            assert (same.width, same.height) == (named.width, named.height)
    _, film = film_of(shape="film", preset="draft")  # films keep the video model's own size
    assert (film.width, film.height) == (160, 96)


def test_a_shape_that_names_its_proportions_has_them() -> None:
    for named in SHAPES.values():
        told = re.findall(r"\d+:\d+", named.title)
        assert told in ([], [proportion(named.width, named.height)]), named.title


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_partial_request_that_its_models_accept(preset: Preset) -> None:
    for name, fields in PRESETS[preset].items():
        recipe = recipe_of(large(model=name, preset=preset))
        assert recipe == recipe_of(large(model=name, **fields))
        assert recipe != recipe_of(large(model=name)), f"{preset} changes nothing for {name}"


def test_what_the_user_says_goes_before_the_preset() -> None:
    plan = large(model="flux1-dev", preset="draft")
    assert (said(plan, "steps"), said(plan, "size")) == ("20 (preset draft)", "768 × 768 (preset draft)")
    own = large(model="flux1-dev", preset="draft", steps=7, width=1024, height=576)
    assert (recipe_of(own).steps, recipe_of(own).width) == (7, 1024)
    assert recipe_of(large(model="flux1-dev", preset="best")).steps == MODELS["flux1-dev"].steps


def test_a_draft_makes_less_work_and_the_best_no_less_than_balanced() -> None:
    for spec in DRAWING:
        work = [
            (recipe := recipe_of(large(model=spec.name, preset=preset))).steps * recipe.width * recipe.height
            for preset in ("draft", "balanced", "best")
        ]
        assert work == sorted(work), spec.name
        assert work[0] < work[1], spec.name


@pytest.mark.parametrize(
    ("knots", "steps", "values"),
    [
        ((1.0, 5.0, 1.0), 5, (1.0, 3.0, 5.0, 3.0, 1.0)),
        ((1.0, 2.0), 1, (1.0,)),
        ((3.0, 1.0, 4.0, 1.0), 4, (3.0, 1.0, 4.0, 1.0)),
        ((1.0, 2.0, 4.0), 4, (1.0, 1.666667, 2.666667, 4.0)),
    ],
)
def test_a_curve_runs_on_straight_lines_through_its_knots(
    knots: tuple[float, ...], steps: int, values: tuple[float, ...]
) -> None:
    assert curve_of_steps(knots, steps) == values


def test_a_curve_is_planned_for_models_that_obey_guidance() -> None:
    plan = large(model="flux2-dev", guidance_curve=[1.0, 5.0, 1.0], steps=5)
    assert recipe_of(plan).guidance_curve == (1.0, 3.0, 5.0, 3.0, 1.0)
    assert said(plan, "guidance").startswith("1 → 5 → 1")
    assert refusal(model="flux2-klein-4b", guidance_curve=[1.0, 4.0]).field == "guidance_curve"
    assert "exclude each other" in str(refusal(model="flux1-dev", guidance_curve=[1.0, 4.0], guidance=3.0))


def test_a_negative_prompt_of_flux1_dev_needs_its_own_scale() -> None:
    refused = refusal(model="flux1-dev", negative_prompt="rain")
    assert (refused.field, "above 1" in refused.allowed) == ("cfg_scale", True)
    plan = large(model="flux1-dev", negative_prompt="rain", cfg_scale=2.0)
    assert (recipe_of(plan).cfg_scale, recipe_of(plan).guidance) == (2.0, MODELS["flux1-dev"].guidance)
    assert "twice as long" in said(plan, "cfg scale")
    assert "there is none" in str(refusal(model="flux1-dev", cfg_scale=2.0))
    assert "flux1-dev" in refusal(model="flux2-klein-base-4b", negative_prompt="rain", cfg_scale=2.0).allowed


def test_beginning_at_a_picture_takes_only_the_last_steps() -> None:
    plan = plan_of(start=PICTURE, strength=0.5, steps=8)
    assert (recipe_of(plan).start, recipe_of(plan).first_step) == (PICTURE, 4)
    assert "4 of 8 steps" in said(plan, "strength")
    assert recipe_of(plan_of(start=PICTURE)).strength == STRENGTH
    assert plan_of(start=PICTURE, strength=0.01, steps=1).recipes[0].first_step == 0  # type: ignore[union-attr]
    assert refusal(model="flux2-klein-4b", start=PICTURE).field == "start"
    for wrong in ({"strength": 0.5}, {"start": PICTURE, "variation": 0.1}):
        with pytest.raises(InvalidRequest):
            plan_of(**wrong)


def test_variations_share_a_seed_and_turn_to_different_noise() -> None:
    plan = plan_of(variation=0.2, count=3)
    recipes = [recipe_of(plan, n) for n in range(3)]
    assert {(recipe.seed, recipe.variation) for recipe in recipes} == {(7, 0.2)}
    assert len({recipe.variation_seed for recipe in recipes} | {7}) == 4


def test_the_plan_tells_how_many_pixels_references_add() -> None:
    plan = large(model="flux2-klein-4b", references=[PICTURE, "1" * 64])
    assert said(plan, "references") == (
        "2, up to 1,048,576 pixels each (every step looks at up to 12288 tokens of pictures, 4096 of them drawn: at least 3.0 "
        "times the work)"
    )
    many = [f"{n:064x}" for n in range(7)]
    assert refusal(model="flux2-klein-4b", references=many[:5]).allowed == "at most 4 pictures for flux2-klein-4b"
    assert refusal(model="flux2-dev", references=many).allowed == "at most 6 pictures for flux2-dev"
    assert recipe_of(large(model="flux2-dev", references=many[:6])).references == tuple(many[:6])


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("FLUX_SVD_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    engines = FakeEngines()
    monkeypatch.setattr(session_module, "WarmEngines", lambda home: engines)

    def command(*arguments: str) -> tuple[int, dict[str, Any], FakeEngines]:
        code = main([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out), engines

    return command


def test_the_command_line_knows_shapes_presets_and_curves(run: Any) -> None:
    _, answer, _ = run("image", "a red circle", "--shape", "film", "--preset", "draft", "--guidance-curve", "1,4,1")
    recipe = load_recipe(answer["path"])
    assert isinstance(recipe, ImageRecipe)
    assert (recipe.width, recipe.height, recipe.steps, recipe.guidance_curve) == (176, 96, 4, (1.0, 3.0, 3.0, 1.0))
    code, answer, _ = run("image", "a red circle", "--shape", "round")
    assert (code, answer["field"], "square-vinyl" in answer["allowed"]) == (2, "shape", True)
    code, answer, _ = run("image", "a red circle", "--guidance-curve", "low,high")
    assert (code, answer["field"]) == (2, "guidance_curve")
    code, answer, _ = run("image")
    assert (code, answer["field"]) == (2, "prompt")


def test_variations_of_a_file_keep_its_settings(run: Any, tmp_path: Path) -> None:
    wish = ("image", "a red circle", "--steps", "5", "--negative", "blue", "--count", "2", "--seed", "3")
    _, before, _ = run(*wish)
    _, answer, _ = run("image", "--variations-of", before["paths"][1])
    first, again = load_recipe(before["paths"][1]), [load_recipe(path) for path in answer["paths"]]
    assert len(again) == VARIATIONS
    for recipe in again:
        assert isinstance(recipe, ImageRecipe)
        assert isinstance(first, ImageRecipe)
        assert (recipe.seed, recipe.variation, recipe.steps) == (first.seed, VARIATION, 5)
        assert (recipe.prompt, recipe.negative_prompt) == ("a red circle", "blue")
    _, answer, _ = run("image", "a blue circle", "--variations-of", before["path"], "--variation", "0.5", "--count", "1")
    assert load_recipe(answer["path"]).variation == 0.5  # type: ignore[union-attr]
    assert load_recipe(answer["path"]).prompt == "a blue circle"  # type: ignore[union-attr]
    code, answer, _ = run("image", "--variations-of", answer["path"])
    assert (code, answer["field"]) == (2, "variations-of")


def test_a_picture_to_begin_at_is_cut_to_shape_and_reaches_the_engine(run: Any, tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), "red").save(tmp_path / "own.png")
    code, answer, engines = run("image", "a red circle", "--start", "own.png", "--strength", "0.5")
    assert code == 0
    assert "draw a red circle from a picture" in engines.calls
    assert load_recipe(answer["path"]).strength == 0.5  # type: ignore[union-attr]
    code, answer, _ = run("image", "a red circle", "--start", "missing.png")
    assert (code, answer["field"]) == (2, "start")
