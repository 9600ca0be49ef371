"""The time axis that the plots share: where an instant lies, and the lines and words of its scale."""

import msgspec

from dataflows.reporting.markup import Markup, joined, tag
from dataflows.reporting.steps import ticks

#: Plots are drawn this wide; a browser scales them to the page.
WIDTH = 1120


class TimeAxis(msgspec.Struct, frozen=True):
    """Instants from `begin_us` to `end_us` on x from `left` to `right`; what lies outside is drawn at the edge."""

    begin_us: int
    end_us: int
    left: float
    right: float = WIDTH - 16

    def x(self, instant_us: int) -> float:
        """Where an instant lies."""
        share = (instant_us - self.begin_us) / (self.end_us - self.begin_us)
        return round(self.left + min(1.0, max(0.0, share)) * (self.right - self.left), 1)

    def scale(self, top: float, bottom: float) -> Markup:
        """Lines from top to bottom, and times above them."""
        marks = []
        for at_us, label in ticks(self.begin_us, self.end_us):
            x = self.x(at_us)
            edge = "end" if x > self.right - 14 else "start" if x < self.left + 14 else "middle"
            marks.append(tag("line", x1=f"{x}", x2=f"{x}", y1=f"{top}", y2=f"{bottom}", class_="grid"))
            marks.append(tag("text", label, x=f"{x}", y=f"{top - 9}", text_anchor=edge, class_="tick"))
        return tag("g", joined(marks), aria_hidden="true")
