"""A vector model as a record that a snapshot can hold, exactly."""

from collections.abc import Sequence

import msgspec
import numpy as np

from operators.anomaly.vector import Vector, VectorModel
from schemas.errors import StateError

VERSION = 2


class VectorState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `VectorModel`; of the covariance the upper triangle by rows: 64-bit floats, little-endian."""

    version: int
    mean: list[float]
    covariance: bytes
    tail: tuple[float, float, float, int]
    threshold: float
    record: float
    usual: float
    seen: int


def state_of(model: VectorModel) -> VectorState:
    """All that the model knows."""
    tail = model.tail
    return VectorState(
        VERSION,
        model.mean.tolist(),
        model.upper.astype("<f8").tobytes(),
        (tail.log_u, tail.g, tail.beyond, tail.seen),
        model.budget.threshold,
        model.record,
        model.usual,
        model.seen,
    )


def model_of(
    state: VectorState, alarms_per_week: float, points_per_week: float, sides: Sequence[int] | Vector | None = None
) -> VectorModel:
    """The model again, under today's settings.

    Raises:
        StateError: the state is of another version or shape.
    """
    metrics = len(state.mean)
    if state.version != VERSION or len(state.covariance) != 8 * (metrics * (metrics + 1) // 2):
        raise StateError(
            f"a vector model of version {state.version} with {metrics} means and {len(state.covariance)} bytes of "
            f"covariances can't be read: this one reads version {VERSION}"
        )
    model = VectorModel(metrics, alarms_per_week, points_per_week, sides)
    model.mean = np.array(state.mean)
    model.upper = np.frombuffer(state.covariance, dtype="<f8").astype(np.float64)
    tail = model.tail
    tail.log_u, tail.g, tail.beyond, tail.seen = state.tail
    model.budget.threshold = state.threshold
    model.record, model.usual, model.seen = state.record, state.usual, state.seen
    return model
