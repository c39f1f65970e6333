"""Timings and first contacts: what they tell, that a failure is a report too, and that nothing private is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flux_svd.cli import main
from flux_svd.engines.flux import FluxEngine
from flux_svd.errors import InvalidRequest


@pytest.fixture(autouse=True)
def _own_folders(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_SVD_HOME", str(home))
    monkeypatch.chdir(tmp_path)


def report() -> dict[str, object]:
    (file,) = Path("outputs").glob("verify-*.json")
    read: dict[str, object] = json.loads(file.read_text())
    return read


def test_a_model_that_works_is_verified_with_figures_to_pass_on(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert main(["verify", "pocket-flux", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] is True
    assert told["clip_cosine"] > told["other_cosine"] + 0.3  # seen: .90 and −.27
    assert told["predicted_peak_bytes"] > 0
    assert told["host_peak_bytes"] > 1e8
    assert any(row.startswith("placement: P8") for row in told["decisions"])
    assert {"torch", "diffusers", "flux_svd"} <= set(told["versions"])
    assert str(home) not in json.dumps(report())


def test_a_picture_that_shows_something_else_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = FluxEngine.draw

    def another(self, recipe, *rest, **named):  # type: ignore[no-untyped-def]
        import dataclasses

        return draw(self, dataclasses.replace(recipe, prompt="a yellow star on a green background"), *rest, **named)

    monkeypatch.setattr(FluxEngine, "draw", another)
    assert main(["verify", "pocket-flux"]) == 5
    assert "matches another prompt better" in capsys.readouterr().err
    assert report()["passed"] is False


def test_a_model_that_is_not_here_leaves_a_report_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "flux1-dev", "--json"]) == 3
    told = capsys.readouterr()
    assert json.loads(told.out)["kind"] == "ModelUnavailable"
    assert "please attach it" in told.err
    assert str(report()["error"]).startswith("ModelUnavailable: flux1-dev is not on this disk")


def test_a_bench_tells_cold_and_warm_runs_of_work_that_was_never_done_before(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(["bench", "pocket-flux", "--runs", "2", "--output", "bench.json", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(Path("bench.json").read_text())
    (row,) = told["rows"]
    assert (row["model"], row["runs"], len(row["seconds"]), row["reused_stages"]) == ("pocket-flux", 2, 2, 0)
    assert row["cold_seconds"] > 0
    assert row["predicted_peak_bytes"] > 0
    assert told["date"] > "2026"
    assert not (home / "stages").exists()  # what was made for timing is gone


def test_what_cannot_be_measured_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "pocket-clip"]) == InvalidRequest.exit_code
    assert main(["bench", "--runs", "0"]) == InvalidRequest.exit_code
    assert main(["verify", "nonsense"]) == InvalidRequest.exit_code
    assert "pocket-flux" in capsys.readouterr().err
