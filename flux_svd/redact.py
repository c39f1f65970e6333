"""Text without access tokens: for logs, messages and pages. Knows only what such tokens look like."""

from __future__ import annotations

import re
from typing import TextIO

HIDDEN = "[token]"

_SHAPES = (
    re.compile(r"\bhf_[A-Za-z0-9]{8,}"),  # Hugging Face: huggingface.co/docs/hub/security-tokens
    re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"),  # RFC 6750 and RFC 7617
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user information in an address, RFC 3986 section 3.2.1
)


def redact(text: str) -> str:
    """Return `text` with every access token replaced by "[token]"."""
    for shape in _SHAPES:
        text = shape.sub(HIDDEN, text)
    return text


class RedactedStream:
    """A text stream that writes to another one, without tokens; everything else is the other one's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
