"""Which finding is the probable cause, and why; the table of causes; what is wrong with settings."""

import itertools
from pathlib import Path

import msgspec
import pytest

from operators.incidents.causes import RULES, CauseGraph, CauseRule
from operators.incidents.incidents import Incidents
from operators.incidents.kinds import KINDS, directness
from operators.incidents.scopes import Relation, relation, values_of
from operators.incidents.settings import CauseWeights, IncidentSettings, PriorityWeights, find_problems
from operators.process_map import ProcessMap
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US, Duration, people_duration
from schemas.errors import SettingsError
from schemas.incident_rows import IncidentSignal
from schemas.problems import declare_document, parse_toml
from tests.incident_streams import PROCESS, finding, minute_of, only, orders, roles, run

LATE = orders("o", range(60))


def test_the_loudest_is_not_the_cause() -> None:
    """Scores and severities of findings don't count: the faintest one is what brings the others about."""
    rows = run(
        [
            finding(10, "downstream_outage", {"interface": "i"}, LATE[:3], severity="low", score=4.1, since=8),
            finding(12, "posting_missing", {"interface": "i"}, LATE, severity="critical", score=900.0, since=9),
            finding(14, "refund_lag", {"interface": "i"}, LATE[:30], severity="critical", score=500.0, since=9),
        ]
    )
    incident = only(rows)
    assert incident.kind == "downstream_outage"
    assert next(line.split(": ")[1] for line in incident.candidates) == "downstream_outage"


def test_of_two_that_can_bring_each_other_about_the_one_seen_failing_and_first_is_the_cause() -> None:
    def cause(queue_since: float, interface_since: float, scope: dict[str, str]) -> str:
        return only(
            run(
                [
                    finding(40, "queue_saturation", {"queue": "erp"}, LATE, since=queue_since),
                    finding(41, "posting_interface_down", scope, LATE, since=interface_since),
                ]
            )
        ).kind

    refused = {"interface": "erp-goods", "error_code": "LOCKED"}
    assert cause(30, 5 + 10, refused) == "posting_interface_down", "what it refused piles up"
    assert cause(15, 30, {"interface": "erp-goods"}) == "queue_saturation", "nothing came to be posted"


def test_candidates_are_ranked_with_their_reasons() -> None:
    rows = run(
        [
            finding(10, "feed_stopped", {"node": "s1"}, since=0),
            finding(30, "phantom_stock", {"node": "s1", "sku": "1"}, LATE[:5], since=20),
            finding(35, "oversell", {"node": "s1", "sku": "1"}, LATE[:8], since=25),
        ]
    )
    incident = only(rows)
    assert incident.candidates == [
        (
            "feed_stopped[node=s1]: feed_stopped: it began first; 2 of 2 other findings can come from it; "
            "nothing found here brings it about; seen directly: a feed says nothing any more"
        ),
        (
            "phantom_stock[node=s1,sku=1]: phantom_stock: 1 of 2 other findings can come from it; "
            "it can come from feed_stopped; seen: goods are not where systems have them"
        ),
        (
            "oversell[node=s1,sku=1]: oversell: 0 of 2 other findings can come from it; "
            "it can come from feed_stopped; seen: more was sold than is there"
        ),
    ]
    last = {row.signal_id: (row.role, row.rank) for row in rows if isinstance(row, IncidentSignal)}
    assert list(last.values()) == [("cause", 1), ("consequence", 2), ("consequence", 3)]


def test_when_the_cause_changes_all_parts_are_written_anew() -> None:
    some = [finding(10 + n, "phantom_stock", {"node": "s1", "sku": str(n)}, since=9) for n in range(3)]
    rows = run([*some, finding(30, "feed_stopped", {"node": "s1"}, since=5)])
    incident = only(rows)
    assert incident.kind == "feed_stopped"
    assert set(roles(rows, incident.incident_id).values()) == {"cause", "consequence"}
    assert minute_of(max(row.arrival_us for row in rows)) == 30


def test_a_cause_is_not_changed_for_a_little() -> None:
    """Within the margin the cause that was told stays."""
    some = [
        finding(10, "picking_backlog", {"node": "s1"}, since=9),
        finding(30, "feed_stopped", {"node": "s1"}, since=5),
    ]
    assert only(run(some)).kind == "feed_stopped"
    assert only(run(some, cause_margin=1.0)).kind == "picking_backlog"


def test_of_two_views_of_the_cause_the_one_that_was_told_stays_unless_the_other_is_nearer_to_it() -> None:
    def cause(first: dict[str, str], second: dict[str, str]) -> str:
        return only(
            run(
                [finding(10, "schema_change", first, LATE[:5]), finding(12, "schema_change", second, LATE[:5], since=8)]
            )
        ).cause_signal_id

    assert cause({"source": "a"}, {"channel": "b"}) == "schema_change[source=a]"
    assert cause({"source": "a"}, {"interface": "b"}) == "schema_change[interface=b]"
    assert cause({"interface": "b"}, {"source": "a"}) == "schema_change[interface=b]"


def test_of_those_found_in_one_minute_the_best_is_told_whatever_the_margin() -> None:
    both = [
        finding(10, "picking_backlog", {"node": "s1"}, since=8),
        finding(10, "feed_stopped", {"node": "s1"}, since=9),
    ]
    assert only(run(both, cause_margin=1.0)).kind == "feed_stopped"


def test_what_began_before_it_does_not_speak_for_a_candidate() -> None:
    rows = run(
        [
            finding(40, "queue_saturation", {"queue": "erp"}, LATE, since=5),
            finding(70, "posting_interface_down", {"interface": "i"}, LATE, since=60),
        ]
    )
    assert "posting_interface_down: 0 of 1 other findings can come from it" in only(rows).candidates[1]


def test_a_finding_that_is_no_longer_the_strongest_of_its_kind_loses_its_rank() -> None:
    rows = run(
        [
            finding(10, "feed_stopped", {"node": "s1"}, since=0),
            finding(30, "phantom_stock", {"node": "s1", "sku": "1"}, since=20),
            finding(31, "phantom_stock", {"node": "s1", "sku": "2"}, since=15),
        ]
    )
    last = {row.signal_id: row.rank for row in rows if isinstance(row, IncidentSignal)}
    assert list(last.values()) == [1, 0, 2]


def test_weights_decide_what_counts() -> None:
    some = [
        finding(30, "queue_saturation", {"queue": "erp"}, LATE, since=12),
        finding(31, "posting_interface_down", {"interface": "i", "error_code": "E"}, LATE[:30], since=2),
    ]
    only_orders = CauseWeights(earliest=0.0, explains=1.0, uncaused=0.0, direct=0.0)
    only_time = CauseWeights(earliest=1.0, explains=0.0, uncaused=0.0, direct=0.0)
    assert only(run(some, cause_weights=only_time)).kind == "posting_interface_down"
    assert only(run(some, cause_weights=only_orders)).kind == "queue_saturation"


def test_every_rule_is_about_known_kinds_and_says_why() -> None:
    assert {rule.cause for rule in RULES} | {effect for rule in RULES for effect in rule.effects} <= set(KINDS)
    assert not find_problems(IncidentSettings(cause=list(RULES)))


def graph(*added: CauseRule) -> CauseGraph:
    assert PROCESS is not None
    return CauseGraph(added, PROCESS, HOUR_US)


def test_causes_reach_over_steps_with_their_reasons_and_times_added_up() -> None:
    link = graph().link("feed_stopped", "refund_lag")
    assert link is not None
    assert link.steps == 2
    assert link.within_us == (4 + 24) * HOUR_US
    assert "; then " in link.why


def test_a_chain_has_three_steps_at_most() -> None:
    """Each step from one kind to the next, of kinds that nothing else leads to."""
    names = ["a", "b", "c", "d", "e"]
    chain = graph(*(CauseRule(cause=one, effects=[other], why="-") for one, other in itertools.pairwise(names)))
    assert [chain.link("a", name) is not None for name in names[1:]] == [True, True, True, False]


def test_added_rules_make_links_and_take_the_place_of_the_tables() -> None:
    some = [
        finding(10, "carrier_delay", {"carrier": "dhl"}, LATE[:9]),
        finding(20, "return_surge", {"sku": "1"}, LATE[:9]),
    ]
    assert [row.why for row in [graph().link("carrier_delay", "return_surge")] if row] == []
    added = CauseRule(cause="carrier_delay", effects=["return_surge"], why="late parcels are sent back", wide=True)
    assert only(run(some, cause=[added])).kind == "carrier_delay"
    shorter = CauseRule(cause="feed_stopped", effects=["oversell"], why="here", within=Duration(MINUTE_US))
    link = graph(shorter).link("feed_stopped", "oversell")
    assert link is not None
    assert (link.why, link.within_us, link.wide) == ("here", MINUTE_US, False)


@pytest.mark.parametrize(
    ("one", "other", "same_kind", "expected"),
    [
        ({"node": "a"}, {"node": "a", "sku": "1"}, False, "same"),
        ({"node": "a"}, {"node": "b"}, True, "apart"),
        ({"node": "a", "region": "n"}, {"node": "b", "region": "n"}, True, "apart"),
        ({"region": "n"}, {"node": "b", "region": "n"}, False, "loose"),
        ({"queue": "q"}, {"source": "w"}, True, "other"),
        ({"topic": "reservations"}, {"topic": "fulfillment"}, True, "other"),
        ({"topic": "reservations"}, {"topic": "reservations"}, True, "same"),
        ({"node": "a", "sku": "1"}, {"node": "a", "sku": "2"}, True, "same"),
        ({"channel": "web", "sku": "1"}, {"channel": "web", "sku": "2"}, True, "same"),
        ({"channel": "web", "sku": "1"}, {"channel": "web", "sku": "2"}, False, "apart"),
        ({"channel": "web"}, {"channel": "web", "sku": "2"}, False, "loose"),
        ({"source": "w", "node": "a"}, {"source": "w", "node": "b"}, True, "apart"),
        ({}, {"node": "a"}, True, "other"),
    ],
)
def test_how_scopes_lie_to_each_other(
    one: dict[str, str], other: dict[str, str], same_kind: bool, expected: Relation
) -> None:
    assert relation(values_of(one), values_of(other), same_kind=same_kind) == expected
    assert relation(values_of(other), values_of(one), same_kind=same_kind) == expected


def test_a_refused_posting_shows_more_than_one_that_did_not_come() -> None:
    assert directness("posting_interface_down", {"interface": "i", "error_code": "E"}) == 1.0
    assert directness("posting_interface_down", {"interface": "i"}) == 0.5
    assert directness("something_new", {}) == 0.3


def test_all_problems_of_the_settings_are_told_at_once() -> None:
    text = """
[incidents]
slack = "3h"
shared_share = 1.5
siblings = 1

[incidents.cause_weights]
direct = -1.0

[incidents.priority]
value_scale = 0.0
levels = [0.5, 0.6, 0.3, 0.1]

[[incidents.cause]]
cause = "queue_saturatoin"
effects = ["oversell", "queue"]
why = " "
within = "0s"
"""
    document, _ = parse_toml(text, "andon.toml")
    read = declare_document(document["incidents"], IncidentSettings, "andon.toml", text)
    assert read.value is not None, read.problems
    assert [str(problem) for problem in find_problems(read.value, "andon.toml", text)] == [
        'andon.toml:3: incidents.slack = "3 h": must be between 0 s and 60 min',
        "andon.toml:4: incidents.shared_share = 1.5: must be between 0.05 and 1",
        "andon.toml:5: incidents.siblings = 1: must be between 2 and 1000",
        "andon.toml:8: incidents.cause_weights.direct = -1.0: must be between 0 and 1",
        "andon.toml:11: incidents.priority.value_scale = 0.0: must be above 0",
        (
            "andon.toml:12: incidents.priority.levels = [0.5,0.6,0.3,0.1]: "
            "must be four numbers between 0 and 1, each less than the one before"
        ),
        (
            'andon.toml:15: incidents.cause[0].cause = "queue_saturatoin": '
            "is no kind of incident; did you mean 'queue_saturation'?"
        ),
        'andon.toml:16: incidents.cause[0].effects = "queue": is no kind of incident',
        'andon.toml:17: incidents.cause[0].why = " ": must say why, in words: it is shown as the reason',
        'andon.toml:18: incidents.cause[0].within = "0 s": must be between 60 s and 7 d',
    ]


def test_weights_that_are_all_nothing_are_refused() -> None:
    nothing = CauseWeights(earliest=0.0, explains=0.0, uncaused=0.0, direct=0.0)
    found = [problem.key for problem in find_problems(IncidentSettings(cause_weights=nothing))]
    assert found == ["incidents.cause_weights"]


def test_settings_that_can_t_be_used_are_refused() -> None:
    with pytest.raises(SettingsError, match="most_orders = 1"):
        Incidents(IncidentSettings(most_orders=1, priority=PriorityWeights()), ProcessMap(name="none"))


def test_the_page_has_the_tables_and_defaults_of_the_code() -> None:
    page = (Path(__file__).parents[1] / "docs" / "incidents.md").read_text()
    for rule in RULES:
        told = "orders" if rule.wide else "place"
        told += f", or begun within {people_duration(rule.soon)}" if rule.soon else ""
        effects = " ".join(f"`{effect}`" for effect in rule.effects)
        assert f"| `{rule.cause}` | {effects} | {people_duration(rule.within)} | {told} | {rule.why} |" in page
    for name, kind in KINDS.items():
        direct = f"{kind.direct:g}" + "".join(f", {value:g} with {field}" for field, value in kind.direct_where.items())
        holds = "–" if kind.holds_s is None else people_duration(kind.holds_s * SECOND_US)
        assert f"| `{name}` | {kind.shows} | {direct} | {holds} |" in page
    text = page.partition("```toml\n")[2].partition("```")[0]
    document, _ = parse_toml(text, "page")
    read = declare_document(document["incidents"], IncidentSettings, "page", text).value
    assert read is not None
    assert not find_problems(read)
    assert msgspec.structs.replace(read, cause=[]) == IncidentSettings()
    assert len(document["incidents"]) == len(IncidentSettings.__struct_fields__), "every setting is on the page"
