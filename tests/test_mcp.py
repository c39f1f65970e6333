"""The Model Context Protocol: off unless asked for, never with passwords, and only the public endpoints."""

from __future__ import annotations

import asyncio
import importlib.metadata
from pathlib import Path
from typing import Any

import httpx
import pytest

from flux_svd.errors import InvalidRequest
from flux_svd.session import Session
from flux_svd.web.accounts import Accounts
from flux_svd.web.binding import check_mcp
from flux_svd.web.serve import make_app

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip


def test_it_is_refused_with_passwords_and_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="while there are passwords"):
        check_mcp(Accounts({"ann": "correct horse"}))
    for version in ("2.3.0", None):

        def installed(name: str, version: str | None = version) -> str:
            if version is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(importlib.metadata, "version", installed)
        with pytest.raises(InvalidRequest, match='pip install "mcp<2"'):
            check_mcp(None)


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    app = make_app(Session(home=tmp_path / "home", output_dir=tmp_path / "out"))

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:7860") as client:
            return (await client.post("/gradio_api/mcp/", json=HELLO, headers=HEADERS)).status_code

    assert asyncio.run(ask()) == 404


def test_asked_for_it_offers_the_public_endpoints_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the package mcp is not installed")
    app = make_app(Session(home=tmp_path / "home", output_dir=tmp_path / "out"), mcp=True)

    async def ask() -> tuple[set[str], int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:7860") as client:
            schema: Any = (await client.get("/gradio_api/mcp/schema")).json()
            foreign = await client.post("/gradio_api/mcp/", json=HELLO, headers={**HEADERS, "Origin": "https://evil.example"})
            return {tool["name"] for tool in schema}, foreign.status_code

    names, foreign = asyncio.run(ask())
    assert {"generate_image", "submit_job", "library"} <= {name.removeprefix("flux_svd_") for name in names}
    assert len(names) == 14
    assert foreign == 403
