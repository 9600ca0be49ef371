"""Feeds that fall silent while others go on, as soon as their usual pace allows.

Each is held against its own pace, so one that speaks every minute is missed after some ten, and one that speaks once an
hour not after two hours. A source's feed of a node's stock: its pause is compared with those of the last hours, by the
clock; how often others were heard in it (other feeds of that node, or work done there that moves stock), with any pause
so far, and with how often they were while it spoke: where all fall quiet for the night, the one that still speaks every
hour proves nothing. A source as a whole: its pause in hours in which it spoke on the day before, while most sources
that did so then do so today.

Both tell `feed_stops` and `feed_resumes`, in scope (node) or (source), to the second part.
"""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import CELL_US, Collected
from operators.detectors.integration_findings import Said, Standing, standing_finding
from operators.detectors.integration_minute import WORK, Minute
from operators.detectors.records import Impact, Scoped, ScopeFinding, Tally, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration, people_duration, people_time

STOPS, RESUMES = "feed_stops", "feed_resumes"
#: What a node refuses while its stock is not known (exceptions of the process map).
REJECTED = ("task_rejected", "reservation_rejected")
_HOUR = HOUR_US // CELL_US
#: The other feeds of a node count as speaking for so many minutes after they were heard.
_SPEAKS = 5
#: A feed is known when it was heard in so many minutes, over at least so many.
_HEARD, _KNOWN = 8, 3 * _HOUR
#: In a feed's pause, others must have been heard in so many minutes, and so many times as many as in any pause so far.
_WITNESSES, _TIMES = 4, 2.0
#: A longer pause than so many minutes is no pause: it had closed, or was broken.
_CLOSED = 2 * _HOUR
#: Pauses count as usual for so many hours in which it spoke; how many minutes others were heard in in a pause is halved
#: in so many minutes.
_RECENT, _MEMORY = 4, 3 * DAY_US // CELL_US
#: Sooner than what is sure, a feed must be missed in so many minutes in which others were heard; how often it was heard
#: lately, and others while it spoke, are averages that fade by half in half an hour.
_MISSED, _LATELY = 8.0, 0.5 ** (1 / 30)
#: In a pause others must be heard at least so many times as often as they were while it spoke.
_GO_ON = 0.5
#: This share of the sources that spoke in this hour yesterday, of so many, has to speak today.
_TODAY, _SOURCES = 0.7, 3


class FeedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node's feed is silent after `least`, and `times` its longest pause of the last hours.

    Sooner than `sure` only if it would have been heard in several of the minutes in which others were, as often as it
    was lately: what speaks less and less towards the night is not silent. `least` and `sure` count only time in which
    others speak, in hours in which it spoke on its last day; `times` goes by the clock. A whole source, beside which
    less speaks that would speak if it did, is silent after `source`, and `source_times` its longest pause, in hours in
    which it spoke on the day before.
    """

    least: Duration = Duration(10 * MINUTE_US)
    sure: Duration = Duration(20 * MINUTE_US)
    times: float = 3.0
    source: Duration = Duration(60 * MINUTE_US)
    source_times: float = 4.0


class Feed(msgspec.Struct, array_like=True):
    """What is kept of a feed. Times are minutes; `hours` has a bit for each hour it spoke in, by day, of its last two.

    `pause` and `witnesses` are the minutes of this pause in which others count as speaking, and were heard; `recent`
    has the longest pause of each of the last hours in which it spoke, `most` the most witnesses of a pause (it fades);
    `presence` is the share of minutes in which it was heard lately, `others` of those in which others were, as it was
    when it was last heard.
    """

    first: int
    last: int
    pause: int = 0
    witnesses: int = 0
    heard: int = 0
    recent: dict[int, int] = {}
    most: float = 0.0
    learnt: int = 0
    is_silent: bool = False
    hours: dict[int, int] = {}
    presence: float = 0.0
    others: float = 0.0

    def hear(self, number: int, *, with_others: bool) -> bool:
        """It spoke in this minute, in which others were heard or not; returns whether it had been silent."""
        gap, hour = number - self.last, number // _HOUR
        if gap <= 0:  # input that had ended goes on in a minute that was judged at its end
            return False
        was_silent, self.is_silent = self.is_silent, False
        pause = gap - 1
        if pause > _CLOSED:
            pause = 0
        fades = _LATELY ** min(gap, _CLOSED)
        self.presence = self.presence * fades + (1.0 - _LATELY)
        self.others = self.others * fades + (1.0 - fades) * (self.witnesses + with_others) / gap
        self.recent[hour] = max(pause, self.recent.get(hour, 0))
        if len(self.recent) > _RECENT:
            del self.recent[min(self.recent)]
        if pause:
            fade = 0.5 ** ((number - self.learnt) / _MEMORY)
            self.most, self.learnt = max(float(self.witnesses), self.most * fade), number
        self.heard += 1
        self.last, self.pause, self.witnesses = number, 0, 0
        return was_silent

    def is_due(self, number: int) -> bool:
        """Whether it spoke within the hour, or in this hour of the last day before on which it spoke (if known)."""
        if number - self.last < _HOUR:
            return True
        day, hour = divmod(number // _HOUR, 24)
        # An hour that was over before it was first heard says nothing.
        before = [spoke for spoke in self.hours if spoke < day and (24 * spoke + hour + 1) * _HOUR > self.first]
        return not before or bool(self.hours[max(before)] >> hour & 1)

    def is_too_long(self, minutes: int, least_us: int, times: float) -> bool:
        """Whether others went on for longer than this, and `minutes` are more than so many times the longest pause."""
        if self.pause * CELL_US <= least_us or self.witnesses < max(_WITNESSES, _TIMES * self.most):
            return False
        if self.heard < _HEARD or self.last - self.first < _KNOWN:
            return False
        return minutes > times * max(self.recent.values(), default=0)


class Feeds:
    """Follows the stock feeds of nodes, and sources as a whole.

    Memory: a record for each (node, source) and each source. Cost: one step for each of them a minute.
    """

    def __init__(self, settings: FeedSettings) -> None:
        self._settings = settings
        self.nodes: dict[str, dict[str, Feed]] = {}
        self.sources: dict[str, Feed] = {}

    def minute(self, minute: Minute, out: Collected) -> None:
        """Take a minute in which anything was heard."""
        for node, heard in sorted(minute.stock.items()):
            feeds = self.nodes.setdefault(node, {})
            for source in sorted(heard):
                self._hear(feeds, source, minute, node, out, with_others=len(heard) > 1)
        for node, feeds in self.nodes.items():
            self._pause(node, feeds, minute, out)
        for source in minute.sources:
            self._hear(self.sources, source, minute, "", out)
        self._sources_pause(minute, out)

    @staticmethod
    def _hear(
        feeds: dict[str, Feed], source: str, minute: Minute, node: str, out: Collected, *, with_others: bool = False
    ) -> None:
        """A source spoke, of the stock of a node or ("") of anything."""
        feed = feeds.get(source)
        if feed is None:
            feed = feeds[source] = Feed(minute.number, minute.number)
        elif feed.hear(minute.number, with_others=with_others):
            since_us, scope = minute.number * CELL_US, scoped(node=node) if node else scoped(source=source)
            out.tallies.append(Tally(RESUMES, scope, minute.end_us, since_us, 1.0, 1.0, source))
        day, hour = divmod(minute.number // _HOUR, 24)
        feed.hours[day] = feed.hours.get(day, 0) | 1 << hour
        if len(feed.hours) > 2:
            del feed.hours[min(feed.hours)]

    def _pause(self, node: str, feeds: dict[str, Feed], minute: Minute, out: Collected) -> None:
        number, heard = minute.number, minute.stock.get(node, ())
        rule, latest = self._settings, sorted([feed.last for feed in feeds.values()])[-2:]
        if len(latest) < 2 or number - latest[1] > _SPEAKS:
            return
        before, last = latest
        for source, feed in feeds.items():
            if source in heard or source == WORK or number - (before if feed.last == last else last) > _SPEAKS:
                continue
            if not feed.is_due(number):
                continue  # closed
            feed.pause += 1
            feed.witnesses += bool(heard)
            if feed.is_silent or feed.witnesses < _GO_ON * feed.others * feed.pause:
                continue
            least_us = rule.least if feed.witnesses * feed.presence >= _MISSED else rule.sure
            if feed.is_too_long(number - feed.last, least_us, rule.times):
                self._stop(feed, source, scoped(node=node), minute, out)

    def _sources_pause(self, minute: Minute, out: Collected) -> None:
        number, rule = minute.number, self._settings
        was_day, hour = divmod(number // _HOUR - 24, 24)
        silent = []
        spoke = speaks = 0
        for source, feed in self.sources.items():
            feed.witnesses += source not in minute.sources
            if not feed.hours.get(was_day, 0) >> hour & 1:
                continue
            spoke += 1
            speaks += number - feed.last < _HOUR
            if source not in minute.sources and not feed.is_silent:
                feed.pause += 1
                if feed.is_too_long(feed.pause, rule.source, rule.source_times):
                    silent.append((source, feed))
        if spoke >= _SOURCES and speaks >= _TODAY * spoke:
            for source, feed in silent:
                self._stop(feed, source, scoped(source=source), minute, out)

    @staticmethod
    def _stop(feed: Feed, source: str, scope: Scoped, minute: Minute, out: Collected) -> None:
        feed.is_silent = True
        since_us = (feed.last + 1) * CELL_US
        out.tallies.append(Tally(STOPS, scope, minute.end_us, since_us, 1.0, 1.0, source))


class StoppedState(msgspec.Struct, array_like=True):
    """What is kept of a node or a source: the findings by silent source, and what was rejected in the last hour."""

    silent: dict[str, Standing] = {}
    rejected: list[tuple[int, int, str, Impact | None]] = []


class StoppedFeeds(ScopeDetector):
    """The second part: says that a feed stopped, names the orders whose work the node had to reject, and closes it."""

    NAME = "feed_stopped"
    METRICS = (STOPS, RESUMES, *REJECTED)
    State = StoppedState

    def judge(
        self, scope: Scoped, state: StoppedState, cells: Mapping[str, Cell], end_us: int
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        new = sorted(
            (member for metric in REJECTED if metric in cells for member in cells[metric].members),
            key=lambda member: (member[0], member[2]),
        )
        state.rejected = [one for one in [*state.rejected, *new] if end_us - one[0] <= HOUR_US]
        stops, resumes = cells.get(STOPS), cells.get(RESUMES)
        begun = set()
        for _, since_us, source, _ in stops.members if stops is not None else ():
            if source not in state.silent:
                begun.add(source)
                standing = state.silent[source] = Standing()
                standing.begin(end_us, since_us, 6.0, [])
        heard = {member[2] for member in resumes.members} if resumes is not None else set()
        for source in sorted(state.silent):
            standing = state.silent[source]
            members = state.rejected if source in begun else new
            impacts = [one[3] for one in members if one[3] is not None and one[0] >= standing.since_us]
            impacts = standing.new(impacts)
            closed = source in heard
            if impacts or closed or source in begun:
                yield self._finding(scope, source, standing, impacts, end_us, closed=closed)
            if closed:
                del state.silent[source]

    def idle(self, state: StoppedState) -> bool:  # noqa: ARG002 - as its base
        """As `ScopeDetector`: only what is told is judged."""
        return True

    def _finding(
        self, scope: Scoped, source: str, standing: Standing, impacts: list[Impact], end_us: int, *, closed: bool
    ) -> ScopeFinding:
        node = dict(scope).get("node", "")
        about = f" about {node}'s stock" if node else ""
        silent = people_duration(end_us - standing.since_us)
        sentence = f"{source} has said nothing{about} for {silent}, while others went on."
        if closed:
            sentence = f"{source} is heard again{about}, after {silent} of silence."
        said = Said("as often as before", f"silent since {people_time(standing.since_us)}", sentence)
        where = dict(scope) | {"source": source}
        return standing_finding(
            self.NAME, "feed_stopped", where, standing, said, end_us, impacts=impacts, closed=closed
        )
