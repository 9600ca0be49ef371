"""Every error Andon raises on purpose, by what the caller does about it.

::

    AndonError
    ├── SettingsError      fix what a person wrote (settings, process map, mapping, command); exit code 2
    ├── SourceError        fix or bring back the input (no such file, not readable)
    ├── Stopped            a person asked for it; the same command with --recovery goes on
    ├── PeerLost           another process of the job has gone: start all of them again
    ├── StateError         refuse the state: a snapshot from another version or shape
    └── StoreError         ClickHouse
        ├── StoreUnavailable   wait and retry
        ├── BlockRejected      this block will never be accepted: bisect, dead-letter the row
        └── StoreRefused       stop with words: wrong schema, no rights, migrations missing
"""

from collections.abc import Sequence

from schemas.problems import Problem


class AndonError(Exception):
    """The root of Andon's own errors."""


class SettingsError(AndonError):
    """What a person wrote can't be used; carries every problem at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SourceError(AndonError):
    """The input can't be read at all (one bad message is a dead letter, not this)."""


class Stopped(AndonError):  # noqa: N818 - names the condition, as the tree does
    """A person stopped a bounded job before the end of its input."""


class PeerLost(AndonError):  # noqa: N818 - names the condition, as the tree does
    """Another process of the same job has gone; this one can't go on without it."""


class StateError(AndonError):
    """A snapshot is of another version or shape than this code reads."""


class StoreError(AndonError):
    """ClickHouse did not take what it was given."""


class StoreUnavailable(StoreError):  # noqa: N818 - names the condition, as the tree does
    """The store can't be reached or is overloaded: wait and retry."""


class BlockRejected(StoreError):  # noqa: N818 - names the condition, as the tree does
    """The store refuses this block for what is in it: retrying it unchanged is of no use."""


class StoreRefused(StoreError):  # noqa: N818 - names the condition, as the tree does
    """The store refuses us (schema, rights, version): a person has to act."""
