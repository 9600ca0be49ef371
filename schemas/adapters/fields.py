"""What the fields of the contract hold, and how a cell's text becomes such a value.

`fields_of` says for each event type what a mapping may fill; the `read_` functions turn text into the JSON
value of a kind of field and raise ValueError, in words, for a text they can't use.
"""

import functools
import math
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec

from schemas.events import EVENT_TYPES, Money, OrderLine, ShipmentLine, SupplyLine

Kind: TypeAlias = Literal["text", "money", "number", "whole", "time", "texts", "lines"]
Reader: TypeAlias = Callable[[str], Any]

#: Filled by a rule's own keys, not by `set`.
OWN_KEYS = {
    "event_id": "id",
    "occurred_at": "time",
    "recorded_at": "recorded",
    "version": "nothing: it is always 1",
}
_REMEMBERED = 65_536
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_MONEY = re.compile(r"-?\d{1,14}(\.\d{1,6})?")


class Field(msgspec.Struct, frozen=True):
    """One field of an event type or of its lines."""

    name: str
    kind: Kind
    required: bool
    hint: Any

    def accepts(self, value: object) -> str:
        """Why the contract does not take `value` for this field; empty when it does."""
        try:
            msgspec.convert(value, self.hint, strict=self.kind != "time")
        except (msgspec.ValidationError, ValueError) as error:
            choices = get_args(self.hint) if get_origin(self.hint) is Literal else ()
            if choices:
                return f"must be one of {', '.join(str(choice) for choice in choices)}"
            return f"the field {self.name} takes {DESCRIPTION[self.kind]} ({error})"
        return ""


DESCRIPTION: dict[Kind, str] = {
    "text": "a text",
    "money": 'an amount of at most 14 digits and 6 decimals, such as "12.50"',
    "number": "a number",
    "whole": "a whole number",
    "time": "a time",
    "texts": "a list of texts",
    "lines": "a list of lines",
}


@functools.cache
def fields_of(type_name: str) -> dict[str, Field]:
    """The fields of an event type that a mapping may set, by name."""
    return {name: field for name, field in _fields(EVENT_TYPES[type_name]).items() if name not in OWN_KEYS}


@functools.cache
def line_fields_of(type_name: str) -> dict[str, Field]:
    """The fields of a line of an event type; empty where it has no lines."""
    lines = fields_of(type_name).get("lines")
    if lines is None:
        return {}
    element = get_args(lines.hint)[0]
    assert element in (OrderLine, ShipmentLine, SupplyLine)
    return _fields(element)


def _fields(record: type[msgspec.Struct]) -> dict[str, Field]:
    hints = get_type_hints(record, include_extras=True)
    out = {}
    for field in msgspec.structs.fields(record):
        hint = _without_none(hints[field.name])
        out[field.name] = Field(field.name, _kind(hint), field.required, hint)
    return out


def _without_none(hint: Any) -> Any:  # noqa: ANN401 - a type expression
    parts = [part for part in get_args(hint) if part is not type(None)]
    optional = len(parts) == 1 and len(get_args(hint)) == 2 and type(None) in get_args(hint)
    return parts[0] if optional else hint


def _kind(hint: Any) -> Kind:  # noqa: ANN401 - a type expression
    if hint == Money:
        return "money"
    if get_origin(hint) is list:
        element = get_args(hint)[0]
        return "lines" if isinstance(element, type) and issubclass(element, msgspec.Struct) else "texts"
    plain = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    if plain is datetime:
        return "time"
    if plain is float:
        return "number"
    if plain is int:
        return "whole"
    assert plain is str or get_origin(plain) in (Literal, Union), plain
    return "text"


def number_normaliser(decimal: str, thousands: str) -> Reader:
    """From a number as the table writes it to one with a point and nothing else.

    The reader raises ValueError for what is written otherwise: read over, a sign that stands where it can't would make
    1990 of 19.90.
    """
    if decimal == "." and not thousands:
        return lambda text: text
    point, sign = re.escape(decimal), re.escape(thousands)
    whole = rf"[1-9]\d{{0,2}}(?:{sign}\d{{2,3}})*{sign}\d{{3}}|\d+" if thousands else r"\d+"
    written = re.compile(rf"[+-]?(?:(?:{whole})(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?")
    words = f'decimal = "{decimal}"' + (f' and thousands = "{thousands}"' if thousands else "")

    def normalise(text: str) -> str:
        if written.fullmatch(text) is None:
            raise ValueError(f"{text!r} is not a number written with {words}")
        if thousands:
            text = text.replace(thousands, "")
        return text.replace(decimal, ".")

    return normalise


def read_decimal(text: str) -> Decimal:
    """An exact number; blanks inside, `NaN` and the like are none."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a number")
    return Decimal(text)


def read_number(text: str) -> int | float:
    """A finite number, whole where it is written so."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def read_whole(text: str) -> int:
    """A whole number, also when written `3.0`."""
    value = read_number(text)
    if isinstance(value, float):
        raise ValueError(f"{text!r} is not a whole number")  # noqa: TRY004 - the text is judged, not its type
    return value


def read_money(text: str) -> str:
    """An amount as the contract writes it, at most 6 decimals."""
    return text if _MONEY.fullmatch(text) else write_money(read_decimal(text))


def write_money(amount: Decimal) -> str:
    """A decimal as an amount of the contract: rounded to 6 decimals, no exponent, no zeros at the end."""
    if abs(amount) >= Decimal(10) ** 14:
        raise ValueError(f"{amount} is too large an amount")
    shown = f"{round(amount, 6):f}"
    if "." in shown:
        shown = shown.rstrip("0").rstrip(".")
    return "0" if shown in ("-0", "") else shown


def write_number(number: Decimal) -> int | float:
    """A decimal as a JSON number."""
    value = float(number)
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def remembered(read: Reader) -> Reader:
    """`read`, with the last values kept: cells repeat. Memory: at most 65,536 texts."""
    known: dict[str, Any] = {}

    def get(text: str) -> Any:  # noqa: ANN401 - whatever `read` gives
        value = known.get(text)
        if value is None:
            value = read(text)
            if len(known) >= _REMEMBERED:
                known.clear()
            known[text] = value
        return value

    return get
