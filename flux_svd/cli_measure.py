"""What the command line has for measuring: timings on this machine, and a first contact with a model."""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flux_svd import memory
from flux_svd.cli_border import Told, json_option, say
from flux_svd.cli_make import machine_options, open_session
from flux_svd.errors import InvalidRequest

if TYPE_CHECKING:
    from flux_svd.progress import Progress


def add_commands(commands: Any) -> None:
    """Add bench and verify to the parser's commands."""
    common, machine = json_option(), machine_options()
    bench = commands.add_parser("bench", parents=[common, machine], help="time models on this machine")
    bench.add_argument("models", nargs="*", metavar="MODEL", help="which (default: the pocket models)")
    bench.add_argument("--runs", type=int, default=3, metavar="N", help="warm runs of each, after a cold one (1 to 100)")
    bench.add_argument("--output", type=Path, metavar="FILE", help="write the JSON there too")
    bench.set_defaults(command=_bench, stops="after a step")

    verify = commands.add_parser("verify", parents=[common, machine], help="does a model work here? writes a report")
    verify.add_argument("model", metavar="MODEL")
    verify.add_argument("--output", type=Path, help="folder for the result and the report (default: ./outputs)")
    verify.set_defaults(command=_verify, stops="after a step")


def _bench(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd import measuring
    from flux_svd.store import Store

    if not 1 <= arguments.runs <= 100:
        raise InvalidRequest("runs", arguments.runs, "a whole number from 1 to 100")
    with tempfile.TemporaryDirectory(prefix="flux-svd-bench-") as folder:
        place = Path(folder)
        store = Store(home, stages=place / "stages")
        session = open_session(arguments, home, output_dir=place / "outputs", store=store, owner="a benchmark")
        answer = measuring.bench(session, arguments.models or measuring.ALWAYS_HERE, arguments.runs, _say, stop)
        session.unload()
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(answer, indent=1) + "\n")
    lines = [
        f"{row['model']:<20} {row['what']} {row['width']}×{row['height']}: {row['median_seconds']:g} s (n = {row['runs']}), "
        f"cold {row['cold_seconds']:g} s; {row['placement']}"
        for row in answer["rows"]
    ]
    return "\n".join(lines), answer


def _verify(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd import measuring

    output = arguments.output or Path("outputs")
    session = open_session(arguments, home, output_dir=output, owner="a verification")
    report, failure = measuring.verify(session, arguments.model, _say, stop)
    path = measuring.write_report(report, output, f"verify-{arguments.model}")
    if failure is not None:
        say(f"The report is {path}; please attach it when you tell of this.")
        raise failure
    measured = memory.format_gib(report["peak_bytes"]) if report["peak_bytes"] else "not measured"
    told = (
        f"{arguments.model} works here: {report['run_seconds']:g} s, clip_cosine {report['clip_cosine']:g} "
        f"(another prompt: {report['other_cosine']:g}), peak {measured}, planned "
        f"{memory.format_gib(report['predicted_peak_bytes'])}. The report is {path}"
    )
    return told, {**report, "report": str(path)}


def _say(progress: Progress) -> None:
    if progress.note:
        say(progress.note)
