"""The commands about jobs, the worker and the library. Each returns what a person reads and what --json prints."""

from __future__ import annotations

import argparse
import datetime
import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flux_svd.cli_border import Told, json_option
from flux_svd.errors import InvalidRequest

LISTED = 50


def add_commands(commands: Any) -> None:
    """Add jobs, worker, library and replay to the parser's commands."""
    common = json_option()
    jobs = commands.add_parser("jobs", parents=[common], help="what waits, runs and has ended")
    actions = ["list", "show", "cancel", "retry", "pause", "resume", "again"]
    jobs.add_argument("action", nargs="?", default="list", choices=actions)
    jobs.add_argument("id", nargs="*", help="ids of jobs; pause and resume without one stand for the whole queue")
    jobs.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="again: what to change in the request")
    jobs.set_defaults(command=_jobs)

    worker = commands.add_parser("worker", parents=[common], help="carry out jobs; is started again when it dies")
    worker.add_argument("--device", type=int, default=0, metavar="N", help="number of the device (default: 0)")
    worker.add_argument("--output", type=Path, help="folder for results of jobs that name none (default: ./outputs)")
    worker.add_argument("--until-empty", action="store_true", help="end when no job waits")
    worker.add_argument("--alone", metavar="NAME", help=argparse.SUPPRESS)
    worker.set_defaults(command=_worker, stops="after a step")

    library = commands.add_parser("library", parents=[common], help="find, star and throw away results")
    actions = ["list", "search", "star", "unstar", "delete", "restore", "trash", "empty", "rebuild"]
    library.add_argument("action", nargs="?", default="list", choices=actions)
    library.add_argument("what", nargs="*", help="words, files, or ids of the trash")
    library.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the results (default: ./outputs)")
    library.add_argument("--kind", choices=["image", "video"])
    library.add_argument("--model")
    library.add_argument("--since", type=_day, metavar="DAY", help="2026-11-20")
    library.add_argument("--until", type=_day, metavar="DAY", help="the last day")
    library.add_argument("--min-score", type=float, metavar="COSINE")
    library.add_argument("--starred", action="store_true", default=None)
    library.add_argument("--limit", type=int, default=LISTED)
    library.set_defaults(command=_library)

    replay = commands.add_parser("replay", parents=[common], help="make a result again and say whether it is the same")
    replay.add_argument("file", type=Path)
    replay.set_defaults(command=_replay, stops="after a step")


def submit(plan: Any, home: Path, outputs: Path | None) -> Told:
    """Give a plan to the ledger."""
    from flux_svd.ledger import Ledger

    ledger = Ledger(home)
    job = ledger.submit(plan, outputs=outputs or Path("outputs"))
    waiting = ledger.counts().get("queued", 0)
    return f"{job}\n{waiting} in the queue; flux-svd worker carries them out", {"job": job, "queued": waiting, "seed": plan.seed}


def _jobs(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.ledger import Ledger

    ledger = Ledger(home)
    action, ids = arguments.action, arguments.id
    if action == "list":
        jobs = ledger.jobs(limit=LISTED)
        lines = [_job_line(job) for job in jobs] or ["no jobs"]
        if ledger.is_paused():
            lines.append("the queue is paused; flux-svd jobs resume lets it go on")
        lines += [f"{path} is no job of this version and was left alone" for path in ledger.unreadable]
        if ledger.damaged:
            lines.append(f"the ledger was damaged; it was moved to {ledger.damaged} and the queue rebuilt")
        return "\n".join(lines), {"jobs": [asdict(job) for job in jobs], "counts": ledger.counts(), "paused": ledger.is_paused()}
    if action in ("pause", "resume") and not ids:
        getattr(ledger, action)()
        return f"the queue is {'paused' if ledger.is_paused() else 'going on'}", {"paused": ledger.is_paused()}
    if not ids:
        raise InvalidRequest("id", "", f"ids of jobs to {action}")
    if action == "again":
        return _again(ledger, ids[0], arguments.set, home)
    for job_id in ids:
        if action != "show":
            getattr(ledger, action)(job_id)
    jobs = [ledger.job(job_id) for job_id in ids]
    lines = []
    for job in jobs:
        lines.append(_job_line(job))
        if action == "show":
            lines += [f"  {_time(at)}  {what}" for at, what in ledger.events(job.id)]
            lines += [f"  {path}" for path in job.results]
    return "\n".join(lines), {"jobs": [{**asdict(job), "events": ledger.events(job.id)} for job in jobs]}


def _again(ledger: Any, job_id: str, changes: list[str], home: Path) -> Told:
    """Submit the request of a job once more, with changes: a new plan, a new job."""
    from flux_svd.request import make_request
    from flux_svd.session import Session

    fields = ledger.plan(job_id).request.model_dump(mode="json")
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise InvalidRequest("set", change, "FIELD=VALUE, for example steps=12")
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text
    outputs = ledger.tag(job_id).outputs
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


def _library(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.library import Library

    library = Library(arguments.output, home)
    action, what = arguments.action, arguments.what
    if action in ("list", "search"):
        items = library.search(
            " ".join(what), kind=arguments.kind, model=arguments.model, since=arguments.since,
            until=arguments.until and arguments.until + 86400, min_score=arguments.min_score, starred=arguments.starred,
            limit=arguments.limit,
        )  # fmt: skip
        lines = [_item_line(item) for item in items] or ["nothing found"]
        if library.damaged:
            lines.append(f"the index was damaged; it was moved to {library.damaged} and made again")
        problems = library.problems()
        lines += [f"{item.path}: {item.problem}" for item in problems]
        return "\n".join(lines), {"items": [_plain(item) for item in items], "problems": [_plain(item) for item in problems]}
    if action == "rebuild":
        count, problems = library.rebuild(), library.problems()
        lines = [f"{count} results", *(f"{item.path}: {item.problem}" for item in problems)]
        return "\n".join(lines), {"count": count, "problems": [_plain(item) for item in problems]}
    if action == "trash":
        thrown = library.trash()
        return "\n".join(f"{one.id}  {one.paths[0]}" for one in thrown), {"trash": [asdict(one) for one in thrown]}
    if action == "empty":
        count = library.empty_trash(0)
        return f"{count} removed for good", {"removed": count}
    if not what:
        raise InvalidRequest("what", "", "an id of the trash" if action == "restore" else f"files to {action}")
    done = []
    for name in what:
        if action == "delete":
            done.append(library.delete(Path(name)))
        elif action == "restore":
            done.append(str(library.restore(name)))
        else:
            library.star(Path(name), action == "star")
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


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _day(text: str) -> float:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day like 2026-11-20") from None
