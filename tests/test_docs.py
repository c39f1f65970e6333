"""What the documents say is what the code does: the tables, the commands, the tree, the links."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.cli import make_parser
from flux_svd.methods import METHODS, TransitionMethod
from flux_svd.recipe import VideoRecipe
from tests.test_planner import EVERYTHING, gpu, plan_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = list(ROOT.glob("*.md")) + list((ROOT / "docs").rglob("*.md"))


def table_row(spec: ModelSpec) -> str:
    billions = spec.parameters / 1e9
    size = f"{billions:.1f} billion" if billions >= 1 else f"{spec.parameters / 1e6:.0f} million"
    steps = str(spec.steps) if spec.steps else ""
    obeys = ", ".join(sorted(spec.obeys)).replace("_", " ")
    licence = f"[{spec.licence.id}]({spec.licence.url})" + (", ask first" if spec.licence.needs_consent else "")
    return f"| {spec.name} | {size} | {steps} | {obeys} | {licence} |"


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_the_table_of_models_is_the_catalogue(spec: ModelSpec) -> None:
    assert table_row(spec) in README


@pytest.mark.parametrize(("name", "method"), METHODS.items())
def test_the_table_of_transitions_is_what_is_planned(name: str, method: TransitionMethod) -> None:
    plan = plan_of(gpu(80), EVERYTHING, kind="video", keyframes=2, transition=name)
    film = plan.recipes[0]
    assert isinstance(film, VideoRecipe)
    assert f"| {name} | {film.transitions[0].unet_calls} | {method.does} | {method.source} |" in README


GROUPS = {"jobs", "library", "models", "plan"}
FLAGS = {"--keyframes-only", "--detach", "--public", "--mcp", "--densify", "--json"}  # options without a value


def options_first(words: list[str]) -> list[str]:
    """Return a command line with its options before everything else but the names of command and action."""
    head = 2 if words[0] in GROUPS and len(words) > 1 else 1
    options: list[str] = []
    others: list[str] = []
    rest = iter(words[head:])
    for word in rest:
        if word.startswith("--"):
            options += [word] if word in FLAGS else [word, next(rest)]
        else:
            others.append(word)
    return [*words[:head], *options, *others]


def test_every_command_in_the_documents_is_understood_in_both_orders() -> None:
    commands = [
        line.split("#")[0]
        for path in DOCUMENTS
        for block in re.findall(r"```\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("flux-svd ")
    ]
    assert len(commands) >= 7
    for command in commands:
        words = shlex.split(command)[1:]
        for ordered in (words, [*words, "--json"]):
            assert make_parser().parse_args(options_first(ordered)) == make_parser().parse_args(ordered)


BOTH_ORDERS = [
    ["jobs", "show", "ID", "--json"], ["jobs", "again", "ID", "--set", "steps=12"], ["models", "show", "svd-xt", "--json"],
    ["library", "search", "eagle", "--kind", "video"], ["library", "star", "FILE", "--output", "out"],
    ["library", "list", "--limit", "3"], ["bench", "pocket-flux", "--runs", "1"], ["export", "FILE", "--format", "gif"],
]  # fmt: skip


@pytest.mark.parametrize("words", BOTH_ORDERS, ids=" ".join)
def test_options_may_stand_before_what_they_are_about(words: list[str]) -> None:
    assert make_parser().parse_args(options_first(words)) == make_parser().parse_args(words)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("library --kind video --limit 3 search eagle", "library search eagle --kind video --limit 3"),
        ("library --output out star FILE", "library star FILE --output out"),
        ("jobs --json show ID", "jobs show ID --json"),
        ("models --json", "models list --json"),
    ],
)
def test_options_of_a_command_count_before_its_action_too(before: str, after: str) -> None:
    read = [vars(make_parser().parse_args(line.split())) for line in (before, after)]
    assert all(read[0][name] == read[1][name] for name in read[0])


def test_every_room_has_one_line_and_every_line_is_a_room() -> None:
    rooms = {path.name for path in (ROOT / "flux_svd").iterdir() if path.name != "__pycache__" and path.suffix != ".typed"}
    (listed,) = re.findall(r"```\n(.*?)```", (ROOT / "docs" / "rooms.md").read_text("utf-8"), re.DOTALL)
    names = [line.split()[0].rstrip("/") for line in listed.splitlines()]
    assert sorted(names) == sorted(rooms)


def test_the_tree_of_the_readme_names_what_there_is() -> None:
    tree = README[README.index("## The tree") : README.index("docs/rooms.md")]
    for name in re.findall(r"^(?:  )?(\S+/|\S+\.\w+)\s{2,}", tree, re.MULTILINE):
        assert (ROOT / name).exists() or (ROOT / "flux_svd" / name).exists(), name
    groups = re.findall(r"^  [a-z ]+?  +([a-z_]+(?:, [a-z_]+)+) ", tree, re.MULTILINE)
    assert len(groups) == 4
    for name in ", ".join(groups).split(", "):
        assert (ROOT / "flux_svd" / f"{name}.py").is_file(), name


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_space_names_the_gradio_that_is_pinned() -> None:
    pinned = re.search(r"^gradio==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    stated = re.search(r"^sdk_version: (.+)$", README, re.MULTILINE)
    assert pinned is not None
    assert stated is not None
    assert pinned.group(1) == stated.group(1)


def test_what_is_pinned_lies_within_what_is_asked_for() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            asked = Requirement(line)
            assert asked.specifier.contains(pins[canonicalize_name(asked.name)]), line


@pytest.mark.parametrize("line", (ROOT / "assets" / "examples.jsonl").read_text("utf-8").splitlines())
def test_every_example_request_is_accepted_and_planned(line: str) -> None:
    assert plan_of(**json.loads(line)).recipes


def test_measured_figures_name_their_command_and_date() -> None:
    for path in (ROOT / "docs" / "benchmarks").glob("*.json"):
        facts = json.loads(path.read_text())
        assert {"date", "device", "versions", "command"} <= set(facts), path.name
