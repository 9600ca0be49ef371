"""A client that sends its orders again and again: a retry storm at a channel."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.breakdowns.places import channel_problem
from scenarios.journal import Fields, Source
from scenarios.orders import Order
from scenarios.retailer import Retailer
from schemas.durations import MINUTE_US, SECOND_US, Duration

_FIRST_COPY = 8_000_000


class DuplicateOrdersParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which channel, which share of its orders comes again, and how.

    `word_for_word`, `same_order` and `new_order` weigh the three ways in which an order comes again: the same message,
    the same order id in a new message, a new order with the same content and idempotency key. `most` is how often one
    order comes again at most, `within` how long after it.
    """

    channel: str = "shop"
    share: float = 0.4
    word_for_word: float = 1.0
    same_order: float = 1.0
    new_order: float = 1.0
    most: int = 3
    within: Duration = Duration(2 * MINUTE_US)


class DuplicateOrders(Breakdown):
    """The OMS knows an order id that it has, so the first two do nothing; a new order is fulfilled like any other.

    Touched are orders whose id came again, and both the new order and the one that it repeats; the money is what came
    too much. Messages that come again word for word harm nobody, and are counted only (`messages_repeated`).
    """

    kind: ClassVar[str] = "duplicate_orders"
    begins: ClassVar[Duration] = at(13)
    ends: ClassVar[Duration] = at(15)
    Parameters = DuplicateOrdersParameters
    parameters: DuplicateOrdersParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse a channel that there is not, and amounts that make no sense."""
        asked = self.parameters
        if not 0 < asked.share <= 1:
            return "share must be above 0 and at most 1"
        if not 1 <= asked.most <= 20:
            return "most must be between 1 and 20"
        if asked.within < SECOND_US:
            return "within must be at least 1s"
        weights = (asked.word_for_word, asked.same_order, asked.new_order)
        if min(weights) < 0 or sum(weights) <= 0:
            return "word_for_word, same_order and new_order must not be negative, and not all be 0"
        return channel_problem(asked.channel)

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - a channel says it all
        """The channel's part of it."""
        return f"{self.kind} at {self.parameters.channel}"

    def install(self, retailer: Retailer) -> None:
        """Listen to what the channel sends."""
        self._retailer = retailer
        self._random = retailer.world.random(self.breakdown_id)
        self._copies = 0
        self._made: set[str] = set()
        retailer.oms.taken.append(self._taken)

    def scope(self) -> Scope:
        """The channel."""
        return {"channel": self.parameters.channel}

    def _taken(self, order: Order, source: Source, fields: Fields) -> None:
        agenda, random, asked = self._retailer.world.agenda, self._random, self.parameters
        ours = order.channel == asked.channel and order.order_id not in self._made
        if not ours or not self.begin_us <= agenda.now < self.end_us or random.random() >= asked.share:
            return
        ways = (self._repeat, self._send_anew, self._order_anew)
        weights = (asked.word_for_word, asked.same_order, asked.new_order)
        number = source.sent
        for _ in range(random.randint(1, asked.most)):
            again = agenda.now + SECOND_US + int(random.random() * (asked.within - SECOND_US))
            agenda.at(again, random.choices(ways, weights)[0], order, source, fields, number)

    def _repeat(self, order: Order, source: Source, fields: Fields, number: int) -> None:
        world = self._retailer.world
        leaves = world.queues["orders-in"].put(world.agenda.now)
        world.journal.repeat(source, number, "order.created", order.created, leaves, fields)
        self.effects["messages_repeated"] += 1
        self.effects_until_us = max(self.effects_until_us, leaves)

    def _send_anew(self, order: Order, source: Source, fields: Fields, number: int) -> None:  # noqa: ARG002 - as _repeat
        leaves = self._retailer.world.send(source, "order.created", fields, "orders-in")
        self.touch(order, order.lines, "orders_sent_again", leaves)

    def _order_anew(self, order: Order, source: Source, fields: Fields, number: int) -> None:  # noqa: ARG002 - as _repeat
        now = self._retailer.world.agenda.now
        self._copies += 1
        copy = order.again(f"SO-{_FIRST_COPY + self._copies}", now)
        self._made.add(copy.order_id)
        self.touch(order, [], "orders_ordered_again", now)
        self.touch(copy, copy.lines, "copies_taken", now)
        self._retailer.oms.take(copy)
