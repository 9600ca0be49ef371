"""Problems of declarations: for each bad document its exact lines; where things stand in TOML."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

import dataflows.process_maps
import schemas.adapters
from operators.process_lint import read_process_map
from schemas.accepted import as_toml
from schemas.durations import Duration, Instant
from schemas.problems import Problem, parse_toml
from schemas.toml_lines import KeyPath, line_of
from tests.declared import declare

System = Literal["wms", "pos", "oms"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    system: System = "wms"
    systems: list[System] = []
    qty: Annotated[int, Meta(ge=1, le=9)] = 1


class Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1] = 1
    flag: bool = False
    text: Annotated[str, Meta(min_length=1, max_length=8)] = "x"
    code: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"
    share: Annotated[float, Meta(ge=0)] = 0.0
    wait: Duration | None = None
    since: Instant | None = None
    parts: Annotated[list[Part], Meta(max_length=3)] = []
    pairs: tuple[Part, ...] = ()
    by_name: dict[str, Part] = {}
    by_system: dict[System, int] = {}
    either: str | list[System] | Part = ""
    optional: System | None = None

    def __post_init__(self) -> None:
        if self.text == "refused":
            raise ValueError("text and code can't be used together")


_SYSTEMS = 'must be one of "wms", "pos", "oms"'
_DURATION = 'must be a duration such as "90s", "15m", "1h30m" or "2d"'
_PART_KEYS = "accepted here: name, qty, system, systems"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version = 2", ["f.toml:1: version = 2: must be 1"]),
        ('flag = "yes"', ['f.toml:1: flag = "yes": must be true or false']),
        ("text = 5", ["f.toml:1: text = 5: must be a text between 1 and 8 characters long"]),
        ('text = ""', ['f.toml:1: text = "": must be between 1 and 8 characters long']),
        ('code = "eur"', ['f.toml:1: code = "eur": must be of the form ^[A-Z]{3}$']),
        ("share = -0.5", ["f.toml:1: share = -0.5: must be at least 0"]),
        ('share = "a"', ['f.toml:1: share = "a": must be a number at least 0']),
        ("share = true", ["f.toml:1: share = true: must be a number at least 0"]),
        ("share = nan", ["f.toml:1: share = nan: must be at least 0"]),
        ('wait = "soon"', [f'f.toml:1: wait = "soon": {_DURATION}']),
        ("wait = 5", [f"f.toml:1: wait = 5: {_DURATION}"]),
        ("wait = [1]", [f"f.toml:1: wait = [1]: {_DURATION}"]),
        (
            'since = "2026-13-01"',
            [
                (
                    'f.toml:1: since = "2026-13-01": must be a time with zone such as "2026-11-21T06:00:00Z", '
                    'or a date "2026-11-21" (UTC)'
                )
            ],
        ),
        ('optional = "wns"', [f"f.toml:1: optional = \"wns\": {_SYSTEMS}; did you mean 'wms'?"]),
        ("optional = 3", [f"f.toml:1: optional = 3: {_SYSTEMS}"]),
        ("optional = []", [f"f.toml:1: optional = []: {_SYSTEMS}"]),
        ('either = ["oms", "omt"]', [f"f.toml:1: either[1] = \"omt\": {_SYSTEMS}; did you mean 'oms'?"]),
        ("either = 1", ["f.toml:1: either = 1: must be a text or a list or a table"]),
        ("either = {}", ["f.toml:1: either.name: is missing and has no default"]),
        ("parts = 1", ["f.toml:1: parts = 1: must be a list of at most 3 entries"]),
        (
            "parts = [{}, 7]",
            [
                "f.toml:1: parts[0].name: is missing and has no default",
                "f.toml:1: parts[1] = 7: must be a table",
            ],
        ),
        (
            '[[parts]]\nname = "a"\n[[parts]]\nname = "b"\nsystem = "poss"\nsystems = [\n  "oms",\n  "wmss",\n]\n',
            [
                f"f.toml:5: parts[1].system = \"poss\": {_SYSTEMS}; did you mean 'pos'?",
                f"f.toml:8: parts[1].systems[1] = \"wmss\": {_SYSTEMS}; did you mean 'wms'?",
            ],
        ),
        ('[[parts]]\nname = "a"\nqty = 0', ["f.toml:3: parts[0].qty = 0: must be between 1 and 9"]),
        (
            '[[parts]]\nname = "a"\nqty = "two"',
            ['f.toml:3: parts[0].qty = "two": must be a whole number between 1 and 9'],
        ),
        (
            '[[parts]]\nname = "a"\nqty = 1.5',
            ["f.toml:3: parts[0].qty = 1.5: must be a whole number between 1 and 9"],
        ),
        (
            "parts = [" + '{ name = "a" },' * 4 + "]",
            ['f.toml:1: parts = [{"name":"a"},{"name":"a"},{"name":"a"},{"name":"a"}]: must be of at most 3 entries'],
        ),
        ("[[pairs]]\nname = 1", ["f.toml:2: pairs[0].name = 1: must be a text"]),
        (
            '[by_name."a b".system]\n',
            [
                f'f.toml:1: by_name."a b".system: {_SYSTEMS}',
                'f.toml:1: by_name."a b".name: is missing and has no default',
            ],
        ),
        (
            "[by_system]\npos = 1\nposs = 2\noms = true",
            [
                f"f.toml:3: by_system.poss = \"poss\": {_SYSTEMS}; did you mean 'pos'?",
                "f.toml:4: by_system.oms = true: must be a whole number",
            ],
        ),
        (
            '[by_name.x]\nnam = "a"\ncolour = "red"',
            [
                "f.toml:2: by_name.x.nam: unknown key; did you mean 'name'?",
                f"f.toml:3: by_name.x.colour: unknown key; {_PART_KEYS}",
            ],
        ),
        ('text = "refused"', ["f.toml: document: text and code can't be used together"]),
        ("a = 1\nb = = 2", ["f.toml:2: TOML syntax: Invalid value"]),
        ("a = [1,\n", ["f.toml:1: TOML syntax: Invalid value"]),
    ],
)
def test_a_bad_document_gives_exactly_these_lines(text: str, told: list[str]) -> None:
    declared = declare(text, Whole, "f.toml")
    assert [str(problem) for problem in declared.problems] == told
    assert declared.value is None


def test_a_good_document_has_no_problems() -> None:
    text = (
        'wait = "2d"\nsince = "2026-01-01"\neither = ["wms"]\noptional = "oms"\nshare = 1\n'
        'pairs = [{ name = "a", systems = ["pos"] }]\n[by_system]\nwms = 1\n'
    )
    declared = declare(text, Whole, "f.toml")
    assert declared.problems == ()
    assert declared.value is not None
    assert declared.value.pairs == (Part(name="a", systems=["pos"]),)


_JSON_LIKE = st.recursive(
    st.booleans() | st.integers(-3, 20) | st.floats() | st.sampled_from(["", "wms", "1h", "EUR", "x" * 90, "\n"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Whole.__struct_fields__, *Part.__struct_fields__, "?"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*Whole.__struct_fields__, "?"]), _JSON_LIKE, max_size=4))
def test_any_document_is_a_record_or_has_problems_of_one_line(document: dict[str, Any]) -> None:
    from schemas.problems import declare_document  # noqa: PLC0415 - beside what it is compared with

    declared = declare_document(document, Whole, "f.toml")
    assert (declared.value is None) == bool(declared.problems)
    assert all(len(str(problem).splitlines()) == 1 for problem in declared.problems)
    assert all("$" not in problem.expected.replace("^[A-Z]{3}$", "") for problem in declared.problems)


def test_a_problem_without_line_or_value() -> None:
    assert str(Problem("f", "k", "", "must be there")) == "f: k: must be there"


def test_too_deep_a_document_is_a_problem() -> None:
    _, (problem,) = parse_toml("a = " + "[" * 100_000, "f.toml")
    assert problem.key == "TOML syntax"


def test_values_are_shown_in_one_line_and_cut() -> None:
    assert as_toml("a\nb") == r'"a\nb"'
    assert as_toml('say "x"') == '"say "x""'
    assert len(as_toml("x" * 500)) == 60
    assert as_toml(float("inf")) == "inf"


# --- process maps ------------------------------------------------------------------------------------------

_MAP = """name = "m"
[[handoff]]
name = "pick"
case = "order_id"
start = { type = "task.queued", where = { task_type = "pick" } }
end = { type = "task.completed", where = { task_type = "pick" } }
per = ["task_id"]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            '"task.completed"',
            '"task.complete"',
            (
                'm.toml:6: handoff[0].end.type = "task.complete": must be a type of the contract; '
                "did you mean 'task.completed'?"
            ),
        ),
        (
            'task_type = "pick" } }\nper',
            'task_type = "pik" } }\nper',
            (
                'm.toml:6: handoff[0].end.where.task_type = "pik": must be of "pick", "pack", "wave", "putaway", '
                "\"ship\"; did you mean 'pick'?"
            ),
        ),
        (
            'task_type = "pick" } }\nper',
            'task_type = "" } }\nper',
            'm.toml:6: handoff[0].end.where.task_type = "": task_type is never absent, which "" would mean',
        ),
        (
            'task_type = "pick" } }\nper',
            'qty = "1" } }\nper',
            'm.toml:6: handoff[0].end.where.qty = "1": qty is no text, and can\'t be compared with one',
        ),
        (
            'task_type = "pick" } }\nper',
            "task_type = [] } }\nper",
            "m.toml:6: handoff[0].end.where.task_type = []: must list at least one value",
        ),
        (
            '["task_id"]',
            '["task_id", "task_ids"]',
            (
                'm.toml:7: handoff[0].per[1] = "task_ids": must be a field of every event that is named here; '
                "task.queued has no such field; did you mean 'task_id'?"
            ),
        ),
        (
            '["task_id"]',
            '["task_id"]\nabandoned_by = [\n{ type = "task.rejected" },\n{ type = "order.cancelled" },\n]',
            (
                'm.toml:7: handoff[0].per[0] = "task_id": must be a field of every event that is named here; '
                "order.cancelled has no such field"
            ),
        ),
        (
            '["task_id"]',
            '["task_id"]\nabandoned_by = [\n{ type = "task.rejected" },\n{ type = "po.created" },\n]\nper = []',
            "m.toml:12: TOML syntax: Cannot overwrite a value",
        ),
        (
            '["task_id"]',
            '[]\nabandoned_by = [\n{ type = "task.rejected" },\n{ type = "po.created" },\n]',
            'm.toml:10: handoff[0].abandoned_by[1].type = "po.created": has no field order_id, which is the case here',
        ),
        (
            '["task_id"]',
            '["task_id"]\nrepeat = "flagstart"',
            (
                'm.toml:8: handoff[0].repeat = "flagstart": must be one of "first", "flag", "flag_start", "flag_end"; '
                "did you mean 'flag_start'?"
            ),
        ),
        (
            '["task_id"]',
            '["task_id"]\nscope = "nod"',
            (
                'm.toml:8: handoff[0].scope = "nod": must be a field of task.queued or task.completed; '
                "did you mean 'node'?"
            ),
        ),
        (
            '["task_id"]',
            '["task_id"]\ndeadline = "300000000d"',
            'm.toml:8: handoff[0].deadline = "300000000d": must be at most "365250d" (a thousand years)',
        ),
        (
            '["task_id"]',
            (
                '["task_id"]\n[[handoff]]\nname = "ship"\ncase = "order_id"\nscope = "lines"\n'
                'start = { type = "order.created" }\nend = { type = "shipment.dispatched" }'
            ),
            'm.toml:11: handoff[1].scope = "lines": must be a field with one value; of order.created it is a list',
        ),
        (
            '["task_id"]',
            (
                '["task_id"]\n[[handoff]]\nname = "ship"\ncase = "order_id"\nper = ["lines"]\n'
                'start = { type = "order.created" }\nend = { type = "shipment.dispatched" }'
            ),
            'm.toml:11: handoff[1].per[0] = "lines": must be a field with one value; of order.created it is a list',
        ),
        (
            '["task_id"]',
            '["task_id"]\ntarget = "2h"\ndeadline = "1h"',
            'm.toml:8: handoff[0].target = "2h": must not be longer than the deadline',
        ),
        (
            '"order_id"',
            '"order"',
            (
                'm.toml:4: handoff[0].case = "order": must be one of "order_id", "return_id", "po_id", '
                '"reservation_id", "task_id", "shipment_id", "posting_id", "reference", "correlation_id"; '
                "did you mean 'order_id'?"
            ),
        ),
        (
            '["task_id"]',
            '["task_id"]\nrequires = ["pick"]',
            'm.toml:8: handoff[0].requires[0] = "pick": must name another handoff; there is none in this map',
        ),
        (
            '{ type = "task.completed", where',
            '{ type = "task.queued", where',
            'm.toml:6: handoff[0].end = "task.queued[task_type=pick]": must differ from start',
        ),
        ('name = "m"', 'name = "m"\nwindow = "0s"', 'm.toml:2: window = "0s": must be longer than 0'),
        (
            'name = "m"',
            'name = "m"\nwindow = "5m"\nslide = "2m"',
            'm.toml:3: slide = "2m": must be a whole fraction of window',
        ),
        (
            'name = "m"',
            'name = "m"\n[case.order]\ntitle = "x"',
            (
                'm.toml:2: case.order = "order": must be one of "order_id", "return_id", "po_id", '
                '"reservation_id", "task_id", "shipment_id", "posting_id", "reference", "correlation_id"; '
                "did you mean 'order_id'?"
            ),
        ),
    ],
)
def test_a_mistake_in_a_process_map_gives_exactly_this_line(old: str, new: str, told: str) -> None:
    assert old in _MAP
    declared = read_process_map(_MAP.replace(old, new, 1), "m.toml")
    assert [str(problem) for problem in declared.problems] == [told]


# --- where things stand ------------------------------------------------------------------------------------

_TRICKY = '''# a = 1
a = """
b = 2
""" # c = 3
"d.e" = { f = 1, 'g h' = [1, 2, { i = "}" }] }
j.k = 1
j . "l" = \'\'\'
]]\'\'\'
m = [
  "x", # "y"
  [ "z" ],
  { n = 1 },
]
[[t]]
u = 1
[t.v]
w = 2026-01-01T00:00:00Z
[[t.x]]
y = 1
[[t.x]]
[[t]]
u = 2
[t.v]
w = "#"
[ "q r" . s ]
o = "\\""
p = true
'''


def test_lines_in_a_tricky_document() -> None:
    tomllib.loads(_TRICKY)
    wanted: dict[KeyPath, int] = {
        ("a",): 2,
        ("b",): 0,
        ("d.e",): 5,
        ("d.e", "g h", 2, "i"): 5,
        ("j", "k"): 6,
        ("j", "l"): 7,
        ("m",): 9,
        ("m", 0): 10,
        ("m", 1, 0): 11,
        ("m", 2, "n"): 12,
        ("t", 0): 14,
        ("t", 0, "u"): 15,
        ("t", 0, "v", "w"): 17,
        ("t", 0, "x", 0, "y"): 19,
        ("t", 0, "x", 1): 20,
        ("t", 1, "u"): 22,
        ("t", 1, "v", "w"): 24,
        ("q r", "s", "o"): 26,
        ("q r", "s", "p"): 27,
        ("q r", "s", "none", 3): 25,
        ("t", 1, "none"): 21,
        ("none", "deeper"): 0,
    }
    assert {path: line_of(_TRICKY, path) for path in wanted} == wanted


def _paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from _paths(entry, (*path, key))


@pytest.mark.parametrize(
    "file",
    [
        *sorted(Path(dataflows.process_maps.__file__).parent.glob("*.toml")),
        *sorted(Path(schemas.adapters.__file__).parent.glob("mappings/*.toml")),
        Path("pyproject.toml"),
    ],
    ids=lambda file: file.stem,
)
def test_every_key_of_a_real_document_is_on_its_line(file: Path) -> None:
    text = file.read_text("utf-8")
    lines = text.splitlines()
    for path in _paths(tomllib.loads(text)):
        number = line_of(text, path)
        assert number, path
        if isinstance(path[-1], str):
            assert path[-1] in lines[number - 1], path


@given(st.text("abc=[]{}\"'.,\n# 1", max_size=40))
def test_what_is_not_toml_has_no_lines_and_no_errors(text: str) -> None:
    assert 0 <= line_of(text, ("a", "b")) <= text.count("\n") + 1
