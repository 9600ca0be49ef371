"""Process maps whose keys and types are right, and which would find nothing, or everything."""

import pytest

from operators.process_lint import read_process_map

MAP = """name = "m"
[[handoff]]
name = "pick"
case = "order_id"
start = { type = "task.queued", where = { task_type = "pick" } }
end = { type = "task.completed", where = { task_type = "pick" } }
"""
EXCEPTION = """[[exception]]
name = "{}"
event = {{ type = "task.rejected" }}
"""


def told(text: str) -> list[tuple[int, str, str]]:
    """Line, key and the words for each problem."""
    return [(one.line, one.key, one.expected) for one in read_process_map(text, "m.toml").problems]


def test_what_no_two_events_have_alike_tells_nothing_apart() -> None:
    assert told(MAP + 'per = ["task_id", "event_id"]\nscope = "occurred_at"\n') == [
        (7, "handoff[0].per[1]", "is another one in every event, so that no end would find its start"),
        (8, "handoff[0].scope", "is another one in every event: figures would be kept for each by itself"),
    ]


def test_what_every_start_fits_does_not_give_it_up() -> None:
    words = "fits every start, so that each pass would be given up as it begins"
    given_up = 'abandoned_by = [{ type = "task.rejected" }, { type = "task.queued" }]\n'
    assert told(MAP + given_up) == [(7, "handoff[0].abandoned_by[1]", words)]


def test_an_exception_is_not_called_like_another_kind_of_finding() -> None:
    words = "is the kind of other findings, which could not be told from this one; call it otherwise"
    names = ("overdue", "duplicate", "short", "picking_backlog")
    assert told(MAP + "".join(EXCEPTION.format(name) for name in names)) == [
        (8 + 3 * place, f"exception[{place}].name", words) for place in (0, 1, 3)
    ]


@pytest.mark.parametrize(
    ("end", "covers"),
    [
        ('{ type = "task.queued" }', True),
        ('{ type = "task.queued", where = { task_type = ["pack", "pick"] } }', True),
        ('{ type = "task.queued", where = { task_type = "pack" } }', False),
        ('{ type = "task.queued", where = { task_type = "pick", reason = "again" } }', False),
    ],
)
def test_an_end_that_fits_every_start_is_refused(end: str, covers: bool) -> None:
    words = "fits every start, so that each pass would end as it begins; say in where what tells them apart"
    problems = told(MAP.replace('{ type = "task.completed", where = { task_type = "pick" } }', end))
    assert problems == [(6, "handoff[0].end", words)] * covers


def test_what_belongs_to_other_cases_does_not_end_what_it_starts() -> None:
    posting = '{ type = "posting.recorded" }'
    assert not told(f"""name = "m"
[[handoff]]
name = "of_orders"
case = "order_id"
start = {posting}
end = {posting}
end_case = "reference"
""")
