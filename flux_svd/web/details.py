"""What a finished result was made with, in the words of the page: names and values, those that stand at nothing left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flux_svd.catalog import MODELS
from flux_svd.recipe import GivenPicture, ImageRecipe, KeyframeRecipe, VideoRecipe, candidates_of, recipe_from_json
from flux_svd.web.filling import NAMES

Row = dict[str, str]
"""What it is, what the table says of it ("said"), and words of the user ("own")."""


def made_with(recipe: Mapping[str, Any]) -> list[Row]:
    """Return how a result was made, from the JSON values of its recipe; nothing where another version wrote it."""
    try:
        made = recipe_from_json(json.dumps(recipe))
    except ValueError:
        return []
    return _film(made) if isinstance(made, VideoRecipe) else _picture(made)


def _picture(made: ImageRecipe) -> list[Row]:
    told = {
        "Model": _title(made.model),
        "Seed": str(made.seed),
        "Size": f"{made.width} × {made.height}",
        "Steps": str(made.steps),
        "Guidance": "" if made.guidance_curve else f"{made.guidance:g}",
        "Guidance from first step to last": " → ".join(f"{value:g}" for value in made.guidance_curve),
        "Real guidance": f"{made.cfg_scale:g}" if made.cfg_scale != 1 else "",
        "References": str(len(made.references) or ""),
        "How much of it may change": f"{made.strength:g}" if made.start else "",
        "Variation": f"{made.variation:g}" if made.variation else "",
        "Skip blocks that change little": f"{made.step_cache:g}" if made.step_cache else "",
        "Attention": made.attention if made.attention != "native" else "",
        "Compiled": "yes" if made.compiled else "",
        "Precision": made.precision,
        "Decode": f"in tiles of {made.decode_tile} pixels" if made.decode_tile else "",
    }
    rows = [_row(what, said) for what, said in told.items() if said]
    return [*rows, _row("Negative prompt", own=made.negative_prompt)] if made.negative_prompt else rows


def _film(made: VideoRecipe) -> list[Row]:
    drawn = [one for key in made.keyframes for one in candidates_of(key)]
    fillers = [*(way.model for way in made.transitions), *(part.model for part in made.passes)]
    told = {
        "Model": _title(drawn[0].model) if drawn else "",
        "Video model": " · ".join(dict.fromkeys(map(_title, fillers))),
        "Size": f"{made.width} × {made.height}",
        "Film": f"{made.frames} frames · {made.fps} fps",
        "Colour match": "yes" if made.colour_match else "",
        "Smooth joins": "yes" if made.join_share else "",
    }
    rows = [_row(what, said) for what, said in told.items() if said]
    rows += [_keyframe(number, key) for number, key in enumerate(made.keyframes, 1)]
    for number, way in enumerate(made.transitions, 1):
        said = f"{NAMES[way.method]} · {way.frames} frames · {way.steps} steps · seed {way.seed}"
        rows.append(_row(f"Transition {number} to {number + 1}", said))
    return rows


def _keyframe(number: int, key: KeyframeRecipe) -> Row:
    if isinstance(key, GivenPicture):
        return _row(f"Keyframe {number}", "Your picture")
    [one, *_] = candidates_of(key)
    return _row(f"Keyframe {number}", f"seed {one.seed} · {one.steps} steps", one.prompt)


def _row(what: str, said: str = "", own: str = "") -> Row:
    return {"what": what, "said": said, "own": own}


def _title(model: str) -> str:
    return MODELS[model].title if model in MODELS else model
