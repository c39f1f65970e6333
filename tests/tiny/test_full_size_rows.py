"""The measurements for a machine with a GPU, tried on tiny models: rows, what is kept of a run that was cut, and the summary."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import full_size, full_size_rows
from flux_svd import device, files

FolderOf = Callable[[str], Path]


@pytest.fixture
def row(folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Return a function that measures a row, one run of two steps, and returns what is in its file."""
    monkeypatch.setattr(device, "read_budget", device.read_budget)  # a tiny measurement puts its own in place
    arguments = argparse.Namespace(tiny=True, runs=1, steps=2, out=tmp_path / "out")
    arguments.out.mkdir()

    def measure(name: str) -> dict[str, Any]:
        wanted = full_size.ROWS[name]
        folder = tmp_path / "home" / "models" / wanted.model
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.exists():
            folder.symlink_to(folder_of(wanted.model))
        full_size_rows.measure(name, wanted.kind, wanted.model, wanted.cap, tmp_path / "home", arguments)
        return files.read_json(arguments.out / f"{name}.json")

    return measure


def test_a_table_tells_each_call_of_svd_beside_what_is_predicted(row: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    told = row("svd-table")
    assert list(told["parts"]) == [*(f"decode {chunk}" for chunk in (1, 2, 4, 8)), *(f"unet {frames}" for frames in (3, 5, 7))]
    assert all(part["seconds"] > 0 and part["predicted_bytes"] > 0 and part["holds"] is None for part in told["parts"].values())
    assert (told["parts"]["unet 5"]["frames"], told["parts"]["decode 4"]["decode_chunk"]) == (5, 4)
    assert told["machine"]["versions"]["torch"]
    lines = (tmp_path / "out" / "svd-table.md").read_text().splitlines()
    assert len(lines) == 2 + 7


def test_ways_to_compute_are_timed_in_turns_and_parts_that_are_there_are_not_measured_again(
    row: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def stand_in(call: Any, **options: Any) -> Any:  # compiling takes minutes and has tests of its own
        compiled.append(options)
        return call

    monkeypatch.setattr(torch, "compile", stand_in)
    parts = row("dev-speed")["parts"]
    assert set(parts) == {"eager", "compiled", "fp8", "fp8 compiled"}
    assert len(compiled) > 0
    assert parts["eager"]["bare_error"] < 1e-6  # the engine and a bare call begin at the same noise and take the same steps
    assert parts["eager"]["error"] == parts["compiled"]["error"] == 0
    errors = {parts[name]["error"] for name in ("fp8", "fp8 compiled")}
    assert len(errors) == 2
    assert all(0 < error < 0.02 for error in errors)  # 0.005 was seen of both
    assert all(len(part["seconds"]) == len(part["bare_seconds"]) == 1 for part in parts.values())
    assert [part["wanted"] for part in parts.values()] == ["≥ 1.3 times", "", "", "≥ 2.5 times"]  # by name
    cut = files.read_json(tmp_path / "out" / "dev-speed.json")
    del cut["parts"]["fp8"]
    files.write_json(tmp_path / "out" / "dev-speed.json", cut)
    again = row("dev-speed")["parts"]
    assert {name: again[name] for name in cut["parts"]} == cut["parts"]
    assert set(again) == set(parts)
    lowered = row("dev-12gb-fp8")["parts"]["fp8"]
    assert lowered["times_resident"] == lowered["seconds"][0] / again["fp8"]["seconds"][0]
    assert "transformer in fp8" in lowered["what"]


def test_a_row_that_is_whole_is_not_begun_again_and_one_without_time_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, float | None]] = []

    def run(command: list[str], timeout: float | None, **_: Any) -> Any:
        name = command[3]
        begun.append((name, timeout))
        files.write_json(tmp_path / f"{name}.json", {"parts": {"plan": {"what": "a plan", "measured": "1 s", "holds": True}}})
        if name == "svd-table":
            raise subprocess.TimeoutExpired(command, timeout or 0)
        failed = name == "dev-speed"
        return subprocess.CompletedProcess(command, int(failed), stderr="trace\nOutOfMemory: full" if failed else "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("sys.argv", ["full_size", "all", "--scratch", str(tmp_path), "--out", str(tmp_path), "--minutes", "5"])
    full_size.main()
    assert [name for name, _ in begun] == list(full_size.ROWS)
    assert all(left is not None and left < 300 for _, left in begun)
    told = files.read_json(tmp_path / "summary.json")
    assert {name: row["error"] for name, row in told.items() if row["error"]} == {
        "svd-table": "time ran out in the middle", "dev-speed": "OutOfMemory: full",
    }  # fmt: skip
    assert "| svd-table | a plan | 1 s |  | yes |" in (tmp_path / "summary.md").read_text()  # what it had is kept
    begun.clear()
    full_size.main()
    assert [name for name, _ in begun] == ["svd-table", "dev-speed"]
    begun.clear()
    monkeypatch.setattr("sys.argv", ["full_size", "all", "--scratch", str(tmp_path), "--out", str(tmp_path), "--minutes", "0"])
    full_size.main()
    assert begun == []
    assert files.read_json(tmp_path / "dev-speed.json")["error"] == "no time was left"


def test_ten_plans_are_among_the_rows() -> None:
    assert sum(wanted.kind == "plan" for wanted in full_size.ROWS.values()) == 10
