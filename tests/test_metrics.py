"""The catalogue of metrics: complete, well formed, used, and what docs/metrics.md says."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from dataflows.cli import _COMMANDS
from dataflows.settings import setting_fields
from schemas import delivery_metrics, metrics
from schemas.metric import Metric
from schemas.metrics import METRICS
from schemas.metrics_page import metrics_page

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "metrics.md"
DECLARED = vars(metrics) | vars(delivery_metrics)
CONSTANTS = {name: value for name, value in DECLARED.items() if isinstance(value, Metric)}
#: What only reads metrics; naming one there is no use of it.
READERS = {ROOT / "dataflows" / "status.py", ROOT / "dataflows" / "cli" / "status.py"}

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_none_is_missing_and_none_is_there_twice() -> None:
    assert sorted(metric.name for metric in METRICS) == sorted(metric.name for metric in CONSTANTS.values())
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_each_is_told_by_something_that_runs() -> None:
    named: set[str] = set()
    for path in sorted((ROOT / "dataflows").rglob("*.py")):
        if path not in READERS:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute):
                    named.add(node.attr)
                elif isinstance(node, ast.Name):
                    named.add(node.id)
    assert set(CONSTANTS) - named == set(), "declared, but nothing in dataflows/ ever tells it"


@each_metric
def test_names_follow_the_rules_of_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"andon_[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not metric.name.endswith(("_sum", "_count", "_bucket", "_created"))
    assert len(set(metric.labels)) == len(metric.labels)
    for label in metric.labels:
        assert re.fullmatch(r"[a-z][a-z_]*", label)
        assert label not in ("le", "quantile", "job", "instance")


@each_metric
def test_buckets_ascend_and_only_histograms_have_them(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert all(isinstance(bound, float) and bound > 0 for bound in metric.buckets)
    assert all(lower < upper for lower, upper in pairwise(metric.buckets))


@each_metric
def test_each_says_what_it_is_and_what_to_do(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert "\n" not in metric.help + metric.action
    assert metric.action.endswith((".", ")."))
    assert len(metric.action) > 40
    assert metric.action != metric.help


@each_metric
def test_what_the_advice_names_exists(metric: Metric) -> None:
    settings = {f"{section}.{key.name}" for section, key in setting_fields()}
    sections = {name.partition(".")[0] for name in settings}
    known = {one.name for one in METRICS}
    for quoted in re.findall(r"`([^`]+)`", metric.help + metric.action):
        if quoted.startswith("andon_"):
            assert quoted in known
        elif quoted.startswith("andon "):
            assert quoted.split()[1] in {*_COMMANDS, "status"}
        elif "." in quoted and quoted.partition(".")[0] in sections:
            assert quoted in settings


def test_the_page_is_what_the_catalogue_says() -> None:
    regenerate = (
        "docs/metrics.md has drifted: .venv/bin/python -c "
        '"from pathlib import Path; from schemas.metrics_page import metrics_page; '
        "Path('docs/metrics.md').write_text(metrics_page(), encoding='utf-8')\" and look at the diff"
    )
    assert PAGE.read_text(encoding="utf-8") == metrics_page(), regenerate


def test_the_page_has_every_metric_and_its_advice() -> None:
    page = metrics_page()
    unwrapped = " ".join(page.split())
    for metric in METRICS:
        assert page.count(f"### `{metric.name}`\n") == 1
        assert metric.help in unwrapped
        assert metric.action in unwrapped
    assert not re.search(r"[ \t]+$", page, re.MULTILINE)
