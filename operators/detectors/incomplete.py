"""Orders that lack what the business needs in them: metric `incomplete_order` by channel."""

from collections.abc import Mapping

import msgspec

from operators.detectors.capture import CaptureSettings, impact_of, order_signal
from operators.detectors.events import Collected, EventDetector, Handler
from operators.detectors.kept import read_kept
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateWatch, Seen
from operators.detectors.records import ScopesOf
from operators.detectors.shape import FIELDS, Shapes, missing_of, names_of, shape_of
from schemas.events import Arrived, EventBase, OrderCreated

METRIC = "incomplete_order"


class IncompleteState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `IncompleteOrders`."""

    version: int
    channels: dict[str, Shapes]
    whole: Shapes


class IncompleteOrders(EventDetector):
    """Finds orders that lack a field which their channel's orders must have, or used to have (interface group).

    Memory: a count for each channel and shape, of which there are at most 2^9. Cost: some 3 µs an order.
    """

    NAME = "incomplete_order"
    VERSION = 1

    def __init__(self, policy: Policy[CaptureSettings]) -> None:
        super().__init__()
        self._policy = policy
        self._channels: dict[str, Shapes] = {}
        self._scopes = ScopesOf("channel")
        self._whole = Shapes()

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {OrderCreated: self._created}

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {"shapes": sum(len(own.counts) + len(own.fresh) for own in self._channels.values())}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return msgspec.msgpack.encode(IncompleteState(self.VERSION, self._channels, self._whole))

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        kept = read_kept(state, IncompleteState, self.VERSION, self.NAME)
        self._channels, self._whole = dict(kept.channels), kept.whole

    def _created(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCreated)
        channel = event.channel or ""
        scope = self._scopes[channel]
        settings = self._policy.of(scope, event.region or "")
        own = self._channels.get(channel)
        if own is None:
            own = self._channels[channel] = Shapes()
        shape = shape_of(event)
        if settings.required:
            missing = [name for name in settings.required if name in FIELDS and name not in names_of(shape)]
        else:
            missing = names_of(missing_of(shape, own, self._whole))
        for shapes, required in ((own, self._whole.required), (self._whole, 0)):
            shapes.add(shape)
            if shapes.due(arrived.arrival_us, settings.learn_from, settings.learn_every):
                shapes.fold(arrived.arrival_us, settings.carried, required)
        if not missing:
            out.good(METRIC, scope, arrived.arrival_us)
            return
        impact = impact_of(event)
        out.bad(METRIC, scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)
        said = ", ".join(missing)
        sentence = (
            f"Order {event.order_id} came without {said}, which orders of {channel or 'this retailer'} must have."
        )
        words = (f"{said} in every order", f"no {said}", sentence)
        out.signal(order_signal(self.NAME, METRIC, arrived, words, [event.event_id]))


def incomplete_watch(policy: Policy[RateRule]) -> RateWatch:
    """The second part: too many orders of a channel are incomplete."""
    return RateWatch("incomplete_orders", "incomplete_orders", METRIC, policy, _words)


def _words(seen: Seen) -> tuple[str, str, str]:
    expected = f"{seen.usual:.1%} of orders incomplete"
    observed = f"{seen.bad:.0f} of {seen.total:.0f} in {seen.within}"
    where = seen.where or "all orders"
    if seen.closed:
        return expected, observed, f"Orders of {where} are complete again; {seen.cases} were not."
    sentence = f"Orders of {where} come without fields that the business needs: {observed}, {seen.cases} in all."
    return expected, observed, sentence
