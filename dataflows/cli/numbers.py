"""Numbers of the command line: what can be computed with."""

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A number between two bounds that is one: `nan` is between any two for click, and `inf` above any lower one."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click has it
        """The number.

        Raises:
            click.BadParameter: it is none, is not finite, or is out of bounds.
        """
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number
