"""The site groups: windows per handoff and place, and what is judged by scope, of what all other groups say."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from operators.dealing import wanted_metrics
from operators.detectors.catalogue import scope_detectors
from operators.detectors.clock_offsets import CLOCK_OFFSET
from operators.detectors.events import CELL_US
from operators.detectors.records import ORDER_MOVED, Tally
from operators.detectors.scopes import ScopeDetectors
from operators.detectors.window_counts import window_tallies
from operators.group_state import Emitted, IncidentPiece, SiteGroupState, SitePiece, Sizes, decoded, sizes_of
from operators.handoff_windows import HandoffWindows
from operators.incidents.paces import Pace, pace_of
from operators.increments import Part
from operators.ordering import Frontier
from operators.pipeline import INCIDENT, PipelineSettings, group_name
from operators.promise_path import promise_path
from operators.sequence_doubts import SequenceDoubts
from operators.series_counts import SeriesCounts
from operators.series_points import WindowPoint, limits_of, window_points
from schemas.rows import HandoffWindow, Row


class SiteGroup:
    """Windows per handoff and scope, what detectors judge by scope, and (in the first) sequence findings in doubt."""

    def __init__(self, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self._settings = settings
        self._frontier = Frontier(settings.upstream_of_sites())
        self._windows = HandoffWindows(settings.process.handoff, settings.handoff_windows)
        self._read = wanted_metrics(settings)
        self._detectors = ScopeDetectors(scope_detectors(settings.detectors, settings.stock.currency))
        self._limits = limits_of(settings.process.handoff)
        self._counts = SeriesCounts(
            settings.handoff_windows, settings.stock_windows.grace_us, settings.models.rate_span
        )
        self._doubts = SequenceDoubts()
        self._on_the_way = {handoff.name for handoff in promise_path(settings.process)}
        self._moves: list[Tally] = []  # on their way to the incidents, which put them in order

    def on_batch(self, pieces: Sequence[SitePiece]) -> Emitted:
        """Process what all upstream groups have passed."""
        before = self._frontier.watermark_us
        for piece in pieces:
            self._take(piece)
        if self._frontier.watermark_us <= before:
            return Emitted([], [])
        clock_us = self._frontier.clock_us
        rows: list[Row] = [*self._windows.advance(clock_us)]
        ended = self._frontier.ended
        if ended and self._settings.close_at_us > clock_us:
            rows.extend(self._windows.advance(self._settings.close_at_us))
        grace_us = self._settings.handoff_windows.grace_us
        points: list[WindowPoint] = []
        for row in rows:
            if isinstance(row, HandoffWindow):
                self._detectors.update(window_tallies(row, grace_us, self._read))
                if self._settings.models.enabled:
                    points.extend(window_points(row, grace_us, self._limits))
        judged_us = self._settings.known_to(clock_us, ended=ended)
        points.extend(self._counts.advance(clock_us))
        if judged_us > clock_us:
            points.extend(self._counts.advance(judged_us))
        # Input that has ended ends its last minute, too.
        over_us = -(-judged_us // CELL_US) * CELL_US if ended else judged_us
        findings = self._detectors.advance(over_us)
        rows.extend(finding.signal for finding in findings)
        rows.extend(self._doubts.advance(over_us))
        if ended:
            rows.extend(self._doubts.end())
        moves, self._moves = self._moves, []
        paces, items = self._paces(rows), self._detectors.answers()
        said = IncidentPiece(self.name, clock_us, clock_us - 1, findings, [], ended, points, moves, paces, items=items)
        return Emitted(rows, [], [(group_name(INCIDENT, 0), said)])

    def _take(self, piece: SitePiece) -> None:
        """Take what one group has said."""
        self._frontier.push(piece.origin, piece.watermark_us, piece.last_us, final=piece.final)
        self._windows.update(run for run in piece.changes if run)
        for run in piece.changes:
            self._doubts.ask(run.doubts)
            self._doubts.note(run.late_starts)
        tallies: list[Tally] = []
        for tally in piece.tallies:
            (self._moves if tally.metric == ORDER_MOVED else tallies).append(tally)
            if tally.metric == CLOCK_OFFSET:
                self._doubts.hear(tally)
        self._detectors.update(tallies)
        self._detectors.count(piece.counts)
        if self._settings.models.enabled:
            self._counts.update(tallies)
            self._counts.count(piece.counts)

    def _paces(self, rows: Iterable[Row]) -> list[Pace]:
        """How long the handoffs on the way to promises took, for the incidents."""
        windows = (row for row in rows if isinstance(row, HandoffWindow) and row.handoff in self._on_the_way)
        return [pace for row in windows for pace in pace_of(row)]

    def parts(self) -> dict[str, Part]:
        """Nothing of it is kept apart."""
        return {}

    @property
    def withheld(self) -> Mapping[str, int]:
        """How many sequence findings were withheld, by the source whose clock was off."""
        return self._doubts.withheld

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return sizes_of(
            handoff_windows=self._windows.sizes(),
            scope_detectors=self._detectors.sizes(),
            series_counts=self._counts.sizes(),
            sequence_doubts=self._doubts.sizes(),
        )

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(
            SiteGroupState(
                self._frontier.snapshot(),
                self._windows.snapshot(),
                self._detectors.snapshot(),
                self._counts.snapshot(),
                self._moves,
                self._doubts.snapshot(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        kept = decoded(state, SiteGroupState)
        self._frontier.restore(kept.frontier)
        self._windows.restore(kept.windows)
        self._detectors.restore(kept.detectors)
        if kept.counts is not None and self._settings.models.enabled:
            self._counts.restore(kept.counts)
        self._moves = list(kept.moves)
        if kept.doubts is not None:
            self._doubts.restore(kept.doubts)
