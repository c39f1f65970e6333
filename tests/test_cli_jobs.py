"""The commands about jobs, worker, library and replay, as a user or a script meets them."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flux_svd import drawing, planner
from flux_svd.cli import main
from flux_svd.device import read_budget
from flux_svd.ledger import Ledger
from flux_svd.versions import installed_versions
from tests.fakes import FakeEngines, fake_programs
from tests.test_cli import run

Output = pytest.CaptureFixture[str]


@pytest.fixture
def engines(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngines:
    return fake_programs(home, tmp_path, monkeypatch)


def ask(capsys: Output, *arguments: str) -> dict[str, Any]:
    code, answer, stderr = run(capsys, *arguments)
    assert code == 0, stderr
    return answer


def work(capsys: Output) -> None:
    ask(capsys, "worker", "--alone", "w", "--until-empty")


def test_a_detached_film_is_a_job_that_a_worker_makes_where_it_was_asked_for(
    capsys: Output, engines: FakeEngines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ask(capsys, "video", "a dog", "--seed", "7", "--detach", "--output", "films")["job"]
    assert engines.calls == []
    assert ask(capsys, "jobs")["jobs"][0]["state"] == "queued"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    work(capsys)
    told = ask(capsys, "jobs", "show", job)["jobs"][0]
    assert told["state"] == "done"
    assert [what for _, what in told["events"]] == ["submitted", "attempt 1 begins at w", "attempt 1: done"]
    assert all(Path(path).is_relative_to(tmp_path / "films") and Path(path).is_file() for path in told["results"])


def test_jobs_are_cancelled_retried_paused_and_resumed_by_id(capsys: Output, engines: FakeEngines, home: Path) -> None:
    job = ask(capsys, "image", "a dog", "--detach")["job"]
    for action, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled"), ("retry", "queued")):
        assert ask(capsys, "jobs", action, job)["jobs"][0]["state"] == state
    assert ask(capsys, "jobs", "pause")["paused"] is True
    work(capsys)
    assert ask(capsys, "jobs", "show", job)["jobs"][0]["state"] == "queued"
    assert ask(capsys, "jobs", "resume")["paused"] is False
    work(capsys)
    assert Ledger(home).job(job).state == "done"


@pytest.mark.parametrize("arguments", [["show"], ["cancel", "nonsense"], ["again", "nonsense"], ["retry"]])
def test_unknown_or_missing_ids_exit_with_2(arguments: list[str], capsys: Output, engines: FakeEngines) -> None:
    assert run(capsys, "jobs", *arguments)[0] == 2


def test_again_is_a_new_job_with_changes(capsys: Output, engines: FakeEngines, home: Path) -> None:
    job = ask(capsys, "image", "a dog", "--seed", "7", "--detach")["job"]
    again = ask(capsys, "jobs", "again", job, "--set", "steps=12", "--set", "prompt=a cat")["job"]
    request = Ledger(home).plan(again).request
    assert (again != job, request.prompt, request.steps, request.seed) == (True, "a cat", 12, 7)
    assert run(capsys, "jobs", "again", job, "--set", "steps=0")[1]["field"] == "steps"
    assert run(capsys, "jobs", "again", job, "--set", "steps")[1]["field"] == "set"


@pytest.mark.parametrize("kind", ["image", "video"])
def test_again_keeps_a_seed_that_was_drawn_so_that_changes_can_be_compared(
    kind: str, capsys: Output, engines: FakeEngines, home: Path
) -> None:
    first = ask(capsys, kind, "a dog", "--detach")
    changed = ask(capsys, "jobs", "again", first["job"], "--set", "steps=3")
    assert changed["seed"] == first["seed"]
    assert Ledger(home).plan(changed["job"]).request.model == "pocket-flux"
    assert ask(capsys, "jobs", "again", first["job"], "--set", "seed=null")["seed"] != first["seed"]


def test_a_second_worker_for_a_device_is_refused(capsys: Output, engines: FakeEngines, home: Path) -> None:
    from filelock import FileLock

    (home / "locks").mkdir(parents=True)
    with FileLock(home / "locks" / "worker-0.lock"):
        code, answer, _ = run(capsys, "worker")
    assert (code, answer["error"]) == (6, "a worker for device 0 runs already; --device names another")


def test_results_are_found_starred_thrown_away_and_had_back(capsys: Output, engines: FakeEngines) -> None:
    path = ask(capsys, "image", "a red dog", "--seed", "7")["path"]
    ask(capsys, "image", "a blue cat", "--seed", "7")
    assert [item["prompt"] for item in ask(capsys, "library", "search", "DOG")["items"]] == ["a red dog"]
    ask(capsys, "library", "star", path)
    assert len(ask(capsys, "library", "--starred")["items"]) == 1
    assert ask(capsys, "library", "--since", "2000-01-01", "--until", "2000-01-02")["items"] == []
    thrown = ask(capsys, "library", "delete", path)["done"]
    assert not Path(path).exists()
    assert ask(capsys, "library", "trash")["trash"][0]["id"] == thrown[0]
    ask(capsys, "library", "restore", *thrown)
    assert Path(path).exists()
    ask(capsys, "library", "delete", path)
    assert ask(capsys, "library", "empty")["removed"] == 1
    assert run(capsys, "library", "delete", "/etc/passwd")[0] == 2


def test_damage_is_named_by_list_and_rebuild(capsys: Output, engines: FakeEngines) -> None:
    path = Path(ask(capsys, "image", "a red dog")["path"])
    path.with_name(path.name + ".json").write_text("{")
    assert ask(capsys, "library")["problems"][0]["problem"] == "its sidecar is damaged"
    answer = ask(capsys, "library", "rebuild")
    assert (answer["count"], answer["problems"][0]["path"]) == (1, str(path.resolve()))
    assert main(["library"]) == 0
    assert "its sidecar is damaged" in capsys.readouterr().out


def test_what_was_damaged_is_told_in_json_too(capsys: Output, engines: FakeEngines, home: Path) -> None:
    job = ask(capsys, "image", "a dog", "--detach")["job"]
    assert (ask(capsys, "jobs")["damaged"], ask(capsys, "library")["damaged"]) == (None, None)
    gc.collect()  # a connection that is closed later would write its pages over the damage
    for log in home.rglob("*.db-*"):  # and so would what is still to be read from there
        log.unlink()
    for database in home.rglob("*.db"):
        database.write_bytes(b"no database" * 1000)
    (home / "jobs" / "x.json").write_text("{")
    told = ask(capsys, "jobs")
    assert told["jobs"][0]["id"] == job
    assert Path(told["damaged"]).exists()
    assert [Path(path).name for path in told["unreadable"]] == ["x.json"]
    assert Path(ask(capsys, "library", "list")["damaged"]).exists()


def shifted(engines: FakeEngines, monkeypatch: pytest.MonkeyPatch, by: int) -> None:
    draw = engines.draw

    def other(*arguments: Any, **options: Any) -> Image.Image:
        return draw(*arguments, **options).point(lambda value: value + by if value < 128 else value - by)

    monkeypatch.setattr(engines, "draw", other)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_replay_computes_everything_anew_and_says_identical(kind: str, capsys: Output, engines: FakeEngines) -> None:
    path = ask(capsys, kind, "a dog")["path"]
    engines.calls.clear()
    before = sorted(Path().rglob("*"))
    answer = ask(capsys, "replay", path)
    assert (answer["verdict"], answer["psnr"], answer["changes"]) == ("identical", None, [])
    assert len([call for call in engines.calls if call.startswith(("draw", "sample", "decode"))]) == (1 if kind == "image" else 6)
    assert [path for path in sorted(Path().rglob("*")) if path not in before and "home" not in path.parts] == []


@pytest.mark.parametrize(("by", "verdict"), [(1, "close"), (60, "different")])
def test_a_replay_says_how_close_it_comes(
    by: int, verdict: str, capsys: Output, engines: FakeEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ask(capsys, "image", "a dog")["path"]
    shifted(engines, monkeypatch, by)
    answer = ask(capsys, "replay", path)
    assert answer["verdict"] == verdict
    assert (answer["psnr"] > 45) == (by == 1)  # 1 grey level is 48.1 dB


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_replay_names_the_version_device_and_weights_that_changed(
    kind: str, capsys: Output, engines: FakeEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(ask(capsys, kind, "a dog")["path"])
    versions, changed = installed_versions, {"torch": "9.9"}
    for room in (drawing, planner):
        monkeypatch.setattr(
            room, "installed_versions", lambda *names: tuple((n, changed.get(n, v)) for n, v in versions(*names)))
    sidecar = path.with_name(path.name + ".json")
    told = json.loads(sidecar.read_text())
    told["run"]["device"] = "cuda"
    sidecar.write_text(json.dumps(told))
    answer = ask(capsys, "replay", str(path))
    assert answer["verdict"] == "identical"
    assert [change.partition(" was ")[0] for change in answer["changes"]] == ["torch", "it"]
    assert answer["changes"][0].endswith("now 9.9")
    assert "made on cuda, now on" in answer["changes"][1]


def test_a_replay_of_something_else_exits_with_2(capsys: Output, engines: FakeEngines, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"hello")
    assert run(capsys, "replay", "x.png")[0] == 2


def test_people_read_jobs_and_results(capsys: Output, engines: FakeEngines, home: Path) -> None:
    assert main(["image", "a dog", "--detach"]) == 0
    job = capsys.readouterr().out.split()[0]
    assert main(["jobs"]) == 0
    assert capsys.readouterr().out.startswith(f"{job}  queued")
    main(["worker", "--alone", "w", "--until-empty"])
    capsys.readouterr()
    main(["jobs", "show", job])
    assert "attempt 1: done" in capsys.readouterr().out
    assert read_budget(home).device
