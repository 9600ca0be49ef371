"""What leads to what in a process map, and the words its pictures use."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from operators.process_map import Handoff, Pattern, ProcessMap
from schemas.durations import people_duration


class Edge(msgspec.Struct, frozen=True):
    """From one handoff to a later one.

    `depends`: the later is held up by the earlier (`depends_on`). `requires`: the earlier must be over before
    the later ends. `then`: the end event of the earlier is the start event of the later, without a `depends`.
    """

    start: str
    end: str
    kind: Literal["depends", "requires", "then"]


def edges_of(process: ProcessMap) -> list[Edge]:
    """All edges; `depends` and `then` together have no circle. Cost: quadratic in the handoffs."""
    edges = [Edge(other, handoff.name, "depends") for handoff in process.handoff for other in handoff.depends_on]
    after = successors(edges)
    for earlier in process.handoff:
        for later in process.handoff:
            follows = earlier.case == later.case and earlier.end == later.start and earlier.name != later.name
            if not follows or reaches(after, earlier.name, later.name) or reaches(after, later.name, earlier.name):
                continue
            edges.append(Edge(earlier.name, later.name, "then"))
            after.setdefault(earlier.name, []).append(later.name)
    edges += [Edge(other, handoff.name, "requires") for handoff in process.handoff for other in handoff.requires]
    return edges


def successors(edges: Iterable[Edge]) -> dict[str, list[str]]:
    """The handoffs that each handoff leads to directly."""
    after: dict[str, list[str]] = {}
    for edge in edges:
        after.setdefault(edge.start, []).append(edge.end)
    return after


def reaches(after: dict[str, list[str]], start: str, goal: str) -> bool:
    """Whether `goal` can be come to from `start`."""
    seen, todo = {start}, [start]
    while todo:
        for name in after.get(todo.pop(), ()):
            if name == goal:
                return True
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return False


def pattern_words(pattern: Pattern) -> str:
    """`task.completed [pick]`, `order.cancelled [no line_id]`: the type and what its fields must be."""
    if not pattern.where:
        return pattern.type
    values = (
        " or ".join(one or f"no {name}" for one in ([value] if isinstance(value, str) else value))
        for name, value in pattern.where.items()
    )
    return f"{pattern.type} [{', '.join(values)}]"


def event_words(handoff: Handoff) -> tuple[str, str, str]:
    """What starts, ends and gives up a pass; the last is empty where nothing does."""
    start = pattern_words(handoff.start) + (" where there is one" if handoff.start_optional else "")
    given_up = " or ".join(map(pattern_words, handoff.abandoned_by))
    return start, pattern_words(handoff.end), given_up


def due_words(handoff: Handoff) -> str:
    """`within 2 h, target 45 min`, `by dispatch_by`, `no deadline`."""
    if handoff.deadline is not None:
        due = f"within {people_duration(handoff.deadline)}"
    elif handoff.deadline_at is not None:
        plus = f" + {people_duration(handoff.deadline_at.plus)}" if handoff.deadline_at.plus else ""
        due = f"by {handoff.deadline_at.field}{plus}"
    else:
        due = "no deadline"
    return due if handoff.target is None else f"{due}, target {people_duration(handoff.target)}"


def name_words(handoff: Handoff) -> str:
    """`pick, by node, each task_id`."""
    by = f", by {handoff.scope}" if handoff.scope else ""
    each = f", each {' and '.join(handoff.per)}" if handoff.per else ""
    return f"{handoff.name}{by}{each}"


def case_words(process: ProcessMap, case: str) -> tuple[str, str]:
    """The heading of a kind of case, and what is known of it."""
    rule = process.case_rule(case)
    said = [f"case {case}"]
    if rule.begins_with:
        said.append("begins with " + " or ".join(map(pattern_words, rule.begins_with)))
    if rule.cancelled_by:
        said.append("cancelled by " + " or ".join(map(pattern_words, rule.cancelled_by)))
    return rule.title or case, ", ".join(said)


def cases_of(process: ProcessMap) -> list[str]:
    """The kinds of case that have handoffs, in the order of the map."""
    return list(dict.fromkeys(handoff.case for handoff in process.handoff))
