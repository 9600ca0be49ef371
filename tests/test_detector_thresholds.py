"""Thresholds: which scopes can have another one, and what makes no sense as one."""

from operator import attrgetter
from pathlib import Path

import pytest

from dataflows.job import pipeline_settings
from dataflows.process_maps import load_process_map
from dataflows.settings import Settings
from operators.detectors.bounds import SCOPES, limits, no_such_scope, out_of_bounds, told_apart
from operators.detectors.policy import ByScope, Override, Policy, find_problems, paths_of, replaced
from operators.detectors.records import Scoped
from operators.detectors.settings import DetectorSettings
from scenarios.settings import PRESETS
from scenarios.simulate import simulate
from schemas.durations import MINUTE_US, SECOND_US, Duration
from tests.harness import PurePipeline


def test_an_override_that_no_scope_can_match_is_refused_with_what_it_can_be_for() -> None:
    overrides = [
        Override(carrier="bike", set={"warehouse.backlog.least": 7, "carriers.late.least": 7}),
        Override(region="north", set={"settlement.failures.share": 0.5, "capture.learn_from": 7}),
        Override(region="north", channel="web", set={"routing.elsewhere.least": 7, "capture.carried": 0.5}),
        Override(node_group="air", node="s1*", set={"inventory.phantom.least": 7, "routing.elsewhere.share": 0.5}),
    ]
    text = """
[[detectors.override]]
carrier = "bike"
set = { "warehouse.backlog.least" = 7, "carriers.late.least" = 7 }
[[detectors.override]]
region = "north"
[detectors.override.set]
"capture.learn_from" = 7
"settlement.failures.share" = 0.5
[[detectors.override]]
region = "north"
channel = "web"
set = { "routing.elsewhere.least" = 7, "capture.carried" = 0.5 }
"""
    problems = find_problems(DetectorSettings(), overrides, {"air": ["s1*"]}, "andon.toml", text)
    assert [(problem.line, problem.key) for problem in problems] == [
        (4, 'detectors.override[0].set."warehouse.backlog.least"'),
        (9, 'detectors.override[1].set."settlement.failures.share"'),
        (13, 'detectors.override[2].set."routing.elsewhere.least"'),
    ]
    assert [problem.expected for problem in problems] == [
        "can't be other by carrier: only by node_group, node",
        "can't be other by region, nor by anything else: set share under [detectors.settlement.failures]",
        "can't be other by region and channel: only by one of region, node_group, node, channel",
    ]


def test_overrides_can_be_for_what_the_scopes_of_a_day_are_told_apart_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Policy[ByScope], str]] = []
    asked: dict[str, set[str]] = {}
    policy, of = DetectorSettings.policy, Policy.of

    def noted(settings: DetectorSettings, path: str) -> Policy[ByScope]:
        made.append((policy(settings, path), path))
        return made[-1][0]

    def noted_of(self: Policy[ByScope], scope: Scoped, region: str = "") -> ByScope:
        path = next(path for one, path in made if one is self)
        asked.setdefault(path, set()).update(dict(scope), ["region"] if region else [])
        return of(self, scope, region)

    monkeypatch.setattr(DetectorSettings, "policy", noted)
    monkeypatch.setattr(Policy, "of", noted_of)
    simulate(PRESETS["small"], tmp_path)
    log = {path.stem: path.read_bytes().splitlines() for path in tmp_path.glob("*.jsonl") if path.stem != "truth"}
    settings = pipeline_settings(Settings(), load_process_map("default"))
    PurePipeline(log, settings, 4_000).run()
    routing = asked.pop("routing.late")
    assert routing == {"channel"}, "the scope of a handoff of the process map"
    assert len(asked) > 20
    for path, fields in asked.items():
        can_be = {name for way in told_apart(path) for name in way}
        assert fields & set(SCOPES) == can_be - {"node_group"}, path


def test_a_detector_that_nothing_is_known_of_yet_can_be_overridden() -> None:
    """What is found of its scopes when it runs is held to its entry (the test above); a first try needs none."""
    assert no_such_scope("after_hours.rate.least", ["node"]) == ""
    expected = "can't be other by node and carrier: only by one of region, node_group, node, channel, carrier"
    assert no_such_scope("after_hours.rate.least", ["node", "carrier"]).startswith(expected)
    assert "by anything else" in no_such_scope("returns.surge.least", ["node"])


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("capture.duplicates.memory", Duration(0), "must be longer than 0"),
        ("demand.surge.memory", Duration(0), "must be longer than 0"),
        ("capture.duplicates.share", 3.0, "must be a share, between 0 and 1"),
        ("margin.below_cost.share", float("nan"), "must be a share, between 0 and 1"),
        ("margin.freight.window", Duration(30 * SECOND_US), "must be at least 60 s"),
        ("integration.queues.age", Duration(0), "must be longer than 0"),
        ("returns.retention", Duration(0), "must be longer than 0"),
        ("carriers.remembered", Duration(0), "must be longer than 0"),
        ("capture.learn_every", Duration(0), "must be longer than 0"),
        ("returns.refund_lag.young", 0, "must be a number, at least 1"),
        ("supply.late.least", 0.0, "must be a number, at least 1"),
        ("supply.late.times", -1.0, "must be a number, at least 0"),
        ("returns.surge.score", float("inf"), "must be a number, at least 0"),
        ("demand.cover.unfilled", 0, "must be a number, at least 1"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(path: str, value: float, expected: str) -> None:
    settings = replaced(DetectorSettings(), path.split("."), value)
    (problem,) = find_problems(settings, [], {}, "andon.toml")
    assert (problem.key, problem.expected) == (f"detectors.{path}", expected)
    assert find_problems(replaced(settings, ["margin", "freight", "share"], 1.5), [], {}, "andon.toml") == [problem]


@pytest.mark.parametrize(
    "path", [path for path in paths_of(DetectorSettings) if path not in ("node_groups", "override")]
)
def test_what_the_reference_says_of_a_threshold_is_what_is_held_against_it(path: str) -> None:
    central = attrgetter(path)(DetectorSettings())
    words = limits(path, type(central))
    if isinstance(central, Duration):
        least_us = {"": 0, "longer than 0": 1, "of 60 s or more": MINUTE_US}[words]
        assert out_of_bounds(path, Duration(least_us)) == ""
        assert not least_us or out_of_bounds(path, Duration(least_us - 1))
    elif type(central) in (int, float):
        least, most = (0, 1) if words == "between 0 and 1" else (int(words.removeprefix("at least ")), 10**9)
        assert out_of_bounds(path, least) == out_of_bounds(path, most) == ""
        assert out_of_bounds(path, least - 1)
        assert out_of_bounds(path, float("inf"))
    else:
        assert words == ""


def test_an_override_with_a_value_that_makes_no_sense_is_refused() -> None:
    overrides = [Override(channel="web", set={"capture.duplicates.share": 5, "capture.duplicates.memory": "0s"})]
    problems = find_problems(DetectorSettings(), overrides, {}, "andon.toml")
    assert [problem.expected for problem in problems] == [
        "must be a share, between 0 and 1",
        "must be longer than 0",
    ]
