"""The dial: from the share of the strong tier's quality to keep to the cuts between the grades."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from farthing.grading.grade import GradeName


@dataclass(frozen=True, slots=True)
class Cuts:
    """``medium_from`` and ``high_from`` are the lowest scores of MEDIUM and HIGH."""

    medium_from: float
    high_from: float

    def name(self, score: float) -> GradeName:
        """Return the grade of a score."""
        if score >= self.high_from:
            return "HIGH"
        return "MEDIUM" if score >= self.medium_from else "LOW"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Cuts by quality: rows of (quality, medium_from, high_from), quality rising and cuts falling."""

    rows: Sequence[tuple[float, float, float]]

    def cuts(self, quality: float) -> Cuts:
        """Return the cuts that keep ``quality`` (0…1) of the strong tier's quality, read between rows.

        A higher quality never gives a higher cut. Below the table its cheapest row holds.
        Raises ValueError for a quality outside 0…1.
        """
        if not 0 <= quality <= 1:
            raise ValueError(f"quality must be between 0 and 1, not {quality}")
        qualities = [row[0] for row in self.rows]
        at = bisect_left(qualities, quality)
        if at == 0:
            return Cuts(*self.rows[0][1:])
        if at == len(self.rows):
            return Cuts(*self.rows[-1][1:])
        (q0, *low), (q1, *high) = self.rows[at - 1], self.rows[at]
        share = (quality - q0) / (q1 - q0)
        medium, top = (a + (b - a) * share for a, b in zip(low, high, strict=True))
        return Cuts(medium, top)
