"""The routes of the page Models: what fits and why, licences, access, downloads that can be stopped and go on."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import constants, errors
from starlette.applications import Starlette

from flux_svd import weights
from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.ledger import Ledger
from flux_svd.memory import GIB, Budget
from flux_svd.web.downloads import Downloads
from flux_svd.web.guard import rules_for
from flux_svd.web.models import ModelRoutes, how_it_fits
from flux_svd.web.owner import VISITOR_COOKIE
from flux_svd.web.serve import protect
from flux_svd.worker import Worker, ask_to_free
from tests.fakes import fake_session
from tests.waiting import until

SMALL = Budget("cpu", "a processor", 16 * GIB, 16 * GIB, 100 * GIB)
CARD = Budget("cuda", "a card", 24 * GIB, 64 * GIB, 500 * GIB)
KLEIN, DEV = MODELS["flux2-klein-4b"], MODELS["flux1-dev"]


class Machine:
    freed = 0

    def budget(self) -> Budget:
        return SMALL

    def is_warm(self) -> bool:
        return True

    def unload(self) -> None:
        self.freed += 1


class Site:
    def __init__(self, home: Path, command: Callable[[ModelSpec], list[str]] | None = None, profile: Any = "local") -> None:
        self.machine, self.downloads = Machine(), Downloads(home, command)
        routes = ModelRoutes(self.machine, home, self.downloads).routes()
        self.app = protect(Starlette(routes=routes), rules_for(profile))

    def ask(self, method: str, path: str, told: Any = None, **kwargs: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1") as browser:
                return await browser.request(method, path, json=told, **kwargs)

        return asyncio.run(run())

    def row(self, spec: ModelSpec) -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.ask("GET", "/models/list").json()["models"]
        return next(row for row in rows if row["name"] == spec.name)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def blobs(cache: Path, spec: ModelSpec) -> Path:
    folder = cache / f"models--{spec.repo.replace('/', '--')}" / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("spec", MODELS.values(), ids=list(MODELS))
def test_every_model_says_whether_it_fits_and_why(spec: ModelSpec) -> None:
    for budget in (SMALL, CARD):
        fits, how = how_it_fits(spec, budget)
        assert how
        if spec.pocket:
            assert fits
        if not fits:
            assert spec.name in how
            assert "GiB" in how


def test_the_list_puts_ready_ones_first_and_tells_licence_and_size(home: Path, cache: Path) -> None:
    site = Site(home)
    told = site.ask("GET", "/models/list").json()
    assert told["manages"] is True
    assert told["loaded"] is True
    states = [row["state"] for row in told["models"]]
    assert states == sorted(states, key=lambda state: state != "ready")
    row = site.row(DEV)
    assert (row["state"], row["needs_consent"], row["accepted"]) == ("absent", True, False)
    assert "non-commercial" in row["allows"]
    assert row["bytes"] == DEV.bytes_at("bf16")


def test_memory_that_comes_and_goes_moves_no_row(home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for gib in (2, 8, 64):
        site = Site(home)
        monkeypatch.setattr(site.machine, "budget", lambda gib=gib: replace(CARD, device_bytes=gib * GIB))
        names.append([row["name"] for row in site.ask("GET", "/models/list").json()["models"]])
    assert names[0] == names[1] == names[2]


def test_a_licence_is_accepted_before_the_download(home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_hurdle", lambda spec: None)
    site = Site(home, lambda spec: [sys.executable, "-c", ""])
    refused = site.ask("POST", "/models/download", {"model": DEV.name})
    assert refused.status_code == 409
    assert "licence" in refused.json()["detail"]
    assert site.ask("POST", "/models/accept", {"model": DEV.name}).status_code == 200
    assert site.row(DEV)["accepted"] is True
    assert site.ask("POST", "/models/download", {"model": DEV.name}).status_code == 200


def test_a_download_tells_rate_and_time_is_stopped_and_goes_on(home: Path, cache: Path) -> None:
    target = blobs(cache, KLEIN) / "half.incomplete"
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\n"
    code += "while True:\n f = open(sys.argv[1], 'ab'); f.write(bytes(2**20)); f.close(); time.sleep(.01)"
    started: list[str] = []

    def command(spec: ModelSpec) -> list[str]:
        started.append(spec.name)
        return [sys.executable, "-c", code, str(target)]

    site = Site(home, command)
    assert site.ask("POST", "/models/download", {"model": KLEIN.name}).status_code == 200
    assert site.ask("POST", "/models/download", {"model": KLEIN.name}).status_code == 200
    assert started == [KLEIN.name]  # a second click starts no second one
    until(lambda: site.row(KLEIN)["download"]["rate"] > 0)
    download = site.row(KLEIN)["download"]
    assert download["running"]
    assert download["total"] == KLEIN.bytes_at("bf16")
    assert download["seconds_left"] == pytest.approx((download["total"] - download["bytes"]) / download["rate"])
    site.ask("POST", "/models/stop", {"model": KLEIN.name})
    until(lambda: not site.row(KLEIN)["download"]["running"])
    download = site.row(KLEIN)["download"]
    assert download["bytes"] >= 2**20
    assert download["problem"] == ""


def test_a_download_that_fails_says_why_without_the_token(home: Path, cache: Path) -> None:
    said = '{"error": "it failed for hf_abcdefghijklmnop", "exit_code": 3}'
    site = Site(home, lambda spec: [sys.executable, "-c", f"print({said!r}); raise SystemExit(3)"])
    site.ask("POST", "/models/download", {"model": KLEIN.name})
    until(lambda: bool(site.row(KLEIN)["download"]["problem"]))
    assert site.row(KLEIN)["download"]["problem"] == "it failed for [token]"


def test_a_disk_that_is_too_small_is_told_before(home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(home)
    monkeypatch.setattr(weights, "cache_disk_free", lambda: 10**9)
    assert site.row(KLEIN)["disk_problem"] is True
    monkeypatch.setattr(weights, "cache_disk_free", lambda: 10**12)
    assert site.row(KLEIN)["disk_problem"] is False


# The Hub's answers as its library raises them; their words as quoted in huggingface_hub issues 2844 and 2025's model pages.
REFUSALS = [
    (None, errors.RepositoryNotFoundError, "Repository Not Found", weights.NO_TOKEN, "settings/tokens"),
    ("hf_x", errors.GatedRepoError, "Access to model x is restricted and you are not in the authorized list.",
     weights.NOT_ACCEPTED, DEV.repo),
    ("hf_x", errors.GatedRepoError, "Please enable access to public gated repositories in your fine-grained token settings",
     weights.TOKEN_LACKS_SCOPE, "settings/tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("token", "kind", "words", "said", "link"), REFUSALS)
def test_gated_access_is_told_in_three_states(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, kind: Any, words: str, said: str, link: str
) -> None:
    import httpx2

    def refuse(*args: Any, **kwargs: Any) -> None:
        response = httpx2.Response(403, request=httpx2.Request("GET", "https://huggingface.co"))
        raise kind(words, response=response, server_message=words)

    monkeypatch.setattr("huggingface_hub.HfApi.auth_check", refuse)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    site = Site(home, lambda spec: [sys.executable, "-c", "raise SystemExit(9)"])
    site.ask("POST", "/models/accept", {"model": DEV.name})
    answer = site.ask("POST", "/models/download", {"model": DEV.name})
    assert answer.status_code == 409
    assert said in answer.json()["detail"]
    row = site.row(DEV)
    assert row["access"] == said
    assert link in row["access_url"]
    assert not row["download"]["running"]


def test_memory_is_freed_on_wish(home: Path) -> None:
    site = Site(home)
    assert site.ask("POST", "/models/unload", {}).status_code == 200
    assert site.machine.freed == 1


@pytest.mark.parametrize("what", ["accept", "download", "stop", "unload"])
def test_guests_look_and_touch_nothing(home: Path, what: str) -> None:
    for site, headers in (
        (Site(home), {"cookie": f"{VISITOR_COOKIE}=somebody"}),
        (Site(home, profile="space"), {"host": "x.hf.space"}),
    ):
        assert site.ask("POST", f"/models/{what}", {"model": DEV.name}, headers=headers).status_code == 403
        assert site.ask("GET", "/models/list", headers=headers).json()["manages"] is False
        assert site.machine.freed == 0
    assert not (home / "licences.json").exists()


@pytest.mark.parametrize("told", [{}, {"model": "nope"}, {"model": 7}, [], {"model": "../../etc"}, {"model": ["flux1-dev"]}])
def test_an_unknown_model_is_refused(home: Path, told: Any) -> None:
    for what in ("accept", "download", "stop"):
        assert Site(home).ask("POST", f"/models/{what}", told).status_code == 400


def test_an_idle_worker_frees_its_memory_when_asked(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, engines = fake_session(home, outputs, monkeypatch)
    stop = threading.Event()
    thread = threading.Thread(target=Worker(Ledger(home), session, name="w").run_forever, args=(stop,))
    thread.start()
    try:
        ask_to_free(home)
        until(lambda: "release" in engines.calls)
    finally:
        stop.set()
        thread.join()
    assert engines.calls == ["release"]
