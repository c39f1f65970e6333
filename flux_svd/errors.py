"""Every error a caller may see; nothing else in the project is raised at a user.

FluxSvdError                    exit code 1
├── BadUsage                    2   a command line that cannot be read; says what of it, and where help is
├── InvalidRequest              2   a wish outside its bounds; names field, value and what is allowed
│   └── UnreadableFile          2   a given file is missing, damaged, disguised or too large
├── ModelUnavailable            3   weights absent, gated, or their licence not accepted
├── DoesNotFit                  4   no placement of this plan fits the budget
│   └── OutOfMemory             4   the plan promised a fit and the device disagreed
├── BadOutput                   5   what an engine made is not finite, constant, or fails its check
│   └── EncodingFailed          5   ffmpeg could not make or verify a film
├── StorageFailed               6   a folder or database cannot be used; says which, and what to do
│   └── DiskFull                6   no room is left; says how much is missing
├── QueueFull                   7   the ledger takes no more jobs; says how many it holds
└── Cancelled                 130   the user stopped it
"""

from __future__ import annotations

from typing import Literal

from flux_svd.redact import redact

Phase = Literal["load", "encode", "denoise", "decode"]


class FluxSvdError(Exception):
    """The root: `str(error)` is one message for a user, without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        return redact(super().__str__())


class BadUsage(FluxSvdError):
    """The command line cannot be read: an unknown option, a missing argument, a value of another type."""

    exit_code = 2


class InvalidRequest(FluxSvdError):
    """A field of a request holds a value outside what is allowed."""

    exit_code = 2

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, shorten(value), allowed
        whole = field == "request"  # then what is wrong is in no single value
        super().__init__(f"request: {allowed}" if whole else f"{field}: {self.value} is not accepted; allowed: {allowed}")

    def __reduce__(self) -> tuple[type[InvalidRequest], tuple[str, object, str]]:
        return type(self), (self.field, _Quoted(self.value), self.allowed)


class UnreadableFile(InvalidRequest):
    """A given file cannot be used; `field` names the request field or argument it came in."""


class ModelUnavailable(FluxSvdError):
    """The weights of a model cannot be used here now; the message says what to do."""

    exit_code = 3


class DoesNotFit(FluxSvdError):
    """No way of running the plan fits the budget; the message names the smallest change that would."""

    exit_code = 4


class OutOfMemory(DoesNotFit):
    """The device ran out of memory although the plan fitted on paper.

    Attributes:
        phase: what was being done.
    """

    phase: Phase = "load"


class BadOutput(FluxSvdError):
    """An engine's output is not finite or constant: it is refused, never saved."""

    exit_code = 5


class EncodingFailed(BadOutput):
    """A film could not be encoded, or what came out does not decode to what went in."""


class StorageFailed(FluxSvdError):
    """A folder or a database cannot be used; the message names it and what to do."""

    exit_code = 6


class DiskFull(StorageFailed):
    """The disk has no room left; what was kept before is whole."""


class QueueFull(FluxSvdError):
    """The ledger holds as many jobs as it may; nothing of the refused one was kept."""

    exit_code = 7


class Cancelled(FluxSvdError):
    """The work was stopped on request; finished stages are kept."""

    exit_code = 130


class _Quoted(str):
    """A value that has been shortened already (so that pickling does not quote it twice)."""


def shorten(value: object, limit: int = 60) -> str:
    """Return `value` as one printable line of at most `limit` characters."""
    if isinstance(value, _Quoted):
        return value
    text = repr(value) if len(str(value)) <= limit else repr(str(value)[:limit]) + f"… ({len(str(value))} characters)"
    return _Quoted(text.encode("ascii", "backslashreplace").decode() if not text.isprintable() else text)
