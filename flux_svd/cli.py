"""The command line: all commands together, and what they take from the environment. Decides nothing itself."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flux_svd import __version__, cli_films, cli_images, cli_jobs, cli_make, cli_measure, cli_models, failpoints
from flux_svd.cli_border import Parser, Told, json_option, run, say
from flux_svd.session import home_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `FluxSvdError.exit_code` tells kinds of failure apart."""
    fault, _, number = os.environ.get("FLUX_SVD_FAILPOINT", "").partition("@")  # for tests: kill@17, full@17
    if fault:
        failpoints.arm("kill" if fault == "kill" else "full", int(number))
    return run(make_parser(), sys.argv[1:] if argv is None else argv, home_of(os.environ.get("FLUX_SVD_HOME")))


def make_parser() -> Parser:
    """Return the parser of all commands; see `cli_border.run`."""
    parser = Parser(prog="flux-svd", description="Images with FLUX and short films between keyframes.")
    parser.add_argument("--version", action="version", version=f"flux-svd {__version__}")
    parser.set_defaults(stops="now")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    cli_make.add_commands(commands)
    cli_models.add_commands(commands)
    _add_app(commands)
    cli_images.add_commands(commands)
    cli_films.add_commands(commands)
    cli_jobs.add_commands(commands)
    cli_measure.add_commands(commands)
    return parser


def _add_app(commands: Any) -> None:
    app = commands.add_parser("app", parents=[json_option()], help="start the web app")
    app.add_argument("--host", default="127.0.0.1")
    app.add_argument("--port", type=int, default=7860)
    app.add_argument("--public", action="store_true", help="let other machines reach it; needs --allow-host and a password")
    app.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name others may call it by; repeatable")
    app.add_argument("--password-file", type=Path, metavar="FILE",
                     help="who may enter: one password, or a line name:password for each account (or set FLUX_SVD_PASSWORD)")
    app.add_argument("--mcp", action="store_true", help="let language models use it (Model Context Protocol); not with passwords")
    app.add_argument("--output", type=Path, help="folder for results (default: ./outputs)")
    app.set_defaults(command=_app)


def _app(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from flux_svd.web.accounts import read_accounts
    from flux_svd.web.binding import check_bind, check_mcp, check_port

    password = os.environ.pop("FLUX_SVD_PASSWORD", None)  # processes started from here have no need of it
    accounts, hosts = read_accounts(password, arguments.password_file), tuple(arguments.allow_host)
    check_bind(arguments.host, public=arguments.public, hosts=hosts, accounts=accounts)
    check_port(arguments.host, arguments.port)
    if arguments.mcp:
        check_mcp(accounts)
    from flux_svd.web.serve import run_app  # Gradio takes long to import

    address = f"http://{f'[{arguments.host}]' if ':' in arguments.host else arguments.host}:{arguments.port}"
    with suppress(KeyboardInterrupt):
        run_app(
            host=arguments.host, port=arguments.port, home=home, output_dir=arguments.output, public=arguments.public,
            hosts=hosts, accounts=accounts, metrics_token=os.environ.pop("FLUX_SVD_METRICS_TOKEN", ""), mcp=arguments.mcp,
            on_listening=lambda: say(f"flux_svd is at {address} (Ctrl+C ends it)"),
        )  # fmt: skip
    return "", {"served": address}
