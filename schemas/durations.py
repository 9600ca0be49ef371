"""Durations and instants as people write them, held as whole microseconds.

All time inside Andon is an `int` of microseconds (suffix `_us`), UTC since 1970: comparisons of deadlines
are exact, and two ways to reach the same instant give the same number (see docs/decisions/0002).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, TypeAlias

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 3_600 * SECOND_US
DAY_US = 86_400 * SECOND_US

#: Later than any instant that can be written; "everything has arrived".
END_OF_TIME_US = 1 << 62
#: Earlier than any instant that can be written.
BEGIN_OF_TIME_US = -(1 << 62)

#: A length of time is a thousand years at most, so that no sum of some of them and an instant passes 64 bits.
LONGEST_US = 365_250 * DAY_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_US = {"ms": 1_000, "s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_WHOLE = re.compile(r"^\s*(?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w)\s*)+$")


class Duration(int):
    """A length of time in microseconds, written `90s`, `15m`, `1h30m`, `2d`."""

    ACCEPTS: ClassVar[str] = 'a duration such as "90s", "15m", "1h30m" or "2d"'

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Read a duration.

        Raises:
            ValueError: it is not written as one, or is longer than a thousand years.
        """
        if not _WHOLE.match(text):
            raise ValueError(f"Expected {cls.ACCEPTS}, got {text!r}")
        parts = [float(number) * _UNITS_US[unit] for number, unit in _PART.findall(text)]
        if sum(parts) > LONGEST_US:
            raise ValueError(f'must be at most "{LONGEST_US // DAY_US}d" (a thousand years)')
        return cls(sum(map(round, parts)))

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self / SECOND_US

    @property
    def written(self) -> str:
        """As a person would write it in settings, so that `parse` reads this length from it: `1h30m`, `365d`."""
        parts, rest = [], int(self)
        for unit in ("d", "h", "m", "s"):
            count, rest = divmod(rest, _UNITS_US[unit])
            parts += [f"{count}{unit}"] if count else []
        parts += [f"{rest / 1_000:g}ms"] if rest else []
        return "".join(parts) or "0s"


@dataclass(frozen=True)
class Length:
    """What an annotated duration must be beyond being one: `least_us` to `most_us` long."""

    least_us: int = 0
    most_us: int = LONGEST_US

    def fits(self, length_us: int) -> bool:
        """Whether a length is one of these."""
        return self.least_us <= length_us <= self.most_us

    def __str__(self) -> str:
        """In words: `longer than 0`, `of 60 s or more`, `up to 24 h`; empty where any length is."""
        words = "longer than 0" if self.least_us == 1 else f"of {people_duration(self.least_us)} or more"
        most = f"up to {people_duration(self.most_us)}"
        return " and ".join([words] * (self.least_us > 0) + [most] * (self.most_us < LONGEST_US))


#: A duration that would ruin the job if it were none: how often something is done, how long something is kept.
Lasting: TypeAlias = Annotated[Duration, Length(1)]


class Instant(int):
    """A point in time in microseconds since 1970 UTC, written as RFC 3339 or a plain date (midnight UTC)."""

    ACCEPTS: ClassVar[str] = 'a time with zone such as "2026-11-21T06:00:00Z", or a date "2026-11-21" (UTC)'

    @classmethod
    def parse(cls, text: str) -> "Instant":
        """Read an instant.

        Raises:
            ValueError: it is not written as one, or has no zone.
        """
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"Expected {cls.ACCEPTS}, got {text!r}") from None
        if moment.tzinfo is None:
            if len(text) > 10:
                raise ValueError(f"Expected {cls.ACCEPTS}, got {text!r}")
            moment = moment.replace(tzinfo=UTC)
        return cls(to_us(moment))


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime; exact."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds


def from_us(instant_us: int) -> datetime:
    """The aware UTC datetime of `instant_us`, clipped to what a datetime can hold (years 1 to 9999)."""
    try:
        return _EPOCH + timedelta(microseconds=instant_us)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if instant_us > 0 else datetime.min.replace(tzinfo=UTC)


def rfc3339(instant_us: int) -> str:
    """`instant_us` as RFC 3339 in UTC, microseconds only where there are any."""
    return from_us(instant_us).isoformat().replace("+00:00", "Z")


def people_time(instant_us: int) -> str:
    """`instant_us` as people read it, in UTC to the second: `2026-03-02 11:55:51Z`."""
    return from_us(instant_us).strftime("%Y-%m-%d %H:%M:%SZ")


def people_duration(length_us: float) -> str:
    """A length of time as a person says it: `45 s`, `12 min`, `3 h 20 min`, `4 d 2 h`."""
    sign = "-" if length_us < 0 else ""
    seconds = abs(length_us) / SECOND_US
    if seconds < 120:
        return f"{sign}{seconds:.3g} s"
    if seconds < 7_200:
        return f"{sign}{seconds / 60:.0f} min"
    if seconds < 172_800:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{sign}{hours} h {minutes} min" if minutes else f"{sign}{hours} h"
    days, hours = divmod(round(seconds / 3_600), 24)
    return f"{sign}{days} d {hours} h" if hours else f"{sign}{days} d"
