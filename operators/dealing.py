"""What a group has counted, dealt out to site groups: all that is said of one scope comes together in one."""

from functools import lru_cache

from operators.case_plan import bucket_of
from operators.detectors.catalogue import read_metrics
from operators.detectors.clock_offsets import CLOCK_OFFSET
from operators.detectors.events import Collected, Counted
from operators.detectors.records import ORDER_MOVED, Scoped, Tally, bucket_key
from operators.pipeline import PipelineSettings
from operators.series_counts import METRICS as SERIES_METRICS


def wanted_metrics(settings: PipelineSettings) -> frozenset[str]:
    """What first parts need to count: the metrics of second parts, those that models read, orders' places, clocks."""
    series = SERIES_METRICS if settings.models.enabled else frozenset[str]()
    return read_metrics(settings.detectors) | {ORDER_MOVED, CLOCK_OFFSET} | series


def dealt(found: Collected, groups: int) -> list[tuple[list[Tally], list[Counted]]]:
    """What was counted, for each site group. Cost: a look-up for each tally and count, a hash for each new scope.

    Memory: where the latest 50,000 scopes go, in all groups of a process together.
    """
    parts: list[tuple[list[Tally], list[Counted]]] = [([], []) for _ in range(groups)]
    told: dict[Scoped, list[Tally]] = {}
    last: Scoped | None = None
    mine: list[Tally] = []
    for tally in found.told():
        scope = tally.scope
        if scope is not last:  # many of one detector come in a row
            last, known = scope, told.get(scope)
            mine = known if known is not None else told.setdefault(scope, parts[_site_of(scope, groups)][0])
        mine.append(tally)
    for counted in found.counted():
        parts[_site_of(counted.scope, groups)][1].append(counted)
    return parts


@lru_cache(maxsize=50_000)
def _site_of(scope: Scoped, groups: int) -> int:
    return bucket_of(bucket_key(scope), groups)
