"""docs/metrics.md, word for word: the catalogue of metrics for people."""

from textwrap import fill

from schemas.metric import Metric
from schemas.metrics import AREAS

_PREFACE = """\
# Metrics, and what to do when they move

Each process of `andon run` answers over HTTP at `observe.listen`, `andon deliver` at `delivery.listen`:

| path | says |
|---|---|
| `/metrics` | everything below, for Prometheus, and the process's memory, CPU and files (`process_…`) |
| `/healthz` | 200 while the job makes progress, else 503 and since when it does not: the liveness probe. Bad input, \
and a store that is away, are no reason to restart a job and don't fail it |
| `/readyz` | 200 once the process has resumed and is consuming, else 503 and a line for each condition that fails. \
`/readyz/NAME` (`resumed`, `source`, `store`, …) tells of one alone |
| `/status` | all of it as JSON, with rates of the last 10 seconds and quantiles of the last minute |

`andon status` shows the same to a person. Each process reports its own share: sum over processes, except where a
metric is an age, a ratio or a state.

`observe.stalled_after`, the bound of `/healthz`, must be longer than the longest batch, snapshot and insert together. A
start that resumes much state needs a startup probe.

`andon deliver` reports *What is delivered*, and of *How the job is* all but `andon_healthy`. It is alive while each of
its threads (one a receiver, one that keeps house) has made a turn within `delivery.stalled_after`: a receiver that does
not answer is a turn, too. It is ready once its outbox is open and ClickHouse answers.
"""


def metrics_page() -> str:
    """docs/metrics.md: the catalogue for people."""
    parts = [_PREFACE]
    for area, metrics in AREAS:
        parts.append(f"## {area}\n")
        parts += [_entry(metric) for metric in metrics]
    return "\n".join(parts)


def _entry(metric: Metric) -> str:
    labels = f", by {', '.join(f'`{label}`' for label in metric.labels)}" if metric.labels else ""
    buckets = f" Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""
    what = _wrapped(f"{metric.kind.capitalize()}{labels}. {metric.help}{buckets}")
    return f"### `{metric.name}`\n\n{what}\n\n{_wrapped(f'**When it moves.** {metric.action}')}\n"


def _wrapped(text: str) -> str:
    return fill(text, 120, break_long_words=False, break_on_hyphens=False)
