r"""How the command line prints a query's answer: a table for people, JSON and CSV for machines.

Exact in all three: integers and decimals digit by digit, times in UTC with `Z`, text that is not UTF-8 with
its odd bytes as `\xNN`. NULL is a dash in a table, `null` in JSON, empty in CSV. JSON has no NaN and no
infinity: null.
"""

import csv
import datetime as dt
import io
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import orjson
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataflows.printable import printable
from sinks.clickhouse.store import Answer

#: What SQL does not read as words: texts, quoted names, comments.
_UNREAD = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|"
    r"\u2018[^\u2019]*\u2019|\u201c[^\u201d]*\u201d|(?<![\w$])\$(\w*)\$.*?\$\1\$|"
    r"--[^\n]*|//[^\n]*|#[ !][^\n]*|/\*.*?\*/",
    re.DOTALL,
)
#: How a clause begins, where the engine writes a statement out: one a line, none of them within a text or a name.
_OUTPUT = re.compile(r"^(?:INTO OUTFILE|FORMAT) ", re.MULTILINE)
_WRITES = re.compile(r"^(?:INSERT INTO|CREATE|REPLACE|ATTACH) ", re.MULTILINE)
_NUMBER = re.compile(r"^(Nullable\(|LowCardinality\()*(U?Int|Float|BFloat|Decimal)")
_LONGEST_CELL = 300
_SANE_WIDTH = 40
_GAP = 3
_NULL = "\N{EN DASH}"


def statement(query: str) -> str:
    """The one statement of `query`, without the `;` and what comments follow it.

    Raises:
        click.UsageError: there is none, or more than one (the embedded engine would give the rows of all as those of
            the first).
    """
    words = _UNREAD.sub(_hidden, query)
    first, *others = words.split(";")
    if not first.strip():
        raise click.UsageError("there is no query; give one, or - and one on standard input")
    if any(other.strip() for other in others):
        raise click.UsageError("these are several statements; give them one at a time")
    return query[: len(first)]


def check_that_it_reads(written_out: str) -> None:
    """Refuse what a read-only engine still carries out; `written_out` is the statement as `Store.written_out` has it.

    Raises:
        click.UsageError: it says where its answer goes (FORMAT, INTO OUTFILE), which is the options' business here; it
            is an insert, or makes a temporary table with rows in it: both can go into files and URLs.
    """
    if _WRITES.search(written_out):
        raise click.UsageError("this only reads; what writes goes through `andon replay` and `andon run`")
    if _OUTPUT.search(written_out):
        raise click.UsageError("leave FORMAT and INTO OUTFILE out; --json and --csv choose the form, > FILE the place")


def _hidden(unread: re.Match[str]) -> str:
    """As long as it was, so that places stay: a comment as blanks, a text or a name as something."""
    return ("_" if unread[0][0] in "'\"`$\u2018\u201c" else " ") * len(unread[0])


def as_table(answer: Answer, console: Console | None = None) -> None:
    """Print a table; one that the terminal is too narrow for goes down the page, a line a column.

    Where output goes to a file or a pipe, a table is as wide as its content.
    """
    console = console or Console(highlight=False)
    cells = [[_cell(value) for value in row] for row in answer.rows]
    needed = sum(min(width, _SANE_WIDTH) + _GAP for width in _widths(answer.names, cells))
    if not console.is_terminal:
        console.width = max(console.width, sum(width + _GAP for width in _widths(answer.names, cells)))
    elif needed > console.width and cells:
        _down_the_page(console, answer.names, cells)
        return
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for name, kind in zip(answer.names, answer.types, strict=True):
        number = _NUMBER.match(kind) is not None
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=True, overflow="ellipsis")
    for row in cells:
        table.add_row(*(Text(cell, style="dim") if cell == _NULL else Text(cell) for cell in row))
    console.print(table)


def as_json(answer: Answer) -> None:
    """Print one JSON array, an object a line."""
    lines = [_encoded(dict(zip(answer.names, map(plain, row), strict=True))) for row in answer.rows]
    click.echo("[\n" + ",\n".join(lines) + "\n]" if lines else "[]")


class _Lines(io.StringIO):
    r"""Takes a line at a time. Python quotes only such ends of lines as its writer has; `\r` has to be among them."""

    def write(self, line: str) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")


def as_csv(answer: Answer) -> None:
    """Print CSV (RFC 4180 quoting, lines end with a newline) with a header line."""
    out = _Lines()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(answer.names)
    writer.writerows([_csv_cell(value) for value in row] for row in answer.rows)
    click.echo(out.getvalue(), nl=False)


def into_file(path: Path, text: str) -> None:
    """Write what was asked for into `path`, replacing what is there once all of it is written.

    Raises:
        click.FileError: it can't be written; what was there is as it was.
    """
    whole = path.resolve()
    part = whole if whole.exists() and not whole.is_file() else whole.with_name(f".{whole.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        if part != whole:  # a device or a pipe is written to as it is
            part.replace(whole)
    except OSError as error:
        if part != whole:
            part.unlink(missing_ok=True)
        raise click.FileError(str(path), error.strerror or str(error)) from None


def footer(answer: Answer, what: str = "row") -> str:
    """`12 rows in 0.034 s`, and whether there are more."""
    count = len(answer.rows)
    rows = f"{count:,} {what}{'' if count == 1 else 's'}"
    more = (
        f"; there are more, --limit or {'--json' if what != 'row' else '--json and --csv'} shows them"
        if answer.more
        else ""
    )
    return f"{rows} in {answer.elapsed_s:.3f} s{more}"


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds, a line a type
    """`value` as JSON can say it without loss; decimals stay decimals, their digits are kept when encoded."""
    if isinstance(value, bytes):
        return readable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        return _instant(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    if value is None or isinstance(value, (bool, int, str, Decimal)):
        return value
    return str(value)


def readable(raw: bytes) -> str:
    r"""Bytes as text, those that are not UTF-8 as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever a column holds
    if value is None:
        return _NULL
    if isinstance(value, float):
        text = _float(value)
    elif isinstance(value, (list, tuple, Mapping, dict)):
        text = _encoded(plain(value))
    elif isinstance(value, bytes):
        text = readable(value)
    elif isinstance(value, dt.datetime):
        text = _instant(value)
    else:
        text = str(value)
    text = printable(text)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def _float(value: float) -> str:
    """Six digits, and of what is large, such as money, cents at least."""
    if not abs(value) < 1e15:
        return repr(value)
    return f"{value:.6g}" if abs(value) < 1e4 else f"{value:.2f}".rstrip("0").rstrip(".")


def _csv_cell(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return value
    found = plain(value)
    return _encoded(found) if isinstance(found, (list, dict)) else found


def _instant(value: dt.datetime) -> str:
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _encoded(value: Any) -> str:  # noqa: ANN401 - whatever plain() gives
    """JSON with integers and decimals of any size as numbers, which the fast encoder alone can't do."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        if isinstance(value, dict):
            return "{" + ",".join(f"{_encoded(str(key))}:{_encoded(element)}" for key, element in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(_encoded, value)) + "]"
        if isinstance(value, Decimal):
            return format(value, "f")
        if isinstance(value, int):
            return str(value)
        raise


def _widths(names: tuple[str, ...], cells: list[list[str]]) -> list[int]:
    return [max(map(cell_len, (name, *(row[at] for row in cells)))) for at, name in enumerate(names)]


def _down_the_page(console: Console, names: tuple[str, ...], cells: list[list[str]]) -> None:
    margin = max(map(cell_len, names))
    for number, row in enumerate(cells, start=1):
        console.rule(Text(f"row {number}"), align="left", style="dim")
        for name, cell in zip(names, row, strict=True):
            line = Text(name.rjust(margin), style="bold")
            line.append("  ").append(cell, style="dim" if cell == _NULL else "not bold")
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
