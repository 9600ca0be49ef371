"""What PromQL asks for, held against the metric catalogue."""

import re

from schemas.metrics import METRICS

_KNOWN = {metric.name: metric for metric in METRICS}
#: What prometheus_client itself reports of a process, and Prometheus of a target.
_OTHERS = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"}
_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")
_TARGET_LABELS = {"instance", "job"}
_NAME = re.compile(r"\b(andon_\w+|process_\w+)\b(?:\{([^}]*)\})?")
_BY = re.compile(r"\bby \(([^)]*)\)")


def problems_of(expression: str) -> list[str]:
    """Metrics that nobody reports, and labels that they do not have."""
    problems: list[str] = []
    labels = set(_TARGET_LABELS)
    named = _NAME.findall(expression)
    if not named:
        problems.append("asks for nothing")
    for name, matchers in named:
        if name in _OTHERS:
            continue
        base, suffix = _split(name)
        metric = _KNOWN.get(base)
        if metric is None or (metric.kind == "histogram") != bool(suffix):
            problems.append(f"nobody reports {name}")
            continue
        own = set(metric.labels) | ({"le"} if suffix == "_bucket" else set())
        labels |= own
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        problems += [f"{name} has no label {label}" for label in sorted(asked - own - _TARGET_LABELS)]
    for listed in _BY.findall(expression):
        problems += [f"no label {one.strip()}" for one in listed.split(",") if one.strip() not in labels]
    return problems


def _split(name: str) -> tuple[str, str]:
    for suffix in _OF_HISTOGRAMS:
        base = name.removesuffix(suffix)
        if base != name and base in _KNOWN and _KNOWN[base].kind == "histogram":
            return base, suffix
    return name, ""
