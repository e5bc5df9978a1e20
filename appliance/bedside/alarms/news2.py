"""NEWS2, the early warning score, from what a wearable measures and a nurse enters: always partial until all seven.

Points by the chart of the Royal College of Physicians (National Early Warning Score 2, 2017), both saturation scales.
An input that is missing or too old counts nothing and is said to be missing: the score is then a lower bound, "at
least". Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INPUTS = ("respiration", "saturation", "oxygen", "pressure", "pulse", "consciousness", "temperature")
NAMES = {
    "respiration": "respiration", "saturation": "SpO₂", "oxygen": "oxygen given", "pressure": "systolic pressure",
    "pulse": "pulse", "consciousness": "consciousness", "temperature": "temperature",
}  # fmt: skip
BANDS: Mapping[str, tuple[tuple[float, int], ...]] = {  # (upper bound inclusive, points); the last bound is open
    "respiration": ((8, 3), (11, 1), (20, 0), (24, 2), (float("inf"), 3)),
    "saturation": ((91, 3), (93, 2), (95, 1), (float("inf"), 0)),
    "pressure": ((90, 3), (100, 2), (110, 1), (219, 0), (float("inf"), 3)),
    "pulse": ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2), (float("inf"), 3)),
    "temperature": ((35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1), (float("inf"), 2)),
}
SCALE_2: tuple[tuple[float, int], ...] = ((83, 3), (85, 2), (87, 1), (92, 0))
SCALE_2_ON_OXYGEN: tuple[tuple[float, int], ...] = ((94, 1), (96, 2), (float("inf"), 3))


@dataclass(frozen=True, slots=True)
class Score:
    """Points by input (those that are known), and what is missing."""

    points: Mapping[str, int]
    scale: int

    @property
    def total(self) -> int:
        return sum(self.points.values())

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in INPUTS if name not in self.points)

    @property
    def single(self) -> str | None:
        """An input that alone gives three points."""
        return next((name for name in INPUTS if self.points.get(name) == 3), None)

    def sentence(self) -> str:
        """What it is, never without how much of it there is."""
        known = len(self.points)
        if known == len(INPUTS):
            return f"{self.total} (scale {self.scale})"
        return f"at least {self.total} (scale {self.scale}; partial, {known} of {len(INPUTS)} inputs)"


def score(
    values: Mapping[str, float | None], *, oxygen: bool | None = None, alert: bool | None = None, scale: int = 1
) -> Score:
    """The score of `values` (by the names of `INPUTS`; None: not known). `oxygen`: is it given; `alert`: is she awake.

    Respiration, pulse in 1/min, saturation in %, pressure systolic in mmHg, temperature in °C; rounded as the chart
    has them. `scale` 2 is for hypercapnic failure, chosen by a clinician. Raises `ValueError` for another scale.
    """
    if scale not in (1, 2):
        raise ValueError(f"scale: expected 1 or 2, got {scale!r}")
    points: dict[str, int] = {}
    for name, bands in BANDS.items():
        value = values.get(name)
        if value is None:
            continue
        rounded = round(value, 1) if name == "temperature" else round(value)
        if name == "saturation" and scale == 2:
            if rounded > SCALE_2[-1][0] and oxygen is None:
                continue  # what 93 % and more mean on scale 2 depends on the oxygen
            points[name] = _second_scale(rounded, oxygen is True)
        else:
            points[name] = _banded(rounded, bands)
    if oxygen is not None:
        points["oxygen"] = 2 if oxygen else 0
    if alert is not None:
        points["consciousness"] = 0 if alert else 3
    return Score(points, scale)


def _banded(value: float, bands: tuple[tuple[float, int], ...]) -> int:
    return next(points for bound, points in bands if value <= bound)


def _second_scale(value: float, on_oxygen: bool) -> int:
    if value <= SCALE_2[-1][0]:
        return _banded(value, SCALE_2)
    return _banded(value, SCALE_2_ON_OXYGEN) if on_oxygen else 0
