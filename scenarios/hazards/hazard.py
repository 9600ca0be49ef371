"""What all hazards have in common."""

from abc import ABC, abstractmethod
from typing import ClassVar

import msgspec

from scenarios.retailer import Retailer
from scenarios.truth import HazardRecord
from schemas.durations import Duration, rfc3339


class Hazard(ABC):
    """Something unusual from `begin_us` to `end_us` at which nobody must be alarmed: nothing is broken.

    The truth has no line for it; the clean period it falls into names it.
    """

    kind: ClassVar[str]
    begins: ClassVar[Duration]
    ends: ClassVar[Duration]
    Parameters: ClassVar[type[msgspec.Struct]]

    def __init__(self, begin_us: int, end_us: int, parameters: msgspec.Struct) -> None:
        self.begin_us = begin_us
        self.end_us = end_us
        self.parameters = parameters

    @abstractmethod
    def problem(self, retailer: Retailer) -> str:
        """What makes the parameters unusable for this retailer, or nothing."""

    @abstractmethod
    def install(self, retailer: Retailer) -> None:
        """Book the hazard, before the retailer opens."""

    def record(self) -> HazardRecord:
        """What the truth says of it."""
        return HazardRecord(kind=self.kind, begin=rfc3339(self.begin_us), end=rfc3339(self.end_us))
