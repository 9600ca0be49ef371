"""How a detector reads what it kept."""

from typing import Protocol, TypeVar

import msgspec

from schemas.errors import StateError


class Versioned(Protocol):
    """A snapshot that says of which version it is."""

    @property
    def version(self) -> int:
        """Counted up when what it holds changes."""


_Kept = TypeVar("_Kept", bound=Versioned)


def read_kept(state: bytes, record: type[_Kept], version: int, name: str, before: int | None = None) -> _Kept:
    """The snapshot of the detector of that name; it can read those of version `before`, too.

    Raises:
        StateError: it can't be read, or is of another version.
    """
    try:
        kept = msgspec.msgpack.decode(state, type=record)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StateError(f"what {name} kept can't be read: {error}") from error
    if kept.version not in (version, before):
        raise StateError(f"{name} of version {kept.version}; this code reads {version}")
    return kept
