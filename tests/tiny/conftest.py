"""Shared by the tiny-model tests: one saved folder for each catalogue row, built once, and no way to a network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.tiny.builders import build_model


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a row's name to the folder of its tiny stand-in."""
    built: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in built:
            built[name] = build_model(name, tmp_path_factory.mktemp(name))
        return built[name]

    return find


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"an engine asked for the network: {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
