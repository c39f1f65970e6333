"""The library's routes: what is found, starred, thrown away, had back and packed; and that nobody reaches what is another's."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from flux_svd.catalog import MODELS
from flux_svd.web import i18n
from flux_svd.web.accounts import Accounts
from flux_svd.web.guard import rules_for
from flux_svd.web.library import LibraryRoutes, stream_zip
from flux_svd.web.owner import VISITOR_COOKIE, owner_of, stand_for
from flux_svd.web.serve import protect
from flux_svd.web.shelf import Shelf
from flux_svd.web.thumbs import HEIGHT, Thumbs
from tests.test_library import put, put_film
from tests.test_passes import one_pass_film

ANN, BOB = ({VISITOR_COOKIE: name} for name in ("ann", "bob"))


class Site:
    """The routes behind the guard, and a browser before it."""

    def __init__(self, outputs: Path, home: Path, **protection: Any) -> None:
        self.shelf = Shelf(outputs)
        self.library = LibraryRoutes(outputs, home, self.shelf)
        files = Route("/files/{file_id}/{name}", self.shelf.answer)
        rules = protection.pop("rules", rules_for("local"))
        self.app: ASGIApp = protect(Starlette(routes=[*self.library.routes(), files]), rules, **protection)

    def ask(
        self, method: str, path: str, told: Any = None, cookies: dict[str, str] | None = None, host: str = "127.0.0.1"
    ) -> Any:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}", cookies=cookies) as browser:
                return await browser.request(method, path, json=told)

        return asyncio.run(run())

    def items(self, query: str = "", cookies: dict[str, str] | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", f"/library/items?{query}", cookies=cookies).json()["items"]
        return found


@pytest.fixture
def site(outputs: Path, home: Path) -> Site:
    put(outputs, "a", prompt="a red circle", age=3, score=0.9)
    put(outputs, "b", prompt="a <b>blue</b> circle", age=2, score=0.1, owner=owner_of(ANN))
    put(outputs, "c", prompt="a green star", age=1, score=0.5)
    put_film(outputs, "film")
    return Site(outputs, home)


def test_results_are_listed_searched_and_ordered(site: Site) -> None:
    shown = site.items()
    assert [one["prompt"] for one in shown] == ["a dog running", "a green star", "a red circle"]
    film = shown[0]
    assert (film["kind"], film["seconds"]) == ("video", 3.75)
    assert film["alt"] == "a dog running"
    assert [one["prompt"] for one in site.items("words=red")] == ["a red circle"]
    assert [one["prompt"] for one in site.items("kind=image&order=best")] == ["a red circle", "a green star"]
    assert [one["prompt"] for one in site.items("score=0.6&kind=image")] == ["a red circle"]
    assert [one["prompt"] for one in site.items("since=999999999&until=1000000000")] == ["a green star"]
    assert site.items("model=flux1-dev") == []


def test_keyframes_stand_with_their_film_and_among_pictures_only_on_wish(site: Site, outputs: Path) -> None:
    film = outputs / "film.mp4"
    for n in (1, 2):
        made = put(outputs, f"film_keyframe-{n}", prompt=f"key {n}")
        for file in (made, made.with_name(made.name + ".json")):
            file.rename(film.parent / file.name)
    shown = [one["prompt"] for one in site.items()]
    assert "key 1" not in shown
    assert {"key 1", "key 2"} <= {one["prompt"] for one in site.items("keyframes=1")}
    told = site.ask("GET", f"/library/item/{site.items('kind=video')[0]['id']}").json()
    assert [one["prompt"] for one in told["keyframes"]] == ["key 1", "key 2"]
    assert site.ask("GET", f"/library/thumb/{told['keyframes'][0]['id']}").status_code == 200


def test_the_length_of_a_film_is_told_whatever_kind_of_model_filled_it(site: Site, outputs: Path) -> None:
    put_film(outputs, "pass", one_pass_film())
    shown = {(one["frames"], one["fps"], one["seconds"]) for one in site.items("kind=video")}
    assert shown == {(45, 12, 3.75), (49, 12, 4.08)}
    assert site.items("kind=image")[0]["frames"] is None
    sidecar = outputs / "pass.mp4.json"
    sidecar.write_text(sidecar.read_text().replace('"passes"', '"of_another_version"'))
    assert {one["frames"] for one in site.items("kind=video")} == {45, None}


def test_a_long_list_comes_in_pages(outputs: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flux_svd.web.library.PAGE", 2)
    for n in range(5):
        put(outputs, f"n{n}", prompt=f"number {n}", age=n)
    site = Site(outputs, home)
    seen: list[str] = []
    while True:
        page = site.ask("GET", f"/library/items?offset={len(seen)}").json()
        seen += [one["prompt"] for one in page["items"]]
        if not page["more"]:
            break
    assert seen == [f"number {n}" for n in range(5)]


@pytest.mark.parametrize("query", ["score=nan", "since=x", "offset=1e99", "until=inf", "score=%00"])
def test_a_filter_that_is_no_number_is_named(site: Site, query: str) -> None:
    answer = site.ask("GET", f"/library/items?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["detail"]


def test_details_tell_in_words_how_a_result_was_made(site: Site) -> None:
    picture = site.ask("GET", f"/library/item/{site.items('words=red')[0]['id']}").json()["made_with"]
    told = {row["what"]: row["said"] for row in picture}
    assert told["Model"] == "Pocket FLUX"
    assert {"Seed", "Size", "Steps", "Guidance", "Precision"} <= told.keys()
    assert all(row["said"] or row["own"] for row in picture)  # nothing stands there empty
    film = site.ask("GET", f"/library/item/{site.items('kind=video')[0]['id']}").json()["made_with"]
    rows = {row["what"]: row for row in film}
    assert [name for name in rows if name.startswith(("Keyframe", "Transition"))] == [
        "Keyframe 1", "Keyframe 2", "Keyframe 3", "Transition 1 to 2", "Transition 2 to 3"]  # fmt: skip
    assert rows["Keyframe 1"]["own"].startswith("a dog")
    assert "Both ways, motion aligned · 23 frames" in rows["Transition 1 to 2"]["said"]
    for row in (*picture, *film):
        for words in (row["what"], *row["said"].split(" · ")):
            known = i18n.is_known(words) or words in {spec.title for spec in MODELS.values()}
            assert known or re.fullmatch(r"[\d.]+( × \d+)?( fps)?|[bf]p?\d+|fp32", words), words


def test_details_tell_plan_run_and_provenance(site: Site) -> None:
    told = site.ask("GET", f"/library/item/{site.items('words=red')[0]['id']}").json()
    assert told["recipe"]["prompt"] == "a red circle"
    assert told["run"]["device"] == "cpu"
    assert told["source_type"].endswith("trainedAlgorithmicMedia")
    assert told["licence"] == "MIT License"
    assert len(told["sha256"]) == 64
    assert "owner" not in json.dumps(told)


def test_a_long_seed_reaches_the_browser_exactly(outputs: Path, home: Path) -> None:
    put(outputs, "a", seed=2**64 - 1)
    site = Site(outputs, home)
    [item] = site.items()
    assert item["seed"] == "18446744073709551615"
    told = site.ask("GET", f"/library/item/{item['id']}").json()
    assert told["recipe"]["seed"] == told["request"]["seed"] == "18446744073709551615"
    assert told["recipe"]["steps"] > 0  # others stay numbers


def test_thumbnails_are_small_webp_kept_and_made_again_after_a_change(site: Site, outputs: Path, home: Path) -> None:
    item = site.items("words=red")[0]
    answer = site.ask("GET", f"/library/thumb/{item['id']}")
    assert answer.headers["content-type"] == "image/webp"
    assert "private" in answer.headers["cache-control"]
    assert Image.open(io.BytesIO(answer.content)).format == "WEBP"
    large = outputs / "large.png"
    Image.new("RGB", (3000, 2000), "blue").save(large)
    thumbs = Thumbs(home)
    first = thumbs.read(large)
    assert first is not None
    assert Image.open(io.BytesIO(first)).height == HEIGHT
    count = len(list((home / "thumbs").iterdir()))
    thumbs.read(large)
    assert len(list((home / "thumbs").iterdir())) == count
    Image.new("RGB", (300, 200), "red").save(large)
    assert thumbs.read(large) != first
    large.write_bytes(b"no picture")
    assert thumbs.read(large) is None
    assert thumbs.read(outputs / "absent.png") is None


@pytest.mark.parametrize("prompt", ["a red circle", 'a <b> & "c"\nin two lines', "红色圆形"])
def test_alternative_text_is_stored_with_the_file_and_given_with_it(outputs: Path, home: Path, prompt: str) -> None:
    path = put(outputs, "a", prompt=prompt)
    with Image.open(path) as picture:
        tree = ElementTree.fromstring(picture.info["XML:com.adobe.xmp"].strip("\ufeff"))
    core = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}AltTextAccessibility"
    [alt] = [node for one in tree.iter(core) for node in one.iter() if (node.text or "").strip()]
    assert alt.text == prompt
    assert Site(outputs, home).items()[0]["alt"] == prompt


def test_star_throw_away_and_have_back(site: Site, outputs: Path) -> None:
    red = site.items("words=red")[0]["id"]
    assert site.ask("POST", "/library/star", {"ids": [red], "starred": True}).json() == {"starred": 1}
    assert [one["prompt"] for one in site.items("starred=1")] == ["a red circle"]
    [thrown] = site.ask("POST", "/library/delete", {"ids": [red]}).json()["thrown"]
    assert site.items("words=red") == []
    assert not (outputs / "2026-11-20" / "a.png").exists()
    [shown] = site.ask("GET", "/library/trash").json()["items"]
    assert (shown["id"], shown["prompt"]) == (thrown, "a red circle")
    assert site.ask("GET", f"/library/trash/{thrown}/thumb").status_code == 200
    assert site.ask("POST", "/library/restore", {"ids": [thrown]}).json() == {"restored": 1}
    assert [one["starred"] for one in site.items("words=red")] == [True]


def test_many_are_packed_with_their_sidecars_once(site: Site, outputs: Path) -> None:
    ids = [one["id"] for one in site.items("kind=image")]
    address = site.ask("POST", "/library/zip", {"ids": ids}).json()["url"]
    answer = site.ask("GET", f"/{address}")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert sorted(archive.namelist()) == ["a.png", "a.png.json", "c.png", "c.png.json"]
    assert archive.read("a.png") == (outputs / "2026-11-20" / "a.png").read_bytes()
    assert archive.testzip() is None
    assert site.ask("GET", f"/{address}").status_code == 404


def test_an_archive_is_sent_piece_by_piece_and_leaves_out_what_is_gone(tmp_path: Path) -> None:
    for day in ("1", "2"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "same.png").write_bytes(bytes(3 * 2**20))
    pieces = list(stream_zip([tmp_path / "1" / "same.png", tmp_path / "absent.png", tmp_path / "2" / "same.png"]))
    assert max(map(len, pieces)) < 2**20
    assert zipfile.ZipFile(io.BytesIO(b"".join(pieces))).namelist() == ["same.png", "2-same.png"]


@pytest.mark.parametrize(
    "told", [{}, {"ids": []}, {"ids": "x"}, {"ids": [1]}, {"ids": ["x"] * 501}, [], 7, {"ids": ["x"], "starred": 1}]
)
@pytest.mark.parametrize("wish", ["star", "delete", "restore", "zip"])
def test_a_wish_that_is_none_is_refused(site: Site, wish: str, told: Any) -> None:
    assert site.ask("POST", f"/library/{wish}", told).status_code in (400, 404)


def test_nobody_reaches_what_is_anothers(site: Site) -> None:
    [mine] = site.items(cookies=ANN)
    assert mine["prompt"] == "a <b>blue</b> circle"
    address = site.ask("POST", "/library/zip", {"ids": [mine["id"]]}, ANN).json()["url"]
    for other in (BOB, None):
        assert all(one["id"] != mine["id"] for one in site.items(cookies=other))
        for path in (f"/library/item/{mine['id']}", f"/library/thumb/{mine['id']}", f"/{mine['address']}"):
            assert site.ask("GET", path, cookies=other).status_code == 404
            assert site.ask("GET", path, cookies=ANN).status_code == 200
        for wish in ("star", "delete", "zip"):
            told = {"ids": [mine["id"]], "starred": True}
            assert site.ask("POST", f"/library/{wish}", told, other).status_code == 404
    assert site.ask("GET", f"/{address}", cookies=BOB).status_code == 404
    [thrown] = site.ask("POST", "/library/delete", {"ids": [mine["id"]]}, ANN).json()["thrown"]
    for other in (BOB, None):
        assert site.ask("GET", "/library/trash", cookies=other).json() == {"items": []}
        assert site.ask("GET", f"/library/trash/{thrown}/thumb", cookies=other).status_code == 404
        assert site.ask("POST", "/library/restore", {"ids": [thrown]}, other).status_code == 404
    assert site.ask("POST", "/library/restore", {"ids": [thrown]}, ANN).status_code == 200


@pytest.mark.parametrize(
    "odd", ["..", "../../etc/passwd", "\x00", "a" * 32, "20261120-000000-abcdef", "20261120-000000-abcdef\n", "é"]
)
def test_ids_that_were_never_given_lead_nowhere(site: Site, odd: str) -> None:
    site.items()
    for path in (f"/library/item/{quote(odd, safe='')}", f"/library/thumb/{quote(odd, safe='')}",
                 f"/library/trash/{quote(odd, safe='')}/thumb", f"/library/zip/{quote(odd, safe='')}"):  # fmt: skip
        assert site.ask("GET", path).status_code in (400, 404, 405)
    for wish in ("star", "delete", "restore", "zip"):
        assert site.ask("POST", f"/library/{wish}", {"ids": [odd], "starred": True}).status_code == 404


def test_a_visitor_without_a_name_among_many_is_shown_no_list(outputs: Path, home: Path) -> None:
    put(outputs, "a")
    site = Site(outputs, home, rules=rules_for("space"))
    assert site.ask("GET", "/library/items", host="me.hf.space").json()["items"] == []
    assert site.ask("GET", "/library/trash", host="me.hf.space").json()["items"] == []


def test_each_account_has_its_own_library(outputs: Path, home: Path) -> None:
    standing = stand_for({"headers": []}, "account ann")["headers"][0][1].decode().split("=", 1)
    put(outputs, "a", prompt="of ann", owner=owner_of({standing[0]: standing[1]}))
    accounts = Accounts({"ann": "long enough one", "bob": "long enough two"})
    site = Site(outputs, home, accounts=accounts)

    async def listed(name: str, password: str) -> list[str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url="http://127.0.0.1") as browser:
            await browser.post("/login", data={"username": name, "password": password})
            return [one["prompt"] for one in (await browser.get("/library/items")).json()["items"]]

    assert asyncio.run(listed("ann", "long enough one")) == ["of ann"]
    assert asyncio.run(listed("bob", "long enough two")) == []
    assert site.ask("GET", "/library/items").status_code == 401
