"""The guard before a stand-in that answers all: kinds of bodies, rates, whose a request is, and what logs may hold."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from flux_svd import redact
from flux_svd.errors import ModelUnavailable
from flux_svd.web.guard import Rules, address_of, rules_for
from flux_svd.web.owner import VISITOR_COOKIE, machine_cookie, may_list, owner_of
from flux_svd.web.rates import Buckets
from flux_svd.web.serve import protect


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answer with whose the request is, and with the event that a call would begin."""
    request = Request(scope, receive)
    await request.body()
    told = {"owner": owner_of(request.cookies), "lists": may_list(request), "cookies": dict(request.cookies)}
    if request.url.path.startswith("/gradio_api/call/") and request.method == "POST":
        told["event_id"] = "e1"
    await JSONResponse(told)(scope, receive, send)


def ask(app: ASGIApp, method: str, path: str = "/", host: str = "127.0.0.1:7860", **kwargs: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}") as client:
            return await client.request(method, path, **kwargs)

    return asyncio.run(run())


def guarded(profile: Any = "local", hosts: tuple[str, ...] = (), **kwargs: Any) -> ASGIApp:
    return protect(tell, rules_for(profile, hosts), **kwargs)


# What may be sent.


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", "multipart/form-data; boundary=x", "",
                                  "application/x-www-form-urlencoded", "TEXT/PLAIN"])  # fmt: skip
def test_what_a_foreign_form_could_send_is_refused(kind: str) -> None:
    answer = ask(guarded(), "POST", "/api/v1/jobs", headers={"content-type": kind}, content=b'{"a": 1}')
    assert answer.status_code == 415
    assert ask(guarded(), "POST", "/api/v1/jobs", json={"a": 1}).status_code == 200


def test_uploads_and_the_password_form_keep_their_kinds() -> None:
    assert ask(guarded(), "POST", "/gradio_api/upload", files={"files": b"x"}).status_code == 200
    assert ask(guarded(), "POST", "/pictures/upload", content=b"x").status_code == 200
    assert ask(guarded(), "POST", "/login", data={"password": "x"}).status_code == 200
    assert ask(guarded(), "POST", "/login/other", data={"password": "x"}).status_code == 415


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/file/x", "/gradio_api/proxy=http://x", "/gradio_api/stream/a/b/c/x.m3u8",
     "/gradio_api/component_server", "/gradio_api/runs", "/gradio_api/token", "/gradio_api/vibe-code/", "/gradio_api/call/v2/x",
     "/gradio_api/queue/status", "/gradio_api/process_recording", "/monitoring/key", "/custom_component/1/x",
     "/openapi.json"],
)  # fmt: skip
def test_routes_of_gradio_that_the_page_does_not_need_are_closed(path: str) -> None:
    for method in ("GET", "POST", "HEAD"):
        assert ask(guarded(), method, path).status_code == 404


# How often.


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = [0.0]
    bucket = Buckets(2, 3, now=lambda: clock[0])
    assert [bucket.take("a") for _ in range(5)] == [0, 0, 0, 1, 1]
    assert bucket.take("b") == 0
    clock[0] = 0.5
    assert [bucket.take("a") for _ in range(2)] == [0, 1]
    clock[0] = 100
    assert bucket.take("a", 3) == 0
    assert bucket.take("a", 3) == 2


def test_too_many_requests_of_one_address_are_refused_with_the_time_to_wait() -> None:
    rules = Rules(("127.0.0.1",), sends_a_second=0.001, sends_at_once=3)
    app = protect(tell, rules)
    answers = [ask(app, "POST", json=1) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) > 1
    assert ask(app, "GET").status_code == 200  # reading has a bucket of its own
    app = protect(tell, Rules(("127.0.0.1",), sends_a_second=0.001, sends_at_once=9))
    statuses = [ask(app, "POST", "/pictures/upload", content=b"x").status_code for _ in range(3)]
    assert statuses == [200, 429, 429]  # an upload takes five


def test_behind_a_proxy_the_last_public_address_counts() -> None:
    scope: Any = {"client": ("10.0.0.1", 1)}

    def address(told: str, proxied: bool = True) -> str:
        return address_of(scope, {"x-forwarded-for": told}, proxied=proxied)

    assert address("1.1.1.1, 8.8.8.8, 10.1.2.3") == "8.8.8.8"
    assert address("9.9.9.9") == "9.9.9.9"
    assert address("9.9.9.9, nonsense") == "10.0.0.1"
    assert address("") == "10.0.0.1"
    assert address("8.8.8.8", proxied=False) == "10.0.0.1"


# Whose.


def cookie(value: str) -> dict[str, str]:
    return {"cookie": f"{VISITOR_COOKIE}={value}"}


def test_every_browser_of_this_machine_is_its_one_user(tmp_path: Path) -> None:
    machine = machine_cookie(tmp_path)
    assert machine == machine_cookie(tmp_path)
    assert (tmp_path / "web.json").stat().st_mode & 0o77 == 0
    app = guarded(machine=machine)
    given = ask(app, "GET").headers["set-cookie"]
    assert machine in given
    assert "HttpOnly" in given
    assert ask(app, "GET", "/x", headers=cookie(machine)).json() == {"owner": "", "lists": True, "cookies": {}}
    other = ask(app, "GET", "/x", headers=cookie("another")).json()
    assert other["owner"].startswith("visitor-")


def test_among_many_each_visitor_gets_a_cookie_and_the_nameless_see_no_lists() -> None:
    app = guarded("space", machine="m" * 32)
    first, second = (ask(app, "GET", host="me.hf.space").headers["set-cookie"] for _ in range(2))
    assert first != second
    assert "m" * 32 not in first
    assert "SameSite=None; Secure" in first
    assert ask(app, "GET", "/x", host="me.hf.space").json() == {"owner": "", "lists": False, "cookies": {}}
    assert ask(app, "GET", "/x", host="me.hf.space", headers=cookie("m" * 32)).json()["owner"].startswith("visitor-")
    known = ask(app, "GET", "/x", host="me.hf.space", headers=cookie("a")).json()
    assert known["owner"]
    assert known["lists"] is True


def test_a_broken_cookie_is_no_cookie() -> None:
    for broken in ("\x00=;;", f"{VISITOR_COOKIE}", "a" * 5000, f'{VISITOR_COOKIE}="\\777"'):
        assert ask(guarded(), "GET", "/x", headers={"cookie": broken}).status_code == 200


def test_a_session_and_an_event_of_gradio_belong_to_who_began_them() -> None:
    app = guarded()
    ann, bob = cookie("ann"), cookie("bob")
    join: dict[str, Any] = {"json": {"session_hash": "s1", "fn_index": 0, "data": []}}
    assert ask(app, "POST", "/gradio_api/queue/join", headers=ann, **join).status_code == 200
    for method, path, sent in (
        ("POST", "/gradio_api/queue/join", join), ("GET", "/gradio_api/queue/data?session_hash=s1", {}),
        ("GET", "/gradio_api/heartbeat/s1", {}), ("POST", "/gradio_api/cancel", join), ("POST", "/gradio_api/reset", join),
    ):  # fmt: skip
        assert ask(app, method, path, headers=bob, **sent).status_code == 404, path
        assert ask(app, method, path, **sent).status_code == 404, path
        assert ask(app, method, path, headers=ann, **sent).status_code == 200, path
    assert ask(app, "GET", "/gradio_api/queue/data?session_hash=new&session_hash=s1", headers=bob).status_code == 404
    assert ask(app, "POST", "/gradio_api/call/plan", headers=ann, json={"data": []}).json()["event_id"] == "e1"
    assert ask(app, "GET", "/gradio_api/call/plan/e1", headers=bob).status_code == 404
    assert ask(app, "GET", "/gradio_api/call/plan/e1/", headers=bob).status_code == 404
    assert ask(app, "GET", "/gradio_api/call/plan/e1", headers=ann).status_code == 200


@pytest.mark.parametrize(
    "body", [b"[" * 100_000 + b'"session_hash"', b'{"session_hash": 7}', b'["session_hash"]', b"session_hash"]
)
def test_what_is_no_such_body_is_left_to_the_route(body: bytes) -> None:
    headers = {"content-type": "application/json"}
    assert ask(guarded(), "POST", "/gradio_api/queue/join", headers=headers, content=body).status_code == 200


# What may be read by nobody.

SECRETS = ("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "Bearer abcdef0123456789", "https://ann:secret-word@example.org/x")


@pytest.mark.parametrize("secret", SECRETS)
def test_tokens_are_taken_out_of_words_streams_and_errors(secret: str) -> None:
    core = secret.removeprefix("Bearer ").removeprefix("https://").split("@")[0]
    assert core not in redact.redact(f"it said {secret} and more")
    assert redact.redact(f"it said {secret} and more").endswith("and more") or "@" in secret
    assert core not in str(ModelUnavailable(f"it said {secret}"))
    stream = io.StringIO()
    print(f"it said {secret}", file=redact.RedactedStream(stream))
    assert core not in stream.getvalue()
    assert "it said" in stream.getvalue()


@pytest.mark.parametrize(
    "words", ["a halfling", "hf_ and more", "the bearer of bad news", "http://127.0.0.1:7860/", "12:30@noon"]
)
def test_plain_words_stay(words: str) -> None:
    assert redact.redact(words) == words


def test_a_traceback_of_the_app_shows_no_token() -> None:
    code = (
        "import logging; from flux_svd.web.serve import hide_tokens; hide_tokens(); "
        "logging.basicConfig(); logging.getLogger('x').error('token hf_abcdefghijklmnop'); "
        "raise RuntimeError('with hf_abcdefghijklmnop')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert "RuntimeError: with [token]" in ran.stderr
    assert "hf_abcdefghij" not in ran.stdout + ran.stderr


def test_every_profile_names_its_frames_hosts_and_cookies() -> None:
    expected: dict[str, tuple[str, str, str, Callable[[str], bool]]] = {
        "local": ("127.0.0.1", "frame-ancestors 'self'", "SameSite=Lax", lambda host: host == "127.0.0.1"),
        "colab": ("x.colab.dev", "https://colab.research.google.com", "SameSite=None; Secure; Partitioned", lambda host: True),
        "space": ("me.hf.space", "https://huggingface.co", "SameSite=None; Secure; Partitioned", lambda host: True),
    }
    for profile, (host, frames, cookies, _) in expected.items():
        answer = ask(guarded(profile), "GET", host=host)
        assert frames in answer.headers["content-security-policy"]
        assert cookies in answer.headers["set-cookie"]
        assert ("x-frame-options" in answer.headers) == (profile == "local")
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert json.loads(ask(guarded("colab"), "GET", host="evil.example").text)["detail"].startswith("Host:")
