"""The table of texts is whole, and no text of the page stands outside it."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from flux_svd import weights
from flux_svd.catalog import MODELS
from flux_svd.errors import DoesNotFit, InvalidRequest, ModelUnavailable
from flux_svd.memory import GIB
from flux_svd.placing import LEVERS
from flux_svd.request import ImageRequest, VideoRequest, describe_bounds
from flux_svd.session import Session
from flux_svd.storyboard import write_stages
from flux_svd.web import i18n, parts
from flux_svd.web.desk import Desk
from flux_svd.web.exports import ExportRoutes
from flux_svd.web.models import how_it_fits
from flux_svd.web.page import build_page
from flux_svd.web.shelf import Shelf
from flux_svd.web.streamed import Streamed
from flux_svd.web.texts import TEXTS
from tests.test_planner import EVERYTHING, LAPTOP, POCKET, gpu, plan_of

WEB = Path(i18n.__file__).parent
# Rooms of the page that write markup or words; the others answer programs.
PAGES = ("board", "buttons", "cards", "create", "create_job", "details", "exports", "extras", "filling", "film_report",
         "film_view", "filmstrip", "library_tab", "models", "page", "parts", "picture_card", "player", "references", "reopen",
         "results", "video", "video_job")  # fmt: skip
# Names and figures, the same in every language; examples, which the pocket model reads; and units.
SAME = re.compile(r"(flux_svd|1|GiB|MiB|s|–|[\d.×·,/&;:()\s]*|Compute|a red circle.*|a yellow star.*|drag|0\.25)\Z")
HOLE = "\x01"


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


@pytest.mark.parametrize("english", TEXTS)
def test_every_text_has_all_languages_and_the_same_placeholders(english: str) -> None:
    others = TEXTS[english]
    assert len(others) == len(i18n.LANGUAGES) - 1
    for text in others:
        assert text.strip() == text
        assert text
        assert placeholders(text) == placeholders(english)


def test_chinese_is_chinese_and_no_column_is_another() -> None:
    columns = list(zip(*TEXTS.values(), strict=True))
    assert sum(bool(re.search("[一-鿿]", text)) for text in columns[3]) >= len(TEXTS) - 3  # "/ {n}" and its like
    for column in columns:
        same = sum(text == english for text, english in zip(column, TEXTS, strict=True))
        assert same < len(TEXTS) / 10


def test_licences_and_hurdles_are_in_the_table() -> None:
    for text in (weights.NO_TOKEN, weights.NOT_ACCEPTED, weights.TOKEN_LACKS_SCOPE, *(m.licence.allows for m in MODELS.values())):
        assert text in TEXTS


WISHES: list[dict[str, Any]] = [
    {"seed": None, "count": 2, "steps": 4, "width": 128, "height": 128, "guidance": 2.0},
    {"preset": "draft", "shape": "photo", "compiled": True},
    {"preset": "draft", "variation": 0.2, "attention": "math"},
    {"start": "0" * 64, "guidance_curve": [1.0, 4.0], "step_cache": 0.1},
    {"model": "flux1-dev", "negative_prompt": "blue", "cfg_scale": 2.0},
    {"references": ["0" * 64]},
    {"width": 2048, "height": 2048, "consent": True},
    {"model": "flux1-dev", "consent": True, "compiled": True},
    {"kind": "video", "loop": True, "colour_match": True, "best_of": 4, "seconds": 3.0},
    {"kind": "video", "smooth_joins": True, "keyframes": 2, "prompt": "a dog running"},
    {"kind": "video", "smooth_joins": True, "frames_per_transition": 40},
    *({"kind": "video", "transition": way, "frames_per_transition": 4} for way in ("vibid", "fusion", "fast", "plain")),
    {"kind": "video", "stages": ({"prompt": "a", "picture": "0" * 64}, {"prompt": "b"})},
    {"kind": "video", "stages": ({"prompt": "a", "picture": "0" * 64}, {"prompt": "b", "picture": "1" * 64})},
    {"kind": "video", "video_model": "ltx", "fps": 60},
    {"kind": "video", "fps": 60},
]
BUDGETS = [
    (LAPTOP, POCKET),
    (LAPTOP, EVERYTHING),
    (gpu(8), EVERYTHING),
    (gpu(12, 16), EVERYTHING),
    (gpu(48, 64, False), EVERYTHING),
    (dataclasses.replace(gpu(24), tried=frozenset({"fp8"})), EVERYTHING),
]


def test_what_plans_decide_and_why_is_told_in_every_language() -> None:
    told: set[str] = set()
    for (budget, inventory), wish in itertools.product(BUDGETS, WISHES):
        with contextlib.suppress(DoesNotFit, ModelUnavailable, InvalidRequest):  # a pocket model draws no large picture
            for note in plan_of(budget, inventory, **wish).decisions:
                if note.what == "attention slicing":
                    continue  # not on the page
                value = parts.placed_words(note.value)
                told |= {note.what.capitalize(), *note.why.split("; ")}
                told |= set(value.split(" · ")) - {*MODELS, "CPU", "CUDA", "MPS"} if " " in value else set()
    assert len(told) > 80
    assert {
        one
        for one in told
        if not i18n.is_known(one) and not re.fullmatch(r"arXiv:[\d.]+|\d+ × \d+|[\d.]+( s| fps)|[\d.]+( → [\d.]+)+", one)
    } == set()


def test_why_a_model_does_not_fit_is_told_in_every_language() -> None:
    said: set[str] = set()
    for gib, host, spec in itertools.product((4, 12), (16, 64), MODELS.values()):
        card = gpu(gib, host)
        for budget in (card, replace(card, lower_precision=True, tried=LEVERS), replace(LAPTOP, host_bytes=host * GIB)):
            fits, how = how_it_fits(spec, budget)
            if not fits:
                said |= {*re.split(r"(?<=[.!?]) (?=[A-Z])", how)}
    assert len(said) > 30
    assert {one for one in said if not i18n.is_known(one)} == set()
    assert len({one.split(" it takes ")[0] for one in said if one.startswith("With")}) > 3  # ways of every kind


def test_the_names_of_places_on_the_strip_are_told_in_every_language() -> None:
    for way in ("left to right", "top left to bottom right", "bottom to top"):
        for count in (2, 3, 4, 5):
            for stage in write_stages(f"a star moving from {way}", count):
                assert i18n.is_known(stage.name), stage.name
    assert all(i18n.is_known(stage.name) for stage in write_stages("a red circle", 5))


def test_what_fields_accept_is_told_in_every_language() -> None:
    for kind, name in ((ImageRequest, "steps"), (ImageRequest, "guidance"), (ImageRequest, "width"), (ImageRequest, "prompt"),
                       (ImageRequest, "seed"), (ImageRequest, "references"), (VideoRequest, "fps"),
                       (VideoRequest, "frames_per_transition")):  # fmt: skip
        bounds = describe_bounds(kind, name)
        assert i18n.is_known(bounds), bounds
        said = re.split(r"<[^>]*>", parts.problem(InvalidRequest(f"stages.1.{name}" if name == "seed" else name, "x", bounds)))
        assert i18n.is_known(said[1].strip().removesuffix(":")), said
        assert i18n.is_known(said[3].strip()), said


def test_gradio_gets_the_whole_table() -> None:
    told = i18n.gradio_texts().translations_dict
    assert list(told) == list(i18n.LANGUAGES)
    assert told["en"]["Generate"] == "Generate"
    assert told["zh-CN"]["Generate"] == "生成"
    assert all(len(column) == len(TEXTS) for column in told.values())


def test_every_text_of_gradios_components_is_marked(tmp_path: Path) -> None:
    session = Session(home=tmp_path / "home", output_dir=tmp_path / "out")
    shelf = Shelf(tmp_path / "out")
    page = build_page(Desk(session, shelf, Streamed(session, None)), ExportRoutes(tmp_path / "home", shelf))
    hidden = re.compile(r"\d+(st|nd|rd|th)|Run")  # of the endpoints for programs: names Gradio gives, never shown
    assert {text for text in i18n.mark_texts(page) if not SAME.match(text) and not hidden.fullmatch(text)} == set()
    labels = [str(block.label) for block in page.blocks.values() if isinstance(block, gr.Textbox)]
    assert any("__i18n__" in label for label in labels)


def test_an_unmarked_text_is_found() -> None:
    with gr.Blocks() as page:
        gr.Button("Nowhere in the table")
    assert i18n.mark_texts(page) == ["Nowhere in the table"]


def said_in(source: str) -> Iterator[str]:
    """Yield the visible words of a module's markup and status lines; holes of f-strings are `HOLE`."""
    tree = ast.parse(source)
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("status", "_status_line"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            text = node.value
        else:
            continue
        if "</" in text and "=>" not in text:
            text = re.sub(r"<(bdi|code|script|style)\b.*?</\1>", "<bdi>", text, flags=re.DOTALL)
            yield from re.findall(r'(?:aria-label|placeholder|title)="([^"]+)"', text)
            yield from re.split(r"<[^>]*>", text.replace("&nbsp;", " ").replace("&ensp;", " "))


def is_known(said: str) -> bool:
    said = said.strip().lstrip(">")
    if SAME.match(said.replace(HOLE, "")):
        return True
    return i18n.is_known(said.replace(HOLE, "x"))


@pytest.mark.parametrize("name", PAGES)
def test_no_visible_english_stands_outside_the_table(name: str) -> None:
    unknown = {said for said in said_in((WEB / f"{name}.py").read_text("utf-8")) if not is_known(said)}
    assert unknown == set()


def test_a_hard_coded_text_is_found() -> None:
    said = list(said_in("x = f'<b>Nowhere to be found</b>{n}'\ny = status('Also nowhere')"))
    assert {one for one in said if not is_known(one)} == {"Also nowhere", "Nowhere to be found"}


@pytest.mark.parametrize("name", ["film", "library", "models", "page"])
def test_every_text_of_the_scripts_is_in_the_table(name: str) -> None:
    script = (WEB / "static" / f"{name}.js").read_text("utf-8")
    said = re.findall(r'say\(\s*"([^"]+)"', script) + re.findall(r'\? "([A-Z][^"]+)" : "([A-Z][^"]+)"', script and "")
    assert said
    assert [text for text in said if text not in TEXTS] == []
    shown = re.findall(r'\btext: "([^"]*[a-z]{3}[^"]*)"', script)
    assert shown == []  # what is shown is said, or is a user's own
