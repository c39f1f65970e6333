"""The edge of the command line: usage that cannot be read, signals, broken pipes, folders that cannot be used."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux_svd import cli_border, weights
from flux_svd import session as session_module
from flux_svd.cli import main
from flux_svd.cli_border import READER_GONE_EXIT, Parser, json_option
from tests.fakes import FakeEngines, fake_programs
from tests.test_cli import Output, run


@pytest.fixture(autouse=True)
def engines(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngines:
    return fake_programs(home, tmp_path, monkeypatch)


def interrupt(*ignored: Any, **named: Any) -> Any:
    os.kill(os.getpid(), signal.SIGINT)
    return threading.Event().wait(5)


def refusal(capsys: Output, *arguments: str) -> tuple[int, str, int]:
    code, answer, stderr = run(capsys, *arguments)
    assert stderr.endswith(f"flux-svd: {answer['error']}\n")
    assert "Traceback" not in stderr
    return code, answer["kind"], answer["exit_code"]


UNREADABLE = [["image", "a", "--nonsense"], ["nonsense"], ["video"], ["library", "--limit", "many"], ["export", "x.mp4"]]


@pytest.mark.parametrize("arguments", UNREADABLE, ids=str)
def test_a_line_that_cannot_be_read_has_its_json_too(arguments: list[str], capsys: Output) -> None:
    assert refusal(capsys, *arguments) == (2, "BadUsage", 2)


def test_a_replay_stops_within_a_step_and_frees_its_engines(capsys: Output, engines: FakeEngines) -> None:
    path = run(capsys, "image", "a dog")[1]["path"]
    engines.calls.clear()
    seen: list[int] = []

    def before_step(kind: str, step: int) -> None:
        seen.append(step)
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    engines.before_step = before_step
    assert refusal(capsys, "replay", path) == (130, "Cancelled", 130)
    assert max(seen) <= 3
    assert engines.calls[-1] == "release"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_without_steps_ends_where_it_is(number: int, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(*ignored: Any) -> None:
        os.kill(os.getpid(), number)
        threading.Event().wait(5)

    monkeypatch.setattr(session_module.Session, "score", score)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert refusal(capsys, "score", "x.png", "a dog") == (130, "Cancelled", 130)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_a_download_ends_with_its_process(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    def leave(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(weights, "download", interrupt)
    with pytest.raises(Ended, match="130"):
        main(["models", "download", "svd", "--json"])
    assert json.loads(capsys.readouterr().out)["error"] == "stopped; what arrived is kept"


def on(pipe: int) -> Any:
    return os.fdopen(pipe, "w", encoding="utf-8")


@pytest.mark.parametrize("arguments", [["models", "--json"], ["models"], ["--help"]], ids=str)
def test_a_reader_who_leaves_gets_no_traceback(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with on(writer) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        try:
            assert main(arguments) == READER_GONE_EXIT
        except SystemExit as ended:  # of --help
            assert ended.code == 0
        stream.write("more")
    assert "Traceback" not in capfd.readouterr().err


def test_who_stops_reading_messages_still_gets_the_result(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with on(writer) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        assert main(["image", "a dog", "--json"]) == 0
    assert Path(json.loads(capfd.readouterr().out)["path"]).is_file()


def carry_out(command: Callable[..., Any], *arguments: str, home: Path) -> int:
    parser = Parser(parents=[json_option()])
    parser.add_argument("--output", type=Path)
    parser.set_defaults(command=command, stops="now")
    return cli_border.run(parser, [*arguments, "--json"], home)


def test_a_folder_that_cannot_be_used_is_told_without_a_traceback(capsys: Output, home: Path) -> None:
    def write(arguments: Any, *rest: Any) -> Any:
        (arguments.output / "x" / "y.png").write_bytes(b"")

    assert carry_out(write, "--output", "/dev/null/foo", home=home) == 6
    told = capsys.readouterr()
    assert json.loads(told.out)["kind"] == "StorageFailed"
    assert "/dev/null/foo" in told.err
    assert "--output" in told.err


def test_a_bug_is_not_taken_for_a_folder(home: Path) -> None:
    def read(*ignored: Any) -> Any:
        return Path("/absent/file").read_bytes()

    with pytest.raises(FileNotFoundError):
        carry_out(read, home=home)
