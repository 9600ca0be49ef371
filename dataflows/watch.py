"""What a running job tells: engine, lanes, broker and store, made into metrics, readiness and a few lines of log."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

import numpy as np

from dataflows.flow import Cluster, Stop
from dataflows.kafka.feeds import Feed, LaneReport, name_of
from dataflows.kafka.topics import Place
from dataflows.logs import get_log
from dataflows.telemetry import Telemetry
from operators.groups import Group
from operators.handoff_rows import STAGE as HANDOFF_WINDOWS
from operators.lane_state import Merged
from operators.site_group import SiteGroup
from operators.stock_findings import STAGE as STOCK_WINDOWS
from schemas import metrics
from schemas.durations import BEGIN_OF_TIME_US, SECOND_US, people_duration
from schemas.errors import Stopped, StoreUnavailable
from schemas.events import type_name
from schemas.rows import ROW_TYPES, DeadLetter, DuplicateEvent, LateEvent, Row

NOT_BEGUN = "stopped before it had begun"
#: What late events are late for.
LATE_STAGES = (HANDOFF_WINDOWS, STOCK_WINDOWS)
_topic, _event = attrgetter("topic"), attrgetter("event")


class JobWatch:
    """Told by everything that runs in one process; tells its `Telemetry` and the log.

    It is also where waiting ends: once a stop is asked for and `stop_within_s` is over, it raises out of the wait for
    a store or a broker that is away; before the flow has begun (`flowing`), at once. `polled` says that the engine has
    asked a lane: until then it reads state and waits for the other processes, and nothing has come of anything.

    Args:
        now_us: the wall clock in microseconds.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        stop: Stop,
        now_us: Callable[[], int],
        stop_within_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.flowing = self.polled = False
        self._telemetry, self._stop, self._now_us = telemetry, stop, now_us
        self._stop_within_s, self._clock = stop_within_s, clock
        self._stop_seen_s: float | None = None
        self._source, self._store, self._engine = get_log("source"), get_log("store"), get_log("engine")
        self._watermarks: dict[str, int] = {}
        self._kept: set[str] = set()
        self._epoch_began_s = clock()
        self._snapshot_s = 0.0
        self._snapshot_bytes = 0
        self._missing: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._reachable: bool | None = None
        self._lost_files: dict[str, Sequence[str]] = {}
        self._overtaken: dict[Place, int] = {}
        for record in ROW_TYPES:  # the first refusal of a table is a rise then, which an alert can see
            telemetry.count(metrics.ROWS_REFUSED, 0, record.TABLE)
        for stage in LATE_STAGES:
            telemetry.count(metrics.LATE_EVENTS, 0, stage)

    # --- the engine ---------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """The engine goes on."""
        self.polled = True
        self._telemetry.beat()

    def released(self, lane: str, merged: Merged) -> None:
        """A lane has come further."""
        telemetry = self._telemetry
        if lane not in self._watermarks:
            telemetry.condition("resumed", ok=True)
        self._watermarks[lane] = merged.watermark_us
        if not merged.events and not merged.dead:
            return
        topics = Counter(map(_topic, merged.events))
        for letter in merged.dead:
            topics[letter.topic] += 1
        telemetry.count_many(metrics.MESSAGES, topics)
        types = Counter(map(type, map(_event, merged.events)))
        telemetry.count_many(metrics.EVENTS, {type_name(kind): count for kind, count in types.items()})
        telemetry.count_many(metrics.DEAD_LETTERS, Counter(letter.reason for letter in merged.dead))
        telemetry.dead_letter_window(len(merged.events) + len(merged.dead), len(merged.dead))

    def lane_kept(self, lane: str) -> None:
        """A lane's position goes into a snapshot; where it did before, a new epoch ends: tell of the last."""
        now_s = self._clock()
        if lane in self._kept:
            self._telemetry.observe(metrics.EPOCH_SECONDS, now_s - self._epoch_began_s)
            self._telemetry.observe(metrics.SNAPSHOT_SECONDS, self._snapshot_s)
            self._telemetry.set(metrics.SNAPSHOT_BYTES, self._snapshot_bytes)
            self._kept.clear()
            self._epoch_began_s, self._snapshot_s, self._snapshot_bytes = now_s, 0.0, 0
        self._kept.add(lane)

    def group_kept(self, group: Group, seconds: float, size: int) -> None:
        """A group's state goes into a snapshot; one of much state takes longer than a process may stand still."""
        self._telemetry.beat()
        self._snapshot_s += seconds
        self._snapshot_bytes += size
        self._telemetry.share(metrics.STATE_ENTRIES, group.name, group.sizes())
        if isinstance(group, SiteGroup):
            withheld = {(source,): count for source, count in group.withheld.items()}
            self._telemetry.share(metrics.WITHHELD, group.name, withheld)

    # --- lanes over files ---------------------------------------------------------------------------------------------

    def file_lane(self, lane: str, share: float) -> None:
        """A lane over files was looked at, and read up to `share` of them."""
        del share
        lost = [path for paths in self._lost_files.values() for path in paths]
        self._telemetry.condition("source", ok=not lost, why=_not_followed(lost))
        self._telemetry.set(metrics.SOURCE_UP, 1, lane)
        self._age(lane, self._now_us())

    def files_lost(self, lane: str, paths: Sequence[str]) -> None:
        """These of a lane's files were renamed or removed since they were opened; none: all are there (again)."""
        self._lost_files[lane] = paths
        for path in paths:
            self._source.warning("file_lost", _not_followed([path]), key=path, lane=lane)

    def _age(self, lane: str, now_us: int) -> None:
        watermark_us = self._watermarks.get(lane, BEGIN_OF_TIME_US)
        if watermark_us > BEGIN_OF_TIME_US:
            self._telemetry.set(metrics.WATERMARK_AGE, max(0.0, (now_us - watermark_us) / SECOND_US), lane)

    # --- lanes over Kafka ---------------------------------------------------------------------------------------------

    def lane_state(self, report: LaneReport) -> None:
        """How a lane stands."""
        telemetry, lane, now_us = self._telemetry, report.lane, report.now_us
        self._age(lane, now_us)
        for feed in report.feeds:
            topic, partition = feed.place
            behind = self._behind(feed, report)
            if behind is None:
                continue
            telemetry.set(metrics.LAG_MESSAGES, behind, topic, partition)
            since_us = now_us - max(feed.queue.clock_us, 0)
            telemetry.set(metrics.LAG_SECONDS, since_us / SECOND_US if behind else 0.0, topic, partition)
        telemetry.set(metrics.SOURCE_PAUSED, sum(feed.paused for feed in report.feeds), lane)
        telemetry.set(metrics.BUFFERED, sum(feed.queue.buffered for feed in report.feeds), lane)
        self._tell_holding(lane, report.holding)
        for feed in report.feeds:
            self._tell_overtaken(lane, feed)

    def _tell_overtaken(self, lane: str, feed: Feed) -> None:
        """What came after time had gone on past it, since this was last told."""
        overtaken, told = feed.queue.overtaken, self._overtaken.get(feed.place, 0)
        if overtaken.count > told:
            self._overtaken[feed.place] = overtaken.count
            self._telemetry.count(metrics.OVERTAKEN, overtaken.count - told, feed.place[0])
            most = people_duration(overtaken.most_us)
            words = (
                f"{name_of(feed.place)} was taken to be quiet, and then brought messages of up to {most} before that"
            )
            self._source.warning("overtaken", words, key=feed.place[0], lane=lane, messages=overtaken.count - told)

    @staticmethod
    def _behind(feed: Feed, report: LaneReport) -> int | None:
        """Messages in the log that were not released yet; None while the broker has not said where it ends.

        What waits behind an open transaction is among them, although the broker answers that there is no more.
        """
        end = report.ends[feed.place]
        return max(feed.next_offset, end) - feed.queue.position if feed.answered or end >= 0 else None

    def _tell_holding(self, lane: str, holding: Sequence[Place]) -> None:
        self._telemetry.drop(metrics.HELD_BACK_BY, lane)
        for topic, partition in holding:
            self._telemetry.set(metrics.HELD_BACK_BY, 1, lane, topic, partition)

    def committed(self, error: str | None) -> None:
        """Offsets went to the consumer group, or why not."""
        if error is None:
            self._telemetry.count(metrics.OFFSETS_COMMITTED)
            return
        self._telemetry.count(metrics.OFFSET_COMMIT_FAILURES)
        words = "offsets could not be committed to the consumer group: lag tools see an old state; nothing is lost"
        self._source.warning("offset_commit_failed", words, error=error)

    def trouble(self, lane: str, why: str) -> None:
        """The client library reports what it will get over by itself."""
        self._source.warning("broker_trouble", why, key=lane, lane=lane)

    def passed_over(self, lane: str, place: Place, first: int, last: int) -> None:
        """Messages that had expired were passed over, as the settings say."""
        words = f"{place[0]}/{place[1]}: offsets {first} to {last} had expired unread and were passed over"
        self._source.error("expired_passed_over", words, key=f"{place[0]}/{place[1]}", lane=lane)

    def reachable(self) -> None:
        """The broker answers."""
        if self._reachable is False:
            self._source.info("broker_back", "the broker answers again")
        self._reachable = True
        self._telemetry.condition("source", ok=True)
        for lane in tuple(self._watermarks):  # we are in another thread than the lanes, which may begin meanwhile
            self._telemetry.set(metrics.SOURCE_UP, 1, lane)

    def unreachable(self, why: str) -> None:
        """It doesn't; the job waits."""
        self._reachable = False
        self._telemetry.condition("source", ok=False, why=f"the broker does not answer: {why}")
        for lane in tuple(self._watermarks):  # as above
            self._telemetry.set(metrics.SOURCE_UP, 0, lane)
        self._source.warning("broker_unreachable", "the broker does not answer; the job waits for it", error=why)

    def renewed(self, lane: str) -> None:
        """A client that had no answer for long was made anew."""
        words = "a client of the broker had no answer for long, and was made anew: nothing is lost"
        self._source.warning("client_renewed", words, key=f"renewed {lane}", lane=lane)

    def missing(self, topics: Iterable[str], hidden: Iterable[str]) -> None:
        """Topics that are not there (yet, or any more), and those that the broker keeps from us, there or not."""
        before, now = self._missing, (tuple(topics), tuple(hidden))
        self._missing = now
        if now == before:
            return
        away, unseen = now
        self._telemetry.drop(metrics.TOPIC_MISSING)
        for topic in away:
            self._telemetry.set(metrics.TOPIC_MISSING, 1, topic)
        waiting = [topic for topic in away if topic not in unseen]
        gone = [topic for topic in waiting if before is not None and topic not in before[0]]
        if unseen:
            words = f"the broker does not let this job see {', '.join(unseen)}; grant READ and DESCRIBE on what is read"
            self._source.warning("topics_hidden", words, key=str(unseen), topics=list(unseen))
        if gone:
            words = f"{', '.join(gone)}: no longer there; time stands still until they are back, or out of kafka.topics"
            self._source.warning("topics_gone", words, key=str(gone), topics=gone)
        elif waiting:
            words = f"waiting for topics that do not exist yet: {', '.join(waiting)}"
            self._source.info("topics_missing", words, topics=waiting)
        elif before is not None and not away:
            self._source.info("topics_found", "all topics exist now")

    # --- the store ----------------------------------------------------------------------------------------------------

    def store_opened(self) -> None:
        """ClickHouse answers."""
        self._telemetry.set(metrics.STORE_UP, 1)
        self._telemetry.condition("store", ok=True)

    def written(self, record: type[Row], rows: Sequence[Row], seconds: float) -> None:
        """A block is in."""
        telemetry, table = self._telemetry, record.TABLE
        telemetry.beat()
        telemetry.condition("store", ok=True)
        telemetry.set(metrics.STORE_UP, 1)
        telemetry.count(metrics.ROWS_WRITTEN, len(rows), table)
        telemetry.count(metrics.BLOCKS_WRITTEN, 1, table)
        telemetry.observe(metrics.INSERT_SECONDS, seconds, table)
        if record is DuplicateEvent:
            telemetry.count(metrics.DUPLICATES, len(rows))
        elif record is LateEvent:
            stages = Counter(row.stage.partition("/")[0] for row in rows if isinstance(row, LateEvent))
            telemetry.count_many(metrics.LATE_EVENTS, stages)
        if "arrival_us" in record.__struct_fields__:
            arrived = np.array([row.arrival_us for row in rows], dtype=np.float64)  # type: ignore[union-attr] # has it
            telemetry.observe_many(metrics.END_TO_END, (self._now_us() - arrived) / SECOND_US, table)

    def waiting(self, error: StoreUnavailable, pause_s: float, waited_s: float) -> None:
        """The store is away."""
        self._telemetry.count(metrics.WRITE_RETRIES)
        self._telemetry.set(metrics.STORE_UP, 0)
        self._telemetry.condition("store", ok=False, why=str(error))
        words = "ClickHouse does not take rows; the source is held back until it does"
        self._store.warning(
            "store_away", words, error=str(error), waited_s=round(waited_s, 1), next_try_s=round(pause_s, 1)
        )
        self._give_up_when_stopping(str(error))

    def tick(self) -> None:
        """The wait goes on."""
        self._telemetry.beat()
        self._give_up_when_stopping("")

    def recovered(self, waited_s: float) -> None:
        """The store answers again."""
        self._telemetry.set(metrics.STORE_UP, 1)
        self._telemetry.condition("store", ok=True)
        after = people_duration(int(waited_s * SECOND_US))
        self._store.info("store_back", f"ClickHouse takes rows again, after {after}")

    def refused(self, letters: Sequence[DeadLetter]) -> None:
        """Rows that the store refuses."""
        for table, count in Counter(letter.topic.removeprefix("andon.") for letter in letters).items():
            self._telemetry.count(metrics.ROWS_REFUSED, count, table)
        self._telemetry.count(metrics.DEAD_LETTERS, len(letters), "downstream")
        words = f"ClickHouse refuses {len(letters)} rows; they are in the dead letters: {letters[0].detail}"
        self._store.error("rows_refused", words, key=letters[0].topic)

    def _give_up_when_stopping(self, why: str) -> None:
        """Raise once the time that a stop may take is over."""
        if not self._stop.requested:
            return
        if not self.flowing:
            raise Stopped(NOT_BEGUN)
        now_s = self._clock()
        if self._stop_seen_s is None:
            self._stop_seen_s = now_s
        if now_s - self._stop_seen_s >= self._stop_within_s:
            raise StoreUnavailable(
                f"stopped while waiting, so not at a snapshot: the next run goes on from the last. {why}"
            )

    # --- dead letters to a topic --------------------------------------------------------------------------------------

    def forwarded(self, count: int) -> None:
        """So many dead letters are in the topic."""
        self._telemetry.count(metrics.DEAD_LETTERS_FORWARDED, count)

    def forwarding(self, left: int, error: str | None) -> None:
        """So many are not yet."""
        self._telemetry.beat()
        if error is not None:
            words = f"{left} dead letters wait for the broker; the source is held back"
            self._source.warning("dead_letters_waiting", words, error=error)
        self._give_up_when_stopping(error or "")

    def forwarding_anew(self) -> None:
        """The client delivered nothing for long, and was made anew."""
        self.renewed("")

    # --- the job ------------------------------------------------------------------------------------------------------

    def begun(self, run_id: str, lanes: Sequence[str], cluster: Cluster, source: str, store: str) -> None:
        """The flow begins."""
        self.flowing = True
        words = f"reading {source} into {store}"
        processes = max(1, len(cluster.addresses))
        if processes > 1:
            others = [one for number, one in enumerate(cluster.addresses) if number != cluster.process]
            why = f"until its state is read and all other processes are there: {', '.join(others)}"
            self._telemetry.condition("resumed", ok=False, why=why)
        where = {"process": cluster.process, "processes": processes} if processes > 1 else {}
        self._engine.info("started", words, run_id=run_id, lanes=len(lanes), **where)

    def ended(self, *, kept: bool) -> None:
        """It has ended as it was asked to."""
        self._engine.info("stopped", "stopped at a snapshot" if kept else "stopped; nothing was kept to go on from")


def _not_followed(paths: Sequence[str]) -> str:
    """What is wrong with them, and the remedy."""
    return (
        f"{', '.join(paths)}: is no longer the file that is followed (it was renamed or removed): what is written "
        "under that name is not read; rename it back, and give what is new a file of another name"
        if paths
        else ""
    )
