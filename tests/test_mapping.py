"""Reading mappings: every problem at once, in words a person can act on; and the shipped ones."""

from pathlib import Path

import msgspec
import pytest

from operators.process_lint import read_process_map
from schemas.adapters.fields import fields_of, line_fields_of
from schemas.adapters.mapping import load_mapping, read_mapping, shipped_mappings
from schemas.errors import SettingsError
from schemas.events import EVENT_TYPES

HEAD = '[mapping]\nname = "t"\nsource = "s"\nsystem = "oms"\n'
TIME = '[table]\ntime = "t"\n'


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in read_mapping(text, "t.toml").problems]


def event(rest: str, kind: str = "order.approved") -> str:
    return f'[[event]]\ntype = "{kind}"\n{rest}\n'


def test_all_problems_are_told_at_once() -> None:
    text = """[mapping]
name = "Shop"
source = "s"
system = "shop"
[table]
delimeter = ";"
zone = "Europe/Berlin"
[[event]]
type = "order.created"
when = { State = { startwith = "x" } }
[event.set]
order_id = 7
"""
    assert problems_of(text) == [
        ('t.toml:2: mapping.name = "Shop": must be small letters, digits and _, a letter first, at most 64 characters'),
        (
            't.toml:4: mapping.system = "shop": must be one of "ecom", "pos", "marketplace", "oms", "wms", "tms", '
            '"erp", "crm", "supplier", "middleware"'
        ),
        "t.toml:6: table.delimeter: unknown key; did you mean 'delimiter'?",
        "t.toml:8: event[0].time: is missing: name the column with its time here, or time in [table]",
        "t.toml:10: event[0].when.State.startwith: unknown key; did you mean 'startswith'?",
        (
            "t.toml:11: event[0].set.lines: is missing: order.created needs a list of lines "
            "(lines = [] when the table has none)"
        ),
    ]


def test_problems_of_meaning_are_told_at_once() -> None:
    text = """[mapping]
name = "shop"
source = "s"
system = "oms"
[table]
delimiter = "::"
encoding = "utf-9"
formats = ["%d.%m.%Y", "%Q"]
zone = "Europe/Berln"
from = "2020-01-01"
to = "2019-01-01"
[[event]]
type = "order.create"
[[event]]
type = "order.created"
id = "{order"
when = { State = { matches = "(" } }
[event.set]
order_id = "{@rwo}"
total = "a lot"
custmer_id = "{c}"
currency = { const = "EUR", column = "c" }
"""
    expected = Path(__file__).with_name("golden").joinpath("mapping_problems.txt")
    told = problems_of(text)
    assert "\n".join(told) + "\n" == expected.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            event('set = { order_id = "{o}" }'),
            "event[0].time: is missing: name the column with its time here",
        ),
        (
            TIME + event('set = { order_id = "{@each}" }'),
            "is only there in a rule with explode, or in lines with over",
        ),
        (
            TIME + event('id = "{a}"\nexplode = "l"\nset = { order_id = "{@each}" }'),
            "is the same for every entry of the list",
        ),
        (TIME + event('id = "a"\nset = { order_id = "{o}" }'), "is the same for every row"),
        (
            TIME
            + event('id = "{o}"\nset = { order_id = "{o}" }')
            + event('id = "{o}"\nset = { order_id = "{o}" }', "order.cancelled"),
            "would be dropped as a second delivery",
        ),
        (TIME + event('set = { order_id = "{o}", event_id = "{o}" }'), "is filled by the rule's key id"),
        (
            TIME + event('set = { order_id = { column = "o", lookup = "x" } }'),
            "must be a lookup of this mapping; there is none",
        ),
        (
            TIME + event('set = { order_id = { column = "o", link = "x" } }'),
            "must be a link of this mapping; there is none",
        ),
        (
            TIME + event('set = { order_id = { column = "o", sum = true } }'),
            "needs group_by and a number field",
        ),
        (
            TIME + event("set = { order_id = { column = \"o\", extract = '[' } }"),
            "must be a regular expression",
        ),
        (
            TIME + event('set = { order_id = { lookup = "x" } }'),
            "must have exactly one of column, columns, text, number, const",
        ),
        (TIME + event('set = { order_id = "{o}" }\nlines = { set = {} }'), "order.approved has no lines"),
        (
            TIME + event('set = { order_id = "o" }', "order.created"),
            "is missing: order.created needs a list of lines (lines = []",
        ),
        (
            TIME + event('set = { order_id = "{o}" }\nadjacent = true'),
            "says something about group_by, which is missing",
        ),
        (
            TIME + event('set = { order_id = "{o}" }\ngroup_by = ["o"]\nexplode = "l"\nid = "{@each}"'),
            "together with explode",
        ),
        (
            TIME + event('set = { sku = "s", node = "n", delta = 1, reason = "stolen" }', "inventory.adjusted"),
            "must be one of sale, pick, receipt",
        ),
        (
            TIME + event('set = { sku = "s", node = "n", delta = "few", reason = "sale" }', "inventory.adjusted"),
            "takes a number",
        ),
        (
            TIME
            + event(
                'set = { sku = "s", node = "n", delta = { number = "{a} ** 2" }, reason = "sale" }',
                "inventory.adjusted",
            ),
            "is not a formula at '*'",
        ),
        (
            TIME
            + '[lookup.l]\nx = "order.aproved"\n'
            + '[[event]]\ntype = { column = "c", lookup = "l" }\nset = { order_id = "{o}" }\n',
            "lookup.l.x = \"order.aproved\": must be a type of the contract; did you mean 'order.approved'?",
        ),
        (
            TIME
            + '[lookup.l]\nx = "eur"\n'
            + event('set = { sku = "s", price = "1", currency = { column = "c", lookup = "l" } }', "price.changed"),
            "the field currency takes a text",
        ),
        (
            '[table]\ntime = "t"\nformats = ["%d.%m.%Y"]\n' + event('set = { order_id = "{o}" }'),
            "has no offset (%z): set zone",
        ),
        (
            '[table]\ntime = "t"\nformats = ["%H:%M"]\n' + event('set = { order_id = "{o}" }'),
            "must have the year once",
        ),
        (
            '[table]\ntime = "t"\nheader = false\n' + event('set = { order_id = "{o}" }'),
            "must name the columns",
        ),
        ('[table]\ntime = "{ }}"\n' + event('set = { order_id = "{o}" }'), "has a brace that is not of a"),
        (
            '[table]\ntime = "t"\nencoding = "base64"\n' + event('set = { order_id = "{o}" }'),
            "must be an encoding, such as",
        ),
        *[
            (
                f'[table]\ntime = "t"\nzone = "UTC"\n{key} = "|"\ndelimiter = "|"\n'
                + event('set = { order_id = "{o}" }'),
                f't.toml:8: table.{key} = "|": must not be the delimiter',
            )
            for key in ("quote", "escape")
        ],
        *[
            (
                TIME + event(f'set = {{ order_id = "{{o}}", total = {{ number = "{formula}" }} }}', "order.created"),
                f'event[0].set.total = "{formula[:56]}...: {told}',
            )
            for formula, told in (
                ("(" * 2_000 + "{a}" + ")" * 2_000, "has brackets in brackets in brackets, 2,000 deep"),
                ("- " * 2_000 + "{a}", "has 2,001 parts"),
                (" + ".join(["{a}"] * 2_000), "has 3,999 parts"),
            )
        ],
        (TIME + event('when = { a = {} }\nset = { order_id = "{o}" }'), "says nothing"),
        (TIME, "event: is missing and has no default"),
        ("[table\n", "TOML syntax"),
    ],
)
def test_each_mistake_is_told(text: str, told: str) -> None:
    problems = problems_of(HEAD + text if not text.startswith("[table\n") else text)
    assert len([problem for problem in problems if told in problem]) == 1, problems


@pytest.mark.parametrize("name", ["bpi2019", "ocel", "olist", "online_retail"])
def test_shipped_mappings_and_their_process_maps_have_no_problems(name: str) -> None:
    assert name in shipped_mappings()
    mapping = load_mapping(name)
    assert (mapping.name, mapping.process_map) == (name, name)
    assert name in mapping.declared.mapping.sample
    path = Path("dataflows/process_maps") / f"{name}.toml"
    declared = read_process_map(path.read_text("utf-8"), str(path))
    assert declared.problems == ()
    assert declared.value is not None
    assert declared.value.name == name


def test_an_unknown_mapping_lists_those_that_are_shipped() -> None:
    with pytest.raises(
        SettingsError,
        match=r"\"olst\": did you mean 'olist'\? .*shipped mapping: bpi2019, ocel, olist, online_retail",
    ):
        load_mapping("olst")


def test_a_mapping_file_is_loaded_and_its_problems_carry_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("\ufeff" + HEAD + TIME + event('set = { order_id = "{o}" }'), "utf-8")
    assert load_mapping(str(path)).name == "t"
    path.write_text(HEAD, "utf-8")
    with pytest.raises(SettingsError, match=r"mine\.toml: event: is missing"):
        load_mapping(str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="can't be read as UTF-8"):
        load_mapping(str(path))


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_the_documentation_lists_every_type_with_its_fields(kind: str) -> None:
    page = Path("docs/mappings.md").read_text("utf-8").split("## Event types")[1]
    row = next(line for line in page.splitlines() if line.startswith("| `") and f"`{kind}`" in line.split("|")[1])
    listed = row.split("|")[2]
    own = {name: field for name, field in fields_of(kind).items() if name in EVENT_TYPES[kind].__struct_fields__}
    common = {"source", "system", "correlation_id", "channel", "region"}
    for fields in (own, line_fields_of(kind)):
        for name, field in fields.items():
            if name not in common:
                assert (f"**{name}**" if field.required else name) in listed, name


def test_the_documentation_lists_every_key() -> None:
    from schemas.adapters import mapping  # noqa: PLC0415 - the records are looked at, not used

    page = Path("docs/mappings.md").read_text("utf-8")
    for record in (
        mapping.Header,
        mapping.Table,
        mapping.Column,
        mapping.Condition,
        mapping.Value,
        mapping.EventRule,
        mapping.Lines,
    ):
        for field in msgspec.structs.fields(record):
            name = field.encode_name
            assert f"`{name}" in page or f"{name} =" in page or f".{name}]" in page, name
