"""The list of metrics in docs/runbook.md: what each says, which alerts watch it, and where to read what to do."""

import re
from pathlib import Path

import yaml
from markdown import filled, table

from schemas.metrics import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "infra" / "prometheus" / "andon.rules.yaml"


def page() -> str:
    """docs/runbook.md with its list of metrics as the catalogue and the alert rules say."""
    return filled((ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), "metrics", _list())


def _list() -> str:
    watched = _watched()
    rows = []
    for metric in METRICS:
        alerts = ", ".join(f"[{name}](#{name.lower()})" for name in watched.get(metric.name, ()))
        rows.append((f"[`{metric.name}`](metrics.md#{metric.name})", metric.kind, metric.help, alerts or "–"))
    return table(("metric", "is a", "what it says", "alerts on it"), rows)


def _watched() -> dict[str, list[str]]:
    """Of each metric, the alerts whose expression has it."""
    found: dict[str, list[str]] = {}
    names = {metric.name for metric in METRICS}
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            for series in sorted(set(re.findall(r"andon_\w+", rule["expr"]))):
                name = series if series in names else re.sub(r"_(bucket|sum|count)$", "", series)
                found.setdefault(name, []).append(rule["alert"])
    return found
