"""What a query of an address says, as numbers and truths; what it cannot mean is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

from flux_svd.errors import InvalidRequest


def whole(asked: Mapping[str, str], name: str, default: int) -> int:
    """Return a whole number from 0; the default if it is left out or empty."""
    told = whole_or_none(asked, name)
    return default if told is None else told


def whole_or_none(asked: Mapping[str, str], name: str) -> int | None:
    """Return a whole number from 0; None if it is left out or empty."""
    text = asked.get(name, "")
    if text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidRequest(name, text, "a whole number from 0")
    return int(text)


def number(asked: Mapping[str, str], name: str) -> float | None:
    """Return a number; None if it is left out or empty."""
    text = asked.get(name)
    if text is None or text == "":
        return None
    try:
        value = float(text)
        if abs(value) < 1e15:  # NaN is not
            return value
    except ValueError:
        pass
    raise InvalidRequest(name, text, "a number")


def truth(asked: Mapping[str, str], name: str) -> bool | None:
    """Return true or false; None if it is left out or empty."""
    text = asked.get(name, "")
    if text not in ("", "true", "false"):
        raise InvalidRequest(name, text, "true or false")
    return None if text == "" else text == "true"
