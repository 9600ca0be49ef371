"""Mistakes of type hide none of meaning, and make none: in process maps, in mappings, and in what they name."""

import copy
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import pytest

from dataflows.cli import run_command
from dataflows.process_maps import shipped_process_maps
from operators.process_lint import lint as lint_map
from operators.process_lint import read_process_map
from operators.process_map import ProcessMap
from scenarios.settings import read_settings
from schemas.adapters.lint import lint as lint_mapping
from schemas.adapters.mapping import Declaration, read_mapping, shipped_mappings
from schemas.errors import SettingsError
from schemas.flaws import Flaw, lint_document
from schemas.problems import declare_document, path_text
from schemas.toml_lines import KeyPath

#: So many places of a document are spoilt, evenly spread: all of them take a minute.
MOST = 50
MAPS = [
    (resources.files("dataflows.process_maps").joinpath(f"{name}.toml"), ProcessMap, lint_map)
    for name in shipped_process_maps()
]
MAPPINGS = [
    (resources.files("schemas.adapters").joinpath("mappings", f"{name}.toml"), Declaration, lint_mapping)
    for name in shipped_mappings()
]


def _places(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Where something stands in a document."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from _places(entry, (*path, key))


def _holder(document: Any, path: KeyPath) -> Any:  # noqa: ANN401 - a TOML document
    for key in path[:-1]:
        document = document[key]
    return document


def _of_another_type(document: Any, path: KeyPath) -> None:  # noqa: ANN401 - as above
    holder = _holder(document, path)
    holder[path[-1]] = 5 if isinstance(holder[path[-1]], dict | list) else [[]]


def _under_a_wrong_key(document: Any, path: KeyPath) -> None:  # noqa: ANN401 - as above
    holder = _holder(document, path)
    if isinstance(path[-1], str):
        holder[f"{path[-1]}x"] = holder.pop(path[-1])


@pytest.mark.parametrize("spoil", [_of_another_type, _under_a_wrong_key])
@pytest.mark.parametrize(
    ("file", "kind", "lint"),
    [*MAPS, *MAPPINGS],
    ids=[f"{file.name}-{kind.__name__}" for file, kind, _ in [*MAPS, *MAPPINGS]],
)
def test_a_mistake_anywhere_is_told_and_nothing_because_of_it(
    file: Traversable,
    kind: type[ProcessMap | Declaration],
    lint: Callable[[Any], Iterable[Flaw]],
    spoil: Callable[[Any, KeyPath], None],
) -> None:
    whole = tomllib.loads(file.read_text("utf-8"))
    assert lint_document(whole, kind, "f", "", lint).problems == ()
    spoilt_ones = 0
    places = list(_places(whole))
    for path in places[:: 1 + len(places) // MOST]:
        document = copy.deepcopy(whole)
        spoil(document, path)
        of_type = declare_document(document, kind, "f")
        if of_type.value is not None:
            continue  # a key of one's own choice, or a value that is as good
        spoilt_ones += 1
        assert lint_document(document, kind, "f", "", lint).problems == of_type.problems, path_text(path)
    assert spoilt_ones > 5


def test_a_process_map_with_mistakes_of_both_sorts() -> None:
    text = """name = "m"
window = "soon"
slide = "7s"
[case.order_id]
retention = 5
begins_with = [{ type = "po.created" }]
[[handoff]]
name = "pick"
case = "order_id"
severty = "high"
start = { type = "task.qeued" }
end = { type = "task.completed", where = { task_type = "pik" } }
per = ["task_ids"]
target = "2h"
deadline = "1h"
[[handoff]]
name = "Pack"
case = "order_id"
start = { type = "task.queued" }
end = { type = "task.completed" }
scope = "nod"
requires = ["pikc"]
depends_on = ["pick", 5]
[[handoff]]
name = "ship"
case = "order"
start = { type = "po.created" }
end = { type = "po.craeted" }
requires = ["pick"]
"""
    assert [str(problem).split(": ")[1] for problem in read_process_map(text, "m").problems] == [
        'window = "soon"',
        "case.order_id.retention = 5",
        'case.order_id.begins_with[0].type = "po.created"',
        "handoff[0].severty",
        'handoff[0].start.type = "task.qeued"',
        'handoff[0].end.where.task_type = "pik"',
        'handoff[0].per[0] = "task_ids"',
        'handoff[0].target = "2h"',
        'handoff[1].name = "Pack"',
        'handoff[1].scope = "nod"',
        "handoff[1].depends_on[1] = 5",
        'handoff[2].case = "order"',
        'handoff[2].end.type = "po.craeted"',
    ], "and not: slide, held against window; names of handoffs, one of which is unknown; what depends on a case"


def test_settings_of_a_simulation_with_mistakes_of_both_sorts() -> None:
    text = 'stores = "many"\nskus = 5\nduration = "1000h"\n[[breakdowns]]\nknd = "x"\n'
    with pytest.raises(SettingsError) as caught:
        read_settings(text, "sim.toml")
    assert [str(problem) for problem in caught.value.problems] == [
        'sim.toml:1: stores = "many": must be a whole number',
        "sim.toml:2: skus = 5: must be between 20 and 100000",
        'sim.toml:3: duration = "1000h": must be between 1h and 672h',
        "sim.toml:5: breakdowns[0].knd: unknown key; did you mean 'kind'?",
    ]


MAPPING = """[mapping]
name = "shop"
source = "shop"
system = 5
process_map = "own.toml"
[table]
time = "placed"
[lookup.state]
a = "x"
b = 5
[[event]]
type = "order.created"
id = "{order}"
when = { State = { matches = "(", startwith = "x" } }
set = { order_id = "{Order}", total = { column = "a", lookup = "sums" }, lines = 5 }
[[event]]
type = "order.cancelled"
id = "{order}"
when = 5
set = { order_id = "{order}", reason = { column = "state", lookup = "state", letters = "up" } }
"""


def test_a_mapping_with_mistakes_of_both_sorts() -> None:
    assert [str(problem).split(": ")[1] for problem in read_mapping(MAPPING, "m").problems] == [
        "mapping.system = 5",
        "lookup.state.b = 5",
        "event[0].when.State.startwith",
        'event[0].when.State.matches = "("',
        'event[0].set.total.lookup = "sums"',
        "event[0].set.lines",
        "event[1].when = 5",
        'event[1].set.reason.letters = "up"',
    ], "and not: the ids, which are alike for rows that both rules fit, as far as that is known"


def test_problems_of_a_mapping_hide_none_of_its_table_and_its_process_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text('name = "own"\nwindow = "0s"\n')
    Path("shop.toml").write_text(MAPPING)
    Path("orders.csv").write_text("order,placed,State,state\n")
    check = ["check", "--mapping", "shop.toml", "--table", "orders.csv"]
    assert run_command([*check, "--table", "none.csv"]) == 2
    told = capsys.readouterr().out
    assert 'own.toml:2: window = "0s": must be longer than 0' in told
    assert "shop.toml:15: event[0].set.order_id = \"Order\": did you mean 'order'? the table orders.csv" in told
    assert 'shop.toml:15: event[0].set.total = "a": the table orders.csv has no such column' in told
    assert told.count("no such column") == 2
    assert 'command line: --table = "none.csv": none.csv: can\'t be read' in told
    Path("shop.toml").write_text(MAPPING.replace('"placed"\n', '"placed"\ndelimiter = "::"\n'))
    assert run_command(check) == 2
    told = capsys.readouterr().out
    assert "orders.csv: table: is not looked at: [table] of shop.toml has problems" in told
