"""Two functions for scripts and notebooks: a picture, a film. Everything else is `Session`.

They are a way into the program as the command line is, so they find the data folder where it does: in FLUX_SVD_HOME.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from PIL import Image

from flux_svd.artifact import VideoArtifact
from flux_svd.errors import InvalidRequest
from flux_svd.request import Request, make_request
from flux_svd.run import OnProgress
from flux_svd.session import Session


def generate_image(
    prompt: str,
    *,
    steps: int | None = None,
    guidance_scale: float | None = None,
    negative_prompt: str | None = None,
    model: str = "auto",
    width: int | None = None,
    height: int | None = None,
    seed: int | None = None,
    references: tuple[Path | str, ...] = (),
    output_dir: Path | str | None = None,
    session: Session | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Path, Image.Image]:
    """Make one picture and return (its file, the picture).

    What is None is filled by the plan; `session` keeps engines warm between calls (one is shared if none is given), and has an
    output folder of its own.

    Raises:
        InvalidRequest, ModelUnavailable, DoesNotFit, BadOutput: see `flux_svd.errors`.
    """
    session = _session(session, output_dir)
    request = make_request(
        {
            "kind": "image", "prompt": prompt, "steps": steps, "guidance": guidance_scale, "negative_prompt": negative_prompt,
            "model": model, "width": width, "height": height, "seed": seed,
            "references": [session.store.keep_picture(Path(reference)) for reference in references],
        }
    )
    path = session.run(session.plan(request), on_progress)[0].path
    return path, _opened(path)


def generate_video_with_motion(
    prompt: str,
    *,
    num_keyframes: int = 3,
    frames_per_transition: int = 23,
    fps: int = 12,
    stages: tuple[str, ...] | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    transition_steps: int | None = None,
    model: str = "auto",
    video_model: str = "auto",
    width: int | None = None,
    height: int | None = None,
    seed: int | None = None,
    output_dir: Path | str | None = None,
    session: Session | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Path, Image.Image]:
    """Make one film and return (its file, its first keyframe).

    3 keyframes with 23 frames each way make 45 frames: 3.75 s at 12 fps. `stages` gives each keyframe its own prompt.
    `session` as for a picture.

    Raises:
        InvalidRequest, ModelUnavailable, DoesNotFit, BadOutput: see `flux_svd.errors`.
    """
    session = _session(session, output_dir)
    values: dict[str, Any] = {
        "kind": "video", "prompt": prompt, "frames_per_transition": frames_per_transition, "fps": fps, "steps": steps,
        "guidance": guidance_scale, "transition_steps": transition_steps, "model": model, "video_model": video_model,
        "width": width, "height": height, "seed": seed,
    }
    if stages is None:
        values["keyframes"] = num_keyframes
    else:
        values["stages"] = [{"prompt": text} for text in stages]
    request: Request = make_request(values)
    film = session.run(session.plan(request), on_progress)[0]
    assert isinstance(film, VideoArtifact)  # a video request plans exactly one film
    return film.path, _opened(film.keyframes[0])


def _session(given: Session | None, output_dir: Path | str | None) -> Session:
    if given is None:
        return _shared_session(os.environ.get("FLUX_SVD_HOME", ""), str(output_dir or ""))
    if output_dir is not None:
        raise InvalidRequest("output_dir", str(output_dir), "none beside a session, which has its own: Session(output_dir=…)")
    return given


@functools.lru_cache(maxsize=4)
def _shared_session(home: str, output_dir: str) -> Session:
    return Session(home=home, output_dir=output_dir)


def _opened(path: Path) -> Image.Image:
    with Image.open(path, formats=["PNG"]) as picture:
        return picture.convert("RGB")
