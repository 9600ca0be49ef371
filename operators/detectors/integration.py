"""Integration between systems: its thresholds, and the traffic that feeds, clocks and delays are judged by."""

from collections.abc import Iterable

import msgspec

from operators.detectors.calls import CallSettings
from operators.detectors.clocks import Clocks, ClockSettings, ClockState
from operators.detectors.delays import DelaySettings, count_late
from operators.detectors.events import CELL_US, Collected
from operators.detectors.integration_feeds import Feed, Feeds, FeedSettings
from operators.detectors.integration_minute import both_of, minute_of
from operators.detectors.policy import Policy
from operators.detectors.queues import QueueSettings
from operators.detectors.rates import RateRule, RateWatch, Seen
from operators.detectors.records import Scoped, Tally, scoped
from operators.slices import Heard, Refused

#: For so many minutes after the log was held back nothing is said about delays.
_SETTLES = 3
#: Which dead letters are of a clock that is ahead: their event time was refused.
_TIME = ("rule", "$.occurred_at")
_REFUSED = "refused:schema"


class IntegrationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One record for each thing that can go wrong between systems.

    `refused` is for dead letters that break the contract, by source and channel, among all messages of the source.
    """

    calls: CallSettings = CallSettings()
    queues: QueueSettings = QueueSettings()
    delays: DelaySettings = DelaySettings()
    clocks: ClockSettings = ClockSettings()
    feeds: FeedSettings = FeedSettings()
    refused: RateRule = RateRule(least=8.0, share=0.01, times=5.0, score=6.0, usual=0.001)


def refused_watch(policy: Policy[RateRule]) -> RateWatch:
    """The second part for dead letters: too many messages of a source break the contract."""
    return RateWatch("refused_messages", "schema_change", _REFUSED, policy, _words)


def _words(seen: Seen) -> tuple[str, str, str]:
    expected = f"{seen.usual:.2%} of the messages refused"
    observed = f"{seen.bad:.0f} of {seen.total:.0f} in {seen.within}"
    if seen.closed:
        return expected, observed, f"What {seen.where} sends keeps the contract again."
    sentence = f"Messages of {seen.where} break the contract and can't be read: {observed}."
    return expected, observed, sentence


class TrafficState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `Traffic`."""

    heard: list[Heard]
    refused: list[Refused]
    held_back: int
    clocks: dict[str, ClockState]
    nodes: dict[str, dict[str, Feed]]
    sources: dict[str, Feed]
    refusing: list[Scoped]


class Traffic:
    """What lanes hear of whom, judged a minute at a time when all of it is there (interface group).

    Memory: what was heard of whom in the minutes that are not over, added up, and a record for each source and each
    node's feed.
    """

    def __init__(self, settings: IntegrationSettings) -> None:
        self._topics = settings.delays.topics
        self._ahead_us = settings.clocks.ahead
        self._heard: dict[int, dict[tuple[str, str, str], Heard]] = {}
        self._refused: dict[int, list[Refused]] = {}
        self._held_back = 0
        self._clocks = Clocks(settings.clocks)
        self._feeds = Feeds(settings.feeds)
        self._refusing: dict[str, set[Scoped]] = {}

    def push(self, heard: Iterable[Heard], refused: Iterable[Refused]) -> None:
        """Take a lane's."""
        for part in heard:
            minute = self._heard.setdefault(part.minute, {})
            key = part.source, part.topic, part.node
            before = minute.get(key)
            minute[key] = part if before is None else both_of(before, part)
        for one in refused:
            self._refused.setdefault(one.arrival_us // CELL_US, []).append(one)

    def count(self, clock_us: int, out: Collected, *, ended: bool) -> None:
        """Judge the minutes that are over; of input that has ended, the last one too."""
        for number in sorted(self._heard.keys() | self._refused.keys()):
            if (number + 1) * CELL_US <= clock_us or ended:
                heard = [*self._heard.pop(number, {}).values()]
                self._judge(number, heard, self._refused.pop(number, []), out)

    def _judge(self, number: int, heard: list[Heard], refused: list[Refused], out: Collected) -> None:
        for one in sorted(refused):
            if (one.reason, one.path) == _TIME and one.source:
                heard.append(_ahead(one, number, self._ahead_us))
            elif one.reason == "schema" and one.source:
                self._refusing.setdefault(one.source, set()).add(scoped(source=one.source, channel=one.channel))
        minute = minute_of(number, heard)
        if minute.held_back:
            self._held_back = number
        unsettled = number - self._held_back <= _SETTLES
        self._clocks.minute(minute, out, unsettled=unsettled)
        count_late(minute, self._topics, self._clocks.suspects(), out, unsettled=unsettled)
        self._feeds.minute(minute, out)
        for source in sorted(self._refusing.keys() & minute.sources.keys()):
            for scope in sorted(self._refusing[source]):
                total = float(minute.sources[source].count)
                out.tallies.append(Tally(_REFUSED, scope, minute.end_us, number * CELL_US, 0.0, total))

    def sizes(self) -> dict[str, int]:
        """How many parts of minutes are held, and how many feeds are known."""
        held = sum(map(len, self._heard.values())) + sum(map(len, self._refused.values()))
        feeds = sum(map(len, self._feeds.nodes.values())) + len(self._feeds.sources)
        return {"held": held, "feeds": feeds}

    def snapshot(self) -> TrafficState:
        """Everything that is kept."""
        return TrafficState(
            [part for parts in self._heard.values() for part in parts.values()],
            [one for parts in self._refused.values() for one in parts],
            self._held_back,
            self._clocks.states,
            self._feeds.nodes,
            self._feeds.sources,
            [scope for scopes in self._refusing.values() for scope in sorted(scopes)],
        )

    def restore(self, state: TrafficState) -> None:
        """Take over a snapshot."""
        self._heard, self._refused, self._refusing = {}, {}, {}
        self.push(state.heard, state.refused)
        self._held_back = state.held_back
        self._clocks.states = dict(state.clocks)
        self._feeds.nodes = {node: dict(feeds) for node, feeds in state.nodes.items()}
        self._feeds.sources = dict(state.sources)
        for scope in state.refusing:
            self._refusing.setdefault(dict(scope)["source"], set()).add(scope)


def _ahead(refused: Refused, number: int, ahead_us: int) -> Heard:
    """A message dated so far ahead that it was refused, as what was heard of its source: at least that far ahead."""
    shown = f"{refused.topic}/{refused.partition}/{refused.offset}"
    return Heard(number, refused.source, "", "", "", 1, 0, 1, -ahead_us, shown)
