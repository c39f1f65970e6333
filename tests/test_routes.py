"""The routes for programs: jobs from submission to result over HTTP, refusals in words, nobody else's things, figures."""

from __future__ import annotations

import collections
import io
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from flux_svd.ledger import Ledger
from flux_svd.session import Session
from flux_svd.web.gauges import figures
from flux_svd.web.owner import VISITOR_COOKIE
from flux_svd.web.serve import make_app
from flux_svd.worker import Worker
from tests.fake_worker import counting_session
from tests.servers import serving, status_of_head
from tests.test_worker import ROOT, command, computed
from tests.waiting import until

WISH = {"kind": "image", "prompt": "a dog", "width": 64, "height": 64, "steps": 4}
ME, YOU = {VISITOR_COOKIE: "me"}, {VISITOR_COOKIE: "you"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The real app on a free port without a worker, and its folder."""
    folder = tmp_path_factory.mktemp("served")
    with serving(make_app(Session(home=folder / "home", output_dir=folder / "outputs"), metrics_token="a token")) as address:
        yield address, folder


@pytest.fixture
def api(served: tuple[str, Path]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served[0]}/api/v1", cookies=ME, timeout=60) as client:
        yield client
        for job in client.get("/jobs", params={"state": "unfinished"}).json()["jobs"]:
            client.post(f"/jobs/{job['id']}/cancel")


@pytest.fixture
def worker(served: tuple[str, Path]) -> Worker:
    session, _ = counting_session(served[1] / "home", served[1] / "outputs")
    return Worker(Ledger(served[1] / "home"), session, name="w", beat_seconds=0.05)


def submitted(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = api.post("/jobs", json={**WISH, **fields})
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/{job['url']}"
    return job


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("event")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_a_picture_is_asked_for_watched_and_fetched(api: httpx.Client, worker: Worker) -> None:
    job = submitted(api, seed=7)
    assert (job["state"], job["progress"]["phase"], job["results"]) == ("queued", "wait", [])
    working = threading.Thread(target=worker.run_next, args=(threading.Event(),))
    with api.stream("GET", f"/jobs/{job['id']}/events") as answer:
        parts = answer.iter_text()
        first = next(parts)  # it is watched before it is begun
        working.start()
        told = events_of(first + "".join(parts))
    working.join()
    assert [name for name, _ in told][-1] == "end"
    assert {name for name, _ in told[:-1]} == {"job"}
    done = api.get(f"/jobs/{job['id']}").json()
    assert told[-1][1] == done
    assert (done["state"], done["progress"], len(done["results"])) == ("done", None, 1)
    picture = api.get(f"/jobs/{job['id']}/results/1")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert "attachment" in api.get(f"/jobs/{job['id']}/results/1?download").headers["content-disposition"]
    assert api.get(f"/jobs/{job['id']}/results/2").status_code == 404
    [found] = [
        one for one in api.get("/library", params={"words": "dog", "kind": "image"}).json()["results"] if one["job"] == job["id"]
    ]
    assert api.get("/library/file", params={"file": found["file"]}).content == picture.content
    details = api.get("/library/details", params={"file": found["file"]}).json()
    assert (details["request"]["prompt"], details["recipe"]["seed"]) == ("a dog", 7)


def test_a_film_comes_with_its_keyframes_and_its_report(api: httpx.Client, worker: Worker) -> None:
    job = submitted(api, kind="video", keyframes=2, width=160, height=96)
    worker.run_next(threading.Event())
    results = api.get(f"/jobs/{job['id']}").json()["results"]
    assert [one["kind"] for one in results] == ["image", "image", "video"]
    film = api.get(f"/jobs/{job['id']}/results/3")
    assert film.headers["content-type"] == "video/mp4"
    [found] = api.get("/library", params={"kind": "video"}).json()["results"]
    assert api.get("/library/details", params={"file": found["file"]}).json()["run"]["report"]
    export = api.post("/library/export", params={"file": found["file"], "format": "gif"})
    assert (export.status_code, export.json()["name"][-4:]) == (201, ".gif")
    address = str(api.base_url).removesuffix("api/v1/") + export.json()["url"]
    assert httpx.get(address, cookies=ME).content.startswith(b"GIF89a")
    assert httpx.get(address, cookies=YOU).status_code == 404
    for path, wish in (("export", {"format": "txt"}), ("export", {"format": "gif", "crf": "x"}), ("enlarge", {})):
        assert api.post(f"/library/{path}", params={"file": found["file"], **wish}).status_code == 422


def test_the_same_key_is_the_same_job(api: httpx.Client) -> None:
    first, second, other = (
        api.post("/jobs", json=WISH, headers={"Idempotency-Key": key}).json()["id"] for key in ("one", "one", "two")
    )
    assert first == second != other


def test_a_job_does_what_it_is_told(api: httpx.Client) -> None:
    ahead, job = submitted(api), submitted(api)
    assert api.get(f"/jobs/{job['id']}").json()["progress"]["item"] == 1
    assert api.post(f"/jobs/{job['id']}/up").json()["progress"]["item"] == 0
    for action, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled"), ("retry", "queued")):
        assert api.post(f"/jobs/{job['id']}/{action}").json()["state"] == state
    refused = api.post(f"/jobs/{job['id']}/resume")
    assert refused.status_code == 409
    assert "this one is queued" in refused.json()["error"]["message"]
    unfinished = [one["id"] for one in api.get("/jobs", params={"state": "unfinished"}).json()["jobs"]]
    assert unfinished == [job["id"], ahead["id"]]


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"width": 17, "height": 64}, "width", "steps of 16"),
        ({"prompt": ""}, "prompt", "1 to 10000 characters"),
        ({"prompt": "a\x00b"}, "prompt", "control characters"),
        ({"seed": 2**64}, "seed", "0 to 18446744073709551615"),
        ({"nonsense": 1}, "nonsense", ""),
        ({"steps": True}, "steps", "1 to 150"),
        ({"references": ["../../etc/passwd"]}, "references", ""),
    ],
)
def test_a_refused_wish_names_field_value_and_what_is_allowed(
    api: httpx.Client, fields: dict[str, Any], field: str, allowed: str
) -> None:
    for path in ("/jobs", "/plans"):
        answer = api.post(path, json={**WISH, **fields})
        assert answer.status_code == 422
        told = answer.json()["error"]
        assert told["field"].startswith(field)
        assert allowed in told["allowed"]
        assert set(told) == {"kind", "message", "field", "value", "allowed"}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"[1]", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b'{"kind": "image", "prompt": "a dog", "guidance": NaN}', "application/json", 422),
        (b'{"kind": "image", "prompt": "a \\ud83d dog"}', "application/json", 422),
        (json.dumps(WISH).encode(), "application/xml", 415),
        (json.dumps(WISH).encode(), "text/plain", 415),
    ],
)
def test_a_body_that_is_none_is_refused(api: httpx.Client, body: bytes, kind: str, status: int) -> None:
    answer = api.post("/jobs", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(served: tuple[str, Path]) -> None:
    assert status_of_head(served[0], "/api/v1/jobs", 2**21, ME) == 413


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "-1"}, {"limit": "many"}, {"limit": "201"}, {"offset": "x"}, {"since": "nan"}, {"since": "inf"},
     {"min_score": "high"}, {"starred": "1"}, {"kind": "song"}],
)  # fmt: skip
def test_a_refused_question_names_its_parameter(api: httpx.Client, query: dict[str, str]) -> None:
    answer = api.get("/library", params=query)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == next(iter(query))


def test_an_absent_model_says_how_to_get_it(api: httpx.Client) -> None:
    answer = api.post("/jobs", json={**WISH, "model": "flux1-dev"})
    assert answer.status_code == 409
    assert "flux-svd models download flux1-dev" in answer.json()["error"]["message"]


def test_a_full_queue_says_how_many_there_are_and_keeps_nothing(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = submitted(api)
    refuse = Ledger._refuse_overflow

    def refuse_after_one(self: Ledger, db: Any, owner: str) -> None:
        with monkeypatch.context() as few:
            few.setattr(self, "owner_limit", 1)
            refuse(self, db, owner)

    monkeypatch.setattr(Ledger, "_refuse_overflow", refuse_after_one)
    answer = api.post("/jobs", json=WISH)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
    assert "1 of 1 jobs" in answer.json()["error"]["message"]
    assert [job["id"] for job in api.get("/jobs", params={"state": "unfinished"}).json()["jobs"]] == [first["id"]]


def test_nothing_of_somebody_else_is_found_by_any_route(api: httpx.Client, served: tuple[str, Path], worker: Worker) -> None:
    done = submitted(api)
    worker.run_next(threading.Event())
    waiting = submitted(api)
    [item] = [one for one in api.get("/library").json()["results"] if one["job"] == done["id"]]
    gone = submitted(api, seed=8)
    api.post(f"/jobs/{waiting['id']}/pause")
    worker.run_next(threading.Event())
    [other_item] = [one for one in api.get("/library").json()["results"] if one["job"] == gone["id"]]
    thrown = api.post("/library/delete", params={"file": other_item["file"]}).json()["thrown"]
    described = api.get("/openapi.json").json()["paths"]
    tried = 0
    with httpx.Client(base_url=served[0], timeout=60) as other:
        for cookies in (YOU, {}):
            other.cookies = httpx.Cookies(cookies)
            for path, methods in described.items():
                for method in methods:
                    for job in (done, waiting):
                        url = path.replace("{id}", job["id"]).replace("{number}", "1")
                        query = {"file": item["file"], "thrown": thrown} if "{" not in path else {}
                        asked = {one["name"] for one in methods[method]["parameters"]}
                        if "{" in path or asked & set(query):
                            answer = other.request(method, url, params=query)
                            assert answer.status_code == 404, (method, url, answer.text)
                            tried += 1
            assert done["id"] not in other.get("/api/v1/jobs").text
            assert item["file"] not in other.get("/api/v1/library").text
    assert tried >= 2 * 2 * 13
    assert api.get(f"/jobs/{waiting['id']}").json()["state"] == "paused"
    assert api.post("/library/restore", params={"thrown": thrown}).json()["file"] == other_item["file"]
    assert api.post("/library/star", params={"file": other_item["file"]}).json()["starred"] is True


def test_the_named_endpoints_do_the_same(served: tuple[str, Path], worker: Worker) -> None:
    client = Client(served[0], verbose=False)

    def ask(endpoint: str, **given: Any) -> Any:
        return client.predict(api_name=f"/{endpoint}", **given)

    job = ask("submit_job", wish={**WISH, "prompt": "a named dog"}, key="k")
    assert ask("submit_job", wish={**WISH, "prompt": "a named dog"}, key="k")["id"] == job["id"]
    for action, state in (("pause", "paused"), ("resume", "queued"), ("up", "queued")):
        assert ask("job_action", id=job["id"], action=action)["state"] == state
    assert job["id"] in [one["id"] for one in ask("jobs", state="unfinished")["jobs"]]
    worker.run_next(threading.Event())
    assert ask("job", id=job["id"])["state"] == "done"
    [found] = ask("library", words="named dog")["results"]
    details = ask("result", file=found["file"])
    assert details["recipe"]["prompt"] == "a named dog"
    assert httpx.get(f"{served[0]}/{details['url']}").content.startswith(b"\x89PNG")
    assert ask("star_result", file=found["file"])["starred"] is True
    larger = ask("enlarge_result", file=found["file"], scale=2)
    with Image.open(io.BytesIO(httpx.get(f"{served[0]}/{larger['url']}").content)) as picture:
        assert picture.size == (128, 128)
    ask("delete_result", file=larger["file"])
    thrown = ask("delete_result", file=found["file"])["thrown"]
    assert ask("library", words="named dog")["results"] == []
    assert ask("restore_result", thrown=thrown)["file"] == found["file"]
    for endpoint, given, said in (
        ("job", {"id": "2345678abc"}, "the id of a job of yours"),
        ("job_action", {"id": job["id"], "action": "explode"}, "cancel, pause, resume, retry, up"),
        ("submit_job", {"wish": {**WISH, "steps": 0}}, "steps: 0 is not accepted"),
        ("enlarge_result", {"file": found["file"], "scale": 3}, "scale: 3 is not accepted; allowed: 2 or 4"),
        ("export_result", {"file": found["file"], "format": "gif"}, "allowed: a film"),
    ):
        with pytest.raises(AppError, match=said):
            ask(endpoint, **given)


@pytest.mark.parametrize("file", ["../home/ledger.db", "/etc/passwd", "..", "", "a\x00b", "2026-01-01/none.png", "x" * 5000])
def test_no_path_leads_out_of_the_library(api: httpx.Client, file: str) -> None:
    for route in ("/library/file", "/library/details"):
        answer = api.get(route, params={"file": file})
        assert answer.status_code in (404, 422)
        assert "root:" not in answer.text


def test_every_route_is_described_and_every_description_is_a_route(served: tuple[str, Path], api: httpx.Client) -> None:
    described = api.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    served_paths = {path for path in described["paths"] if path.startswith("/api/v1/")}
    assert served_paths == set(described["paths"])
    for path, methods in described["paths"].items():
        url = served[0] + path.replace("{id}", "2345678abc").replace("{number}", "1")
        for method in ("GET", "POST"):
            answer = httpx.request(method, url, timeout=60)
            is_ours = answer.is_success or "error" in answer.json()
            assert is_ours == (method.lower() in methods), (method, path, answer.text)
    names = set(described["components"]["schemas"])
    assert {"ImageRequest", "VideoRequest", "Refusal"} <= names
    asked = {part.split('"')[0] for part in json.dumps(described).split("#/components/schemas/")[1:]}
    assert asked <= names


def test_the_page_of_the_routes_loads_nothing(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/api/v1/jobs/{id}/events" in page.text
    for mark in ("src=", "@import", "url(", "<link", "<script"):
        assert mark not in page.text


def test_a_job_address_leads_to_the_page(served: tuple[str, Path]) -> None:
    answer = httpx.get(f"{served[0]}/job/2345678abc")
    assert (answer.status_code, answer.headers["location"]) == (303, "../?job=2345678abc")


def test_figures_are_for_this_machine_or_with_the_token(served: tuple[str, Path], api: httpx.Client) -> None:
    submitted(api)
    told = httpx.get(f"{served[0]}/metrics")
    assert told.status_code == 200
    lines = dict(line.rsplit(" ", 1) for line in told.text.splitlines() if not line.startswith("#"))
    assert float(lines['flux_svd_jobs{state="queued"}']) >= 1
    assert float(lines['flux_svd_disk_free_bytes{place="results"}']) > 0
    failures = {f"flux_svd_{name}_total" for name in ("out_of_memory", "out_of_memory_mended", "bad_output")}
    assert {*failures, "flux_svd_workers"} <= set(lines)
    through_a_proxy = {"X-Forwarded-For": "203.0.113.7"}
    assert httpx.get(f"{served[0]}/metrics", headers=through_a_proxy).status_code == 404
    with_token = {**through_a_proxy, "Authorization": "Bearer a token"}
    assert httpx.get(f"{served[0]}/metrics", headers=with_token).status_code == 200
    assert httpx.get(f"{served[0]}/metrics", headers={**with_token, "Authorization": "Bearer another"}).status_code == 404


def test_waits_and_runs_are_told_as_histograms(home: Path, outputs: Path) -> None:
    class Stand:
        session = Session(home=home, output_dir=outputs)

    ledger = Ledger(home)
    with ledger._db.writing() as db:
        db.executemany("INSERT INTO tally VALUES (?, ?)", [("run image 5", 2), ("run image inf", 1), ("run image sum", 7203)])
    lines = dict(line.rsplit(" ", 1) for line in figures(Stand(), ledger).splitlines())  # type: ignore[arg-type]
    buckets = [float(lines[f'flux_svd_run_seconds_bucket{{kind="image",le="{limit}"}}']) for limit in ("1", "5", "7200", "+Inf")]
    assert buckets == [0, 2, 2, 3]
    assert lines['flux_svd_run_seconds_sum{kind="image"}'] == "7203.000"


def patiently(api: httpx.Client, wish: dict[str, Any], key: str) -> dict[str, Any]:
    """Submit as often as the server asks to wait: all fifty clients share one address, which may send only so much."""
    while (answer := api.post("/jobs", json=wish, headers={"Idempotency-Key": key})).status_code == 429:
        time.sleep(float(answer.headers["retry-after"]))
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def test_two_hundred_jobs_of_fifty_clients_are_all_done_and_each_once(served: tuple[str, Path]) -> None:
    """Each client submits four jobs, sends each of them twice under one key, and waits for their results; two workers."""
    address, folder = served[0], served[1]
    (folder / "home" / "computed").touch()
    ids: list[str] = []
    faults: list[str] = []

    def client(number: int) -> None:
        try:
            with httpx.Client(base_url=f"{address}/api/v1", cookies={VISITOR_COOKIE: f"client {number}"}, timeout=120) as own:
                mine = []
                for n in range(4):
                    wish = {**WISH, "seed": 1000 + 4 * number + n}
                    twice = [patiently(own, wish, str(n))["id"] for _ in range(2)]
                    assert twice[0] == twice[1]
                    mine.append(twice[0])
                ids.extend(mine)
                while own.get("/jobs", params={"state": "unfinished"}).json()["jobs"]:
                    time.sleep(1)
                for job in mine:
                    answer = own.get(f"/jobs/{job}/results/1")
                    assert answer.content.startswith(b"\x89PNG"), own.get(f"/jobs/{job}").text
        except Exception as error:
            faults.append(f"client {number}: {error!r}")

    already = len(computed(folder / "home"))
    clients = [threading.Thread(target=client, args=(number,)) for number in range(50)]
    for one in clients:
        one.start()
    until(lambda: len(ids) == 200 or bool(faults))
    workers = [
        subprocess.Popen(command(folder / "home", folder / "outputs", f"many {n}", 0.0, 10 + n), cwd=ROOT) for n in range(2)
    ]
    for one in clients:
        one.join(500)
    assert faults == []
    for process in workers:
        assert process.wait(300) == 0
    assert len(set(ids)) == 200
    ledger = Ledger(folder / "home")
    jobs = {job.id: job for job in ledger.jobs(limit=10_000)}
    assert collections.Counter(jobs[one].state for one in ids) == {"done": 200}
    drawn = collections.Counter(computed(folder / "home")[already:])
    assert len(drawn) == 200
    assert set(drawn.values()) == {1}
    assert len({path for one in ids for path in jobs[one].results}) == 200
