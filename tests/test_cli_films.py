"""The command line about films: lengths, loops, given pictures, reports and exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flux_svd.cli import main
from tests.fakes import FakeEngines, fake_programs
from tests.test_cli import Output, run


@pytest.fixture(autouse=True)
def _own_folders(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_programs(home, tmp_path, monkeypatch)


def planned(capsys: Output, *arguments: str) -> dict[str, Any]:
    code, answer, _ = run(capsys, "plan", "video", "a dog running", *arguments)
    assert code == 0, answer
    recipe: dict[str, Any] = answer["recipes"][0]
    return recipe


def frames_of(recipe: dict[str, Any]) -> list[int]:
    return [(part["frames"] - 1) // part["stride"] + 1 for part in recipe["transitions"]]


def test_lengths_loops_and_seconds_are_options(capsys: Output) -> None:
    assert frames_of(planned(capsys, "--length", "14", "--length", "25")) == [14, 25]
    looped = planned(capsys, "--stage", "a", "--stage", "b", "--loop")
    assert looped["keyframes"][0] == looped["keyframes"][2]
    assert sum(frames_of(planned(capsys, "--seconds", "2.5", "--keyframes", "3"))) == 30 + 1


@pytest.mark.parametrize(
    ("arguments", "field", "allowed"),
    [
        (["--length", "many"], "lengths.0", "a whole number from 3 to 121"),
        (["--length", "2"], "lengths.0", "3"),
        (["--seconds", "0"], "seconds", ""),
        (["--seconds", "long"], "seconds", ""),
        (["--keyframe-picture", "1"], "keyframe-picture", "N=FILE with N from 1 to 3"),
        (["--keyframe-picture", "4=x.png"], "keyframe-picture", "N from 1 to 3"),
        (["--keyframe-picture", "0=x.png", "--keyframes", "2"], "keyframe-picture", "N from 1 to 2"),
        (["--keyframe-picture", "1=missing.png"], "keyframe-picture", "can be read"),
    ],
)
def test_bad_options_of_a_film_are_refused(arguments: list[str], field: str, allowed: str, capsys: Output, home: Path) -> None:
    code, answer, stderr = run(capsys, "video", "a dog running", *arguments)
    assert (code, answer["field"]) == (2, field)
    assert allowed in answer["allowed"]
    assert "Traceback" not in stderr
    assert not home.exists()


def test_a_picture_of_ones_own_becomes_a_keyframe(capsys: Output) -> None:
    Image.new("RGB", (300, 100), "red").save("red.png")
    code, answer, _ = run(capsys, "video", "a dog running", "--keyframe-picture", "2=red.png")
    assert code == 0
    assert len(answer["keyframes"]) == 3
    assert Image.open(answer["keyframes"][1]).convert("RGB").getpixel((5, 5)) == (255, 0, 0)
    told = planned(capsys, "--keyframe-picture", "2=red.png")
    assert [key["kind"] for key in told["keyframes"]] == ["image", "given", "image"]
    assert "starting to run" in told["keyframes"][0]["prompt"]


@pytest.fixture
def film(capsys: Output) -> str:
    return str(run(capsys, "video", "a dog", "--stage", "a", "--stage", "b")[1]["path"])


def test_a_film_is_reported_in_numbers_and_words(film: str, capsys: Output) -> None:
    code, answer, _ = run(capsys, "report", film)
    assert code == 0
    assert answer["report"]["frames"] == 23
    assert answer["report"]["keyframes"][0]["raw_psnr"] == 30.0
    assert main(["report", film]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines() == answer["report"]["words"]


def test_a_film_is_exported(film: str, capsys: Output, tmp_path: Path) -> None:
    options = ["--fps", "24", "--crf", "40", "--output", str(tmp_path / "to")]
    code, answer, _ = run(capsys, "export", film, "--format", "webm", *options)
    assert code == 0
    assert (answer["frames"], answer["fps"], answer["format"], answer["has_sound"]) == (23, 24, "webm", False)
    assert Path(answer["path"]).parent == tmp_path / "to"
    assert main(["export", film, "--format", "gif"]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(["--format", "avi"], "format"), (["--format", "mp4", "--crf", "best"], "crf"), (["--format", "gif", "--fps", "99"], "fps")],
)
def test_an_export_that_cannot_be_is_refused(arguments: list[str], field: str, film: str, capsys: Output) -> None:
    before = set(Path(film).parent.iterdir())
    code, answer, _ = run(capsys, "export", film, *arguments)
    assert (code, answer["field"]) == (2, field)
    assert set(Path(film).parent.iterdir()) == before


@pytest.mark.parametrize("command", [["report"], ["export", "--format", "mp4"]])
def test_a_file_that_is_no_film_exits_with_2_before_anything_loads(
    command: list[str], capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngines, "scorer", lambda *named: pytest.fail("a scorer was loaded"))
    (tmp_path / "x.mp4").write_bytes(b"hello")
    code, answer, stderr = run(capsys, command[0], "x.mp4", *command[1:])
    assert (code, answer["field"]) == (2, "file")
    assert "Traceback" not in stderr


def test_keyframes_come_first_and_are_locked_picked_and_bridged_by_options(capsys: Output) -> None:
    wish = ("video", "a dog running", "--seed", "7", "--keyframes", "2", "--best-of", "2")
    code, drawn, _ = run(capsys, *wish, "--keyframes-only")
    assert code == 0
    assert [Path(path).suffix for path in drawn["paths"]] == [".png", ".png"]
    assert len(drawn["candidates"]) == 2
    assert [len(scores["candidates"]) for scores in drawn["all_scores"]] == [2, 2]
    picked = planned(capsys, *wish[2:], "--pick", "2=2")
    assert [key["kind"] for key in picked["keyframes"]] == ["selection", "image"]
    locked = planned(capsys, "--seed", "8", "--keyframes", "2", "--lock", f"1={drawn['paths'][0]}")
    assert [key["seed"] for key in locked["keyframes"]] == [7, 8]
    rolled, plain = (planned(capsys, "--seed", "7", *more) for more in (("--transition-seed", "1=5"), ()))
    assert [a["seed"] == b["seed"] for a, b in zip(rolled["transitions"], plain["transitions"], strict=True)] == [False, True]
    assert len(planned(capsys, "--midpoint", "2")["keyframes"]) == 4


@pytest.mark.parametrize(
    ("arguments", "field", "allowed"),
    [
        (["--pick", "1=9"], "stages.0.pick", "8"),
        (["--pick", "1=2"], "stages.0.pick", "1 to 1"),
        (["--pick", "x=2"], "pick", "N=CANDIDATE"),
        (["--transition-seed", "3=2"], "stages.2.transition_seed", "no transition follows"),
        (["--midpoint", "3"], "midpoint", "1 to 2"),
        (["--lock", "1=missing.png"], "file", "read"),
    ],
)
def test_options_for_single_stages_name_what_is_wrong(arguments: list[str], field: str, allowed: str, capsys: Output) -> None:
    code, answer, _ = run(capsys, "video", "a dog running", *arguments)
    assert (code, answer["field"]) == (2, field)
    assert allowed in str(answer)


def test_the_subject_need_not_be_kept(capsys: Output) -> None:
    code, answer, _ = run(capsys, "plan", "video", "a dog", "--no-keep-subject")
    assert code == 0
    assert answer["recipes"]
