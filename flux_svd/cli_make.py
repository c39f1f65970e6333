"""The commands that make or plan pictures and films, and score them: options ↔ request fields."""

from __future__ import annotations

import argparse
import functools
import json
import threading
from pathlib import Path
from typing import Any

from flux_svd import again, cli_films, cli_images, cli_jobs, memory, weights
from flux_svd.cli_border import Answer, Parser, Told, json_option, say
from flux_svd.request import ImageRequest, VideoRequest, describe_bounds, make_request, schema_of

# Fields whose options are not the text of one value, and added by `cli_images` and `cli_films`.
_ADDED_APART = (
    "kind", "prompt", "references", "start", "model_file", "text_encoder", "guidance_curve", "stages", "lengths", "loop",
    "colour_match", "keep_subject",
)  # fmt: skip


def add_commands(commands: Any) -> None:
    """Add image, video, plan and score to the parser's commands."""
    common = json_option()
    kinds: tuple[tuple[str, type[ImageRequest] | type[VideoRequest], str], ...] = (
        ("image", ImageRequest, "make pictures"), ("video", VideoRequest, "make a film from keyframes"),
    )  # fmt: skip
    for kind, request, does in kinds:
        make = commands.add_parser(kind, parents=[common, machine_options(), _wish(request)], help=does)
        make.add_argument("--detach", action="store_true", help="leave it to flux-svd worker and print the id of the job")
        make.set_defaults(command=_make, kind=kind, stops="after a step")
    plan = commands.add_parser("plan", help="what would happen, without doing it")
    planned = plan.add_subparsers(required=True, metavar="KIND")
    for kind, request, _ in kinds:
        of_kind = planned.add_parser(kind, parents=[common, machine_options(), _wish(request)], help=f"plan of flux-svd {kind}")
        of_kind.set_defaults(command=_plan, kind=kind)
    score = commands.add_parser("score", parents=[common], help="how well a picture or film matches a text")
    score.add_argument("file", type=Path)
    score.add_argument("text")
    score.set_defaults(command=_score)


def machine_options() -> Parser:
    """Return a parent parser with what a plan is told about the machine."""
    parser = Parser(add_help=False)
    parser.add_argument("--vram", metavar="12GB", help="use at most this much device memory (12GB means 12 GiB)")
    parser.add_argument("--untried", action="store_true", help="allow ways to save memory that have not run on this device yet")
    return parser


def open_session(arguments: argparse.Namespace, home: Path, *, owner: str = "the command line", **given: Any) -> Any:
    """Return a session as the options of `machine_options` and --output say; `given` goes before them."""
    from flux_svd.session import Session

    vram = getattr(arguments, "vram", None)
    told = {
        "home": home, "output_dir": getattr(arguments, "output", None), "vram_bytes": memory.parse_bytes(vram) if vram else None,
        "untried": getattr(arguments, "untried", False),
    }  # fmt: skip
    return Session(**{**told, **given}, owner=owner)


def _wish(kind: type[ImageRequest] | type[VideoRequest]) -> Parser:
    """Return the options of a request, made from its fields: a new field becomes a new option."""
    parser = Parser(add_help=False)
    parser.add_argument("prompt", nargs="?" if kind is ImageRequest else None, help="what to show, in words")
    for name, field in kind.__pydantic_fields__.items():
        if name in _ADDED_APART:
            continue
        option = {"negative_prompt": "--negative"}.get(name, "--" + name.replace("_", "-"))
        does = f"{field.description}"[:1].lower() + f"{field.description}"[1:].replace("%", "%%")
        if field.annotation is bool:
            parser.add_argument(option, dest=name, action="store_true", default=None, help=does)
            continue
        value = {int: "N", float: "X", None: "TEXT" if name == "negative_prompt" else "NAME"}[_number_of(kind, name)]
        parser.add_argument(option, dest=name, metavar=value, help=f"{does}: {describe_bounds(kind, name)}")
    parser.add_argument("--reference", action="append", type=Path, metavar="FILE", help="picture to work from; may be repeated")
    cli_images.add_wishes(parser)
    if kind is ImageRequest:
        cli_images.add_beginnings(parser)
    else:
        cli_films.add_wishes(parser)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="folder for results (default: ./outputs)")
    return parser


def _make(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.artifact import VideoArtifact
    from flux_svd.plan import describe_plan
    from flux_svd.recipe import fingerprint

    session = open_session(arguments, home)
    plan = session.plan(_request(arguments, session.store, home))
    if getattr(arguments, "keyframes_only", False):
        plan = cli_films.keyframes_alone(plan)
    say("\n".join(f"  {note.what}: {note.value} ({note.why})" for note in plan.decisions))
    if arguments.detach:
        return cli_jobs.submit(plan, session.home, arguments.output)
    artifacts = session.run(plan, _show_progress, stop)
    paths = [str(made.path) for made in artifacts]
    first = artifacts[0]
    answer: Answer = {
        "path": paths[0], "seed": plan.seed, "model": plan.model, "plan": describe_plan(plan),
        "scores": dict(first.run.scores), "seconds": round(sum(made.run.seconds for made in artifacts), 3),
        "notes": list(dict.fromkeys(note for made in artifacts for note in made.run.notes)),
    }
    for note in answer["notes"]:
        say(f"flux-svd: {note}")
    if isinstance(first, VideoArtifact):
        answer |= {
            "keyframes": [str(path) for path in first.keyframes], "frames": first.recipe.frames, "fps": first.recipe.fps,
            "ends": dict(first.run.ends or {}), "stages": [fingerprint(key) for key in first.recipe.keyframes],
            "candidates": [str(path) for path in first.candidates],
        }
    else:
        answer |= {
            "paths": paths, "all_scores": [dict(made.run.scores) for made in artifacts],
            "stages": [fingerprint(made.recipe) for made in artifacts],
            "candidates": [str(path) for made in artifacts for path in made.candidates],
        }
    return "\n".join(paths), answer


def _plan(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.plan import describe_plan

    session = open_session(arguments, home)
    answer = describe_plan(session.plan(_request(arguments, session.store, home), considering=True))
    lines = [f"{note['what']:>18}  {note['value']}  ({note['why']})" for note in answer["decisions"]]
    seconds = answer["seconds"]
    lines.append(f"{'peak':>18}  {memory.format_gib(answer['peak_bytes'])} on the device, "
                 f"{memory.format_gib(answer['host_peak_bytes'])} of host memory")
    lines.append(f"{'time':>18}  {'not known before the first run here' if seconds is None else f'about {seconds:g} s'}")
    return "\n".join(lines), answer


def _score(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    text = make_request({"kind": "image", "prompt": arguments.text}).prompt  # the same rules as for a prompt
    scores = open_session(arguments, home).score(arguments.file, text)
    return f"clip_cosine {scores['clip_cosine']:.4f} by {scores['scorer']}", {"path": str(arguments.file), "scores": scores}


def _request(arguments: argparse.Namespace, store: Any, home: Path) -> ImageRequest | VideoRequest:
    kind = ImageRequest if arguments.kind == "image" else VideoRequest
    apart = ("start", "model_file", "text_encoder", "guidance_curve")  # files and lists are read on their own
    named = {name: value for name, value in vars(arguments).items() if name in kind.__pydantic_fields__ and name not in apart}
    given = {name: value for name, value in named.items() if value is not None}
    fields = {name: _as_number(kind, name, value) for name, value in given.items()}
    fields |= cli_images.read_wishes(arguments) | cli_films.read_wishes(arguments)
    if getattr(arguments, "variations_of", None):
        fields = again.wish_near(arguments.variations_of, "variations-of") | fields
    if getattr(arguments, "model_file", None):
        fields["model_file"] = weights.keep_model_file(arguments.model_file, home)
    if getattr(arguments, "text_encoder", None):
        fields["text_encoder"] = weights.keep_text_encoder(arguments.text_encoder, home)
    if getattr(arguments, "start", None):
        fields["start"] = store.keep_picture(arguments.start, field="start")
    request = make_request(fields)  # everything cheap is checked before more files are read
    if isinstance(request, VideoRequest):
        keep = functools.partial(store.keep_picture, field="keyframe-picture")
        stages = cli_films.own_stages(request, arguments, keep)
        if stages is not None:
            fields.pop("keyframes", None)
            request = make_request({**fields, "stages": stages})
            fields["stages"] = stages
    if arguments.reference:
        fields["references"] = [store.keep_picture(path, field="reference") for path in arguments.reference]
        request = make_request(fields)
    if isinstance(request, VideoRequest) and arguments.midpoint is not None:
        from flux_svd.timeline import with_midpoint

        request = with_midpoint(request, arguments.midpoint - 1)
    return request


def _as_number(kind: type[ImageRequest] | type[VideoRequest], name: str, text: str) -> Any:
    """Return the option's text as the number its field takes; text that is no number goes on, to be refused with its bounds."""
    number = _number_of(kind, name)
    try:
        return number(text) if number else text
    except ValueError:
        return text


def _number_of(kind: type[ImageRequest] | type[VideoRequest], name: str) -> type[int] | type[float] | None:
    """Return what kind of number a field takes, None where it takes something else."""
    schema = json.dumps(schema_of(kind)["properties"][name])
    return int if '"integer"' in schema else float if '"number"' in schema else None


def _show_progress(progress: Any) -> None:
    """Write a line for each finished step of interest."""
    item = f" {progress.item} of {progress.items}" if progress.items else ""
    step = f", step {progress.step} of {progress.steps}" if progress.steps else ""
    left = f", about {progress.seconds_left:.0f} s left" if progress.seconds_left else ""
    say(progress.note or f"{progress.phase}{item}{step}{left}")
