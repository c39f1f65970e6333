"""Addresses for tests: the app in a thread of this process, and ports for programs that must be told one."""

from __future__ import annotations

import http.client
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp

_PORTS = (20_000, 32_000)  # below those that Linux, macOS and Windows give to whoever asks for any
_numbers = itertools.count(97 * os.getpid())  # processes beside each other begin apart


def free_port() -> int:
    """Return a port of this machine that nobody has and nobody else is given soon: not by the system, nor to another test."""
    for number in itertools.islice(_numbers, _PORTS[1] - _PORTS[0]):
        port = _PORTS[0] + number % (_PORTS[1] - _PORTS[0])
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def status_of_head(address: str, path: str, length: int, cookies: Mapping[str, str]) -> int:
    """Return the status of a JSON upload of `length` bytes of which only the head is sent.

    A server that closes on a body still coming may take its answer with it.
    """
    asked = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    asked.putrequest("POST", path)
    asked.putheader("cookie", "; ".join(f"{name}={value}" for name, value in cookies.items()))
    asked.putheader("content-type", "application/json")
    asked.putheader("content-length", str(length))
    asked.endheaders()
    status = asked.getresponse().status
    asked.close()
    return status


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve an app from a thread while the block runs; yield its address. The port is bound before, so nobody can take it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        # Clients of Gradio keep a stream open; without a limit the server waits for them.
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
