"""The process maps that come with Andon, reading one, and what is said of a wrong one."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

import dataflows.process_maps
from dataflows.process_maps import load_process_map, shipped_process_maps
from operators.process_lint import read_process_map
from operators.process_map import CaseTime, Pattern, ProcessMap
from schemas.durations import HOUR_US, MINUTE_US
from schemas.errors import SettingsError
from schemas.events import EVENT_TYPES

_FOLDER = Path(dataflows.process_maps.__file__).parent
_MINIMAL = """
name = "own"
[[handoff]]
name = "pick"
case = "order_id"
start = { type = "task.queued" }
end = { type = "task.completed" }
"""


def test_the_shipped_maps_are_the_files_of_the_folder() -> None:
    assert shipped_process_maps() == sorted(path.stem for path in _FOLDER.glob("*.toml"))
    assert "default" in shipped_process_maps()


@pytest.mark.parametrize("name", shipped_process_maps())
def test_a_shipped_map_reads_by_name_and_as_a_file(name: str) -> None:
    process = load_process_map(name)
    assert isinstance(process, ProcessMap)
    assert load_process_map(str(_FOLDER / f"{name}.toml")) == process


def test_the_default_map_covers_the_four_processes() -> None:
    process = load_process_map("default")
    handoffs = {handoff.name: handoff for handoff in process.handoff}
    assert process.window == 5 * MINUTE_US
    assert {handoff.case for handoff in process.handoff} == {"order_id", "return_id", "po_id"}
    assert {one.name: one.repeat for one in process.handoff if one.repeat != "first"} == {
        "order_approval": "flag_start"
    }
    assert handoffs["pick"].abandoned_by == [Pattern("task.rejected", {"task_type": "pick"})]
    assert handoffs["reservation"].abandoned_by == [Pattern("reservation.rejected")]
    assert [one.name for one in process.handoff if one.start_optional] == ["goods_receipt"]
    assert handoffs["pick"].per == ["task_id"]
    assert (handoffs["pick"].target, handoffs["pick"].deadline) == (45 * MINUTE_US, 2 * HOUR_US)
    assert handoffs["dispatch"].deadline_at == CaseTime("dispatch_by")
    assert handoffs["delivery"].deadline_at == CaseTime("expected_at")
    assert handoffs["delivery_promise"].deadline_at == CaseTime("promised_at")
    assert handoffs["goods_issue_posting"].end == Pattern("posting.recorded", {"posting_type": "goods_issue"})
    assert handoffs["refund"].end_case == handoffs["receipt_posting"].end_case == "reference"
    assert handoffs["supplier_payment"].requires == ["goods_receipt"]
    assert {rule.scope for rule in process.exception} == {"node", "carrier", "interface"}
    for case in ("order_id", "return_id", "po_id"):
        assert process.case_rule(case).begins_with, case
    waits = [handoff for handoff in process.handoff if handoff.deadline is None and handoff.deadline_at is None]
    assert waits == [], "every handoff of the default map has a deadline"


def test_every_event_of_the_default_map_is_in_the_contract() -> None:
    process = load_process_map("default")
    used = {pattern.type for handoff in process.handoff for pattern in (handoff.start, handoff.end)}
    assert used <= set(EVENT_TYPES)
    assert used >= {
        "order.created",
        "shipment.delivered",
        "posting.recorded",
        "return.received",
        "goods.received",
    }


def test_every_key_of_the_format_is_documented() -> None:
    guide = Path("docs/process-map.md").read_text(encoding="utf-8")
    todo: list[type[msgspec.Struct]] = [ProcessMap]
    seen: set[type[msgspec.Struct]] = set()
    while todo:
        record = todo.pop()
        seen.add(record)
        for field in msgspec.structs.fields(record):
            assert f"`{field.encode_name}`" in guide, f"{record.__name__}.{field.encode_name} is not documented"
            todo += [kind for kind in _records_in(field.type) if kind not in seen]
    assert len(seen) == 7


def _records_in(kind: object) -> list[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [record for part in getattr(kind, "__args__", ()) for record in _records_in(part)]


def test_every_example_of_the_guide_reads() -> None:
    guide = Path("docs/process-map.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    assert examples
    for example in examples:
        tomllib.loads(example)
        whole = example if example.startswith("name") else f'name = "example"\n{example}'
        declared = read_process_map(whole, "example.toml")
        assert declared.problems == (), example


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("\N{ZERO WIDTH NO-BREAK SPACE}" + _MINIMAL, encoding="utf-8")
    assert load_process_map(str(own)).handoff[0].name == "pick"


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(SettingsError) as caught:
        load_process_map("defualt")
    (problem,) = caught.value.problems
    assert problem.file == "defualt"
    assert all(name in problem.expected for name in shipped_process_maps())


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes('title = "Köln"'.encode("latin-1"))
    for path in (latin, tmp_path, tmp_path / "none.toml"):
        with pytest.raises(SettingsError) as caught:
            load_process_map(str(path))
        assert [problem.file for problem in caught.value.problems] == [str(path)]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        _MINIMAL.replace("task.queued", "task.qeued").replace('"order_id"', '"order_id"\nscope = "noed"')
        + 'depends_on = ["nothing"]\n'
        + '[[forbidden]]\nname = "pick"\ncase = "order_id"\nevent = { type = "po.created" }\n'
        + 'after = { type = "order.cancelled", where = { colour = "red" } }\n',
        encoding="utf-8",
    )
    with pytest.raises(SettingsError) as caught:
        load_process_map(str(own))
    told = {(problem.key, problem.value) for problem in caught.value.problems}
    assert ("handoff[0].start.type", '"task.qeued"') in told
    assert ("handoff[0].scope", '"noed"') in told
    assert ("handoff[0].depends_on[0]", '"nothing"') in told
    assert ("forbidden[0].event.type", '"po.created"') in told
    assert ("forbidden[0].after.where.colour", '"red"') in told
    assert ("forbidden[0].name", '"pick"') in told
    assert all(problem.file == str(own) for problem in caught.value.problems)
    assert all(str(own) in line for line in str(caught.value).splitlines())


@pytest.mark.parametrize("key", ["requires", "depends_on"])
def test_handoffs_that_wait_for_each_other_are_refused(key: str) -> None:
    """With `requires` each case of them would be a finding, whatever came first."""
    second = _MINIMAL.partition("[[handoff]]")[2].replace('"pick"', '"pack"')
    declared = read_process_map(f'{_MINIMAL}{key} = ["pack"]\n[[handoff]]{second}{key} = ["pick"]\n', "own.toml")
    assert [problem.key for problem in declared.problems] == [f"handoff[0].{key}", f"handoff[1].{key}"]
    assert all("makes a circle" in str(problem) for problem in declared.problems)


def test_unknown_keys_are_refused_with_a_hint() -> None:
    declared = read_process_map(_MINIMAL + 'dedline = "2h"\n', "own.toml")
    (problem,) = declared.problems
    assert "did you mean 'deadline'?" in str(problem)
    assert problem.line > 0


@pytest.mark.parametrize("written", ["0s", "0d", "0.0001ms"])
def test_a_target_and_a_deadline_last(written: str) -> None:
    """With a deadline of nothing each pass would be overdue as it begins."""
    declared = read_process_map(f'{_MINIMAL}target = "{written}"\ndeadline = "{written}"\n', "own.toml")
    line = _MINIMAL.count("\n") + 1
    assert list(map(str, declared.problems)) == [
        f'own.toml:{line}: handoff[0].target = "{written}": must be longer than 0',
        f'own.toml:{line + 1}: handoff[0].deadline = "{written}": must be longer than 0',
    ]
    assert not read_process_map(f'{_MINIMAL}target = "1ms"\ndeadline = "1ms"\n', "own.toml").problems


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "order.cancelled"),
        ({"line_id": ""}, "order.cancelled[no line_id]"),
        ({"reason": ["", "fraud"], "channel": "web"}, "order.cancelled[channel=web,reason=fraud|no reason]"),
    ],
)
def test_a_pattern_in_words(where: dict[str, str | list[str]], text: str) -> None:
    assert str(Pattern("order.cancelled", where)) == text
