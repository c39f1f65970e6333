"""Whose a request is: the name that jobs and results belong to. It is written into files, so it gives no cookie away."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from flux_svd.web.guard import VISITOR_COOKIE


def owner_of(cookies: Mapping[str, str]) -> str:
    """Return the owner a request's cookies stand for; "" for a program without any, as for the command line."""
    visitor = cookies.get(VISITOR_COOKIE, "")
    return f"visitor-{hashlib.sha256(visitor.encode()).hexdigest()[:24]}" if visitor else ""
