"""Topic `erp`: what the ERP booked or refused."""

from typing import Literal

from schemas.topics.base import Currency, EventBase, Id, Label, Money, Text

PostingType = Literal[
    "goods_issue", "goods_receipt", "invoice", "payment", "credit_memo", "refund", "transfer", "reversal"
]


class PostingRecorded(EventBase, frozen=True, kw_only=True, gc=False, tag="posting.recorded"):
    """The ERP booked it. `reference` is the id of the case that the posting is about."""

    posting_id: Id
    posting_type: PostingType
    reference: Id
    order_id: Id | None = None
    amount: Money | None = None
    currency: Currency | None = None
    node: Id | None = None


class PostingFailed(EventBase, frozen=True, kw_only=True, gc=False, tag="posting.failed"):
    """The ERP refused the booking."""

    posting_type: PostingType
    reference: Id
    interface: Id
    error_code: Label
    message: Text | None = None
