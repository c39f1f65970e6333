"""What the command line has for films: the report of a finished one, its exports, and wishes that are no single value."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flux_svd.cli_border import Told, json_option
from flux_svd.errors import InvalidRequest
from flux_svd.request import VideoRequest

if TYPE_CHECKING:
    from flux_svd.plan import Plan


def add_commands(commands: Any) -> None:
    """Add report and export to the parser's commands."""
    common = json_option()
    report = commands.add_parser("report", parents=[common], help="numbers about a finished film, and what they say")
    report.add_argument("file", type=Path, help="an MP4 this program made")
    report.set_defaults(command=_report)

    export = commands.add_parser("export", parents=[common], help="a finished film as another kind of file")
    export.add_argument("file", type=Path, help="an MP4 this program made")
    export.add_argument("--format", required=True, metavar="NAME", help="mp4, webm, av1, gif, webp, png (a folder) or prores")
    export.add_argument("--fps", metavar="N", help="frames a second at playback (default: the film's); the frames stay the same")
    export.add_argument("--crf", metavar="N", help="quality of mp4 (0 to 51), webm and av1 (0 to 63); smaller is better")
    export.add_argument("--audio", type=Path, metavar="FILE", help="sound for mp4, webm, av1 or prores, cut to the film's length")
    export.add_argument("--densify", action="store_true", help="one more frame between every two, guessed by ffmpeg's motion "
                        "compensation: smoother, not truer; what crosses or turns may smear")
    export.add_argument("--interpolator", type=Path, metavar="FILE", help="a network of your own (TorchScript: two pictures and "
                        "a time in, one out) that guesses them instead; it is a program, so only one you trust")
    export.add_argument("--output", type=Path, metavar="FOLDER", help="where to write (default: beside the film)")
    export.set_defaults(command=_export)


def add_wishes(parser: argparse.ArgumentParser) -> None:
    """Add the options of a film that are more than the text of one field."""
    parser.add_argument("--stage", action="append", metavar="TEXT", help="prompt of one keyframe; repeat for each, in order")
    parser.add_argument("--length", action="append", metavar="N",
                        help="frames of one transition, both keyframes counted (3 to 121); repeat for each, in order")
    parser.add_argument("--loop", action="store_const", const=True, help="end at the first keyframe again")
    parser.add_argument("--colour-match", action="store_const", const=True,
                        help="bring the colours between two keyframes to those of the keyframes")
    parser.add_argument("--keyframe-picture", action="append", metavar="N=FILE",
                        help="use a picture as the N-th keyframe instead of drawing it; may be repeated")
    parser.add_argument("--lock", action="append", metavar="N=FILE",
                        help="keep a keyframe this program drew on this machine, whatever else changes; may be repeated")
    parser.add_argument("--pick", action="append", metavar="N=CANDIDATE",
                        help="take this candidate (from 1) of --best-of as the N-th keyframe; may be repeated")
    parser.add_argument("--transition-seed", action="append", metavar="N=SEED",
                        help="make the transition after the N-th keyframe from a seed of its own; may be repeated")
    parser.add_argument("--midpoint", type=int, metavar="N", help="put a keyframe halfway between the N-th and the next")
    parser.add_argument("--keep-subject", action=argparse.BooleanOptionalAction, default=None,
                        help=VideoRequest.model_fields["keep_subject"].description)
    parser.add_argument("--keyframes-only", action="store_true", help="draw and compare the keyframes; the film finds them again")


def read_wishes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a VideoRequest these options set; text that is no number goes on, to be refused with its bounds."""
    fields: dict[str, Any] = {}
    if getattr(arguments, "stage", None):
        fields["stages"] = [{"prompt": text} for text in arguments.stage]
    if getattr(arguments, "length", None):
        fields["lengths"] = [_whole(text) for text in arguments.length]
    return fields


def own_stages(
    request: VideoRequest, arguments: argparse.Namespace, keep: Callable[[Path], str]
) -> list[dict[str, Any]] | None:
    """Return the stages of the request with what the options say of single ones; None where they say nothing.

    Without stages of its own, the request has those of the storyboard.

    Args:
        keep: stores a picture file and returns its id.

    Raises:
        InvalidRequest: an option names no keyframe of this film.
        UnreadableFile: a file is no picture that can be used.
    """
    read: dict[str, tuple[str, Callable[[str], Any]]] = {
        "keyframe_picture": ("picture", lambda text: keep(Path(text))), "lock": ("lock", lambda text: _stage_of(Path(text))),
        "pick": ("pick", _whole), "transition_seed": ("transition_seed", _whole),
    }  # fmt: skip
    wished = {option: getattr(arguments, option) for option in read if getattr(arguments, option)}
    if not wished:
        return None
    from flux_svd import storyboard, timeline

    if request.stages is not None:
        stages = [wish.model_dump(exclude_none=True) for wish in request.stages]
    else:
        stages = [{"prompt": stage.prompt} for stage in storyboard.write_stages(request.prompt, timeline.keyframes_of(request))]
    for option, texts in wished.items():
        said = option.replace("_", "-")
        places = dict(_place(said, text, len(stages)) for text in texts)
        for place, value in places.items():
            field, as_value = read[option]
            stages[place][field] = as_value(value)
    return stages


def keyframes_alone(plan: Plan) -> Plan:
    """Return the plan for the keyframes without the film.

    Raises:
        InvalidRequest: all of them are given, so there is nothing to draw.
    """
    from flux_svd.plan import keyframes_only

    alone = keyframes_only(plan)
    if not alone.recipes:
        raise InvalidRequest("keyframes-only", True, "a film with a keyframe to draw; all of this one's are given")
    return alone


def _place(option: str, text: str, stages: int) -> tuple[int, str]:
    """Return the place (from 0) and the value in "N=VALUE"."""
    number, equals, value = text.partition("=")
    if not (equals and number.isascii() and number.isdigit() and 1 <= int(number) <= stages):
        kind = {"pick": "CANDIDATE", "transition-seed": "SEED"}.get(option, "FILE")
        raise InvalidRequest(option, text, f"N={kind} with N from 1 to {stages}")
    return int(number) - 1, value


def _stage_of(path: Path) -> str:
    """Return the fingerprint of the keyframe in a picture file this program made."""
    from flux_svd.artifact import load_recipe
    from flux_svd.recipe import fingerprint

    return fingerprint(load_recipe(path))


def _report(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.session import Session

    made = Session(home=home).report(arguments.file)
    return "\n".join(made.words()), {"path": str(arguments.file), "report": made.as_json()}


def _export(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from flux_svd.export import export_film

    numbers: Mapping[str, Any] = {name: _number(name, getattr(arguments, name)) for name in ("fps", "crf")}
    between = None
    if arguments.interpolator is not None:
        from flux_svd.engines.interpolator import load_interpolator

        between = load_interpolator(arguments.interpolator)
    made = export_film(
        arguments.file, arguments.format, **numbers, audio=arguments.audio, folder=arguments.output,
        densify=arguments.densify or between is not None, between=between,
    )  # fmt: skip
    said = f"\nevery second frame is guessed, by {made.densified}" if made.densified else ""
    return f"{made.path}{said}", {**asdict(made), "path": str(made.path), "seconds_long": round(made.seconds_long, 3)}


def _number(name: str, text: str | None) -> int | None:
    value = None if text is None else _whole(text)
    if isinstance(value, str):
        raise InvalidRequest(name, value, "a whole number")
    return value


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text
