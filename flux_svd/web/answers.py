"""Answers given before any route is asked, as plain ASGI messages."""

from __future__ import annotations

import json
from collections.abc import Iterable

from starlette.types import Send

Headers = list[tuple[bytes, bytes]]


async def answer_json(send: Send, status: int, message: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send `message` as {"detail": …} and close the connection, since the rest of a refused body may still be coming."""
    body = json.dumps({"detail": message}).encode()
    await answer(send, status, body, [(b"content-type", b"application/json"), (b"connection", b"close"), *headers])


async def answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    start: Headers = [(b"content-length", str(len(body)).encode()), (b"x-content-type-options", b"nosniff"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
