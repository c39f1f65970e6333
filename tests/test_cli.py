"""The command line: one JSON object on stdout, exit codes by kind, messages without tracebacks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flux_svd.cli import main
from flux_svd.request import ImageRequest, VideoRequest
from tests.fakes import fake_programs
from tests.test_keeping import REFUSED, png

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _own_folders(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_programs(home, tmp_path, monkeypatch)


def run(capsys: Output, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Return (exit code, the JSON object on stdout, stderr)."""
    code = main([*arguments, "--json"])
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1, "one line, one object"
    return code, json.loads(printed.out), printed.err


def test_image_answers_with_path_seed_model_plan_scores_and_seconds(capsys: Output) -> None:
    code, answer, _ = run(capsys, "image", "a red circle", "--seed", "7", "--count", "2")
    assert code == 0
    assert {"path", "paths", "seed", "model", "plan", "scores", "seconds"} <= set(answer)
    assert (answer["seed"], answer["model"], len(answer["paths"])) == (7, "pocket-flux", 2)
    assert Path(answer["path"]).parts[0] == "outputs"
    assert all(Path(path).is_file() for path in answer["paths"])


def test_video_answers_with_keyframes_frames_and_fps(capsys: Output, tmp_path: Path) -> None:
    code, answer, _ = run(capsys, "video", "a dog", "--stage", "a", "--stage", "b", "--output", str(tmp_path / "films"))
    assert code == 0
    assert (answer["frames"], answer["fps"], len(answer["keyframes"])) == (23, 12, 2)
    assert Path(answer["path"]).is_relative_to(tmp_path / "films")
    assert {"raw_psnr", "round_trip_psnr"} == set(answer["ends"])


def test_plan_tells_decisions_and_memory_and_makes_nothing(capsys: Output, tmp_path: Path, home: Path) -> None:
    code, answer, _ = run(capsys, "plan", "video", "a dog running")
    assert code == 0
    assert {"peak_bytes", "host_peak_bytes", "decisions", "seconds"} <= set(answer)
    assert [stage["name"] for stage in answer["stages"]] == ["Starting to run", "At full stride", "Slowing down"]
    assert list(tmp_path.iterdir()) == []


def test_vram_overrides_the_budget(capsys: Output) -> None:
    _, answer, _ = run(capsys, "plan", "image", "a dog", "--vram", "12GB")
    assert {placement["device"] for placement in answer["placements"][:-1]} == {"cuda"}
    code, answer, _ = run(capsys, "plan", "image", "a dog", "--vram", "lots")
    assert (code, answer["field"]) == (2, "vram")


def test_score_reads_a_picture_and_refuses_anything_else(capsys: Output, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png())
    code, answer, _ = run(capsys, "score", "x.png", "a red square")
    assert (code, answer["scores"]["clip_cosine"]) == (0, 0.25)
    (tmp_path / "y.png").write_bytes(b"hello")
    code, answer, _ = run(capsys, "score", "y.png", "a red square")
    assert (code, answer["field"]) == (2, "file")


BAD_ARGUMENTS = [
    (["--width", "17", "--height", "64"], "width", "64 to 2048 in steps of 16"),
    (["--width", "0", "--height", "64"], "width", "64 to 2048"),
    (["--width", "-16", "--height", "64"], "width", "64 to 2048"),
    (["--width", "100000", "--height", "64"], "width", "64 to 2048"),
    (["--width", "wide", "--height", "64"], "width", "64 to 2048"),
    (["--guidance", "nan"], "guidance", "0 to 30"),
    (["--steps", "0"], "steps", "1 to 150"),
    (["--seed", str(2**64)], "seed", "0 to 18446744073709551615"),
    (["--model", "nonsense"], "model", "pocket-flux"),
    (["--reference", "missing.png"], "reference", "can be read"),
]


@pytest.mark.parametrize(("arguments", "field", "allowed"), BAD_ARGUMENTS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("command", ["image", "video"])
def test_bad_options_exit_with_2_and_name_field_and_range(
    command: str, arguments: list[str], field: str, allowed: str, capsys: Output, tmp_path: Path
) -> None:
    code, answer, stderr = run(capsys, command, "a dog", *arguments)
    assert (code, answer["field"], answer["kind"]) == (2, field, "UnreadableFile" if field == "reference" else "InvalidRequest")
    assert allowed in answer["allowed"]
    assert "Traceback" not in stderr
    assert list(tmp_path.rglob("*.png")) + list(tmp_path.rglob("*.mp4")) == []


@pytest.mark.parametrize("prompt", ["", "x" * 2**20, "a\x00b", "a\x1bb", "  "], ids=["empty", "1 MB", "NUL", "escape", "blank"])
def test_bad_prompts_exit_with_2(prompt: str, capsys: Output) -> None:
    code, answer, _ = run(capsys, "image", prompt)
    assert (code, answer["field"]) == (2, "prompt")


@pytest.mark.parametrize("what", REFUSED)
def test_files_that_are_no_picture_exit_with_2_and_leave_nothing(what: str, capsys: Output, tmp_path: Path, home: Path) -> None:
    (tmp_path / "given.png").write_bytes(REFUSED[what][0])
    code, answer, _ = run(capsys, "image", "a dog", "--reference", "given.png")
    assert (code, answer["field"]) == (2, "reference")
    assert not home.exists()


def test_a_model_can_be_planned_before_it_is_downloaded(capsys: Output) -> None:
    wish = ("image", "a dog", "--model", "flux2-klein-4b", "--vram", "12GB")
    code, answer, _ = run(capsys, "plan", *wish)
    assert (code, answer["model"], answer["placements"][0]["device"]) == (0, "flux2-klein-4b", "cuda")
    (told,) = (note for note in answer["decisions"] if note["what"] == "not ready here")
    assert told["value"] == "flux2-klein-4b: 14.9 GiB to download"
    assert told["why"].startswith("Apache License 2.0: ")
    assert run(capsys, *wish)[0] == 3


def test_a_model_that_is_not_here_exits_with_3(capsys: Output) -> None:
    code, answer, _ = run(capsys, "image", "a dog", "--model", "flux2-klein-4b")
    assert code == 3
    assert "flux-svd models download flux2-klein-4b" in answer["error"]


def test_a_download_without_network_exits_with_3_and_one_sentence(capsys: Output) -> None:
    code, answer, stderr = run(capsys, "models", "download", "flux2-klein-4b")
    assert code == 3
    assert "could not be downloaded" in answer["error"]
    assert "Traceback" not in stderr


def test_a_licence_is_explained_before_a_download_and_accepted_by_name(capsys: Output, home: Path) -> None:
    code, answer, _ = run(capsys, "models", "download", "flux1-dev")
    assert code == 3
    assert "non-commercial" in answer["error"]
    assert run(capsys, "models", "accept", "flux1-dev")[0] == 0
    code, answer, _ = run(capsys, "models", "download", "flux1-dev")
    assert "could not be downloaded" in answer["error"]


def test_models_and_doctor_tell_what_is_here(capsys: Output) -> None:
    _, answer, _ = run(capsys, "models")
    ready = {row["name"] for row in answer["models"] if row["ready"]}
    assert ready == {"pocket-flux", "pocket-klein", "pocket-svd", "pocket-clip"}
    _, answer, _ = run(capsys, "doctor")
    assert {"python", "device", "device_memory", "disk_free", "ffmpeg", "token"} <= set(answer)


def test_the_doctor_reads_as_text_and_finds_a_token_where_the_hub_keeps_it(
    capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants  # reads HF_HOME when it is imported

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hub" / "token"))
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert not set("{}[]") & set(told)
    assert re.search(r"versions  accelerate [\d.]+\n +diffusers [\d.]+\n", told)
    assert "token  none" in told
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "token").write_text("hf_abcdefgh")
    assert run(capsys, "doctor")[1]["token"] is True


def test_without_json_a_person_reads_it(capsys: Output) -> None:
    assert main(["models"]) == 0
    assert re.search(r"flux1-dev\s+31\.42 GiB\s+not on this disk", capsys.readouterr().out)
    assert main(["image", "a red circle"]) == 0
    printed = capsys.readouterr()
    assert Path(printed.out.strip()).is_file()
    assert "draw, step 8 of 8" in printed.err


def test_every_field_of_a_request_is_an_option(capsys: Output) -> None:
    for command, kind in (("image", ImageRequest), ("video", VideoRequest)):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        told = capsys.readouterr().out
        options = {"negative_prompt": "--negative", "references": "--reference", "stages": "--stage", "lengths": "--length"}
        for name in set(kind.model_fields) - {"kind", "prompt"}:
            assert options.get(name, "--" + name.replace("_", "-")) in told
