"""Enlarged copies: by interpolation, by a tiny network of a real architecture, and what they carry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from spandrel.architectures.ESRGAN import ESRGAN

from flux_svd import files
from flux_svd.artifact import SOURCE_TYPE, JobTag, RunFacts, encode_image, load_recipe, load_request, save
from flux_svd.cli import main
from flux_svd.engines import upscaler
from flux_svd.engines.upscaler import LearnedUpscaler
from flux_svd.errors import InvalidRequest, ModelUnavailable, UnreadableFile
from flux_svd.library import Library
from flux_svd.recipe import ImageRecipe, fingerprint
from flux_svd.results import sidecar_of
from flux_svd.upscale import upscale_file
from tests.test_planner import plan_of


def picture(width: int = 40, height: int = 30) -> Image.Image:
    """Return a smooth colourful picture."""
    coarse = np.random.default_rng(1).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a picture as this program leaves it."""
    plan = plan_of()
    path = tmp_path / "made.png"
    path.write_bytes(encode_image(picture(), plan.request, plan.recipes[0]))
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    save_file(ESRGAN(num_filters=4, num_blocks=1, scale=2).state_dict(), path)
    return path


@pytest.mark.parametrize("scale", [2, 4])
def test_an_enlarged_copy_is_the_same_picture_larger(scale: int, made: Path) -> None:
    with Image.open(upscale_file(made, scale)) as larger:
        assert larger.size == (40 * scale, 30 * scale)
        back = np.asarray(larger.convert("RGB").resize((40, 30), Image.Resampling.BOX), float)
    assert abs(back - np.asarray(picture(), float)).mean() < 1  # 0.3 and less was seen; one pixel aside 10.8


def test_it_keeps_what_its_original_carries_and_says_it_was_enlarged(made: Path) -> None:
    larger = upscale_file(made, 2)
    assert larger.name == "made_x2.png"
    assert load_request(larger) == load_request(made)
    with Image.open(larger) as opened:
        assert SOURCE_TYPE in opened.info["XML:com.adobe.xmp"]
        assert json.loads(opened.info["flux_svd"])["enlarged"] == {"scale": 2, "method": "Lanczos"}
    with pytest.raises(UnreadableFile, match="enlarged copy"):
        load_recipe(larger)
    assert upscale_file(made, 2) != larger  # nothing is overwritten


def test_a_copy_of_a_result_is_a_result_of_the_same_owner(tmp_path: Path) -> None:
    plan = plan_of()
    [recipe] = plan.recipes
    assert isinstance(recipe, ImageRecipe)
    run = RunFacts(seconds=1.0, device="CPU", peak_bytes=0, scores={"clip_cosine": 0.8})
    data = encode_image(picture(), plan.request, recipe)
    made = save(data, ".png", tmp_path / "out", plan.request, recipe, run, name="made", placement={},
                job=JobTag("1" * 10, "2026-11-20", "ann"))  # fmt: skip
    library = Library(tmp_path / "out", tmp_path / "home")
    library.star(made)
    larger = upscale_file(made, 2)
    library.reconcile()
    item = library.item(larger)
    assert (item.owner, item.prompt, item.starred, item.score, item.problem) == ("ann", "a red circle", False, None, "")
    assert files.read_json(sidecar_of(larger))["enlarged"] == {"scale": 2, "method": "Lanczos"}
    library.star(larger)
    assert library.needed_stages() == {fingerprint(recipe)}
    assert library.rebuild() == 2  # every byte is as the sidecar says
    assert not library.problems()
    sidecar_of(larger).write_text("{")
    library.reconcile()
    assert library.item(larger).prompt == "a red circle"  # the file tells it
    library.close()


def test_a_picture_of_the_users_own_carries_nothing_on(tmp_path: Path) -> None:
    picture().save(tmp_path / "own.jpg")
    with Image.open(upscale_file(tmp_path / "own.jpg", 2, folder=tmp_path / "out")) as larger:
        assert larger.info == {}


def test_a_scale_or_size_that_is_too_much_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="2 or 4"):
        upscale_file(made, 3)
    Image.new("1", (4000, 3000)).save(tmp_path / "large.png")
    with pytest.raises(InvalidRequest, match="80 megapixels"):
        upscale_file(tmp_path / "large.png", 4)


def test_a_network_enlarges_in_tiles_without_seams(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = LearnedUpscaler(network)
    whole = np.asarray(learned.enlarge(picture(90, 70), 2), int)
    assert whole.shape == (140, 180, 3)
    monkeypatch.setattr(upscaler, "TILE", 32)
    assert abs(np.asarray(learned.enlarge(picture(90, 70), 2), int) - whole).max() <= 1
    monkeypatch.setattr(upscaler, "OVERLAP", 0)  # what the overlap is for
    assert abs(np.asarray(learned.enlarge(picture(90, 70), 2), int) - whole).max() > 1


def test_a_network_is_named_in_the_copy_and_must_fit_the_scale(made: Path, network: Path) -> None:
    with Image.open(upscale_file(made, 2, upscaler=network)) as larger:
        assert json.loads(larger.info["flux_svd"])["enlarged"]["method"] == "tiny.safetensors"
    with pytest.raises(InvalidRequest, match="2, which this upscaler was made for"):
        upscale_file(made, 4, upscaler=network)


def test_a_file_that_is_no_upscaler_is_refused(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableFile, match="may carry code"):
        LearnedUpscaler(tmp_path / "network.pth")
    with pytest.raises(ModelUnavailable, match="missing or damaged"):
        LearnedUpscaler(tmp_path / "absent.safetensors")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UnreadableFile, match="architecture that spandrel knows"):
        LearnedUpscaler(tmp_path / "other.safetensors")
    save_file(ESRGAN(in_nc=1, out_nc=1, num_filters=4, num_blocks=1, scale=2).state_dict(), tmp_path / "grey.safetensors")
    with pytest.raises(UnreadableFile, match="colour pictures"):
        LearnedUpscaler(tmp_path / "grey.safetensors")

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(upscaler.importlib, "import_module", absent)
    with pytest.raises(ModelUnavailable, match=r"pip install 'flux-svd\[upscale\]'"):
        LearnedUpscaler(network)


def test_the_command_line_enlarges(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upscale", str(made), "--scale", "4", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    with Image.open(answer["path"]) as larger:
        assert larger.size == (160, 120)
    assert main(["upscale", str(made), "--scale", "big", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["field"] == "scale"
