"""Figures and names as the page says them."""

from collections.abc import Mapping

from schemas.durations import SECOND_US, from_us, people_duration

NOTHING = "\N{EN DASH}"


def money(value: float, currency: str) -> str:
    """`16,314 EUR`; with cents where it is less than 100."""
    return f"{value:,.{0 if abs(value) >= 100 else 2}f} {currency or '(no currency)'}"


def most_and_rest(values: Mapping[str, float]) -> tuple[str, str]:
    """The amount in the currency with most, and the others; they are never added up."""
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    said = [money(value, currency) for currency, value in ordered if value]
    return (said[0], ", ".join(said[1:])) if said else (NOTHING, "")


def duration(length_s: float | None) -> str:
    """`12 min`; a dash where it is not known."""
    return NOTHING if length_s is None else people_duration(length_s * SECOND_US)


def moment(instant_us: int | None) -> str:
    """`2 Mar 12:20`, UTC; a dash for none."""
    return NOTHING if instant_us is None else f"{from_us(instant_us):%-d %b %H:%M}"


def day(instant_us: int) -> str:
    """`Mon 2 March 2026, 00:00`."""
    return f"{from_us(instant_us):%a %-d %B %Y, %H:%M}"


def kind(name: str) -> str:
    """`queue_saturation` as `Queue saturation`."""
    return name.replace("_", " ").capitalize()


def place(scope: Mapping[str, str]) -> str:
    """`queue store-reservations`; fields as the incident has them."""
    return ", ".join(f"{field.replace('_', ' ')} {value}" for field, value in scope.items())


def count(number: int, what: str) -> str:
    """`1 order`, `416 orders`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def cut(words: str, most: int) -> str:
    """The beginning of it, where it is too long."""
    return words if len(words) <= most else words[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
