"""Visitors of a Space: what each of them makes is in their own library, and nobody else's; their work lives with the page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from flux_svd.artifact import Artifact
from flux_svd.files import read_json
from flux_svd.progress import Progress
from flux_svd.request import make_request
from flux_svd.web.guard import rules_for
from flux_svd.web.library import LibraryRoutes
from flux_svd.web.owner import VISITOR_COOKIE, owner_of
from flux_svd.web.serve import protect
from flux_svd.web.shelf import Shelf
from flux_svd.web.streamed import Streamed
from tests.fakes import fake_session

ANN, BOB = ({VISITOR_COOKIE: name} for name in ("ann", "bob"))
HOST = "me-flux.hf.space"


class Space:
    """The library's routes of a Space with fake engines."""

    def __init__(self, home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch, lent: bool) -> None:
        self.session, _ = fake_session(home, outputs, monkeypatch)
        self.work = Streamed(self.session, (lambda runner: runner) if lent else None)
        routes = LibraryRoutes(outputs, home, Shelf(outputs)).routes()
        self.app = protect(Starlette(routes=routes), rules_for("space"))

    def make(self, cookies: dict[str, str], **wish: object) -> list[Artifact]:
        """Make a wish as the page of this visitor does."""
        plan = self.session.plan(make_request({"prompt": "a dog", "seed": 7, **wish}))

        async def watched() -> list[Artifact]:
            owner = owner_of(cookies)
            seen = [one async for one in self.work.watch(self.work.start(plan, owner), owner)]
            return [one for one in seen if not isinstance(one, Progress)]

        return asyncio.run(watched())

    def ask(self, method: str, path: str, cookies: dict[str, str] | None, told: object = None) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=f"https://{HOST}", cookies=cookies) as browser:
                return await browser.request(method, path, json=told)

        return asyncio.run(asked())

    def items(self, cookies: dict[str, str] | None) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.ask("GET", "/library/items?keyframes=1", cookies).json()["items"]
        return found


@pytest.fixture(params=[False, True], ids=["own device", "lent device"])
def space(request: pytest.FixtureRequest, home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    return Space(home, outputs, monkeypatch, request.param)


def test_what_a_visitor_makes_is_in_their_library_and_in_nobody_elses(space: Space) -> None:
    of_ann = [
        *space.make(ANN, kind="video", prompt="a film of ann", keyframes=2),
        *space.make(ANN, kind="image", prompt="of ann"),
    ]
    space.make(BOB, kind="image", prompt="of bob")
    assert {one["prompt"] for one in space.items(ANN)} >= {"a film of ann", "of ann"}
    assert len(space.items(ANN)) == 4  # the film, its two keyframes, the picture
    assert [one["prompt"] for one in space.items(BOB)] == ["of bob"]
    assert space.items(None) == []
    sidecars = [read_json(one.path.with_name(one.path.name + ".json")) for one in of_ann]
    assert [told["owner"] for told in sidecars] == [owner_of(ANN)] * 2
    assert "ann" not in owner_of(ANN)  # no cookie can be read from a file


def test_another_visitor_reaches_nothing_of_it(space: Space) -> None:
    space.make(ANN, kind="image")
    [mine] = space.items(ANN)
    for other in (BOB, None):
        for path in (f"/library/item/{mine['id']}", f"/library/thumb/{mine['id']}"):
            assert space.ask("GET", path, ANN).status_code == 200
            assert space.ask("GET", path, other).status_code == 404
        for wish in ("star", "delete", "zip"):
            assert space.ask("POST", f"/library/{wish}", other, {"ids": [mine["id"]], "starred": True}).status_code == 404
    [thrown] = space.ask("POST", "/library/delete", ANN, {"ids": [mine["id"]]}).json()["thrown"]
    for other in (BOB, None):
        assert space.ask("GET", "/library/trash", other).json() == {"items": []}
        assert space.ask("POST", "/library/restore", other, {"ids": [thrown]}).status_code == 404
    assert len(space.ask("GET", "/library/trash", ANN).json()["items"]) == 1


@pytest.mark.parametrize("fields", [{"count": 3}, {"count": 3, "variation": 0.2}, {"best_of": 2}])
def test_pictures_of_one_wish_and_of_equal_wishes_are_results_apart(fields: dict[str, Any], space: Space) -> None:
    made = [one.path for cookies in (ANN, BOB, ANN) for one in space.make(cookies, kind="image", **fields)]
    assert len(set(made)) == 3 * fields.get("count", 1)
    assert all(path.is_file() for path in made)
    assert len(space.items(ANN)) == 2 * len(space.items(BOB)) > 0
