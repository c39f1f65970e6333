"""Damaged files of every kind in one data folder: each is named, and the rest works."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from flux_svd.ledger import Ledger
from tests.fakes import FakeEngines
from tests.test_cli_jobs import Output, ask, engines, work  # noqa: F401


def test_a_ledger_an_index_a_sidecar_and_a_picture_that_are_damaged_are_named_and_the_rest_works(
    capsys: Output,
    engines: FakeEngines,  # noqa: F811
    home: Path,
    tmp_path: Path,
) -> None:
    made = [Path(ask(capsys, "image", "a dog", "--seed", str(seed))["path"]) for seed in range(4)]
    whole, no_sidecar, cut, gone = (path.resolve() for path in made)
    waiting = ask(capsys, "image", "a cat", "--seed", "9", "--detach")["job"]
    ask(capsys, "library", "rebuild")
    no_sidecar.with_name(no_sidecar.name + ".json").write_text('{"half')
    cut.write_bytes(cut.read_bytes()[:-100])
    gone.unlink()
    gc.collect()  # a connection that is still open would heal the files from what it remembers
    for database in [home / "ledger.db", *(home / "library").glob("*.db")]:
        for suffix in ("-wal", "-shm"):  # else SQLite mends the file from its journal
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        database.write_bytes(b"x" * 8192)

    listed = ask(capsys, "library", "list")
    problems = {Path(item["path"]).name: item["problem"] for item in listed["problems"]}
    assert problems == {
        no_sidecar.name: "its sidecar is damaged",
        cut.name: f"it is damaged: {cut.stat().st_size} of {cut.stat().st_size + 100} bytes",
        gone.name: "its file is missing",
    }
    assert {Path(item["path"]).name for item in listed["items"]} == {path.name for path in (whole, no_sidecar, cut, gone)}
    assert len(list((home / "library").glob("*.damaged-*"))) >= 1
    assert [job["id"] for job in ask(capsys, "jobs")["jobs"]] == [waiting]
    assert len(list(home.glob("ledger.db.damaged-*"))) >= 1

    work(capsys)
    assert Ledger(home).job(waiting).state == "done"
    assert ask(capsys, "library", "search", "cat")["items"]
    assert Path(ask(capsys, "image", "a dog", "--seed", "5")["path"]).is_file()


@pytest.mark.parametrize("how", ["cut", "empty", "lying", "junk"])
def test_a_damaged_weight_file_is_named_and_another_model_works(how: str, home: Path, outputs: Path) -> None:
    import threading

    from flux_svd.request import make_request
    from flux_svd.session import Session
    from flux_svd.worker import Worker
    from tests.tiny.builders import build_model

    folder = home / "models" / "flux2-klein-base-4b"
    build_model("flux2-klein-base-4b", folder)
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    data = weights.read_bytes()
    bad = {"cut": data[: len(data) // 2], "empty": b"", "lying": b"\xff" * 8 + data[8:], "junk": b"no weights at all " * 9}
    weights.write_bytes(bad[how])
    worker = Worker(Ledger(home), Session(home=home, output_dir=outputs), name="w")
    wish = {"kind": "image", "prompt": "a dog", "width": 64, "height": 64, "steps": 1, "seed": 1}
    jobs = [
        worker.ledger.submit(worker.session.plan(make_request({**wish, "model": model})))
        for model in ("flux2-klein-base-4b", "pocket-flux")
    ]
    while worker.run_next(threading.Event()):
        pass
    failed, done = (worker.ledger.job(job) for job in jobs)
    assert (failed.state, failed.attempt) == ("failed", 1)
    assert str(weights) in failed.reason
    assert "Download the model again" in failed.reason
    assert done.state == "done"
