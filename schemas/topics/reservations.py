"""Topic `reservations`: stock that is promised to orders."""

from schemas.topics.base import EventBase, Id, Quantity, Text, Time


class _Reservation(EventBase, frozen=True, kw_only=True, gc=False):
    reservation_id: Id
    order_id: Id
    sku: Id
    node: Id
    qty: Quantity


class ReservationCreated(_Reservation, frozen=True, kw_only=True, gc=False, tag="reservation.created"):
    """Stock of a node is promised to an order."""

    line_id: Id | None = None
    expires_at: Time | None = None


class ReservationReleased(_Reservation, frozen=True, kw_only=True, gc=False, tag="reservation.released"):
    """The promise is given back."""

    reason: Text | None = None


class ReservationRejected(_Reservation, frozen=True, kw_only=True, gc=False, tag="reservation.rejected"):
    """The node refuses the reservation."""

    reason: Text | None = None


class ReservationConsumed(_Reservation, frozen=True, kw_only=True, gc=False, tag="reservation.consumed"):
    """The reserved stock left for the order."""

    reason: Text | None = None
