"""Passwords: who gets in, how often one may guess, and what stays secret."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from flux_svd.errors import InvalidRequest
from flux_svd.web.accounts import Accounts, read_accounts
from flux_svd.web.guard import rules_for
from flux_svd.web.i18n import LANGUAGES, language_of, translate
from flux_svd.web.login import SESSION_COOKIE, SESSION_SECONDS, Login
from flux_svd.web.serve import protect
from tests.servers import free_port
from tests.test_guard import tell

ANN, BOB = "correct horse battery", "another long secret"


def locked(accounts: dict[str, str] | None = None, profile: Any = "local") -> ASGIApp:
    return protect(tell, rules_for(profile), Accounts(accounts or {"ann": ANN, "bob": BOB}))


def browse(app: ASGIApp, *steps: tuple[str, str, dict[str, Any]], address: str = "127.0.0.1") -> list[httpx.Response]:
    """Return the answers to steps of one browser, which keeps its cookies."""

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as browser:
            return [await browser.request(method, path, **sent) for method, path, sent in steps]

    return asyncio.run(run())


def log_in(name: str, password: str, **headers: str) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/login", {"data": {"username": name, "password": password}, "headers": headers}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 303), ("GET", "/config", 401), ("POST", "/gradio_api/queue/join", 401), ("GET", "/files/x/y.png", 401),
     ("GET", "/login", 200), ("GET", "/LOGIN", 401), ("GET", "/manifest.json", 200), ("GET", "/gradio_api/info", 401)],
)  # fmt: skip
def test_nothing_but_the_form_is_shown_before_the_password(method: str, path: str, status: int) -> None:
    [answer] = browse(locked(), (method, path, {}))
    assert answer.status_code == status
    if path == "/login":
        assert 'type="password"' in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_password_opens_and_each_account_is_an_owner() -> None:
    app = locked()
    owners = []
    for name, password in (("ann", ANN), ("bob", BOB)):
        entered, told = browse(app, log_in(name, password), ("GET", "/x", {}))
        assert entered.status_code == 200
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        owners.append(told.json()["owner"])
        assert SESSION_COOKIE not in told.json()["cookies"]  # the secret goes no further than the door
    assert len(set(owners)) == 2
    assert "" not in owners


def test_a_browser_is_sent_on_and_out_again() -> None:
    app = locked()
    entered, inside, out, after = browse(
        app, log_in("ann", ANN, accept="text/html"), ("GET", "/x", {}), ("POST", "/logout", {}), ("GET", "/x", {})
    )
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    secret, mark = entered.headers.get_list("set-cookie")
    assert "HttpOnly" in secret
    assert "HttpOnly" not in mark
    assert "=1;" in mark
    assert inside.status_code == 200
    assert out.status_code == 303
    assert after.status_code == 401


def test_the_session_of_a_logged_out_or_old_cookie_is_gone() -> None:
    clock = [0.0]
    app = Login(tell, Accounts({"ann": ANN, "bob": BOB}), rules_for("local"), now=lambda: clock[0])
    [entered] = browse(app, log_in("ann", ANN))
    kept = {"headers": {"cookie": f"{SESSION_COOKIE}={entered.cookies[SESSION_COOKIE]}"}}
    assert browse(app, ("GET", "/x", kept))[0].status_code == 200
    clock[0] = SESSION_SECONDS + 1.0
    assert browse(app, ("GET", "/x", kept))[0].status_code == 401


def test_one_account_alone_is_this_machines_user() -> None:
    _, told = browse(locked({"owner": ANN}), log_in("", ANN), ("GET", "/x", {}))
    assert told.json()["owner"] == ""


@pytest.mark.parametrize(
    ("name", "password"), [("ann", BOB), ("ann", ""), ("eve", ANN), ("", ANN), ("ann", ANN + " "), ("a\x00", "é")]
)
def test_wrong_words_are_refused_alike(name: str, password: str) -> None:
    [answer] = browse(locked(), log_in(name, password))
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Name or password is wrong."}
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=1&" * 9, b"", b"password=%FF", b"x" * 5000])
def test_a_body_that_is_no_form_is_refused(body: bytes) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert browse(locked(), ("POST", "/login", {"content": body, "headers": form}))[0].status_code == 401


def test_guessing_is_slowed_down_for_each_address() -> None:
    clock = [0.0]
    app = Login(tell, Accounts({"ann": ANN}), rules_for("local"), now=lambda: clock[0])
    answers = browse(app, *[log_in("ann", f"wrong guess {n}") for n in range(7)])
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) <= 12
    assert browse(app, log_in("ann", ANN))[0].status_code == 429  # the right one does not tell itself apart
    assert browse(app, log_in("ann", ANN), address="10.0.0.9")[0].status_code == 200
    clock[0] = 12.0
    assert browse(app, log_in("ann", ANN))[0].status_code == 200


def test_guessing_from_many_addresses_is_slowed_down_as_well() -> None:
    app = Login(tell, Accounts({"ann": ANN}), rules_for("local"), now=lambda: 0.0)
    app._accounts.check = lambda name, password: False  # type: ignore[method-assign]  # the cost of a hash is not the question
    statuses = [browse(app, log_in("ann", "guess"), address=f"10.0.0.{n}")[0].status_code for n in range(61)]
    assert statuses == [401] * 60 + [429]


def test_form_of_another_page_is_refused() -> None:
    [answer] = browse(locked(), log_in("ann", ANN, origin="https://evil.example"))
    assert answer.status_code == 403


@pytest.mark.parametrize("language", LANGUAGES)
def test_form_speaks_the_browsers_language(language: str) -> None:
    [answer] = browse(locked(), ("GET", "/login", {"headers": {"accept-language": f"xx,{language};q=0.9,en;q=0.1"}}))
    assert f'lang="{language}"' in answer.text
    assert translate("Password", language) in answer.text


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("fr-FR,fr;q=0.9", "fr"), ("de-AT", "de"), ("zh-TW", "zh-CN"), ("en;q=0.5,es;q=0.9", "es"), ("xx", "en"), ("", "en"),
     ("fr;q=0", "en"), ("fr;q=x,de", "de"), ("," * 500, "en")],
)  # fmt: skip
def test_language_of_a_browser(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


def test_accounts_are_read_from_a_file_or_one_password(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    assert read_accounts(None, None) is None
    assert read_accounts("", None) is None
    alone = read_accounts(ANN, None)
    assert alone is not None
    assert alone.names == ("owner",)
    file.write_text(f"# who may enter\nann:{ANN}\nbob:with:colon 123\n")
    both = read_accounts(None, file)
    assert both is not None
    assert both.names == ("ann", "bob")
    assert both.check("bob", "with:colon 123")
    file.write_text(f"{ANN}\n")
    assert read_accounts(None, file).names == ("owner",)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["", "ann:short\n", f"ann:{ANN}\nann:{BOB}\n", f"ann:{ANN}\nno colon at all\n", f":{ANN}\nb:{BOB}\n"]
)
def test_a_bad_password_file_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "passwords"
    file.write_text(text)
    with pytest.raises(InvalidRequest, match="password") as caught:
        read_accounts(None, file)
    for secret in ("short", ANN, BOB, "no colon"):
        assert secret not in str(caught.value)
    with pytest.raises(InvalidRequest, match="password file"):
        read_accounts(None, tmp_path / "absent")


def test_the_command_takes_the_password_from_the_environment_and_hands_it_to_nobody(tmp_path: Path) -> None:
    code = (
        "import os, sys; from flux_svd.web import serve; from flux_svd.cli import main\n"
        "def run_app(**given): print(given['accounts'].names, 'FLUX_SVD_PASSWORD' in os.environ)\n"
        "serve.run_app = run_app\n"
        f"main(['app', '--port', '{free_port()}'])\n"
    )
    env = {**os.environ, "FLUX_SVD_PASSWORD": ANN, "FLUX_SVD_HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, check=True)
    assert "('owner',) False" in ran.stdout
    assert ANN not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("options", "field"), [([], "port"), (["--host", "0.0.0.0"], "host"), (["--password-file", "absent"], "password file")]
)
def test_what_the_app_cannot_have_is_told_before_gradio_is_imported(options: list[str], field: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        arguments = ["app", "--port", str(taken.getsockname()[1]), *options, "--json"]
        code = f"import sys; from flux_svd.cli import main; print(main({arguments!r})); print('gradio' in sys.modules)"
        env = {**os.environ, "FLUX_SVD_HOME": str(tmp_path)}
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, check=True)
    answer, exit_code, loaded = ran.stdout.splitlines()
    assert (json.loads(answer)["field"], exit_code, loaded) == (field, "2", "False")
    assert "flux_svd is at" not in ran.stderr


def test_the_address_is_told_once_the_app_listens(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "flux_svd", "app", "--port", str(port), "--output", str(tmp_path / "out")]
    env = {**os.environ, "FLUX_SVD_HOME": str(tmp_path / "home")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as app:
        assert app.stderr is not None
        try:
            for line in app.stderr:
                if "flux_svd is at" in line:
                    break
            with socket.create_connection(("127.0.0.1", port), timeout=10):
                pass
        finally:
            app.send_signal(signal.SIGINT)
            app.stderr.read()
    assert app.returncode == 0
