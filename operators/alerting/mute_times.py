"""Hours in which nothing is told, by the clock on the wall of a place."""

from datetime import datetime, timedelta, tzinfo

import msgspec

from operators.alerting.settings import MuteTime
from schemas.adapters.times import read_zone
from schemas.durations import from_us

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class MuteHours(msgspec.Struct, frozen=True):
    """A mute time, ready to be asked."""

    name: str
    days: tuple[str, ...]
    from_minute: int
    until_minute: int
    zone: tzinfo

    def hold(self, instant_us: int) -> bool:
        """Whether it is on; when the zone's clock is put back, an hour of it counts twice."""
        local = from_us(instant_us).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        if self.from_minute < self.until_minute:
            return self.from_minute <= minute < self.until_minute and self._begins_on(local)
        if minute >= self.from_minute:
            return self._begins_on(local)
        return minute < self.until_minute and self._begins_on(local - timedelta(days=1))

    def _begins_on(self, day: datetime) -> bool:
        return not self.days or _DAYS[day.weekday()] in self.days


def mute_hours(declared: MuteTime) -> MuteHours:
    """Read the times and the zone.

    Raises:
        ValueError: a time is not written as one, or there is no such zone.
    """
    times = minute_of_day(declared.from_), minute_of_day(declared.until)
    return MuteHours(declared.name, tuple(declared.days), *times, read_zone(declared.zone))


def minute_of_day(text: str) -> int:
    """`22:30` as minutes since midnight.

    Raises:
        ValueError: it is not written so.
    """
    hours, colon, minutes = text.partition(":")
    numbers = hours + minutes
    if colon and len(hours) == len(minutes) == 2 and numbers.isascii() and numbers.isdigit():
        minute = int(hours) * 60 + int(minutes)
        if int(hours) < 24 and int(minutes) < 60:
            return minute
    raise ValueError('must be a time of day such as "22:30"')
