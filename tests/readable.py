"""Which files can be read now. `select` knows no descriptor past 1,024, and embedded engines leave some open."""

import selectors
from collections.abc import Iterable
from typing import Any


def readable(files: Iterable[Any], timeout_s: float | None = None) -> list[Any]:
    """Those that can be read, waiting so long for the first (for ever by default)."""
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(timeout_s)]
