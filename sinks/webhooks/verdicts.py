"""What an answer means for the alert: delivered, try again (and when), never, or never to this endpoint again.

2xx is delivered; 408, 425, 429 and 5xx are tried again, as is no answer at all, or none that is final (1xx); 410 says
that the endpoint is gone; all else (redirects, which are not followed, and the other 4xx) would be answered the same
again.
"""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from schemas.durations import SECOND_US, to_us

_AGAIN = (408, 425, 429)
_GONE = 410
_MOST_SECONDS = 10_000_000


class Answer(msgspec.Struct, frozen=True):
    """What came back: a status with headers (names in lower case) and the beginning of the body, or `error`."""

    status: int | None = None
    headers: dict[str, str] = {}
    text: str = ""
    error: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """`not_before_us`: the endpoint asked for nothing until then."""

    outcome: Literal["delivered", "retrying", "rejected", "disabled"]
    detail: str
    not_before_us: int | None = None


def verdict_of(answer: Answer, now_us: int, longest_us: int) -> Verdict:
    """What to do; a time that the endpoint asked for counts up to `longest_us` from now."""
    status = answer.status
    if status is None:
        return Verdict("retrying", answer.error)
    detail = f"HTTP {status}" + (f": {answer.text}" if answer.text else "")
    if 200 <= status < 300:
        return Verdict("delivered", f"HTTP {status}")
    if status == _GONE:
        return Verdict("disabled", detail)
    if 300 <= status < 400:
        return Verdict("rejected", f"HTTP {status}: redirects are not followed")
    if status < 200 or status >= 500 or status in _AGAIN:
        asked_us = retry_after_us(answer.headers, now_us)
        return Verdict("retrying", detail, None if asked_us is None else min(asked_us, now_us + longest_us))
    return Verdict("rejected", detail)


def retry_after_us(headers: Mapping[str, str], now_us: int) -> int | None:
    """When `Retry-After` (seconds, or an HTTP date) allows the next request; None where it says nothing usable."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return now_us + min(int(text[:12]), _MOST_SECONDS) * SECOND_US
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return to_us(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
