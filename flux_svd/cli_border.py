"""The edge of the command line: arguments that cannot be read, signals, failures, output nobody reads. Knows no command.

With --json exactly one JSON object goes to stdout; progress and messages go to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn, TextIO

from flux_svd import files
from flux_svd.errors import BadUsage, Cancelled, FluxSvdError, InvalidRequest

Answer = dict[str, Any]
Told = tuple[str, Answer]
"""What a person reads, and what --json prints."""

Command = Callable[[argparse.Namespace, threading.Event, Path], Told]
"""Carries out parsed arguments with a data folder; what has steps ends within one when the event is set."""

Stops = Literal["after a step", "now", "abruptly"]
"""What the first Ctrl-C or SIGTERM does: sets the event, ends the command where it is, or ends the process."""

READER_GONE_EXIT = 141  # 128 + SIGPIPE: what a shell tells of a program whose reader has left


class Parser(argparse.ArgumentParser):
    """Raises what it cannot read, so that --json has its object for that too."""

    def error(self, message: str) -> NoReturn:
        raise BadUsage(f"{message}. {self.prog} --help says what there is.")


def json_option(**options: Any) -> Parser:
    """Return a parent parser with the option every command takes.

    An action of a command repeats the command's options with `default=argparse.SUPPRESS`, so that they may stand before its name
    and after it.
    """
    parser = Parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout", **options)
    return parser


def run(parser: Parser, argv: Sequence[str], home: Path) -> int:
    """Carry out one command line and return its exit code; `FluxSvdError.exit_code` tells kinds of failure apart.

    Every command has set `command` (a `Command`) and `stops` (a `Stops`) as defaults of its arguments.
    """
    as_json = "--json" in argv
    try:
        arguments = parser.parse_args(argv)
        text, answer = _carry_out(arguments, home, as_json)
    except FluxSvdError as error:
        return _tell_failure(error, as_json)
    finally:
        _write(sys.stdout, "", end="")  # what --help or --version left to be written
    told = json.dumps(answer, ensure_ascii=False) if as_json else text
    return 0 if not told or _write(sys.stdout, told) else READER_GONE_EXIT


def say(text: str) -> None:
    """Tell the user something beside the answer."""
    _write(sys.stderr, text)


def _carry_out(arguments: argparse.Namespace, home: Path, as_json: bool) -> Told:
    command: Command = arguments.command
    stop = threading.Event()
    try:
        with _ended_by_signals(stop, arguments.stops, as_json):
            return command(arguments, stop, home)
    except KeyboardInterrupt:
        raise Cancelled("stopped before it was done") from None
    except OSError as error:
        folders = (home, getattr(arguments, "output", None) or Path("outputs"))
        if not any(_lies_on_the_way(error, folder) for folder in folders):
            raise
        raise files.unusable(Path(error.filename), error) from error


def _lies_on_the_way(error: OSError, folder: Path) -> bool:
    """Return whether the file the error names lies in the folder, or is one of those above it."""
    if not isinstance(error.filename, str):
        return False
    path, folder = Path(error.filename).absolute(), folder.absolute()
    return path.is_relative_to(folder) or folder.is_relative_to(path)


@contextmanager
def _ended_by_signals(stop: threading.Event, stops: Stops, as_json: bool) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the command as `stops` says, and a second one the process, while the block runs."""

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(Cancelled.exit_code)
        stop.set()
        if stops == "abruptly":
            os._exit(_tell_failure(Cancelled("stopped; what arrived is kept"), as_json))
        if stops == "now":
            raise KeyboardInterrupt
        say("stopping after this step; once more stops at once")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_failure(error: FluxSvdError, as_json: bool) -> int:
    say(f"flux-svd: {error}")
    answer: Answer = {"error": str(error), "kind": type(error).__name__, "exit_code": error.exit_code}
    if isinstance(error, InvalidRequest):
        answer |= {"field": error.field, "value": error.value, "allowed": error.allowed}
    if as_json:
        _write(sys.stdout, json.dumps(answer, ensure_ascii=False))
    return error.exit_code


def _write(stream: TextIO, text: str, end: str = "\n") -> bool:
    """Write, and return whether somebody reads it; after the reader has left, what else is written goes nowhere."""
    try:
        print(text, end=end, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
