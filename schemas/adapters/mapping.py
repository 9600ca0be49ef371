"""Declarative mappings: what a person writes to turn a table into canonical events.

The format is described, with every key, in docs/mappings.md. `read_mapping` gives a mapping or every problem
in it; what can only be seen with the table at hand (a column that is not there) is told when it is opened.
"""

import difflib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from schemas.adapters.times import Ambiguous, Nonexistent
from schemas.durations import Instant
from schemas.errors import SettingsError
from schemas.events import Id, System
from schemas.flaws import declare_and_lint
from schemas.names import Name
from schemas.problems import Declared, Problem

Scalar: TypeAlias = str | int | float | bool

#: Cells that say "nothing", besides the empty one.
DEFAULT_NULLS = ["NULL", "null", "NaN", "nan", "None", "\\N"]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Table `[mapping]`: what the mapping is and which system the events are from."""

    name: Name
    source: Id
    system: System
    title: str = ""
    process_map: str = ""
    sample: str = ""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Table `[table]`: how the file is written, its time and zone, and which times are plausible."""

    format: Literal["auto", "csv", "parquet", "ocel2"] = "auto"
    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    encoding: str = "utf-8"
    header: bool | None = None
    columns: list[str] = []
    skip_lines: Annotated[int, Meta(ge=0, le=10_000)] = 0
    null: list[str] = field(default_factory=lambda: list(DEFAULT_NULLS))
    decimal: Literal[".", ","] = "."
    thousands: str = ""
    formats: list[str] = field(default_factory=lambda: ["iso8601"])
    zone: str = ""
    ambiguous: Ambiguous = "earlier"
    nonexistent: Nonexistent = "shift"
    time: str = ""
    recorded: str = ""
    earliest: Instant | None = field(default=None, name="from")
    latest: Instant | None = field(default=None, name="to")


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Table `[column.NAME]`: where one column differs from the table."""

    formats: list[str] | None = None
    zone: str | None = None
    decimal: Literal[".", ","] | None = None
    thousands: str | None = None
    list: bool = False
    separator: str = ""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a cell must be like; all that is given must hold."""

    one_of: list[str] | None = None
    matches: str | None = None
    startswith: str | None = None
    endswith: str | None = None
    contains: str | None = None
    present: bool | None = None
    lt: float | None = None
    le: float | None = None
    eq: float | None = None
    ge: float | None = None
    gt: float | None = None
    negated: "Scalar | list[str] | Condition | None" = field(default=None, name="not")


When: TypeAlias = dict[str, Scalar | list[str] | Condition]


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the value of a field is made, where a text in braces is not enough."""

    column: str | None = None
    columns: list[str] | None = None
    text: str | None = None
    number: str | None = None
    const: Scalar | None = None
    extract: str | None = None
    lookup: str | None = None
    link: str | list[str] | None = None
    letters: Literal["upper", "lower"] | None = None
    default: Scalar | None = None
    sum: bool = False


FieldRule: TypeAlias = Scalar | list[str] | Value


class Explode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A list to be taken apart: the entries of a column, followed through links."""

    column: str
    link: str | list[str] = []


class Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The lines of an event: one for each row of its group, or for each entry of a list."""

    set: dict[str, FieldRule]
    over: str | Explode | None = None


class TypeLookup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event type that a column says, by a lookup; a code not in it makes no event."""

    column: str
    lookup: str


class EventRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Table `[[event]]`: which rows make which event, and how."""

    type: str | TypeLookup
    time: str = ""
    recorded: str = ""
    id: str = ""
    when: When = {}
    when_any: list[When] = []
    skip_if_empty: list[str] | None = None
    explode: str | Explode | None = None
    group_by: list[str] = []
    adjacent: bool = False
    set: dict[str, FieldRule] = {}
    lines: Lines | None = None


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Table `[link.NAME]`: from rows that match, which values belong to which key."""

    key: str
    value: str
    when: When = {}
    when_any: list[When] = []


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole mapping file."""

    mapping: Header
    event: list[EventRule]
    table: Table = Table()
    column: dict[str, Column] = {}
    lookup: dict[str, dict[str, str]] = {}
    link: dict[str, Link] = {}


class Mapping(msgspec.Struct, frozen=True):
    """A mapping that has been read and found free of problems, with the text it came from."""

    declared: Declaration
    file: str
    text: str

    @property
    def name(self) -> str:
        """The mapping's name."""
        return self.declared.mapping.name

    @property
    def title(self) -> str:
        """What it maps, in words."""
        return self.declared.mapping.title

    @property
    def source(self) -> str:
        """The system instance that the events are from."""
        return self.declared.mapping.source

    @property
    def process_map(self) -> str:
        """The process map that fits it, by name or path; empty for the default one.

        What ends in `.toml` or has a slash is a file, and is looked for from the mapping's own folder.
        """
        named = self.declared.mapping.process_map
        return str(Path(self.file).parent / named) if named.endswith(".toml") or "/" in named else named


def read_mapping(text: str, file: str) -> Declared[Mapping]:
    """Read and lint a mapping written in TOML; every problem at once."""
    from schemas.adapters.lint import lint  # noqa: PLC0415 - lint needs the records above

    read = declare_and_lint(text, Declaration, file, lint)
    left = None if read.left is None else Mapping(read.left, file, text)
    return Declared(None if read.value is None else left, read.problems, read.wrong, left)


def shipped_mappings() -> list[str]:
    """The names of the mappings that come with Andon."""
    folder = resources.files("schemas.adapters").joinpath("mappings")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_mapping(name_or_path: str, also: Sequence[str] = ()) -> Mapping:
    """The shipped mapping of that name, or the one in that file; `also` are names that the caller knows besides.

    Raises:
        SettingsError: there is none, or it has problems (all of them are in the error).
    """
    read = find_mapping(name_or_path, also)
    if read.value is None:
        raise SettingsError(read.problems)
    return read.value


def find_mapping(name_or_path: str, also: Sequence[str] = ()) -> Declared[Mapping]:
    """As `load_mapping`, for one who wants to look on where something is wrong."""
    shipped = shipped_mappings()
    path = Path(name_or_path)
    if name_or_path in shipped:
        file = f"{name_or_path}.toml (shipped)"
        text = resources.files("schemas.adapters").joinpath("mappings", f"{name_or_path}.toml").read_text("utf-8")
    elif path.is_file():
        file = name_or_path
        try:
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            return Declared(None, (Problem(file, "mapping", "", f"can't be read as UTF-8 text: {error}"),))
    else:
        known = sorted([*shipped, *also])
        near = difflib.get_close_matches(name_or_path, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        expected = f"{hint}must be a mapping file or a shipped mapping: {', '.join(known)}"
        return Declared(None, (Problem("--mapping", "mapping", f'"{name_or_path}"', expected),))
    return read_mapping(text, file)
