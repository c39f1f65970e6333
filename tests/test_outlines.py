"""How prompts unfold: 304 prompts by kind, counted; and what the stages of each kind say."""

from __future__ import annotations

import collections
import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from flux_svd.grammar import find_motions
from flux_svd.motions import MOTIONS, ing_form, s_form
from flux_svd.storyboard import halfway_prompt, outline, stages_at, suggest_kind, write_stages

DATA = Path(__file__).parent / "data"


class Case(NamedTuple):
    group: str
    prompt: str
    sensible: frozenset[str]
    never: tuple[str, ...]


def cases(name: str) -> list[Case]:
    rows = [line.split("|") for line in (DATA / name).read_text("utf-8").splitlines() if not line.startswith("#")]
    found = []
    for group, prompt, kinds, never in rows:
        said = tuple(word.strip() for word in never.split(";") if word.strip())
        found.append(Case(group.strip(), prompt.strip(), frozenset(kinds.strip().split(",")), said))
    return found


def judge(case: Case) -> str:
    """Return "sensible", "sound default", "wrong" or "contradicts"."""
    names = [stage.name.lower() for stage in write_stages(case.prompt, 5)]
    if any(re.search(rf"\b{re.escape(word)}\b", name) for word in case.never for name in names):
        return "contradicts"
    kind = outline(case.prompt).kind
    return "sensible" if kind in case.sensible else "sound default" if kind == "default" else "wrong"


def count(name: str) -> tuple[collections.Counter[str], list[str]]:
    judged = [(judge(case), case.prompt) for case in cases(name)]
    return collections.Counter(verdict for verdict, _ in judged), [
        f"{verdict}: {prompt}" for verdict, prompt in judged if verdict in ("wrong", "contradicts")
    ]


def test_no_stage_contradicts_its_prompt() -> None:
    """Before the rules of grammar.py: 144 sensible, 32 the sound default, 2 wrong, 51 contradicted their prompt."""
    counted, bad = count("storyboard_prompts.txt")
    assert bad == []
    assert counted["sensible"] >= 0.95 * counted.total()  # 227 of 229 seen
    assert counted.total() >= 200


def test_prompts_written_after_the_rules_are_rarely_contradicted() -> None:
    """Measured once before mending: 67 sensible, 2 default, 1 wrong, 5 contradicted; before the rules 44, 6, 10 and 15."""
    counted, bad = count("storyboard_prompts_later.txt")
    assert len(bad) <= 4, bad  # 3 seen, one of them a verdict stricter than the sentence
    assert counted["sensible"] >= 0.9 * counted.total()


def prompts_of(prompt: str, stages: int = 3) -> list[str]:
    return [stage.prompt for stage in write_stages(prompt, stages)]


@pytest.mark.parametrize(
    ("prompt", "stages"),
    [
        ("a caterpillar turning into a butterfly on a leaf",
         ["a caterpillar on a leaf", "half a caterpillar, half a butterfly on a leaf", "a butterfly on a leaf"]),
        ("green leaves turning red", ["leaves, green", "leaves, half green, half red", "leaves, red"]),
        ("a landscape from winter to summer", ["a landscape in winter", "a landscape in spring", "a landscape in summer"]),
        ("a street changing from day to night", ["a street at noon", "a street at dusk", "a street at night"]),
        ("a face from smiling to crying", ["a face, smiling", "a face, half smiling, half crying", "a face, crying"]),
    ],
)
def test_a_change_begins_with_the_first_state_and_ends_with_the_last(prompt: str, stages: list[str]) -> None:
    assert prompts_of(prompt) == stages


@pytest.mark.parametrize(
    ("prompt", "first", "last"),
    [
        ("slow zoom in on a violin", "a violin, seen from far away", "a violin, seen very close"),
        ("zoom out from a snail", "a snail, seen very close", "a snail, seen from far away"),
        ("camera pans left across a ridge", "a ridge, view of the right end", "a ridge, view of the left end"),
        ("the camera circles around a statue", "a statue, seen from the front", "a statue, seen from behind"),
        ("tilt up from shoes to a tall wizard", "shoes", "a tall wizard"),
        ("a drone orbits a lighthouse", "a lighthouse, seen from the front", "a lighthouse, seen from behind"),
    ],
)
def test_a_move_of_the_camera_becomes_views_and_is_not_drawn_itself(prompt: str, first: str, last: str) -> None:
    stages = prompts_of(prompt)
    assert (stages[0], stages[-1]) == (first, last)
    assert outline(prompt).kind == "camera"


def test_two_motions_follow_each_other_in_the_order_of_the_prompt() -> None:
    names = [stage.name for stage in write_stages("a man jumps and then runs away", 5)]
    assert names == ["Rising into the jump", "At the top of the jump", "Picking up speed", "At full stride", "At full speed"]


@pytest.mark.parametrize(
    ("prompt", "motions"),
    [
        ("a dog running along a beach", ["running"]),
        ("a pair of running shoes", []),
        ("a running dog", ["running"]),
        ("the falls of Iguazu", []),
        ("a red leaf falls", ["falling"]),
        ("a ship with white sails", []),
        ("a girl holds drinks", []),
        ("birds fly over a lake", ["flying"]),
        ("a fly on a melon", []),
        ("rock climbing ropes on a hook", []),
        ("a bird that is not flying", []),
        ("a cat falls asleep", []),
        ("the moment before landing", []),
        ("a painting of a galloping horse", []),
        ("a plane flies in circles before landing", ["flying", "landing"]),
    ],
)
def test_a_motion_is_what_the_subject_does(prompt: str, motions: list[str]) -> None:
    assert [motion.name for motion in find_motions(prompt)] == motions


@pytest.mark.parametrize(
    ("verb", "s", "ing"),
    [("run", "runs", "running"), ("fly", "flies", "flying"), ("launch", "launches", "launching"), ("dance", "dances", "dancing"),
     ("open", "opens", "opening"), ("eat", "eats", "eating"), ("tiptoe", "tiptoes", "tiptoeing"), ("ski", "skis", "skiing"),
     ("swim", "swims", "swimming"), ("growl", "growls", "growling"), ("rush", "rushes", "rushing"), ("sip", "sips", "sipping")],
)  # fmt: skip
def test_forms_of_verbs(verb: str, s: str, ing: str) -> None:
    assert (s_form(verb), ing_form(verb)) == (s, ing)


def test_every_motion_has_five_different_phases() -> None:
    for motion in MOTIONS:
        assert len(set(motion.phases)) == 5, motion.name


def test_stages_stand_at_the_share_of_the_film_where_their_keyframe_is() -> None:
    even = write_stages("a dog running", 5)
    assert stages_at("a dog running", [0, 0.25, 0.5, 0.75, 1]) == even
    assert [stage.name for stage in stages_at("a dog running", [0, 0.5, 1])] == [even[0].name, even[2].name, even[4].name]


@pytest.mark.parametrize(
    ("start", "end", "share", "between"),
    [
        ("a cat, sitting", "a cat, standing", 0.5, "a cat, halfway between sitting and standing"),
        ("a red circle", "a blue square", 0.5, "halfway between a red circle and a blue square"),
        ("a red circle", "a blue square", 1 / 3, "between a red circle and a blue square, nearer to a red circle"),
        ("a red circle", "a blue square", 2 / 3, "between a red circle and a blue square, nearer to a blue square"),
        ("a cat", "a cat", 0.5, "a cat"),
        ("a dog on a beach", "a cat on a beach", 0.5, "halfway between a dog and a cat on a beach"),
        ("a dog on a beach", "a cat on a beach", 0.25, "between a dog and a cat on a beach, nearer to a dog"),
        ("a big dog", "a small dog", 0.5, "halfway between a big dog and a small dog"),
        ("at night", "a cat at night", 0.5, "halfway between at night and a cat at night"),
    ],
)
def test_a_keyframe_halfway_says_what_both_say_once(start: str, end: str, share: float, between: str) -> None:
    assert halfway_prompt(start, end, share) == between


@pytest.mark.parametrize(
    "text", [" ", "slow ", "that ", "a from b to ", "zoom in ", "the camera ", "dog runs and ", ",", "slow" + 50 * " "]
)
def test_no_prompt_takes_long_to_read(text: str) -> None:
    prompt = "a" + (text * 10_000)[:9_998] + "b"
    began = time.process_time()
    assert len(write_stages(prompt, 3)) == 3
    assert time.process_time() - began < 1.0  # 0.2 seen; 1.8 for "slow slow …" read whole, 26 for spaces not read as one


def test_a_camera_or_a_change_suggests_a_film() -> None:
    assert suggest_kind("slow zoom in on a violin")[0] == "video"
    assert suggest_kind("a frog becoming a prince") == ("video", "a frog")
    assert suggest_kind("a pair of running shoes")[0] == "image"
