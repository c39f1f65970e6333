"""The two functions for scripts: where they keep data and results, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from flux_svd import generate_image, generate_video_with_motion
from flux_svd import session as session_module
from flux_svd.errors import InvalidRequest
from flux_svd.session import Session
from tests.fakes import FakeEngines


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "platform"))
    monkeypatch.setattr(session_module, "WarmEngines", lambda home: FakeEngines())


def test_data_of_the_functions_lies_in_the_folder_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):  # it is read with each call
        monkeypatch.setenv("FLUX_SVD_HOME", str(tmp_path / name))
        path, _ = generate_image("a dog", seed=7, output_dir=str(tmp_path / "out"))
        assert path.is_relative_to(tmp_path / "out")
        assert (tmp_path / name / "stages").is_dir()
    assert not (tmp_path / "platform").exists()


@pytest.mark.parametrize("make", [generate_image, generate_video_with_motion])
def test_a_folder_beside_a_session_is_refused_not_ignored(make, tmp_path: Path, home: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidRequest, match="Session") as refused:
        make("a dog", session=Session(home=home), output_dir=tmp_path / "out")
    assert refused.value.field == "output_dir"


def test_a_session_takes_its_folders_as_text_too(tmp_path: Path) -> None:
    session = Session(home=str(tmp_path / "home"), output_dir=str(tmp_path / "out"))
    assert (session.home, session.output_dir) == (tmp_path / "home", tmp_path / "out")
    path, _ = generate_image("a dog", seed=7, session=session)
    assert session.score(str(path), "a dog")["clip_cosine"] == 0.25
