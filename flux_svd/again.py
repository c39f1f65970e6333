"""A finished result → the requests it leads to: itself again, pictures near it, a film that begins with it. Knows no device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flux_svd import presets, storyboard
from flux_svd.artifact import load_recipe, load_request
from flux_svd.catalog import IMAGE_FAMILIES, MODELS
from flux_svd.errors import InvalidRequest, UnreadableFile
from flux_svd.plan import Plan
from flux_svd.recipe import ImageRecipe, Recipe
from flux_svd.request import ImageRequest, Request, StageWish, VideoRequest


def request_of(path: Path) -> Request:
    """Return the request that makes the result in `path` again: of a picture with the seed and the model that were taken.

    Raises:
        UnreadableFile: the file carries no request of this program.
        InvalidRequest: it carries one that this version does not accept.
    """
    request = load_request(path)
    try:
        return made_again(request, load_recipe(path, enlarged=True))
    except UnreadableFile:  # of another version; its request still stands
        return request


def made_again(request: Request, recipe: Recipe) -> Request:
    """Return the request that makes this one picture again, out of all that were asked for; of a film the request as it is.

    Variations are numbered from their common seed, so they come again together.
    """
    if not isinstance(request, ImageRequest) or not isinstance(recipe, ImageRecipe):
        return request
    alone = {} if recipe.variation else {"count": 1, "best_of": 1}
    return request.model_copy(update={"seed": recipe.seed, "model": recipe.model, **alone})


def wish_of_job(plan: Plan) -> dict[str, Any]:
    """Return the fields of the request that makes all of a job again: with the seed and the image model of its plan.

    Only then do changes to the fields show in the results as themselves.
    """
    fields = plan.request.model_dump(mode="json") | {"seed": plan.seed}
    if plan.model in MODELS and MODELS[plan.model].family in IMAGE_FAMILIES:  # a film of given pictures has no image model
        fields["model"] = plan.model
    return fields


def can_vary(recipe: Recipe) -> bool:
    """Return whether there are pictures near it: it began at the noise of one seed."""
    return isinstance(recipe, ImageRecipe) and not recipe.variation and not recipe.start


def wish_near(path: Path, field: str = "file") -> dict[str, Any]:
    """Return the fields of a request for pictures near the one in `path`, which errors call `field`.

    Raises:
        UnreadableFile: it is no picture of this program and version, or an enlarged copy.
        InvalidRequest: it is a film, a variation itself, or began at another picture.
    """
    recipe = load_recipe(path)
    if not isinstance(recipe, ImageRecipe) or not can_vary(recipe):
        raise InvalidRequest(field, str(path), "a picture that began at noise of one seed, no film and no variation")
    fields: dict[str, Any] = {
        "kind": "image", "prompt": recipe.prompt, "model": recipe.model, "width": recipe.width, "height": recipe.height,
        "steps": recipe.steps, "seed": recipe.seed, "references": recipe.references, "attention": recipe.attention,
        "compiled": recipe.compiled, "variation": presets.VARIATION, "count": presets.VARIATIONS,
    }  # fmt: skip
    if recipe.guidance_curve:
        fields["guidance_curve"] = recipe.guidance_curve
    elif "guidance" in MODELS[recipe.model].obeys:
        fields["guidance"] = recipe.guidance
    if recipe.negative_prompt:
        fields["negative_prompt"] = recipe.negative_prompt
    if recipe.cfg_scale > 1:
        fields["cfg_scale"] = recipe.cfg_scale
    if recipe.step_cache:
        fields["step_cache"] = recipe.step_cache
    return fields


def film_from(path: Path, picture: str) -> VideoRequest:
    """Return the request for a film whose first keyframe is the picture in `path`, kept as `picture`.

    The other keyframes are drawn from its seed, for the stages its prompt is read as.

    Raises:
        UnreadableFile, InvalidRequest: as `request_of`.
    """
    request = request_of(path)
    first = StageWish(prompt=request.prompt, picture=picture)
    rest = (StageWish(prompt=stage.prompt) for stage in storyboard.write_stages(request.prompt, 3)[1:])
    return VideoRequest(prompt=request.prompt, seed=request.seed, stages=(first, *rest))
