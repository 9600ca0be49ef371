"""What pools lend to the points of a batch, and learn from them: one by one, for each sibling learns from the last."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from operators.anomaly.batch.clock import Place
from operators.anomaly.batch.columns import Column, Mask
from operators.anomaly.season import Pool


class Shape(NamedTuple):
    """What its pool lends to each point: ratio and deviation, and whether it lends anything."""

    ratio: Column
    deviation: Column
    is_lent: Mask


def lent(pools: Sequence[Pool | None], place: Place, gives: Mask, gifts: Column) -> Shape | None:
    """The shape that each point's pool has before the point; then pools learn.

    A pool's shape is read and taught by its own members alone, so it does not matter in which order pools are served.

    Args:
        pools: of each point, in the order of the points.
        place: of the points.
        gives: whether the point teaches its pool.
        gifts: the ratio that it teaches.

    Returns:
        None where no point has a pool.
    """
    members: dict[int, list[int]] = {}
    for at, pool in enumerate(pools):
        if pool is not None:
            members.setdefault(id(pool), []).append(at)
    if not members:
        return None
    keys = list(zip(place.week[0].tolist(), place.week[1].tolist(), place.share.tolist(), strict=True))
    given = [gift if does else None for gift, does in zip(gifts.tolist(), gives.tolist(), strict=True)]
    said: list[tuple[float, float] | None] = [None] * len(pools)
    for some in members.values():
        pool = pools[some[0]]
        assert pool is not None  # members have one
        for when, together in groupby(some, key=keys.__getitem__):
            part = list(together)
            for at, shape in zip(part, pool.follow(*when, [given[at] for at in part]), strict=True):
                said[at] = shape
    ratio, deviation = np.array([shape or (0.0, 0.0) for shape in said]).T
    return Shape(ratio, deviation, np.array([shape is not None for shape in said]))
