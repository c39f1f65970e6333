"""argv ↔ request fields: prints a plan, an artifact or a table. Reads the environment; decides nothing itself.

With --json exactly one JSON object goes to stdout; progress and messages go to stderr.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flux_svd import __version__, again, cli_films, cli_images, cli_jobs, cli_measure, failpoints, memory, weights
from flux_svd.errors import Cancelled, FluxSvdError, InvalidRequest
from flux_svd.request import ImageRequest, VideoRequest, describe_bounds

Answer = dict[str, Any]
SECOND_INTERRUPT_EXIT = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `FluxSvdError.exit_code` tells kinds of failure apart."""
    arguments = _parser().parse_args(argv)
    stop = threading.Event()
    _stop_on_signals(stop)
    fault, _, number = os.environ.get("FLUX_SVD_FAILPOINT", "").partition("@")  # for tests: kill@17, full@17
    if fault:
        failpoints.arm("kill" if fault == "kill" else "full", int(number))
    try:
        answer = arguments.command(arguments, stop)
    except FluxSvdError as error:
        _say(f"flux-svd: {error}")
        if arguments.json:
            _print_json(_describe_error(error))
        return error.exit_code
    if arguments.json:
        _print_json(answer)
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument("--vram", metavar="12GB", help="use at most this much device memory (12GB means 12 GiB)")
    machine.add_argument("--untried", action="store_true", help="allow ways to save memory that have not run on this device yet")
    parser = argparse.ArgumentParser(prog="flux-svd", description="Images with FLUX and short films between keyframes.")
    parser.add_argument("--version", action="version", version=f"flux-svd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    image = commands.add_parser("image", parents=[common, machine, _wish(ImageRequest)], help="make pictures")
    image.add_argument("--detach", action="store_true", help="leave it to flux-svd worker and print the id of the job")
    image.set_defaults(command=_make, kind="image")
    video = commands.add_parser("video", parents=[common, machine, _wish(VideoRequest)], help="make a film from keyframes")
    video.add_argument("--detach", action="store_true", help="leave it to flux-svd worker and print the id of the job")
    video.set_defaults(command=_make, kind="video")

    score = commands.add_parser("score", parents=[common], help="how well a picture or film matches a text")
    score.add_argument("file", type=Path)
    score.add_argument("text")
    score.set_defaults(command=_score)

    plan = commands.add_parser("plan", help="what would happen, without doing it")
    kinds = plan.add_subparsers(required=True, metavar="KIND")
    for kind, request in (("image", ImageRequest), ("video", VideoRequest)):
        of_kind = kinds.add_parser(kind, parents=[common, machine, _wish(request)], help=f"plan of flux-svd {kind}")
        of_kind.set_defaults(command=_plan, kind=kind)

    models = commands.add_parser("models", parents=[common], help="which models there are, downloads and licences")
    models.add_argument("action", nargs="?", default="list", choices=["list", "show", "download", "accept"])
    models.add_argument("name", nargs="*", help="model names")
    models.set_defaults(command=_models)

    doctor = commands.add_parser("doctor", parents=[common], help="what this machine has")
    doctor.set_defaults(command=_doctor)

    app = commands.add_parser("app", parents=[common], help="start the web app")
    app.add_argument("--host", default="127.0.0.1")
    app.add_argument("--port", type=int, default=7860)
    app.add_argument("--public", action="store_true", help="let other machines reach it; needs --allow-host and a password")
    app.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name others may call it by; repeatable")
    app.add_argument("--password-file", type=Path, metavar="FILE",
                     help="who may enter: one password, or a line name:password for each account (or set FLUX_SVD_PASSWORD)")
    app.add_argument("--mcp", action="store_true", help="let language models use it (Model Context Protocol); not with passwords")
    app.add_argument("--output", type=Path, help="folder for results (default: ./outputs)")
    app.set_defaults(command=_app)

    cli_images.add_commands(commands, common, _told)
    cli_films.add_commands(commands, common, _told)
    cli_jobs.add_commands(commands, common, _told)
    cli_measure.add_commands(commands, common, machine, _told)
    return parser


def _wish(kind: type[ImageRequest] | type[VideoRequest]) -> argparse.ArgumentParser:
    """Return the options of a request, made from its fields: a new field becomes a new option."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("prompt", nargs="?" if kind is ImageRequest else None, help="what to show, in words")
    for name, field in kind.__pydantic_fields__.items():
        if name in ("kind", "prompt", "references", "start", "model_file", "text_encoder", "guidance_curve", "stages", "lengths",
                    "loop", "colour_match", "keep_subject"):
            continue
        option = {"negative_prompt": "--negative"}.get(name, "--" + name.replace("_", "-"))
        if field.annotation is bool:
            parser.add_argument(option, dest=name, action="store_true", default=None, help=field.description)
            continue
        bounds = describe_bounds(kind, name)
        parser.add_argument(option, dest=name, metavar=name.upper(), help=f"{field.description} ({bounds})".replace("%", "%%"))
    parser.add_argument("--reference", action="append", type=Path, metavar="FILE", help="picture to work from; may be repeated")
    cli_images.add_wishes(parser)
    if kind is ImageRequest:
        cli_images.add_beginnings(parser)
    else:
        cli_films.add_wishes(parser)
    parser.add_argument("--output", type=Path, help="folder for results (default: ./outputs)")
    return parser


def _make(arguments: argparse.Namespace, stop: threading.Event) -> Answer:
    from flux_svd.artifact import VideoArtifact
    from flux_svd.plan import describe_plan
    from flux_svd.recipe import fingerprint

    session = _session(arguments)
    plan = session.plan(_request(arguments, session.store))
    if getattr(arguments, "keyframes_only", False):
        plan = cli_films.keyframes_alone(plan)
    _say("\n".join(f"  {note.what}: {note.value} ({note.why})" for note in plan.decisions))
    if arguments.detach:
        text, answer = cli_jobs.submit(plan, session.home, arguments.output)
        _print(arguments, text)
        return answer
    artifacts = session.run(plan, _show_progress(), stop)
    paths = [str(made.path) for made in artifacts]
    first = artifacts[0]
    answer = {
        "path": paths[0], "seed": plan.seed, "model": plan.model, "plan": describe_plan(plan),
        "scores": dict(first.run.scores), "seconds": round(sum(made.run.seconds for made in artifacts), 3),
        "notes": list(dict.fromkeys(note for made in artifacts for note in made.run.notes)),
    }
    for note in answer["notes"]:
        _say(f"flux-svd: {note}")
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
    _print(arguments, "\n".join(paths))
    return answer


def _plan(arguments: argparse.Namespace, stop: threading.Event) -> Answer:
    from flux_svd.plan import describe_plan

    session = _session(arguments)
    answer = describe_plan(session.plan(_request(arguments, session.store), considering=True))
    lines = [f"{note['what']:>18}  {note['value']}  ({note['why']})" for note in answer["decisions"]]
    seconds = answer["seconds"]
    lines.append(f"{'peak':>18}  {memory.format_gib(answer['peak_bytes'])} on the device, "
                 f"{memory.format_gib(answer['host_peak_bytes'])} of host memory")
    lines.append(f"{'time':>18}  {'not known before the first run here' if seconds is None else f'about {seconds:g} s'}")
    _print(arguments, "\n".join(lines))
    return answer


def _score(arguments: argparse.Namespace, stop: threading.Event) -> Answer:
    from flux_svd.request import make_request

    text = make_request({"kind": "image", "prompt": arguments.text}).prompt  # the same rules as for a prompt
    scores = _session(arguments).score(arguments.file, text)
    _print(arguments, f"clip_cosine {scores['clip_cosine']:.4f} by {scores['scorer']}")
    return {"path": str(arguments.file), "scores": scores}


def _models(arguments: argparse.Namespace, stop: threading.Event) -> Answer:
    from flux_svd.catalog import MODELS, find_model

    home = _home()
    specs = [find_model(name, field="models") for name in arguments.name] or list(MODELS.values())
    if arguments.action in ("download", "accept") and not arguments.name:
        raise InvalidRequest("models", "", f"names of models to {arguments.action}: " + ", ".join(MODELS))
    if arguments.action == "accept":
        for spec in specs:
            weights.accept_licence(spec, home)
    if arguments.action == "download":
        for spec in specs:
            _say(f"{spec.title}: {spec.licence.title}. {spec.licence.allows}")
            _say(f"{spec.name} is at {weights.download(spec, home)}")
    inventory = weights.read_inventory(home)
    rows = [_describe_model(spec, inventory) for spec in specs]
    if arguments.action == "show":
        _print(arguments, "\n\n".join("\n".join(f"{key:>12}: {value}" for key, value in row.items()) for row in rows))
    else:
        _print(arguments, "\n".join(
            f"{row['name']:<20} {row['gib']:>7.2f} GiB  {'ready' if row['ready'] else row['state']:<22} {row['licence']}"
            for row in rows))
    return {"models": rows}


def _describe_model(spec: Any, inventory: Any) -> Answer:
    on_disk = spec.name in inventory.on_disk
    ready = inventory.has(spec)
    return {
        "name": spec.name, "title": spec.title, "family": spec.family, "repo": spec.repo, "licence": spec.licence.id,
        "licence_text": spec.licence.allows, "licence_url": spec.licence.url, "gated": spec.gated,
        "gib": round(spec.bytes_at("fp32" if spec.pocket else "bf16") / memory.GIB, 3), "steps": spec.steps,
        "guidance": spec.guidance, "size": list(spec.size), "obeys": sorted(spec.obeys), "ready": ready,
        "state": "ready" if ready else "licence not accepted" if on_disk else "not on this disk",
        "sources": list(spec.sources), "unconfirmed": list(spec.unconfirmed),
    }


def _doctor(arguments: argparse.Namespace, stop: threading.Event) -> Answer:
    import platform

    from flux_svd import device, weights
    from flux_svd.planner import installed_versions

    home = _home()
    budget = device.read_budget(home)
    answer: Answer = {
        "flux_svd": __version__,
        "python": platform.python_version(),
        "versions": dict(installed_versions(
            "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "open_clip_torch", "gradio")),
        "device": budget.device,
        "device_name": budget.device_name,
        "device_memory": memory.format_gib(budget.device_bytes),
        "host_memory": memory.format_gib(budget.host_bytes),
        "disk_free": memory.format_gib(budget.disk_bytes),
        "data_folder": str(home),
        "ffmpeg": _ffmpeg(),
        "token": bool(os.environ.get("HF_TOKEN")) or Path("~/.cache/huggingface/token").expanduser().is_file(),
        "models": sorted(weights.read_inventory(home).on_disk),
    }
    _print(arguments, "\n".join(f"{key:>14}  {value}" for key, value in answer.items()))
    return answer


def _app(arguments: argparse.Namespace, stop: threading.Event) -> Answer:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from flux_svd.web.login import read_accounts
    from flux_svd.web.serve import run_app

    password = os.environ.pop("FLUX_SVD_PASSWORD", None)  # processes started from here have no need of it
    accounts = read_accounts(password, arguments.password_file)
    _say(f"flux_svd is at http://{arguments.host}:{arguments.port} (Ctrl+C ends it)")
    run_app(
        host=arguments.host, port=arguments.port, home=_home(), output_dir=arguments.output, public=arguments.public,
        hosts=tuple(arguments.allow_host), accounts=accounts, metrics_token=os.environ.pop("FLUX_SVD_METRICS_TOKEN", ""),
        mcp=arguments.mcp,
    )
    return {"served": f"http://{arguments.host}:{arguments.port}"}


def _told(command: cli_jobs.Command) -> Callable[[argparse.Namespace, threading.Event], Answer]:
    """Return the command as one of this file's: it prints what it is told and returns the answer."""

    def run(arguments: argparse.Namespace, stop: threading.Event) -> Answer:
        text, answer = command(arguments, stop, _home())
        if text:
            _print(arguments, text)
        return answer

    return run


def _request(arguments: argparse.Namespace, store: Any) -> ImageRequest | VideoRequest:
    from flux_svd.request import make_request

    kind = ImageRequest if arguments.kind == "image" else VideoRequest
    apart = ("start", "model_file", "text_encoder", "guidance_curve")  # files and lists are read on their own
    named = {name: value for name, value in vars(arguments).items() if name in kind.__pydantic_fields__ and name not in apart}
    given = {name: value for name, value in named.items() if value is not None}
    fields = {name: _as_number(kind, name, value) for name, value in given.items()}
    fields |= cli_images.read_wishes(arguments) | cli_films.read_wishes(arguments)
    if getattr(arguments, "variations_of", None):
        fields = again.wish_near(arguments.variations_of, "variations-of") | fields
    if getattr(arguments, "model_file", None):
        fields["model_file"] = weights.keep_model_file(arguments.model_file, _home())
    if getattr(arguments, "text_encoder", None):
        fields["text_encoder"] = weights.keep_text_encoder(arguments.text_encoder, _home())
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
    schema = json.dumps(kind.model_json_schema()["properties"][name])
    number: Callable[[str], Any] | None = (
        int if '"integer"' in schema else float if '"number"' in schema else None
    )
    try:
        return number(text) if number else text
    except ValueError:
        return text


def _session(arguments: argparse.Namespace) -> Any:
    from flux_svd.session import Session

    vram = getattr(arguments, "vram", None)
    return Session(
        home=_home(), output_dir=getattr(arguments, "output", None), vram_bytes=memory.parse_bytes(vram) if vram else None,
        untried=getattr(arguments, "untried", False),
        owner="the command line",
    )


def _home() -> Path:
    from flux_svd.session import default_home

    given = os.environ.get("FLUX_SVD_HOME")
    return Path(given).expanduser() if given else default_home()


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_version())
    except (OSError, RuntimeError):
        return "missing"


def _show_progress() -> Callable[[Any], None]:
    """Return a listener that writes a line to stderr for each finished step of interest."""

    def show(progress: Any) -> None:
        item = f" {progress.item} of {progress.items}" if progress.items else ""
        step = f", step {progress.step} of {progress.steps}" if progress.steps else ""
        left = f", about {progress.seconds_left:.0f} s left" if progress.seconds_left else ""
        _say(progress.note or f"{progress.phase}{item}{step}{left}")

    return show


def _describe_error(error: FluxSvdError) -> Answer:
    answer: Answer = {"error": str(error), "kind": type(error).__name__, "exit_code": error.exit_code}
    if isinstance(error, InvalidRequest):
        answer |= {"field": error.field, "value": error.value, "allowed": error.allowed}
    return answer


def _stop_on_signals(stop: threading.Event) -> None:
    """Let the first Ctrl-C or SIGTERM stop at the next step, with finished parts kept, and a second one at once."""

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(Cancelled.exit_code)
        stop.set()
        _say("stopping after this step; once more stops at once")

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)


def _print(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.json:
        print(text)


def _print_json(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer, ensure_ascii=False))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
