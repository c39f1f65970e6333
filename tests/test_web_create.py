"""The page Create without a browser: what its form means, what the efforts cost, what can be done with a picture."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from PIL import Image

from flux_svd import presets
from flux_svd.artifact import ImageArtifact, RunFacts, encode_image
from flux_svd.catalog import IMAGE_FAMILIES, MODELS
from flux_svd.clock import Clock
from flux_svd.errors import FluxSvdError, InvalidRequest
from flux_svd.memory import GIB
from flux_svd.recipe import ImageRecipe, fingerprint
from flux_svd.request import ImageRequest, make_request
from flux_svd.session import Session
from flux_svd.upscale import upscale_file
from flux_svd.web import extras, fields, parts, results
from flux_svd.web.create import CreatePage
from flux_svd.web.desk import Desk
from flux_svd.web.efforts import effort_choices
from flux_svd.web.extras import drawn
from flux_svd.web.fields import PictureForm
from flux_svd.web.i18n import is_known
from flux_svd.web.parts import plan_line
from flux_svd.web.results import Partner, Results, Shown
from flux_svd.web.shelf import Shelf
from flux_svd.web.streamed import Streamed
from tests.test_planner import plan_of

DRAWING = [spec for spec in MODELS.values() if spec.family in IMAGE_FAMILIES]
REQUEST: Any = SimpleNamespace(session_hash="tab", cookies={})
FORM = PictureForm("a red circle", "1:1", 1, "auto", "balanced", "", True, "", "", "", (), {})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    session = Session(home=tmp_path / "home", output_dir=tmp_path / "out")
    return Desk(session, Shelf(tmp_path / "out"), Streamed(session))


@pytest.fixture
def page(desk: Desk) -> Iterator[CreatePage]:
    with gr.Blocks():
        yield CreatePage(desk)


def made(folder: Path, index: int = 0, **wish: Any) -> ImageArtifact:
    """Return one picture of a plan, as this program leaves it; its pixels do not matter here."""
    plan = plan_of(**wish)
    recipe = plan.recipes[index]
    assert isinstance(recipe, ImageRecipe)
    path = folder / f"made-{index}.png"
    path.write_bytes(encode_image(Image.new("RGB", (recipe.width, recipe.height), "red"), plan.request, recipe))
    return ImageArtifact(path, plan.request, recipe, RunFacts(1.0, "CPU", 0, {"clip_cosine": 0.8}))


def form_of(page: CreatePage, request: ImageRequest) -> PictureForm:
    """Return the form as it stands after the request was brought back."""
    update = page.filled(request)
    told = [update[box] for box in page.wish]
    return PictureForm(*(one.value if isinstance(one, gr.Radio | gr.Textbox) else one for one in told))


# Shapes and efforts.


@pytest.mark.parametrize("preset", [None, "draft", "balanced", "best"])
@pytest.mark.parametrize("spec", DRAWING, ids=lambda spec: spec.name)
def test_every_shape_is_called_what_it_is(spec: Any, preset: Any) -> None:
    shapes = fields.shapes_of(spec, preset)
    assert shapes["1:1"][0] == shapes["1:1"][1]
    for name, size in shapes.items():
        assert presets.proportion(*size) == name
        assert all(side % spec.size_multiple == 0 and side <= spec.size_max for side in size)


def test_a_draft_of_every_shape_is_smaller_where_the_effort_says_so() -> None:
    whole, draft = (fields.shapes_of(MODELS["flux1-dev"], preset) for preset in ("balanced", "draft"))
    assert len(whole) == 6
    assert all(draft[name][0] < whole[name][0] for name in whole)


def test_each_effort_tells_time_and_memory_of_the_plan_it_would_give(desk: Desk) -> None:
    plan = desk.plan(fields.image_fields(desk, FORM))
    told = {name: label for label, name in effort_choices(desk, FORM, plan)}
    assert {label.split("\n")[1] for label in told.values()} == {"not timed yet"}
    assert {len(label.split("\n")) for label in told.values()} == {2}  # all take the same memory: it stands with the plan
    assert f"{plan.peak_bytes / 2**20:.0f} MiB of memory." in parts.plan_line(plan, desk)
    peaks = {"draft": 15, "balanced": 20, "best": 24}
    large = {name: SimpleNamespace(seconds=9.0, peak_bytes=gib * GIB) for name, gib in peaks.items()}
    large_desk = SimpleNamespace(plan=lambda told: large[told["preset"]], resolve=desk.resolve)
    apart = effort_choices(cast("Desk", large_desk), FORM, cast("Any", large["balanced"]))
    assert [label.split("\n")[2] for label, _ in apart] == ["15.0 GiB", "20.0 GiB", "24.0 GiB"]
    desk.session.store.learn_seconds(Clock(desk.session.store, plan).keys["draw"], 2.0)  # a step
    plan = desk.plan(fields.image_fields(desk, FORM))
    times = [label.split("\n")[1] for label, _ in effort_choices(desk, FORM, plan)]
    assert times == ["8 s", "16 s", "32 s"]  # 4, 8 and 16 steps


def test_typed_steps_count_for_the_chosen_effort_alone_since_another_choice_empties_them(desk: Desk, page: CreatePage) -> None:
    form = replace(FORM, steps="50")
    plan = desk.plan(fields.image_fields(desk, form))
    desk.session.store.learn_seconds(Clock(desk.session.store, plan).keys["draw"], 1.0)
    plan = desk.plan(fields.image_fields(desk, form))
    assert [label.split("\n")[1] for label, _ in effort_choices(desk, form, plan)] == ["4 s", "50 s", "16 s"]
    steps = page.choose_effort("best", "auto")
    assert (steps.value, steps.placeholder) == ("", "16")


def test_a_form_that_cannot_be_planned_has_no_figures_for_the_chosen_effort(desk: Desk) -> None:
    told = [label for label, _ in effort_choices(desk, replace(FORM, prompt=" "), None)]
    assert told[1] == "Balanced\n–"
    assert told[0] == "Draft\nnot timed yet"


def test_an_empty_prompt_is_asked_for_in_plain_words(desk: Desk, page: CreatePage) -> None:
    for prompt in ("", "  "):
        said = page.look_ahead(*vars(replace(FORM, prompt=prompt)).values())[page.line]
        assert "Write what you want to see." in said
        assert 'data-bad="prompt"' in said
        assert "not accepted" not in said
    told = parts.problem(InvalidRequest("stages.1.prompt", "", "1 to 10000 characters"))
    assert "Stage 2, prompt: " in told
    assert "Write what you want to see." in told


def test_the_page_leaves_out_of_a_plan_what_only_the_command_line_needs(desk: Desk) -> None:
    plan = desk.plan(fields.image_fields(desk, FORM))
    assert {note.what for note in plan.decisions} >= {"attention slicing", "placement"}
    said = parts.plan_facts(plan)
    assert "slicing" not in said
    assert "pocket-flux · CPU · resident" in said
    assert not re.search(r"\bP\d", said)


def test_the_plan_line_tells_what_the_effort_sets(desk: Desk, page: CreatePage) -> None:
    told = page.look_ahead(*vars(replace(FORM, preset="draft", shape="5:3")).values())
    assert "160 × 96 · 4 steps" in told[page.line]


def test_what_was_said_of_a_refused_wish_goes_with_the_next_plan(page: CreatePage) -> None:
    wish, bad = vars(FORM).values(), vars(replace(FORM, prompt=" ")).values()
    said = parts.not_started()
    assert page.stat not in page.look_again(REQUEST, said, *bad)
    assert page.look_again(REQUEST, said, *wish)[page.stat] == parts.status("Ready")
    failed = parts.refused(FluxSvdError("no"), passing=2)  # by a button after which the page looks ahead at once
    after = page.look_again(REQUEST, failed, *wish)[page.stat]
    assert "Failed" in after
    assert page.look_again(REQUEST, after, *wish)[page.stat] == parts.status("Ready")
    for stays in (parts.refused(FluxSvdError("of work")), parts.status("Starting", part=0)):
        assert page.stat not in page.look_again(REQUEST, stays, *wish)


def test_what_was_made_before_is_told_to_take_no_time(desk: Desk) -> None:
    plan = desk.plan(fields.image_fields(desk, FORM))
    told = {seconds: spoken(plan_line(replace(plan, seconds=seconds), desk))[0] for seconds in (None, 0.0, 0.2, 3.6)}
    assert [re.split(", | GiB", line)[0] for line in told.values()] == [
        "Time known after the first run", "At once", "About 1 s", "About 4 s",
    ]  # fmt: skip
    assert all(is_known(line.strip()) for line in told.values())


# What comes back.

WISHES: list[dict[str, Any]] = [
    {},
    {"preset": "draft", "seed": 5},
    {"width": 160, "height": 96, "count": 3, "steps": 5, "guidance": 2.0, "negative_prompt": "blue"},
    {"width": 96, "height": 112},
    {"shape": "photo"},
    {"variation": 0.25, "count": 2, "seed": 1},
    {"guidance_curve": [1.0, 4.0, 1.0], "best_of": 2, "step_cache": 0.1, "attention": "math", "compiled": True, "consent": True},
]


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: ",".join(wish) or "nothing")
def test_every_setting_comes_back_into_the_form(page: CreatePage, desk: Desk, wish: dict[str, Any]) -> None:
    request = make_request({"kind": "image", "prompt": "a red circle", "seed": 7, **wish})
    assert isinstance(request, ImageRequest)
    again = make_request(fields.image_fields(desk, form_of(page, request)))
    first, other = (plan_of(**one.model_dump(exclude={"kind"}, exclude_none=True)) for one in (request, again))
    assert first.recipes == other.recipes
    assert again.model_dump(include={"preset", "seed", "steps"}) == request.model_dump(include={"preset", "seed", "steps"})


def test_a_size_of_its_own_is_one_more_choice_and_says_its_pixels(page: CreatePage) -> None:
    request = ImageRequest(prompt="a red circle", width=96, height=112)
    assert page.filled(request)[page.shape].choices[-1] == ("96 × 112", "96x112")
    assert ("96 × 112", "96x112") not in page.filled(ImageRequest(prompt="a red circle"))[page.shape].choices


def test_a_dropped_picture_comes_back_with_the_seed_that_was_taken(page: CreatePage, tmp_path: Path) -> None:
    one = made(tmp_path, 1, seed=3, count=2)
    for path in (one.path, upscale_file(one.path, 2)):
        request, words = page.restore(str(path))
        assert "Its settings are back" in words
        assert isinstance(request, ImageRequest)
        form = form_of(page, request)
        assert (form.seed, form.fresh, form.count) == (str(one.recipe.seed), False, 1)


def test_what_cannot_come_back_is_said(page: CreatePage) -> None:
    request = ImageRequest(prompt="a red circle", model="flux2-klein-4b", references=("0" * 64,), start="1" * 64, strength=0.3)
    update = page.filled(request)
    said = update[page.extras.area]
    assert "flux2-klein-4b is not ready on this machine" in said
    assert "References that are not on this machine: 1." in said
    assert "The picture it began at is not on this machine." in said
    assert (update[page.model], update[page.extras.fields]) == ("auto", {})


def test_a_setting_without_a_field_is_taken_away_with_what_depends_on_it(page: CreatePage) -> None:
    event = gr.EventData(None, {"i": 0})
    left = page.extras.forget(event, {"start": "0" * 64, "strength": 0.5, "attention": "math"})
    assert left[page.extras.fields] == {"attention": "math"}
    assert "Attention" in left[page.extras.area]


def test_every_field_of_a_request_has_a_place_or_a_name() -> None:
    there = fields._IN_THE_FORM | {"negative_prompt"}
    for name, field in ImageRequest.model_fields.items():
        if name not in there:
            assert drawn({name: field.default}), name


def test_choosing_a_model_leaves_a_shape_it_has_alone(page: CreatePage) -> None:
    """Its event may have been sent with the shape that settings coming back have just replaced."""

    def told(shape: str) -> dict[str, Any]:
        radio = page.choose_model("pocket-flux", shape, None, Results())[0]
        given: dict[str, Any] = radio._constructor_args[0]
        return given

    assert "value" not in told("5:3")
    assert told("16:9")["value"] == "1:1"  # not one of its two


# What can be done with a picture.


def spoken(markup: str) -> list[str]:
    return [text for text in re.split(r"<[^>]*>", markup.replace("&nbsp;", " ")) if text.strip()]


def shown(tmp_path: Path, index: int = 0, **wish: Any) -> Shown:
    return results.shown(made(tmp_path, index, **wish), f"files/{index}/made.png")


def test_only_what_works_is_offered(tmp_path: Path) -> None:
    pocket, klein = MODELS["pocket-flux"].obeys, MODELS["flux2-klein-4b"].obeys
    one = shown(tmp_path)
    now = Results((one,))
    assert spoken(results.actions(now, pocket)) == [
        "Vary", "Slightly", "Widely", "Enlarge", "2× · 256 × 256", "4× · 512 × 512", "Download", "Send to Video", "To Video",
        "More", "Reuse seed", "Copy settings",
    ]  # fmt: skip
    assert "Use as reference" in spoken(results.actions(now, klein))
    large = results.actions(Results((replace(one, width=2560, height=2560),)), pocket)
    assert "2×" in large
    assert "4×" not in large  # 105 megapixels
    copied = now.with_copy(results.enlarged(one, "files/x/copy.png", 2))
    told = spoken(results.actions(copied, pocket))
    assert "Compare" in told
    assert not {"Vary", "Enlarge"} & set(told)
    assert "Vary" not in results.actions(Results((shown(tmp_path, variation=0.2),)), pocket)


def test_what_is_offered_and_told_is_said_in_every_language(tmp_path: Path, desk: Desk) -> None:
    one = shown(tmp_path)
    now = Results((one,)).with_copy(results.enlarged(one, "files/x/copy.png", 2))
    partners = results.partners_of(now, [Partner("data:r", "Reference 1", 8, 8)])
    told = [*spoken(results.actions(replace(now, chosen=0), MODELS["flux2-klein-4b"].obeys)), *(one.name for one in partners)]
    told += [part for label, _ in effort_choices(desk, FORM, None) for part in label.split("\n")]
    told += spoken(drawn(dict.fromkeys(extras.NAMES, "x"), ["The picture it began at is not on this machine."]))
    told += spoken(results.done(now)) + spoken(results.done(replace(now, partners=partners)))
    pieces = {piece.strip() for one in told for piece in one.split(" · ")}
    figures = re.compile(r"[\d.×\s]*(s|MiB|x|–)?")
    assert {one for one in pieces if not is_known(one) and not figures.fullmatch(one)} == set()


def test_copied_settings_make_this_very_picture(tmp_path: Path) -> None:
    artifact = made(tmp_path, 2, count=3, preset="draft", seed=9)
    request = make_request(json.loads(results.shown(artifact, "files/0/made.png").settings))
    assert isinstance(request, ImageRequest)
    plan = plan_of(**request.model_dump(exclude={"kind"}, exclude_none=True))
    assert [fingerprint(recipe) for recipe in plan.recipes] == [fingerprint(artifact.recipe)]


def test_a_picture_is_compared_with_its_original_its_references_its_neighbours_and_earlier_ones(tmp_path: Path) -> None:
    first, second, older = (replace(shown(tmp_path), address=f"files/{name}/x.png") for name in ("a", "b", "c"))
    now = Results((first, second), wanted=2).after(Results((older, first)))
    assert [one.address for one in now.earlier] == ["files/c/x.png"]
    now = now.with_copy(results.enlarged(first, "files/d/x.png", 2))
    partners = results.partners_of(now, [Partner("data:r", "Reference 1", 8, 8)])
    assert [one.name for one in partners] == [
        "Before it was enlarged", "Reference 1", "Picture 2 · Match 0.80", "Earlier · Match 0.80",
    ]  # fmt: skip
    stage = results.stage(replace(now, partners=partners, beside=2))
    assert stage.index("files/b/x.png") < stage.index("files/d/x.png")  # the partner is on the left, below
    assert 'type="range"' in stage
    assert "library/thumb/b" in results.row(replace(now, partners=partners))
    assert results.actions(replace(now, partners=partners), MODELS["pocket-flux"].obeys).count("data-do") == 1


@pytest.mark.parametrize("near", [True, False])
def test_a_small_copy_is_made_in_the_server_and_a_large_one_apart_and_both_leave_torch_alone(tmp_path: Path, near: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path = made(out).path
    limit = 256 * 256 if near else 256 * 256 - 1
    code = (
        "import sys; from pathlib import Path; from flux_svd.session import Session; from flux_svd.web.serve import *; "
        f"session = Session(home=Path({str(tmp_path / 'home')!r}), output_dir=Path({str(out)!r})); "
        "from flux_svd.ledger import Ledger; from flux_svd.web.queued import Queued; from flux_svd.web import desk as room; "
        f"room.NEAR_PIXELS = {limit}; asked = []; run = room.ask_apart; "
        "room.ask_apart = lambda *given: asked.append(given) or run(*given); "
        "desk = Desk(session, Shelf(session.output_dir), Queued(Ledger(session.home), session.output_dir)); "
        f"print(desk.enlarge(Path({str(path)!r}), 2)); assert 'torch' not in sys.modules; "
        f"assert len(asked) == {0 if near else 1}"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True)
    with Image.open(ran.stdout.strip()) as larger:
        assert larger.size == (256, 256)
