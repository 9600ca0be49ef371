"""When an order will be with its customer: what is left of its way, at the pace that its handoffs have now."""

from collections.abc import Sequence

import msgspec

from operators.detectors.records import CANCELLED, Standing
from operators.incidents.paces import Paces
from operators.incidents.stretches import Stretch
from operators.incidents.survival import NOTHING_SEEN
from operators.process_map import Handoff
from operators.quantiles import bucket
from schemas.durations import SECOND_US

#: What a carrier that put a delivery off says of the new time is taken to be right within this share of the wait.
_CARRIERS_WORD = 0.25
#: No bound is narrower: orders are predicted anew every five minutes, so what is read is half of that old on average.
_LEAST_ERROR_S = 150.0


class Arrival(msgspec.Struct, frozen=True):
    """When an order is expected, event time in microseconds, and half of the 80 % interval around it."""

    at_us: int
    error_s: float


class Journeys:
    """Predicts from where an order stands.

    The order has been in a handoff for some time. How long it takes there is distributed as the passes through that
    handoff, in that scope at present, which take longer than that (what is left of a pass has the distribution of
    passes given that they are not over: conditional, or residual, life); how long the handoffs behind it take, as they
    do at present. Expected is the median of the sum, the bound holds 80 % of it, as if the handoffs were independent.

    Where the figures are from: as `Paces.stretch` says; where it knows nothing, the map's target, give or take the
    distance to its deadline (or itself); where it has none, a time that the order carries: `dispatch_by`, the carrier's
    `expected_at`, give or take what is left until then. Which carrier will take an order can't be known before one did:
    taken are the passes of all that fit between `dispatch_by` and the promise, for which it was made. A carrier that
    put a delivery off is believed.

    Cost: a look-up for each handoff that is left, `Paces` has the rest.
    """

    def __init__(self, path: Sequence[Handoff], paces: Paces) -> None:
        self._path, self._paces = path, paces

    def is_over(self, standing: Standing) -> bool:
        """Whether nothing is left of the way."""
        return standing.link == CANCELLED or standing.link >= len(self._path)

    def arrival(self, standing: Standing, promised_us: int, now_us: int) -> Arrival | None:
        """When the order will be there, or was; None where nothing can be said or it was cancelled."""
        if standing.link == CANCELLED:
            return None
        if standing.link >= len(self._path):
            return Arrival(standing.since_us, 0.0)
        if standing.is_put_off and standing.expected_us is not None and standing.expected_us > now_us:
            wait_s = (standing.expected_us - now_us) / SECOND_US
            return Arrival(standing.expected_us, round(_CARRIERS_WORD * wait_s, 3))
        way: Stretch | None = None
        for link in range(standing.link, len(self._path)):
            start_us = standing.since_us + (0 if way is None else round(way.middle_s * SECOND_US))
            stretch = self._stretch(link, standing, promised_us, start_us, now_us)
            if stretch is None:
                return None
            way = stretch if way is None else way.then(stretch)
        assert way is not None, "an order that is over has been told of above"
        way = way.at_least((now_us - standing.since_us) / SECOND_US)
        return Arrival(standing.since_us + round(way.middle_s * SECOND_US), round(max(way.error_s, _LEAST_ERROR_S), 3))

    def _stretch(self, link: int, standing: Standing, promised_us: int, start_us: int, now_us: int) -> Stretch | None:
        """How long the handoff takes that is begun at `start_us`."""
        handoff, is_here = self._path[link], link == standing.link
        age_s = max(0, now_us - start_us) / SECOND_US if is_here else 0.0
        most_s = None
        if not is_here and link == len(self._path) - 1 and standing.dispatch_by_us is not None:
            most_s = max(0, promised_us - standing.dispatch_by_us) / SECOND_US
        known = self._paces.stretch(handoff.name, standing.scope if is_here else "", age_s, most_s)
        told = known or _declared(handoff, standing, start_us, age_s, most_s)
        return _as_long_again(age_s) if told is None and age_s and self._paces.knows(handoff.name) else told


def _declared(
    handoff: Handoff, standing: Standing, start_us: int, age_s: float, most_s: float | None
) -> Stretch | None:
    """What the map or the order itself says of a handoff of which no passes are known."""
    target, deadline = handoff.target, handoff.deadline
    if target is not None or deadline is not None:
        middle_s = (target if target is not None else deadline or 0) / SECOND_US
        error_s = deadline / SECOND_US - middle_s if target is not None and deadline is not None else middle_s
        return Stretch.about(middle_s, error_s) if age_s < middle_s else _as_long_again(age_s)
    field = handoff.deadline_at.field if handoff.deadline_at is not None else ""
    due_us = {"dispatch_by": standing.dispatch_by_us, "expected_at": standing.expected_us}.get(field)
    if due_us is not None:
        left_s = max(0, due_us - start_us) / SECOND_US
        return Stretch.about(left_s, left_s - age_s) if age_s < left_s else _as_long_again(age_s)
    return None if most_s is None else Stretch.about(most_s / 2, most_s / 2)


def _as_long_again(age_s: float) -> Stretch:
    """What is to be expected where nothing else says anything: as long again, in the mean."""
    return NOTHING_SEEN.rest(bucket(age_s))
