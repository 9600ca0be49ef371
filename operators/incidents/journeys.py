"""When an order will be with its customer: what is left of its way, at the pace that its handoffs have now."""

from collections.abc import Sequence
from math import hypot

import msgspec

from operators.detectors.records import CANCELLED, Standing
from operators.incidents.paces import Paces, Stretch
from operators.process_map import Handoff
from schemas.durations import SECOND_US

#: What a carrier that put a delivery off says of the new time is taken to be right within this share of the wait.
_CARRIERS_WORD = 0.25


class Arrival(msgspec.Struct, frozen=True):
    """When an order is expected, event time in microseconds, and half of the 80 % interval around it."""

    at_us: int
    error_s: float


class Journeys:
    """Predicts from where an order stands.

    The order has been in a handoff for some time. Expected is the median of the passes through that handoff, in that
    scope at present, which took longer than that (what is left of a pass has the distribution of passes given that they
    are not over: conditional, or residual, life), and the medians of the handoffs behind it, added up. The sum of
    medians is the median of the sum where the distributions are symmetric; for latencies, which are skewed, it is
    somewhat early.

    The bound is the root of the sum of the squares of half the distances between the 10 % and 90 % quantiles: what it
    would be for handoffs whose latencies are independent and normal.

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
        at_us, error_s = standing.since_us, 0.0
        for link in range(standing.link, len(self._path)):
            stretch = self._stretch(link, standing, promised_us, at_us, now_us)
            if stretch is None:
                return None
            at_us, error_s = at_us + round(stretch.middle_s * SECOND_US), hypot(error_s, stretch.error_s)
        return Arrival(max(at_us, now_us), round(error_s, 3))

    def _stretch(self, link: int, standing: Standing, promised_us: int, start_us: int, now_us: int) -> Stretch | None:
        """How long the handoff takes that is begun at `start_us`."""
        handoff, is_here = self._path[link], link == standing.link
        age_s = max(0, now_us - start_us) / SECOND_US if is_here else 0.0
        most_s = None
        if not is_here and link == len(self._path) - 1 and standing.dispatch_by_us is not None:
            most_s = max(0, promised_us - standing.dispatch_by_us) / SECOND_US
        known = self._paces.stretch(handoff.name, standing.scope if is_here else "", age_s, most_s)
        return known or _declared(handoff, standing, start_us, age_s, most_s)


def _declared(
    handoff: Handoff, standing: Standing, start_us: int, age_s: float, most_s: float | None
) -> Stretch | None:
    """What the map or the order itself says of a handoff of which no passes are known."""
    target, deadline = handoff.target, handoff.deadline
    if target is not None or deadline is not None:
        middle_s = (target if target is not None else deadline or 0) / SECOND_US
        error_s = deadline / SECOND_US - middle_s if target is not None and deadline is not None else middle_s
        return Stretch(middle_s, error_s) if age_s < middle_s else Stretch(2 * age_s, age_s)
    field = handoff.deadline_at.field if handoff.deadline_at is not None else ""
    due_us = {"dispatch_by": standing.dispatch_by_us, "expected_at": standing.expected_us}.get(field)
    if due_us is not None:
        left_s = max(0, due_us - start_us) / SECOND_US
        return Stretch(left_s, max(0.0, left_s - age_s)) if age_s < left_s else Stretch(2 * age_s, age_s)
    return None if most_s is None else Stretch(most_s / 2, most_s / 2)
