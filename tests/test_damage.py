"""Damaged files of every kind in one data folder: each is named, and the rest works."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flux_svd.errors import UnreadableFile
from flux_svd.ledger import Ledger
from flux_svd.pictures import encode_png
from flux_svd.request import make_request
from flux_svd.session import Session
from flux_svd.worker import Worker
from tests.fake_worker import counting_session
from tests.fakes import FakeEngines
from tests.test_cli_jobs import Output, ask, engines, work  # noqa: F401
from tests.tiny.builders import build_model


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


@pytest.mark.parametrize("how", ["cut", "empty", "junk", "turned"])
@pytest.mark.parametrize("used_as", ["references", "start", "picture"])
def test_a_kept_picture_that_is_damaged_is_named_and_mended_by_giving_it_again(
    used_as: str, how: str, home: Path, outputs: Path
) -> None:
    """As far as a job that waits needs it; a new wish with it is refused at once, and jobs without it are done."""
    session, _ = counting_session(home, outputs)
    worker = Worker(Ledger(home), session, name="w", beat_seconds=1e6)
    given = encode_png(Image.linear_gradient("L").convert("RGB"))
    kept = session.store.keep_picture(given)
    wish = {"prompt": "a dog", "seed": 7}
    wishes: dict[str, dict[str, Any]] = {
        "references": {**wish, "kind": "image", "model": "flux2-klein-4b", "references": [kept]},
        "start": {**wish, "kind": "image", "start": kept},
        "picture": {**wish, "kind": "video", "stages": [{"prompt": "a", "picture": kept}, {"prompt": "b"}]},
    }
    if used_as == "references":  # pocket-flux takes none
        build_model("flux2-klein-4b", home / "models" / "flux2-klein-4b")
    asked = make_request(wishes[used_as])
    job, other = (
        worker.ledger.submit(session.plan(asked)),
        worker.ledger.submit(session.plan(make_request({**wish, "kind": "image"}))),
    )
    [file] = (home / "pictures").glob("*.png")
    bad = {"cut": given[:-100], "empty": b"", "junk": b"no picture", "turned": encode_png(Image.new("RGB", (256, 256)))}
    file.write_bytes(bad[how])

    with pytest.raises(UnreadableFile, match="damaged: give the picture again"):
        session.plan(asked)
    while worker.run_next(threading.Event()):
        pass
    told = worker.ledger.job(job)
    assert (told.state, told.attempt) == ("failed", 1)
    assert str(file) in told.reason
    assert "give the picture again" in told.reason
    assert worker.ledger.job(other).state == "done"

    assert session.store.keep_picture(given) == kept
    worker.ledger.retry(job)
    assert worker.run_next(threading.Event())
    assert worker.ledger.job(job).state == "done"


@pytest.mark.parametrize("how", ["cut", "empty", "lying", "junk"])
def test_a_damaged_weight_file_is_named_and_another_model_works(how: str, home: Path, outputs: Path) -> None:
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
