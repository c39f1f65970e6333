"""Accounts with passwords. Knows no page and no environment, and is light to import: it is asked before the page is built.

Passwords are kept as scrypt hashes, in memory.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path

from flux_svd.errors import InvalidRequest

MIN_PASSWORD = 10  # characters
ONLY_USER = "owner"
"""The name of the one account where a password comes without a name."""

_COST = {"n": 2**14, "r": 8, "p": 1}  # 16 MB and some 50 ms for each attempt: RFC 7914, section 2


class Accounts:
    """Names and their passwords.

    Args:
        passwords: password of each name.

    Raises:
        InvalidRequest: there is none, or one is too short. No message holds a password.
    """

    def __init__(self, passwords: Mapping[str, str]) -> None:
        if not passwords:
            raise InvalidRequest("password", "", "at least one")
        for name, password in passwords.items():
            if len(password) < MIN_PASSWORD or not name.isprintable() or not name or len(name) > 64:
                allowed = f"names up to 64 characters, passwords of at least {MIN_PASSWORD}"
                raise InvalidRequest("password", f"that of {name}", allowed)
        self._salt = secrets.token_bytes(16)
        self._hashes = {name: self._hash(password) for name, password in passwords.items()}
        self._nobody = self._hash(secrets.token_hex(16))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._hashes)

    def check(self, name: str, password: str) -> bool:
        """Return whether this is the password of `name`; an unknown name takes as long."""
        wanted = self._hashes.get(name, self._nobody)
        return hmac.compare_digest(wanted, self._hash(password)) and name in self._hashes

    def _hash(self, password: str) -> bytes:
        return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=self._salt, **_COST)


def read_accounts(password: str | None, file: Path | None) -> Accounts | None:
    """Return the accounts of a password, or of a file: one password alone, or a line `name:password` for each account.

    Raises:
        InvalidRequest: the file cannot be read, or is not such a file.
    """
    if file is None:
        return Accounts({ONLY_USER: password}) if password else None
    try:
        lines = [line for line in file.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]
    except (OSError, ValueError) as error:
        raise InvalidRequest("password file", str(file), f"a text file that can be read ({type(error).__name__})") from None
    if len(lines) == 1 and ":" not in lines[0]:
        return Accounts({ONLY_USER: lines[0]})
    pairs = [line.partition(":") for line in lines]
    if not lines or any(not sep for _, sep, _ in pairs) or len({name for name, _, _ in pairs}) < len(pairs):
        raise InvalidRequest("password file", str(file), "one password, or a line name:password for each account")
    return Accounts({name: secret for name, _, secret in pairs})
