"""The commands about jobs, the worker and the library. Each returns what a person reads and what --json prints."""

from __future__ import annotations

import argparse
import datetime
import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flux_svd import again
from flux_svd.cli_border import Parser, Told, json_option
from flux_svd.errors import InvalidRequest

LISTED = 50


def add_commands(commands: Any) -> None:
    """Add jobs, worker, library and replay to the parser's commands."""
    common = json_option()
    _add_jobs(commands.add_parser("jobs", parents=[common], help="what waits, runs and has ended"))

    worker = commands.add_parser("worker", parents=[common], help="carry out jobs; is started again when it dies")
    worker.add_argument("--device", type=int, default=0, metavar="N", help="number of the device (default: 0)")
    worker.add_argument("--output", type=Path, help="folder for results of jobs that name none (default: ./outputs)")
    worker.add_argument("--until-empty", action="store_true", help="end when no job waits")
    worker.add_argument("--alone", metavar="NAME", help=argparse.SUPPRESS)
    worker.set_defaults(command=_worker, stops="after a step")

    _add_library(commands.add_parser("library", parents=[common, _search_options()], help="find, star and throw away results"))

    replay = commands.add_parser("replay", parents=[common], help="make a result again and say whether it is the same")
    replay.add_argument("file", type=Path)
    replay.set_defaults(command=_replay, stops="after a step")


def _add_jobs(jobs: argparse.ArgumentParser) -> None:
    actions, common = jobs.add_subparsers(metavar="ACTION", title="actions"), json_option(default=argparse.SUPPRESS)
    jobs.set_defaults(command=_list_jobs)
    actions.add_parser("list", parents=[common], help="all of them, the newest first; what jobs alone does")
    for name, ids, does in (
        ("show", "+", "what happened to a job, and its results"), ("cancel", "+", "end it; finished parts are kept"),
        ("retry", "+", "let it wait for its turn again"), ("pause", "*", "let it wait; without an id the whole queue"),
        ("resume", "*", "let it go on; without an id the whole queue"),
    ):  # fmt: skip
        action = actions.add_parser(name, parents=[common], help=does)
        action.add_argument("id", nargs=ids, metavar="ID")
        action.set_defaults(command=_change_jobs, action=name)
    anew = actions.add_parser("again", parents=[common], help="submit its request once more, with its seed and with changes")
    anew.add_argument("id", metavar="ID")
    anew.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                      help="what to change; may be repeated (seed=null draws another seed)")
    anew.set_defaults(command=_again)


def _add_library(library: argparse.ArgumentParser) -> None:
    common = json_option(default=argparse.SUPPRESS)
    actions, search = library.add_subparsers(metavar="ACTION", title="actions"), _search_options(argparse.SUPPRESS)
    library.set_defaults(command=_search_library, what=[])
    actions.add_parser("list", parents=[common, search], help="the newest results; what library alone does")
    found = actions.add_parser("search", parents=[common, search], help="results whose prompt has these words")
    found.add_argument("what", nargs="*", metavar="WORD")
    place = _output_option(argparse.SUPPRESS)
    for name, what, does in (
        ("star", "FILE", "keep it, and its finished parts, from being cleared away"), ("unstar", "FILE", "take the star back"),
        ("delete", "FILE", "throw it away; restore has it back"), ("restore", "ID", "have it back from the trash"),
    ):  # fmt: skip
        action = actions.add_parser(name, parents=[common, place], help=does)
        action.add_argument("what", nargs="+", metavar=what)
        action.set_defaults(command=_change_library, action=name)
    for name, command, does in (
        ("trash", _show_trash, "what was thrown away, with the ids to restore it by"),
        ("empty", _empty_trash, "remove for good what was thrown away"),
        ("rebuild", _rebuild_library, "read the results anew, and name what is damaged"),
    ):  # fmt: skip
        actions.add_parser(name, parents=[common, place], help=does).set_defaults(command=command)


def _search_options(default: object = None) -> Parser:
    """Return a parent parser with what narrows a search; the default stands where an option is not given."""
    parser = _output_option(Path("outputs") if default is None else default)
    parser.add_argument("--kind", choices=["image", "video"], help="only pictures, or only films", default=default)
    parser.add_argument("--model", metavar="NAME", help="only what this model made", default=default)
    parser.add_argument("--since", type=_day, metavar="DAY", help="the first day, as 2026-11-20", default=default)
    parser.add_argument("--until", type=_day, metavar="DAY", help="the last day", default=default)
    parser.add_argument("--min-score", type=float, metavar="COSINE", help="only what matches its prompt so well", default=default)
    parser.add_argument("--starred", action="store_true", help="only what has a star", default=default)
    parser.add_argument("--limit", type=int, metavar="N", help=f"at most so many (default: {LISTED})",
                        default=LISTED if default is None else default)
    return parser


def _output_option(default: object) -> Parser:
    parser = Parser(add_help=False)
    parser.add_argument("--output", type=Path, default=default, help="folder of the results (default: ./outputs)")
    return parser


def submit(plan: Any, home: Path, outputs: Path | None) -> Told:
    """Give a plan to the ledger."""
    from flux_svd.ledger import Ledger

    ledger = Ledger(home)
    job = ledger.submit(plan, outputs=outputs or Path("outputs"))
    waiting = ledger.counts().get("queued", 0)
    return f"{job}\n{waiting} in the queue; flux-svd worker carries them out", {"job": job, "queued": waiting, "seed": plan.seed}


def _list_jobs(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.ledger import Ledger

    ledger = Ledger(home)
    jobs = ledger.jobs(limit=LISTED)
    lines = [_job_line(job) for job in jobs] or ["no jobs"]
    if ledger.is_paused():
        lines.append("the queue is paused; flux-svd jobs resume lets it go on")
    lines += [f"{path} is no job of this version and was left alone" for path in ledger.unreadable]
    if ledger.damaged:
        lines.append(f"the ledger was damaged; it was moved to {ledger.damaged} and the queue rebuilt")
    return "\n".join(lines), {
        "jobs": [asdict(job) for job in jobs], "counts": ledger.counts(), "paused": ledger.is_paused(),
        "damaged": _text(ledger.damaged), "unreadable": [str(path) for path in ledger.unreadable],
    }  # fmt: skip


def _change_jobs(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    """Do to jobs what the action says, and show them; pause and resume without an id are for the whole queue."""
    from flux_svd.ledger import Ledger

    ledger, action = Ledger(home), arguments.action
    if not arguments.id:
        getattr(ledger, action)()
        return f"the queue is {'paused' if ledger.is_paused() else 'going on'}", {"paused": ledger.is_paused()}
    for job_id in arguments.id:
        if action != "show":
            getattr(ledger, action)(job_id)
    jobs = [ledger.job(job_id) for job_id in arguments.id]
    lines = []
    for job in jobs:
        lines.append(_job_line(job))
        if action == "show":
            lines += [f"  {_time(at)}  {what}" for at, what in ledger.events(job.id)]
            lines += [f"  {path}" for path in job.results]
    return "\n".join(lines), {"jobs": [{**asdict(job), "events": ledger.events(job.id)} for job in jobs]}


def _again(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    """Submit the request of a job once more, with its seed and with changes: a new plan, a new job."""
    from flux_svd.ledger import Ledger
    from flux_svd.request import make_request
    from flux_svd.session import Session

    ledger = Ledger(home)
    fields = again.wish_of_job(ledger.plan(arguments.id))
    for change in arguments.set:
        name, equals, text = change.partition("=")
        if not equals:
            raise InvalidRequest("set", change, "FIELD=VALUE, for example steps=12")
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text
    outputs = ledger.tag(arguments.id).outputs
    return submit(Session(home=home).plan(make_request(fields)), home, Path(outputs) if outputs else None)


def _worker(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.ledger import Ledger
    from flux_svd.session import Session
    from flux_svd.worker import Worker, keep_worker

    ledger, number = Ledger(home), arguments.device
    if arguments.alone:
        session = Session(home=home, output_dir=arguments.output, owner="the worker", device_number=number)
        Worker(ledger, session, name=arguments.alone).run_forever(stop, until_empty=arguments.until_empty)
        return "", {"counts": ledger.counts()}
    keep_worker(ledger, stop, number=number, outputs=arguments.output, until_empty=arguments.until_empty)
    return f"{ledger.counts().get('queued', 0)} jobs wait", {"counts": ledger.counts()}


def _search_library(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.library import Library

    library = Library(arguments.output, home)
    items = library.search(
        " ".join(arguments.what), kind=arguments.kind, model=arguments.model, since=arguments.since,
        until=arguments.until and arguments.until + 86400, min_score=arguments.min_score, starred=arguments.starred,
        limit=arguments.limit,
    )  # fmt: skip
    lines = [_item_line(item) for item in items] or ["nothing found"]
    if library.damaged:
        lines.append(f"the index was damaged; it was moved to {library.damaged} and made again")
    problems = library.problems()
    lines += [f"{item.path}: {item.problem}" for item in problems]
    return "\n".join(lines), {
        "items": [_plain(item) for item in items], "problems": [_plain(item) for item in problems],
        "damaged": _text(library.damaged),
    }  # fmt: skip


def _rebuild_library(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.library import Library

    library = Library(arguments.output, home)
    count, problems = library.rebuild(), library.problems()
    lines = [f"{count} results", *(f"{item.path}: {item.problem}" for item in problems)]
    return "\n".join(lines), {"count": count, "problems": [_plain(item) for item in problems]}


def _show_trash(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.library import Library

    thrown = Library(arguments.output, home).trash()
    return "\n".join(f"{one.id}  {one.paths[0]}" for one in thrown), {"trash": [asdict(one) for one in thrown]}


def _empty_trash(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.library import Library

    count = Library(arguments.output, home).empty_trash(0)
    return f"{count} removed for good", {"removed": count}


def _change_library(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.library import Library

    library, done = Library(arguments.output, home), []
    for name in arguments.what:
        if arguments.action == "delete":
            done.append(library.delete(Path(name)))
        elif arguments.action == "restore":
            done.append(str(library.restore(name)))
        else:
            library.star(Path(name), arguments.action == "star")
            done.append(name)
    return "\n".join(done), {"done": done}


def _replay(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.replay import replay
    from flux_svd.session import Session

    result = replay(arguments.file, Session(home=home, owner="the command line"), stop=stop)
    verdict = result.verdict if result.psnr is None else f"{result.verdict}: {result.psnr:g} dB in the frame that differs most"
    return "\n".join([verdict, *result.changes]), {"file": str(arguments.file), **asdict(result)}


def _job_line(job: Any) -> str:
    step = f" {job.progress.step}/{job.progress.steps}" if job.progress.steps else ""
    state = f"{job.state}, {job.progress.phase}{step}" if job.state == "running" else job.state
    note = job.reason or (job.progress.note if job.state == "running" else "")
    return f"{job.id}  {state:<24} {job.kind:<6} {job.title}" + (f"  ({note})" if note else "")


def _item_line(item: Any) -> str:
    score = "     " if item.score is None else f"{item.score:.3f}"
    return f"{'*' if item.starred else ' '} {_time(item.made)}  {score}  {item.model:<16} {item.path}"


def _plain(item: Any) -> dict[str, Any]:
    return {**asdict(item), "path": str(item.path)}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _day(text: str) -> float:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day like 2026-11-20") from None
