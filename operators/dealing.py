"""What a group has counted, dealt out to site groups: all that is said of one scope comes together in one."""

from operators.case_plan import bucket_of
from operators.detectors.catalogue import read_metrics
from operators.detectors.events import Collected, Counted
from operators.detectors.records import ORDER_MOVED, Scoped, Tally, bucket_key
from operators.pipeline import PipelineSettings
from operators.series_counts import METRICS as SERIES_METRICS


def wanted_metrics(settings: PipelineSettings) -> frozenset[str]:
    """What first parts need to count: the metrics of second parts, those that models read, and where orders stand."""
    return (
        read_metrics(settings.detectors) | {ORDER_MOVED} | (SERIES_METRICS if settings.models.enabled else frozenset())
    )


def dealt(found: Collected, groups: int) -> list[tuple[list[Tally], list[Counted]]]:
    """What was counted, for each site group. Cost: a hash for each scope, a look-up for each tally and count."""
    parts: list[tuple[list[Tally], list[Counted]]] = [([], []) for _ in range(groups)]
    sites: dict[Scoped, tuple[list[Tally], list[Counted]]] = {}

    def part_of(scope: Scoped) -> tuple[list[Tally], list[Counted]]:
        part = sites.get(scope)
        if part is None:
            part = sites[scope] = parts[bucket_of(bucket_key(scope), groups)]
        return part

    for tally in found.told():
        part_of(tally.scope)[0].append(tally)
    for counted in found.counted():
        part_of(counted.scope)[1].append(counted)
    return parts
