"""The last key group: findings of all sites become incidents, incidents alerts, windows' figures scores.

What the items of a promotion answer becomes its readiness here, too: they are in any site group.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from operators.alerting.alerting import Alerting
from operators.detectors.records import ScopeFinding, Tally
from operators.group_state import Emitted, IncidentGroupState, IncidentPiece, Sizes, decoded, sizes_of
from operators.incidents.incidents import Incidents
from operators.incidents.paces import Pace
from operators.increments import Part
from operators.ordering import Frontier
from operators.pipeline import PipelineSettings
from operators.promotions import Promotions
from operators.series_points import WindowPoint
from operators.series_scores import SeriesScores
from schemas.durations import BEGIN_OF_TIME_US
from schemas.events import Arrived
from schemas.incident_rows import Incident
from schemas.rows import Row


class IncidentGroup:
    """Takes findings in the order of (arrival, origin, place) once every group that feeds it has passed them.

    There is one: findings are few, and what belongs together can be anywhere. The models of series are here, too, since
    siblings learn from each other wherever they are; they take points in the order of (arrival, series).
    """

    def __init__(self, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self._close_at_us = settings.close_at_us
        self._frontier = Frontier(settings.upstream_of_incidents())
        self._held: list[IncidentPiece] = []
        self._incidents = Incidents(settings.incidents, settings.process)
        self._alerting = Alerting(settings.alerting)
        self._scores = SeriesScores(settings.models, settings.process.handoff, settings.handoff_windows.slide_us)
        self._promotions = Promotions()

    def on_batch(self, pieces: Sequence[IncidentPiece]) -> Emitted:
        """Process what all upstream groups have passed."""
        before = self._frontier.watermark_us
        for piece in pieces:
            self._frontier.push(piece.origin, piece.watermark_us, piece.last_us, final=piece.final)
            self._promotions.push(piece.promotions, piece.items)
            if piece.findings or piece.controls or piece.points or piece.moves or piece.paces:
                self._held.append(piece)
        if self._frontier.watermark_us <= before:
            return Emitted([], [])
        clock_us = self._frontier.clock_us
        if self._frontier.ended:
            last_us = max(self._promotions.last_us, *(_last_us(piece) for piece in self._held), BEGIN_OF_TIME_US)
            clock_us = max(clock_us, self._close_at_us, last_us + 1)
        findings, controls, points = self._released(clock_us)
        self._incidents.hear(*self._heard(clock_us))
        said: list[Row] = []
        for arrival_us, together in groupby(findings, key=_arrival):
            said.extend(self._promotions.advance(arrival_us + 1))
            said.extend(self._incidents.advance(arrival_us))
            said.extend(self._incidents.update(self._with_scores(together, said)))
        said.extend(self._promotions.advance(clock_us))
        said.extend(self._incidents.advance(clock_us))
        changes = [row for row in said if isinstance(row, Incident)]
        alerts = [*self._alerting.update(changes, controls), *self._alerting.advance(clock_us)]
        scores = [*self._scores.update(points), *self._scores.advance(clock_us, ended=self._frontier.ended)]
        return Emitted([*said, *alerts, *scores], [])

    def _with_scores(self, findings: Iterable[ScopeFinding], said: list[Row]) -> list[ScopeFinding]:
        """The findings; those about a promotion say its score, and are written once more so."""
        out: list[ScopeFinding] = []
        for finding in findings:
            told = self._promotions.told(finding)
            if told is not finding:
                said.append(told.signal)
            out.append(told)
        return out

    def _released(self, clock_us: int) -> tuple[list[ScopeFinding], list[Arrived], list[WindowPoint]]:
        """What arrived before `clock_us`, in order; the rest is held on."""
        findings: list[tuple[int, str, int, ScopeFinding]] = []
        controls: list[Arrived] = []
        points: list[WindowPoint] = []
        held: list[IncidentPiece] = []
        for piece in self._held:
            later_findings: list[ScopeFinding] = []
            for place, finding in enumerate(piece.findings):
                if _arrival(finding) < clock_us:
                    findings.append((_arrival(finding), piece.origin, place, finding))
                else:
                    later_findings.append(finding)
            later_controls = [control for control in piece.controls if control.arrival_us >= clock_us]
            controls.extend(control for control in piece.controls if control.arrival_us < clock_us)
            points.extend(point for point in piece.points if point.arrival_us < clock_us)
            later_points = [point for point in piece.points if point.arrival_us >= clock_us]
            if later_findings or later_controls or later_points or piece.moves or piece.paces:
                later = {"findings": later_findings, "controls": later_controls, "points": later_points}
                held.append(msgspec.structs.replace(piece, **later))
        self._held = held
        findings.sort(key=_order)
        controls.sort()
        points.sort(key=_place)
        return [finding for _, _, _, finding in findings], controls, points

    def _heard(self, clock_us: int) -> tuple[list[Tally], list[Pace]]:
        """What arrived before `clock_us` of orders' moves and handoffs' paces; `Incidents` puts it in order."""
        moves: list[Tally] = []
        paces: list[Pace] = []
        held: list[IncidentPiece] = []
        for piece in self._held:
            moves += [move for move in piece.moves if move.arrival_us < clock_us]
            paces += [pace for pace in piece.paces if pace.arrival_us < clock_us]
            later_moves = [move for move in piece.moves if move.arrival_us >= clock_us]
            later_paces = [pace for pace in piece.paces if pace.arrival_us >= clock_us]
            if piece.findings or piece.controls or piece.points or later_moves or later_paces:
                held.append(msgspec.structs.replace(piece, moves=later_moves, paces=later_paces))
        self._held = held
        return moves, paces

    def parts(self) -> dict[str, Part]:
        """Nothing of it is kept apart."""
        return {}

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return sizes_of(
            incidents=self._incidents.sizes(),
            alerting=self._alerting.sizes(),
            series_scores=self._scores.sizes(),
            promotions=self._promotions.sizes(),
        )

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(
            IncidentGroupState(
                self._frontier.snapshot(),
                self._held,
                self._incidents.snapshot(),
                self._alerting.snapshot(),
                self._scores.snapshot(),
                self._promotions.snapshot(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        kept = decoded(state, IncidentGroupState)
        self._frontier.restore(kept.frontier)
        self._held = list(kept.held)
        self._incidents.restore(kept.incidents)
        self._alerting.restore(kept.alerting)
        if kept.scores is not None:
            self._scores.restore(kept.scores)
        if kept.promotions is not None:
            self._promotions.restore(kept.promotions)


def _arrival(finding: ScopeFinding) -> int:
    return finding.signal.arrival_us


def _order(entry: tuple[int, str, int, ScopeFinding]) -> tuple[int, str, int]:
    return entry[:3]


def _place(point: WindowPoint) -> tuple[int, tuple[str, ...]]:
    return point.arrival_us, point.point.series


def _last_us(piece: IncidentPiece) -> int:
    """The last arrival time of what a piece holds."""
    times = [_arrival(finding) for finding in piece.findings]
    times += [control.arrival_us for control in piece.controls]
    times += [point.arrival_us for point in piece.points]
    times += [move.arrival_us for move in piece.moves]
    times += [pace.arrival_us for pace in piece.paces]
    return max(times, default=BEGIN_OF_TIME_US)
