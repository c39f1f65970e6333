"""A finished film file → its report: what the file carries, what its sidecar adds, what is still kept of its keyframes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_svd import files
from flux_svd.artifact import load_recipe
from flux_svd.encode import iterate_film
from flux_svd.errors import EncodingFailed, InvalidRequest, UnreadableFile
from flux_svd.metrics.film import FilmReport, Likeness, film_report
from flux_svd.pictures import cover
from flux_svd.recipe import GivenPicture, KeyframeRecipe, VideoRecipe, fingerprint
from flux_svd.store import Store


def report_film(path: Path, store: Store, likeness: Likeness) -> FilmReport:
    """Return the report of a film this program made.

    Raises:
        UnreadableFile: the file is no film of this program, or does not decode to as many frames as its recipe says.
    """
    recipe = load_recipe(path)
    if not isinstance(recipe, VideoRecipe):
        raise UnreadableFile("file", str(path), "a film that flux_svd made; this is a picture")
    try:
        return film_report(iterate_film(path), recipe.key_positions, _keyframes(recipe, store), _ends(path, recipe), likeness)
    except (EncodingFailed, ValueError) as error:
        raise UnreadableFile("file", str(path), f"an undamaged film ({error})") from None


def _ends(path: Path, recipe: VideoRecipe) -> dict[str, Any] | None:
    """Return what the run measured before the fade, from the sidecar; None where that is not to be had."""
    run = files.read_json(path.with_name(path.name + ".json")).get("run")
    ends = run.get("ends") if isinstance(run, dict) else None
    whole = isinstance(ends, dict) and all(
        isinstance(ends.get(name), list) and len(ends[name]) == len(recipe.keyframes) for name in ("raw_psnr", "round_trip_psnr")
    )
    return ends if whole else None


def _keyframes(recipe: VideoRecipe, store: Store) -> list[NDArray[np.uint8]] | None:
    """Return the keyframes as they were drawn or given; None where one is no longer kept."""
    pictures = []
    for key in recipe.keyframes:
        data = _kept(key, store)
        if data is None:
            return None
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            pictures.append(np.asarray(cover(picture, recipe.width, recipe.height)))
    return pictures


def _kept(key: KeyframeRecipe, store: Store) -> bytes | None:
    if isinstance(key, GivenPicture):
        try:
            return store.picture(key.sha256).read_bytes()
        except InvalidRequest:
            return None
    stage = store.find_stage(fingerprint(key), "png")
    return None if stage is None else stage.data
