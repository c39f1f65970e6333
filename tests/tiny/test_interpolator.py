"""A network of the user's own between two frames: called as said, and refused where it answers something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flux_svd.engines.interpolator import load_interpolator
from flux_svd.errors import BadOutput, InvalidRequest

DARK, LIGHT = np.full((8, 12, 3), 50, np.uint8), np.full((8, 12, 3), 150, np.uint8)


class Mixed(torch.nn.Module):
    def forward(self, first: torch.Tensor, second: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return first * (1 - time[0, 0]) + second * time[0, 0]


class Wrong(torch.nn.Module):
    def forward(self, first: torch.Tensor, second: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return first[:, :1]


class Broken(torch.nn.Module):
    def forward(self, first: torch.Tensor, second: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return first * float("nan")


class One(torch.nn.Module):
    def forward(self, first: torch.Tensor) -> torch.Tensor:
        return first


def saved(network: torch.nn.Module, folder: Path) -> Path:
    path = folder / "network.pt"
    torch.jit.script(network).save(str(path))
    return path


def test_the_frame_between_is_the_network_s(tmp_path: Path) -> None:
    made = load_interpolator(saved(Mixed(), tmp_path))(DARK, LIGHT)
    assert made.dtype == np.uint8
    assert (made == 100).all()


@pytest.mark.parametrize("network", [Wrong(), One()])
def test_a_network_of_another_kind_is_refused(network: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="interpolator"):
        load_interpolator(saved(network, tmp_path))(DARK, LIGHT)


def test_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOutput, match="finite"):
        load_interpolator(saved(Broken(), tmp_path))(DARK, LIGHT)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(InvalidRequest, match="TorchScript"):
        load_interpolator(path)
    with pytest.raises(InvalidRequest, match="TorchScript"):
        load_interpolator(tmp_path / "absent.pt")
