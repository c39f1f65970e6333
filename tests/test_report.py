"""Reports of finished films: in the sidecar of the run, and later from the file alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flux_svd.artifact import VideoArtifact
from flux_svd.errors import UnreadableFile
from flux_svd.request import make_request
from flux_svd.session import Session
from tests.fakes import FakeEngines, fake_session

Faked = tuple[Session, FakeEngines]


@pytest.fixture
def faked(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Faked:
    return fake_session(home, outputs, monkeypatch)


def film(session: Session, **fields: Any) -> VideoArtifact:
    wish = {"kind": "video", "prompt": "x", "seed": 7, "stages": [{"prompt": "a"}, {"prompt": "b"}], **fields}
    made = session.run(session.plan(make_request(wish)))[0]
    assert isinstance(made, VideoArtifact)
    return made


def test_a_film_says_in_its_sidecar_what_its_report_says(faked: Faked) -> None:
    session, _ = faked
    made = film(session)
    sidecar = json.loads(made.path.with_name(made.path.name + ".json").read_text())
    told = sidecar["run"]["report"]
    assert told == made.run.report
    assert told["scorer"] == "pocket-clip"
    assert [match["frame"] for match in told["keyframes"]] == [0, 22]
    assert told["keyframes"][0]["raw_psnr"] == 30.0
    assert told["keyframes"][0]["psnr"] > 20
    assert any("cross-fade" in line for line in told["words"])


def test_the_report_of_a_file_is_the_report_of_its_run(faked: Faked) -> None:
    session, _ = faked
    made = film(session)
    assert session.report(made.path).as_json() | {"scorer": "pocket-clip"} == made.run.report


def test_a_report_is_made_once_for_a_film(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    session, engines = faked
    first = film(session)
    monkeypatch.setattr(engines, "likeness", None)
    assert film(session).run.report == first.run.report


def test_without_sidecar_and_store_the_report_says_what_is_missing(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = faked
    alone = tmp_path / "alone.mp4"
    alone.write_bytes(film(session).path.read_bytes())
    elsewhere, _ = fake_session(tmp_path / "empty", tmp_path, monkeypatch)
    told = elsewhere.report(alone)
    assert [match.psnr for match in told.keyframes] == [None, None]
    assert any("ends before the fade" in what for what in told.left_out)


def test_a_sidecar_that_was_tampered_with_is_not_believed(faked: Faked) -> None:
    session, _ = faked
    made = film(session)
    made.path.with_name(made.path.name + ".json").write_text('{"run": {"ends": {"raw_psnr": [1.0], "round_trip_psnr": 3}}}')
    assert session.report(made.path).keyframes[0].raw_psnr is None


@pytest.mark.parametrize("what", ["a picture", "a cut film", "another file"])
def test_what_is_no_film_of_ours_is_refused(what: str, faked: Faked, tmp_path: Path) -> None:
    session, _ = faked
    made = film(session)
    data = {
        "a picture": made.keyframes[0].read_bytes(),
        "a cut film": made.path.read_bytes()[:2000],
        "another file": b"hello",
    }[what]
    path = tmp_path / "given.mp4"
    path.write_bytes(data)
    with pytest.raises(UnreadableFile) as caught:
        session.report(path)
    assert caught.value.field == "file"
