"""A vector model as a record that a snapshot can hold, exactly."""

import msgspec
import numpy as np

from operators.anomaly.vector import VectorModel
from schemas.errors import StateError

VERSION = 1


class VectorState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `VectorModel`; the covariance row by row."""

    version: int
    mean: list[float]
    covariance: list[float]
    tail: tuple[float, float, float, int]
    threshold: float
    record: float
    seen: int


def state_of(model: VectorModel) -> VectorState:
    """All that the model knows."""
    tail = model.tail
    return VectorState(
        VERSION,
        model.mean.tolist(),
        model.covariance.ravel().tolist(),
        (tail.log_u, tail.g, tail.beyond, tail.seen),
        model.budget.threshold,
        model.record,
        model.seen,
    )


def model_of(state: VectorState, alarms_per_week: float, points_per_week: float) -> VectorModel:
    """The model again, under today's settings.

    Raises:
        StateError: the state is of another version or shape.
    """
    metrics = len(state.mean)
    if state.version != VERSION or len(state.covariance) != metrics * metrics:
        raise StateError(
            f"a vector model of version {state.version} with {metrics} means and {len(state.covariance)} covariances "
            f"can't be read: this one reads version {VERSION}"
        )
    model = VectorModel(metrics, alarms_per_week, points_per_week)
    model.mean = np.array(state.mean)
    model.covariance = np.array(state.covariance).reshape(metrics, metrics)
    tail = model.tail
    tail.log_u, tail.g, tail.beyond, tail.seen = state.tail
    model.budget.threshold = state.threshold
    model.record, model.seen = state.record, state.seen
    return model
