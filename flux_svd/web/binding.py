"""Where the app may listen, checked before anything heavy is imported or built: address, port, and who may come in."""

from __future__ import annotations

import importlib.metadata
import socket

from flux_svd.errors import InvalidRequest
from flux_svd.web.accounts import Accounts
from flux_svd.web.guard import is_loopback

DEFAULT_PORT = 7860


def check_bind(host: str, *, public: bool, hosts: tuple[str, ...], accounts: Accounts | None = None) -> None:
    """Refuse an address that others can reach unless it is meant, named and asks for a password."""
    if not is_loopback(host) and not (public and hosts and accounts is not None):
        raise InvalidRequest(
            "host",
            host,
            "127.0.0.1; another address only together with --public, the names it may be called by (--allow-host), and a "
            "password (FLUX_SVD_PASSWORD or --password-file)",
        )


def check_port(host: str, port: int) -> None:
    """Refuse a port that is none, or that another program listens on, before anything is built."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free, as for the server itself
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidRequest("port", port, f"a free port from 1 to 65535 ({reason}); for instance {DEFAULT_PORT + 1}") from None


def check_mcp(accounts: Accounts | None) -> None:
    """Refuse to serve the Model Context Protocol where it is not safe or not installed."""
    if accounts is not None:
        raise InvalidRequest("mcp", "on", "off while there are passwords: whoever reaches it could use it without one")
    try:
        installed = importlib.metadata.version("mcp")
    except importlib.metadata.PackageNotFoundError:
        installed = "none"
    if not installed.startswith("1."):  # gradio 6.31 calls what version 2 has no more
        raise InvalidRequest("mcp", f"on with mcp {installed}", 'version 1 of the package mcp: pip install "mcp<2"')
