"""The web app from outside, without a browser: the guard, the file route, the endpoints and what they refuse."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from flux_svd.errors import InvalidRequest
from flux_svd.session import Session
from flux_svd.web.accounts import Accounts
from flux_svd.web.binding import check_bind, check_port
from flux_svd.web.guard import BODY_BYTES, Guard, rules_for
from flux_svd.web.owner import VISITOR_COOKIE
from flux_svd.web.serve import launch, make_app, protect, workers_at_work
from flux_svd.web.shelf import Shelf
from tests.servers import free_port, serving
from tests.waiting import until


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real app on a free port of this machine, with the pocket models."""
    folder = tmp_path_factory.mktemp("web")
    session = Session(home=folder / "home", output_dir=folder / "outputs")
    with serving(make_app(session)) as address, workers_at_work(session):
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


# The guard, before a stand-in that answers everything.

JSON = {"content-type": "application/json"}


def guarded(profile: Any = "local", **kwargs: Any) -> httpx.AsyncClient:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        headers = {"access-control-allow-origin": "*"}
        await PlainTextResponse(f"{len(body)} bytes", headers=headers)(scope, receive, send)

    app = protect(answer, rules_for(profile, **kwargs))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:7860")


def ask(method: str, path: str = "/", *, profile: Any = "local", hosts: tuple[str, ...] = (), **kwargs: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with guarded(profile, hosts=hosts) as browser:
            return await browser.request(method, path, **kwargs)

    return asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:1", "[::1]:7860", "LOCALHOST"])
def test_own_names_are_served(host: str) -> None:
    assert ask("GET", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::2]", "0.0.0.0", "evil@localhost.x", "[broken"],
)
def test_foreign_host_is_refused(host: str) -> None:
    assert ask("GET", headers={"host": host}).status_code == 421


def test_configured_host_is_served_and_only_it() -> None:
    assert ask("GET", hosts=("studio.local",), headers={"host": "studio.local:7860"}).status_code == 200
    assert ask("GET", hosts=("studio.local",), headers={"host": "other.local:7860"}).status_code == 421


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1.evil.example:7860"]
)
def test_post_from_another_page_is_refused(origin: str) -> None:
    assert ask("POST", "/gradio_api/upload", headers={"origin": origin}, content=b"x").status_code == 403
    assert ask("GET", headers={"origin": origin}).status_code == 403


def test_cross_site_post_without_origin_is_refused() -> None:
    assert ask("POST", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert ask("POST", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_post_from_own_page_passes() -> None:
    assert ask("POST", headers={"origin": "http://127.0.0.1:7860"}, json=1).text == "1 bytes"


def test_announced_oversize_is_refused() -> None:
    assert ask("POST", headers=JSON, content=b"x" * (BODY_BYTES + 1)).status_code == 413
    assert ask("POST", headers=JSON, content=b"x" * BODY_BYTES).status_code == 200


def test_unannounced_oversize_is_refused() -> None:
    async def chunks() -> Any:
        for _ in range(BODY_BYTES // 65_536 + 2):
            yield b"x" * 65_536

    assert ask("POST", headers=JSON, content=chunks()).status_code == 413


def test_bad_length_is_refused() -> None:
    assert ask("POST", headers={"content-length": "-1"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/docs", "/monitoring/x", "/gradio_api/proxy=http://x", "/gradio_api/deep_link"]
)
def test_side_doors_are_closed(path: str) -> None:
    assert ask("GET", path).status_code == 404


def test_every_answer_carries_the_security_headers() -> None:
    headers = ask("GET").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    cookie = headers["set-cookie"]
    assert VISITOR_COOKIE in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_visitor_keeps_the_cookie() -> None:
    assert "set-cookie" not in ask("GET", headers={"cookie": f"{VISITOR_COOKIE}=abc"}).headers


def test_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def run() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        await Guard(None, rules_for("local"))({"type": "websocket", "path": "/", "headers": []}, receive, send)  # type: ignore[arg-type]

    asyncio.run(run())
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_space_is_shown_in_its_frame_and_colab_in_its_own() -> None:
    space = ask("GET", profile="space", headers={"host": "me-flux.hf.space", "origin": "https://huggingface.co"})
    assert space.status_code == 200
    assert "https://huggingface.co" in space.headers["content-security-policy"]
    assert "SameSite=None; Secure" in space.headers["set-cookie"]
    assert ask("POST", profile="space", headers={"host": "me-flux.hf.space", "origin": "https://evil.example"}).status_code == 403
    colab = ask("GET", profile="colab", headers={"host": "abc-7860-colab.googleusercontent.com"})
    assert colab.status_code == 200
    assert "colab.research.google.com" in colab.headers["content-security-policy"]
    assert ask("GET", profile="colab", headers={"host": "evil.example"}).status_code == 421


def test_public_address_needs_to_be_meant_and_named() -> None:
    check_bind("127.0.0.1", public=False, hosts=())
    check_bind("::1", public=False, hosts=())
    accounts = Accounts({"ann": "a long password"})
    check_bind("0.0.0.0", public=True, hosts=("studio.local",), accounts=accounts)
    named = ("studio.local",)
    for public, hosts, known in ((False, (), None), (True, (), accounts), (False, named, accounts), (True, named, None)):
        with pytest.raises(InvalidRequest, match=r"0\.0\.0\.0"):
            check_bind("0.0.0.0", public=public, hosts=hosts, accounts=known)


def test_a_port_that_is_taken_or_none_is_said_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (taken.getsockname()[1], 70_000, -1):
            with pytest.raises(InvalidRequest, match="free port") as caught:
                check_port("127.0.0.1", port)
            assert caught.value.field == "port"
    check_port("127.0.0.1", free_port())


# The file route.


def test_only_results_in_the_output_folder_get_an_address(tmp_path: Path) -> None:
    inside, outside = tmp_path / "out", tmp_path / "secret.png"
    inside.mkdir()
    outside.write_bytes(b"secret")
    (inside / "a.png").write_bytes(b"a")
    (inside / "a.png.json").write_text("{}")
    (inside / "link.png").symlink_to(outside)
    shelf = Shelf(inside)
    assert shelf.put(inside / "a.png", "me") == shelf.put(inside / "a.png", "me")
    assert shelf.put(inside / "a.png", "me") != shelf.put(inside / "a.png", "you")
    for path in (outside, inside / ".." / "secret.png", inside / "link.png", inside / "a.png.json"):
        with pytest.raises(ValueError, match="output folder"):
            shelf.put(path, "me")


def test_a_result_that_became_a_link_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    made = tmp_path / "out" / "a.png"
    made.write_bytes(b"a")
    shelf = Shelf(tmp_path / "out")
    _, file_id, name = shelf.put(made, "").split("/")

    def fetch() -> int:
        request = Request({"type": "http", "headers": [], "query_string": b"", "path_params": {"file_id": file_id, "name": name}})
        return asyncio.run(shelf.answer(request)).status_code

    assert fetch() == 200
    made.unlink()
    assert fetch() == 404
    made.symlink_to(tmp_path / "secret.png")
    assert fetch() == 404


@pytest.mark.parametrize(
    "path",
    [
        "files/../../etc/passwd", "files/%2e%2e/%2e%2e/etc/passwd", "files/..%2f..%2fetc/passwd", "files/x/y.png",
        "files/" + "a" * 32 + "/x.png", "files//etc/passwd", "files/%00/x.png", "files/" + "a" * 32 + "%0a/x.png",
        "gradio_api/file=/etc/passwd", "gradio_api/file=/proc/self/environ", "gradio_api/file=http://127.0.0.1/",
    ],
)  # fmt: skip
def test_no_path_leads_out(address: str, path: str) -> None:
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as raw:  # httpx would tidy the path
        raw.sendall(f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert int(answer.split()[1]) in (400, 403, 404, 405)
    assert b"root:" not in answer


# The endpoints.


def call(address: str, endpoint: str, raw: str, cookies: dict[str, str] | None = None) -> tuple[str, Any]:
    """Return the last event of a call whose body is sent as it stands: (kind, data)."""
    with httpx.Client(base_url=address, cookies=cookies, timeout=120) as browser:
        sent = browser.post(f"/gradio_api/call/{endpoint}", content=raw, headers={"content-type": "application/json"})
        if sent.status_code != 200:
            return f"HTTP {sent.status_code}", sent.text
        lines = browser.get(f"/gradio_api/call/{endpoint}/{sent.json()['event_id']}").text.splitlines()
    events = [(lines[n][7:], lines[n + 1][6:]) for n in range(len(lines) - 1) if lines[n].startswith("event: ")]
    kind, data = events[-1]
    return kind, json.loads(data)


def image_call(address: str, cookies: dict[str, str] | None = None, **fields: Any) -> tuple[str, Any]:
    names = ("prompt", "negative_prompt", "model", "width", "height", "steps", "guidance", "seed", "count", "references")
    plain = {"prompt": "a red circle", "model": "auto", "count": 1, **fields}
    return call(address, "generate_image", json.dumps({"data": [plain.get(name) for name in names]}), cookies)


def refusal(address: str, **fields: Any) -> str:
    kind, data = image_call(address, **fields)
    assert kind == "error", data
    text = data if isinstance(data, str) else data["error"]
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("width", 17, "64 to 2048 in steps of 16"),
        ("width", 0, "64 to 2048 in steps of 16"),
        ("width", -16, "64 to 2048 in steps of 16"),
        ("width", 100_000, "64 to 2048 in steps of 16"),
        ("width", "abc", "64 to 2048 in steps of 16"),
        ("width", 17.5, "64 to 2048 in steps of 16"),
        ("width", True, "64 to 2048 in steps of 16"),
        ("steps", 0, "1 to 150"),
        ("steps", 10**9, "1 to 150"),
        ("seed", 2**64, "0 to 18446744073709551615"),
        ("seed", -2, "0 to 18446744073709551615"),
        ("guidance", float("nan"), "0 to 30"),
        ("guidance", float("inf"), "0 to 30"),
        ("prompt", "", "1 to 10000 characters"),
        ("prompt", "   ", "1 to 10000 characters"),
        ("prompt", "x" * 1_000_000, "1 to 10000 characters"),
        ("prompt", "a\x00b", "control characters"),
        ("prompt", "a\x1b[31mb", "control characters"),
        ("prompt", "a\ud83d", "characters"),
        ("prompt", 7, "1 to 10000 characters"),
        ("model", "nope", "pocket-flux"),
        ("count", 17, "1 to 16"),
        ("references", ["../../etc/passwd"], ""),
        ("references", ["0" * 64], "references"),
    ],
)
def test_bad_value_names_field_and_range(address: str, field: str, value: Any, said: str) -> None:
    extra = {"height": 128} if field == "width" else {}
    text = refusal(address, **{field: value}, **extra)
    assert text.startswith(field)
    assert said in text
    assert len(text) < 600


def test_absent_model_says_how_to_get_it(address: str) -> None:
    text = refusal(address, model="flux1-dev")
    assert "flux1-dev is not on this disk" in text
    assert "flux-svd models download flux1-dev" in text


def test_body_beyond_the_cap_is_refused(address: str) -> None:
    kind, _ = image_call(address, prompt="x" * 2_000_000)
    assert kind == "HTTP 413"


def test_a_picture_is_made_and_belongs_to_its_visitor(address: str) -> None:
    kind, data = image_call(address, cookies={VISITOR_COOKIE: "me"}, prompt="a red circle on a blue background", seed=7)
    assert kind == "complete", data
    [made] = data[0]["pictures"]
    assert (made["width"], made["height"], made["seed"], made["pocket"]) == (128, 128, 7, True)
    url = f"{address}/{made['url']}"
    mine = httpx.get(url, cookies={VISITOR_COOKIE: "me"})
    assert mine.status_code == 200
    assert mine.headers["content-type"] == "image/png"
    assert mine.headers["x-content-type-options"] == "nosniff"
    assert mine.content.startswith(b"\x89PNG")
    assert "attachment" in httpx.get(f"{url}?download", cookies={VISITOR_COOKIE: "me"}).headers["content-disposition"]
    for cookies in ({VISITOR_COOKIE: "you"}, {}):
        assert httpx.get(url, cookies=cookies).status_code == 404
    assert httpx.get(url.rsplit("/", 1)[0] + "/other.png", cookies={VISITOR_COOKIE: "me"}).status_code == 404


def test_client_without_cookie_gets_its_picture_and_a_score(client: Client, address: str, tmp_path: Path) -> None:
    answer = client.predict(prompt="a red circle on a blue background", seed=7, api_name="/generate_image")
    [made] = answer["pictures"]
    picture = tmp_path / "made.png"
    picture.write_bytes(httpx.get(f"{address}/{made['url']}").content)
    score = client.predict(path=handle_file(str(picture)), text="a red circle on a blue background", api_name="/score")
    assert score["scorer"] == made["scores"]["scorer"]
    assert score["clip_cosine"] == pytest.approx(made["scores"]["clip_cosine"], abs=1e-3)


def test_cancelling_client_stops_the_work(client: Client, address: str) -> None:
    job = client.submit(prompt="a red circle on a blue background", steps=150, count=16, api_name="/generate_image")
    until(lambda: any(one["phase"] == "draw" for one in job.outputs()))
    assert httpx.get(f"{address}/status").json()["queue"] == "1 at work"
    job.cancel()
    until(lambda: httpx.get(f"{address}/status").json()["queue"] == "idle")
    assert job.outputs()[-1]["done"] is False


def test_page_opens_where_nothing_fits_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flux_svd import device
    from flux_svd.memory import Budget
    from flux_svd.web.desk import Desk
    from flux_svd.web.page import bar_words
    from flux_svd.web.streamed import Streamed

    small = Budget("cpu", "a small machine", 2**28, 2**28, 2**34)
    monkeypatch.setattr(device, "read_budget", lambda home, vram_bytes=None: small)
    session = Session(home=tmp_path / "home", output_dir=tmp_path / "out")
    make_app(session)
    assert "does not fit now" in bar_words(Desk(session, Shelf(tmp_path / "out"), Streamed(session)))


def test_plan_tells_what_would_happen(client: Client) -> None:
    answer = client.predict(prompt="a star moving from left to right", kind="video", api_name="/plan")
    assert [stage["name"] for stage in answer["stages"]] == ["Left", "Center", "Right"]
    assert answer["peak_bytes"] > 0
    with pytest.raises(AppError, match="kind: 'film' is not accepted; allowed: image, video"):
        client.predict(prompt="x", kind="film", api_name="/plan")


def disguised(kind: str) -> bytes:
    if kind == "svg":
        return b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    if kind == "html":
        return b"<html><script>alert(1)</script></html>"

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    bomb = zlib.compress(b"\0" * 20_001)  # one row of 400 megapixels; the header alone must be enough to refuse it
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bomb) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "said"), [("svg", "something else"), ("html", "something else"), ("bomb", "megapixels")])
@pytest.mark.parametrize("endpoint", ["/keep_picture", "/score"])
def test_disguised_and_huge_pictures_are_refused(client: Client, tmp_path: Path, kind: str, said: str, endpoint: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(disguised(kind))
    extra = {"text": "x"} if endpoint == "/score" else {}
    with pytest.raises(AppError, match=said):
        client.predict(path=handle_file(str(path)), api_name=endpoint, **extra)


def test_given_pictures_are_kept_safe_or_refused(address: str) -> None:
    import io

    from PIL import Image

    stored = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(stored, "JPEG")
    kept = httpx.post(f"{address}/pictures/upload", content=stored.getvalue()).json()
    assert re.fullmatch("[0-9a-f]{64}", kept["id"])
    for kind, said in (("svg", "something else"), ("html", "something else"), ("bomb", "megapixels")):
        answer = httpx.post(f"{address}/pictures/upload", content=disguised(kind))
        assert said in answer.json()["error"]
    foreign = {"origin": "https://evil.example"}
    assert httpx.post(f"{address}/pictures/upload", content=stored.getvalue(), headers=foreign).status_code == 403
    assert httpx.post(f"{address}/pictures/upload", content=b"x" * (43 * 2**20)).status_code == 413
    assert httpx.get(f"{address}/pictures/upload").status_code in (404, 405)


def test_only_named_endpoints_are_public(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    work = {"/generate_image", "/generate_video", "/plan", "/score", "/keep_picture"}
    jobs = {"/submit_job", "/job", "/jobs", "/job_action"}
    results = {"/library", "/result", "/star_result", "/enlarge_result", "/export_result", "/delete_result", "/restore_result"}
    assert set(named) == work | jobs | results


def test_page_names_no_other_host(address: str) -> None:
    """What the browser would load by itself: sources, styles and scripts of the page (the browser test watches the rest)."""
    text = httpx.get(address).text
    for mark in ('src="http', 'href="https://fonts', "cdn."):
        assert mark not in text


@pytest.mark.parametrize(("profile", "host"), [("colab", "x-7860-colab.googleusercontent.com"), ("space", "me-flux.hf.space")])
def test_colab_and_space_start_guarded_and_without_a_public_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: Any, host: str
) -> None:
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_ALLOWED_PATHS", "/etc")
    port = free_port()
    app = launch(Session(home=tmp_path / "home", output_dir=tmp_path / "out"), profile=profile, port=port, block=False)
    try:
        assert app.share_url is None
        address = f"http://127.0.0.1:{port}"
        page = httpx.get(address, headers={"host": host})
        assert page.status_code == 200
        assert "SameSite=None" in page.headers["set-cookie"]
        assert httpx.get(f"{address}/status", headers={"host": host}).json() == {"queue": "idle"}
        assert httpx.get(f"{address}/files/{'a' * 32}/x.png", headers={"host": host}).status_code == 404
        assert httpx.get(f"{address}/openapi.json", headers={"host": host}).status_code == 404
        assert httpx.get(f"{address}/gradio_api/file=/etc/passwd", headers={"host": host}).status_code == 404
        assert (
            httpx.post(f"{address}/gradio_api/upload", headers={"host": host, "origin": "https://evil.example"}).status_code
            == 403
        )
    finally:
        app.close()


def test_web_room_starts_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from flux_svd.session import Session; from flux_svd.web.serve import make_app; "
        f"make_app(Session(home=Path({str(tmp_path)!r}), output_dir=Path({str(tmp_path / 'out')!r}))); "
        "heavy = {'torch', 'diffusers', 'transformers', 'open_clip'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_public_bind_is_refused_by_the_command_itself() -> None:
    from flux_svd.web.serve import run_app

    with pytest.raises(InvalidRequest, match="host"):
        run_app(host="0.0.0.0", port=1)
