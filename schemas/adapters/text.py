"""Composed text and arithmetic over the cells of a row.

Both name columns in braces: `"{InvoiceNo}-{StockCode}"` is a text, `"-{Quantity} * {UnitPrice}"` a number.
A doubled brace is a brace. Both are compiled once, against the places of the columns in the row.
"""

import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, DecimalException
from itertools import accumulate
from typing import TypeAlias

from schemas.decode import Reason

#: What a row is while its events are made: the cells, in the table's order, then the slots of `BUILTINS`.
Cells: TypeAlias = Sequence[str]
CellText: TypeAlias = Callable[[Cells], str]
CellNumber: TypeAlias = Callable[[Cells], Decimal | None]

#: Names in braces that are not columns: the number of the row, a hash of all its cells as they stand in the
#: file, the file's name, and, where a list is taken apart, the entry at hand and its number from 1.
BUILTINS = ("@row", "@hash", "@file", "@each", "@index")

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d+)?)|\{(?P<column>[^{}]+)\}|(?P<name>[a-z]+)|(?P<sign>[-+*/(),]))")
_FUNCTIONS = {"abs": (1, 1), "min": (2, 9), "max": (2, 9), "round": (1, 2)}
#: No formula that a person writes is longer or deeper; one that is would be too deep for the interpreter's stack.
_MOST_PARTS, _DEEPEST = 300, 30
ACCEPTED_ARITHMETIC = "numbers, {columns}, + - * / ( ), abs(x), min(x, y), max(x, y), round(x, digits)"


class TemplateError(ValueError):
    """A template or a number's formula is not well written."""


class CellError(ValueError):
    """A cell can't be used: why, and in which column. The row becomes a dead letter."""

    def __init__(self, column: str, reason: Reason, detail: str) -> None:
        self.column = column
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class _EmptyError(Exception):
    """A cell of a formula is empty, so it has no value."""


def pieces(template: str) -> list[tuple[bool, str]]:
    """The parts of a template: (True, column) or (False, text).

    Raises:
        TemplateError: a brace is left open, or nothing is between two.
    """
    out: list[tuple[bool, str]] = []
    text = ""
    position = 0
    for found in _PIECE.finditer(template):
        text += template[position : found.start()]
        position = found.end()
        if found[0] in ("{{", "}}"):
            text += found[0][0]
        elif found[1]:
            if text:
                out.append((False, text))
            out.append((True, found[1]))
            text = ""
        else:
            raise TemplateError('has a brace that is not of a "{column}"; write {{ or }} for a brace itself')
    text += template[position:]
    return [*out, (False, text)] if text else out


def columns_of_template(template: str) -> list[str]:
    """The columns a template names."""
    return [text for is_column, text in pieces(template) if is_column]


def compile_template(template: str, place: Callable[[str], CellText]) -> CellText:
    """The text of a template for a row; empty when a column in it is, so that no half an id is made."""
    parts = pieces(template)
    if not any(is_column for is_column, _ in parts):
        constant = "".join(text for _, text in parts)
        return lambda _cells: constant
    if len(parts) == 1:
        return place(parts[0][1])
    if len(parts) == 2 and parts[0][0] != parts[1][0]:
        get = place(next(text for is_column, text in parts if is_column))
        before, after = (parts[0][1], "") if parts[1][0] else ("", parts[1][1])

        def affixed(cells: Cells) -> str:
            text = get(cells)
            return f"{before}{text}{after}" if text else ""

        return affixed
    getters = [place(text) if is_column else None for is_column, text in parts]
    constants = [text for _, text in parts]

    def composed(cells: Cells) -> str:
        out = []
        for getter, constant in zip(getters, constants, strict=True):
            text = constant if getter is None else getter(cells)
            if not text:
                return ""
            out.append(text)
        return "".join(out)

    return composed


def columns_of_number(formula: str) -> list[str]:
    """The columns a formula names; checks how it is written on the way.

    Raises:
        TemplateError: it is not well written.
    """
    columns: list[str] = []

    def place(name: str) -> CellNumber:
        columns.append(name)
        return lambda _cells: None

    compile_number(formula, place)
    return columns


def compile_number(formula: str, place: Callable[[str], CellNumber]) -> CellNumber:
    """The exact decimal value of a formula for a row, None when a cell in it is empty.

    Raises:
        TemplateError: it is not well written.
    """
    parser = _Parser(formula, place)
    value = parser.whole()

    def compute(cells: Cells) -> Decimal | None:
        try:
            return value(cells)
        except _EmptyError:
            return None
        except DecimalException:
            raise CellError(parser.first_column, "schema", f"{formula} has no value for this row") from None

    return compute


_Term: TypeAlias = Callable[[Cells], Decimal]


class _Parser:
    """Recursive descent over sums, products, signs, brackets and functions."""

    def __init__(self, formula: str, place: Callable[[str], CellNumber]) -> None:
        self._place = place
        self._tokens: list[tuple[str, str]] = []
        self.first_column = ""
        position = 0
        while formula[position:].strip():
            found = _TOKEN.match(formula, position)
            if found is None:
                raise TemplateError(
                    f"can't be read from {formula[position:].strip()!r}; accepted: {ACCEPTED_ARITHMETIC}"
                )
            assert found.lastgroup is not None
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()
        self._at = 0

    def whole(self) -> _Term:
        if (deepest := self._depth()) > _DEEPEST:
            raise TemplateError(f"has brackets in brackets in brackets, {deepest:,} deep; at most {_DEEPEST} are taken")
        if len(self._tokens) > _MOST_PARTS:
            words = "numbers, columns, signs and brackets"
            raise TemplateError(f"has {len(self._tokens):,} parts ({words}); at most {_MOST_PARTS} are taken")
        value = self._sum()
        if self._at < len(self._tokens):
            raise self._unexpected()
        return value

    def _depth(self) -> int:
        return max(accumulate({"(": 1, ")": -1}.get(text, 0) for _, text in self._tokens), default=0)

    def _unexpected(self) -> TemplateError:
        near = repr(self._tokens[self._at][1]) if self._at < len(self._tokens) else "its end"
        return TemplateError(f"is not a formula at {near}; accepted: {ACCEPTED_ARITHMETIC}")

    def _take(self, *signs: str) -> str:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "sign" and self._tokens[self._at][1] in signs:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return ""

    def _sum(self) -> _Term:
        value = self._product()
        while sign := self._take("+", "-"):
            value = _add(value, self._product()) if sign == "+" else _subtract(value, self._product())
        return value

    def _product(self) -> _Term:
        value = self._signed()
        while sign := self._take("*", "/"):
            value = _multiply(value, self._signed()) if sign == "*" else _divide(value, self._signed())
        return value

    def _signed(self) -> _Term:
        if self._take("-"):
            inner = self._signed()
            return lambda cells: -inner(cells)
        if self._take("+"):
            return self._signed()
        return self._atom()

    def _atom(self) -> _Term:
        if self._take("("):
            inner = self._sum()
            if not self._take(")"):
                raise self._unexpected()
            return inner
        if self._at >= len(self._tokens) or self._tokens[self._at][0] == "sign":
            raise self._unexpected()
        kind, text = self._tokens[self._at]
        if kind == "name":
            return self._function(text)
        self._at += 1
        if kind == "number":
            constant = Decimal(text)
            return lambda _cells: constant
        self.first_column = self.first_column or text
        get = self._place(text)

        def cell(cells: Cells) -> Decimal:
            value = get(cells)
            if value is None:
                raise _EmptyError
            return value

        return cell

    def _function(self, name: str) -> _Term:
        if name not in _FUNCTIONS:
            raise self._unexpected()
        self._at += 1
        if not self._take("("):
            raise self._unexpected()
        arguments = [self._sum()]
        while self._take(","):
            arguments.append(self._sum())
        least, most = _FUNCTIONS[name]
        if not self._take(")") or not least <= len(arguments) <= most:
            raise self._unexpected()
        if name == "abs":
            return lambda cells: abs(arguments[0](cells))
        if name == "round":
            return _round(arguments)
        choose = min if name == "min" else max
        return lambda cells: choose(argument(cells) for argument in arguments)


def _add(left: _Term, right: _Term) -> _Term:
    return lambda cells: left(cells) + right(cells)


def _subtract(left: _Term, right: _Term) -> _Term:
    return lambda cells: left(cells) - right(cells)


def _multiply(left: _Term, right: _Term) -> _Term:
    return lambda cells: left(cells) * right(cells)


def _divide(left: _Term, right: _Term) -> _Term:
    return lambda cells: left(cells) / right(cells)


def _round(arguments: list[_Term]) -> _Term:
    value = arguments[0]
    digits = arguments[1] if len(arguments) == 2 else lambda _cells: Decimal(0)
    return lambda cells: value(cells).quantize(Decimal(1).scaleb(-int(digits(cells))), ROUND_HALF_EVEN)
