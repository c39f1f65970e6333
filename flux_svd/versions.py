"""Which versions of the libraries are installed: they change pixels, so recipes name them."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version

from flux_svd.recipe import Versions


@functools.cache  # reading package metadata takes longer than the rest of a plan
def installed_versions(*libraries: str) -> Versions:
    """Return (library, version) of what is installed, sorted; what is absent is left out."""
    found = []
    for library in libraries:
        try:
            found.append((library, version(library).partition("+")[0]))
        except PackageNotFoundError:
            continue
    return tuple(sorted(found))
