"""Times as tables write them, held against the standard library."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.adapters.times import FormatError, check_format, read_zone, rfc3339_writer, time_reader
from schemas.durations import rfc3339, to_us

ZONES = [
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "UTC",
]
MOMENTS = st.datetimes(datetime(1950, 1, 2), datetime(2060, 1, 1))  # noqa: DTZ001 - wall clocks
FORMATS = [
    "%m/%d/%Y %H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%d.%m.%Y",
    "%d %b %Y, %H:%M:%S",
    "%A, %d %B %Y %I:%M %p",
    "%Y%m%d%H%M%S",
    "%Y-%m-%dT%H:%M:%S.%f",
]


@given(MOMENTS, st.sampled_from(FORMATS))
@settings(max_examples=300, deadline=None)
def test_directives_read_as_strptime_does(moment: datetime, written: str) -> None:
    text = moment.strftime(written)
    expected = to_us(datetime.strptime(text, written).replace(tzinfo=UTC))
    assert time_reader([written], "UTC")(text) == expected


@given(MOMENTS, st.sampled_from(ZONES))
@settings(max_examples=300, deadline=None)
def test_wall_clocks_are_converted_as_the_zone_database_says(moment: datetime, zone: str) -> None:
    read = time_reader(["iso8601"], zone)
    later = time_reader(["iso8601"], zone, ambiguous="later")
    for probe in (moment, moment + timedelta(hours=7), moment - timedelta(minutes=30)):
        aware = probe.replace(tzinfo=ZoneInfo(zone))
        assert read(probe.isoformat()) == to_us(aware)
        missing = aware.utcoffset() < aware.replace(fold=1).utcoffset()  # type: ignore[operator]
        assert later(probe.isoformat()) == to_us(aware if missing else aware.replace(fold=1))


def test_every_hour_around_a_change_of_clocks() -> None:
    zone = "Europe/Berlin"
    read = time_reader(["iso8601"], zone)
    for start in (datetime(2025, 3, 29), datetime(2025, 10, 25)):  # noqa: DTZ001 - wall clocks
        for minutes in range(0, 3 * 24 * 60, 10):
            wall = start + timedelta(minutes=minutes)
            assert read(wall.isoformat(" ")) == to_us(wall.replace(tzinfo=ZoneInfo(zone)))


@pytest.mark.parametrize(
    ("text", "settings_", "expected"),
    [
        ("2025-10-26 02:30", {}, "2025-10-26T00:30:00Z"),
        ("2025-10-26 02:30", {"ambiguous": "later"}, "2025-10-26T01:30:00Z"),
        (
            "2025-10-26 02:30",
            {"ambiguous": "refuse"},
            "2025-10-26 02:30:00 was shown twice in Europe/Berlin (the clock was set back)",
        ),
        ("2025-03-30 02:30", {}, "2025-03-30T01:30:00Z"),
        (
            "2025-03-30 02:30",
            {"nonexistent": "refuse"},
            "2025-03-30 02:30:00 was never shown in Europe/Berlin (the clock was set forward)",
        ),
    ],
)
def test_hours_that_are_shown_twice_or_never(text: str, settings_: dict[str, str], expected: str) -> None:
    read = time_reader(["iso8601"], "Europe/Berlin", **settings_)  # type: ignore[arg-type]
    try:
        found = rfc3339(read(text))
    except ValueError as error:
        found = str(error)
    assert found == expected


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        ("%m/%d/%Y %H:%M", "10/2/2017 9:05", "2017-10-02T09:05:00Z"),
        ("%m/%d/%Y %H:%M", "02/30/2017 9:05", None),
        ("%m/%d/%Y %H:%M", "1/2/2017 24:00", None),
        ("%m/%d/%Y", "1/2/2017 10:00", None),
        ("%d.%m.%y", "1.2.68", "2068-02-01T00:00:00Z"),
        ("%d.%m.%y", "1.2.69", "1969-02-01T00:00:00Z"),
        ("%d-%b-%Y", "5-sep-2020", "2020-09-05T00:00:00Z"),
        ("%d-%b-%Y", "5-abc-2020", None),
        ("%Y-%m-%d %I:%M %p", "2020-01-01 12:05 AM", "2020-01-01T00:05:00Z"),
        ("%Y-%m-%d %I:%M %p", "2020-01-01 13:05 AM", None),
        ("%Y-%m-%d %H:%M %z", "2020-01-01 10:00 +0530", "2020-01-01T04:30:00Z"),
        ("%Y-%m-%d %H:%M %z", "2020-01-01 10:00 -05:00", "2020-01-01T15:00:00Z"),
        ("%Y-%m-%d %H:%M%z", "2020-01-01   10:00Z", "2020-01-01T10:00:00Z"),
        ("%Y-%m-%d %H:%M:%S.%f", "2020-01-01 10:00:00.1234567", "2020-01-01T10:00:00.123456Z"),
        ("%Y-%m-%d %H:%M:%S", "2016-12-31 23:59:60", "2016-12-31T23:59:59Z"),
        ("%-d/%-m/%Y 100%%", "1/2/2020 100%", "2020-02-01T00:00:00Z"),
        ("epoch_s", "1577836800", "2020-01-01T00:00:00Z"),
        ("epoch_s", "1577836800.25", "2020-01-01T00:00:00.250000Z"),
        ("epoch_ms", "1577836800123", "2020-01-01T00:00:00.123000Z"),
        ("epoch_us", "1577836800000001", "2020-01-01T00:00:00.000001Z"),
        ("epoch_s", "-1", "1969-12-31T23:59:59Z"),
        ("epoch_s", "1577836800123000", None),
        ("epoch_s", "2020-01-01", None),
        ("iso8601", "2019-05-20 07:07:47.000Z", "2019-05-20T07:07:47Z"),
        ("iso8601", "2019-05-20T07:07:47+02:00", "2019-05-20T05:07:47Z"),
        ("iso8601", "2019-05-20", "2019-05-20T00:00:00Z"),
        ("iso8601", "9999-12-31T23:59:59-12:00", None),
        ("iso8601", "0001-01-01T00:00:00", None),
        ("iso8601", "yesterday", None),
    ],
)
def test_formats(written: str, text: str, expected: str | None) -> None:
    read = time_reader([written], "UTC")
    if expected is None:
        with pytest.raises(ValueError, match=r"is not a time written as|outside of the years"):
            read(text)
    else:
        assert rfc3339(read(text)) == expected
        assert rfc3339(read(text)) == expected, "remembered"


def test_the_first_format_that_fits_counts() -> None:
    assert rfc3339(time_reader(["%m/%d/%Y", "%d/%m/%Y"], "UTC")("3/4/2025")) == "2025-03-04T00:00:00Z"
    assert rfc3339(time_reader(["%m/%d/%Y", "%d/%m/%Y"], "UTC")("31/4/2025"[:2] + "/3/2025")) == "2025-03-31T00:00:00Z"


@pytest.mark.parametrize(
    "written",
    ["%Q", "%H:%M", "%Y-%m", "%Y-%m-%d %I", "%Y-%m-%d %H:%M %p", "%Y-%m-%d %d", "%Y-%m-%d %", "%Y-%m-%d %H %H"],
)
def test_formats_that_can_not_be_used(written: str) -> None:
    with pytest.raises(FormatError):
        check_format(written)


def test_zones() -> None:
    assert datetime(2020, 1, 1, tzinfo=read_zone("+05:30")).utcoffset() == timedelta(hours=5, minutes=30)
    for text in ("Mars/Olympus", "+25:00", "../etc/passwd", ""):
        with pytest.raises(FormatError):
            read_zone(text)


@given(st.integers(to_us(datetime(1, 1, 2, tzinfo=UTC)), to_us(datetime(9999, 12, 30, tzinfo=UTC))))
def test_times_are_written_as_rfc3339(instant_us: int) -> None:
    write = rfc3339_writer()
    assert write(instant_us) == write(instant_us) == rfc3339(instant_us)
