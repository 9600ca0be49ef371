"""What a flow is made of, whatever runs it: where events come from, where rows go, who is told, and why it ends."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import msgspec

from operators.groups import Group
from operators.lane_state import Merged
from operators.pipeline import PipelineSettings
from schemas.errors import AndonError, SettingsError
from schemas.problems import Problem
from schemas.rows import Row


class LaneReader(Protocol):
    """One lane's input: `dataflows.lane.FileLane` or `dataflows.kafka.lane.KafkaLane`."""

    def next(self) -> Merged | None:
        """What can be released now; None when there is nothing yet."""

    def wait(self) -> None:
        """Asked instead of `next` while other lanes catch up: take nothing."""

    @property
    def ended(self) -> bool:
        """Whether nothing will ever come any more."""

    def next_awake(self) -> datetime | None:
        """When to ask again; None for at once."""

    def snapshot(self) -> bytes:
        """Where to resume."""

    def close(self) -> None:
        """Let go of what is open."""


class RowWriter(Protocol):
    """Where rows go."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows; may hold them back until `flush`. Called with none when time goes on and brings none."""

    def flush(self) -> None:
        """Have everything written when this returns."""


class FlowWatch(Protocol):
    """Who is told what the flow does: metrics and health hang on it."""

    def beat(self) -> None:
        """The engine goes on."""

    def released(self, lane: str, merged: Merged) -> None:
        """A lane has come further."""

    def lane_kept(self, lane: str) -> None:
        """A lane's position goes into the snapshot of the epoch that ends now."""

    def group_kept(self, group: Group, seconds: float, size: int) -> None:
        """A group's state goes into it: how long that took, and its bytes."""


class Unwatched:
    """Tells nobody."""

    def beat(self) -> None:
        """As `FlowWatch`."""

    def released(self, lane: str, merged: Merged) -> None:
        """As `FlowWatch`."""

    def lane_kept(self, lane: str) -> None:
        """As `FlowWatch`."""

    def group_kept(self, group: Group, seconds: float, size: int) -> None:
        """As `FlowWatch`."""


class Stop:
    """Why a flow is to end before its input does.

    `requested` is set by a signal handler, or by another process of the job through the flow: every lane ends where it
    is, the last epoch is kept, and nothing is closed early, since the groups are not told that their input has ended.
    `failure` is what a lane, a group or the writer raised: end at once, as a crash would.
    """

    def __init__(self) -> None:
        self.requested = False
        self.failure: AndonError | None = None
        self._muted: int | None = None

    def fail(self, error: AndonError) -> None:
        """Remember the error, and spare the person who gets its words the trace that the engine would print first."""
        self.failure = error
        if self._muted is None:
            self._muted = os.dup(2)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)

    def unmute(self) -> None:
        """The engine has ended: standard error is the caller's again."""
        if self._muted is not None:
            os.dup2(self._muted, 2)
            os.close(self._muted)
            self._muted = None

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Run a part of the flow: what it raises of our own is remembered."""
        try:
            yield
        except AndonError as error:
            self.fail(error)
            raise


#: What the engine says that can't listen, or does not find its own address: `… networking: Address already in use`.
_NO_NETWORK = re.compile(r"failed to initialize networking: (.*)")


class Cluster(msgspec.Struct, frozen=True):
    """The processes of one job, the same list in each, and which of them this one is."""

    process: int = 0
    addresses: tuple[str, ...] = ()

    def refusal(self, error: BaseException) -> SettingsError | None:
        """That the engine can't listen where this process is said to be; None where it says something else."""
        said = _NO_NETWORK.search(str(error))
        if said is None or len(self.addresses) <= 1:
            return None
        expected = f"must be an address of this machine that nobody else listens at: {said.group(1)}"
        key = f"engine.processes[{self.process}]"
        return SettingsError([Problem("settings", key, f'"{self.addresses[self.process]}"', expected)])


class Pipeline(msgspec.Struct, frozen=True):
    """All that a flow is made of. `open_lane` gets a lane's name and the state to resume from.

    `ahead` is how many events a lane may have released that still wait for the slowest lane; a key group with
    `increments_from` records is kept in increments (0: none is); `run_id` is whose state is
    resumed, the same in all processes of a job; `hasten` is called when the last rows of an epoch have come, so that
    little is left for the writers' `flush` at its end, for which all waits.
    """

    settings: PipelineSettings
    open_lane: Callable[[str, bytes | None], LaneReader]
    open_writer: Callable[[], RowWriter]
    stop: Stop
    watch: FlowWatch = Unwatched()
    ahead: int = 50_000
    increments_from: int = 2_048
    run_id: str = ""
    hasten: Callable[[], None] = lambda: None
