"""From a finished result to the requests it leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flux_svd import again
from flux_svd.artifact import encode_image, load_recipe
from flux_svd.errors import InvalidRequest, UnreadableFile
from flux_svd.recipe import fingerprint
from flux_svd.request import ImageRequest, make_request
from flux_svd.upscale import upscale_file
from tests.test_planner import plan_of


def made(folder: Path, index: int = 0, **fields: Any) -> Path:
    """Return one picture of a plan as this program leaves it; the pixels do not matter here."""
    plan = plan_of(**fields)
    path = folder / f"made-{index}.png"
    [recipe] = plan.recipes[index : index + 1]
    path.write_bytes(encode_image(Image.new("RGB", (recipe.width, recipe.height), "red"), plan.request, recipe))
    return path


def planned_again(path: Path) -> list[str]:
    request = again.request_of(path)
    plan = plan_of(**request.model_dump(exclude={"kind"}, exclude_none=True))
    return [fingerprint(recipe) for recipe in plan.recipes]


@pytest.mark.parametrize("index", [0, 2])
def test_one_of_many_pictures_is_made_again_alone(tmp_path: Path, index: int) -> None:
    path = made(tmp_path, index, count=3, steps=5, preset="draft")
    assert planned_again(path) == [fingerprint(load_recipe(path))]


def test_a_variation_comes_again_with_the_others_of_its_seed(tmp_path: Path) -> None:
    path = made(tmp_path, 2, variation=0.2, count=3)
    assert planned_again(path)[2] == fingerprint(load_recipe(path))
    assert len(planned_again(path)) == 3


def test_an_enlarged_copy_leads_to_its_original(tmp_path: Path) -> None:
    path = made(tmp_path, 1, count=2)
    larger = upscale_file(path, 2)
    assert again.request_of(larger) == again.request_of(path)
    with pytest.raises(UnreadableFile, match="enlarged copy"):
        again.wish_near(larger)


def test_pictures_near_it_keep_what_made_it(tmp_path: Path) -> None:
    path = made(tmp_path, steps=5, negative_prompt="blue", guidance=2.5, step_cache=0.1, count=1)
    near = make_request(again.wish_near(path))
    assert isinstance(near, ImageRequest)
    plan = plan_of(**near.model_dump(exclude={"kind"}, exclude_none=True))
    [recipe, *_] = plan.recipes
    first = load_recipe(path)
    told = ("prompt", "negative_prompt", "seed", "steps", "guidance", "width", "height", "step_cache")
    assert [getattr(recipe, name) for name in told] == [getattr(first, name) for name in told]
    assert recipe.variation == near.variation


def test_there_is_nothing_near_a_variation(tmp_path: Path) -> None:
    path = made(tmp_path, variation=0.2)
    assert not again.can_vary(load_recipe(path))
    with pytest.raises(InvalidRequest, match="no film and no variation"):
        again.wish_near(path)


def test_a_film_begins_with_the_picture_and_goes_on_from_its_seed(tmp_path: Path) -> None:
    path = made(tmp_path, prompt="a red circle moving from left to right")
    film = again.film_from(path, "0" * 64)
    assert film.stages is not None
    assert film.seed == again.request_of(path).seed == 7
    assert [stage.picture for stage in film.stages] == ["0" * 64, None, None]
    assert film.stages[2].prompt == "a red circle at the right"
