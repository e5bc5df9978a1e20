"""Which beats of a lead are of one kind, finer than the eight shapes that a beat is described against.

A shape is joined by correlation, which a patient's ventricular beats may share with the normal ones in one lead. A
variant is joined by distance: by how far the aligned QRS lies from the mean of its kind, as a part of its height.
What the network thinks of a beat is settled among the beats of its variant (`opinion.py`). Pure; at most sixteen
variants a lead, the least seen gives way.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from bedside.models.windows import Floats

VARIANTS_MAX: Final = 16
DISTANCE_MAX: Final = 0.09
"""Mean distance, as a part of the height, up to which a beat is of a variant."""
APART_MAX: Final = 2.0
"""Or up to so many times the usual distance of its beats: in a noisy lead all lie further apart."""
MEMORY_BEATS: Final = 40
DECAY: Final = 1 - 1 / 500
_TINY: Final = 1e-9


class Variants:
    """Of one lead. `copy()` forks it; arrays are replaced, never written to."""

    __slots__ = ("apart", "count", "height", "made", "number", "template", "weight")

    def __init__(self) -> None:
        self.template: Floats | None = None  # (variants, samples of the QRS), mV
        self.height: list[float] = []  # mV
        self.apart: list[float] = []  # running mean of the distances
        self.count: list[int] = []
        self.weight: list[float] = []  # beats, the old ones forgotten
        self.number: list[int] = []  # counts the lead's variants: a place that was given away has a new one
        self.made = 0

    def copy(self) -> Variants:
        """Variants that go their own way from here."""
        twin = Variants()
        twin.template, twin.made = self.template, self.made
        twin.height, twin.apart, twin.count = self.height.copy(), self.apart.copy(), self.count.copy()
        twin.weight, twin.number = self.weight.copy(), self.number.copy()
        return twin

    def take(self, qrs_mv: Floats) -> int:
        """The number of the variant that a beat is of; it is then part of it. `qrs_mv`: aligned, baseline zero."""
        height = float(np.maximum.reduce(qrs_mv) - np.minimum.reduce(qrs_mv)) + _TINY
        self.weight = [one * DECAY for one in self.weight]
        at, apart = self._nearest(qrs_mv, height)
        if at < 0:
            at = self._place(qrs_mv, height)
        assert self.template is not None
        rate = 1 / min(self.count[at] + 1, MEMORY_BEATS)
        template = self.template.copy()
        template[at] += rate * (qrs_mv - template[at])
        self.template = template
        self.height[at] += rate * (height - self.height[at])
        self.apart[at] += rate * (apart - self.apart[at])
        self.count[at] += 1
        self.weight[at] += 1
        return self.number[at]

    def _nearest(self, qrs_mv: Floats, height: float) -> tuple[int, float]:
        """The variant that the beat is of, or -1, and its distance."""
        if self.template is None:
            return -1, 0.0
        sums, n = np.add.reduce(np.abs(self.template - qrs_mv), axis=1).tolist(), qrs_mv.size
        distances = [
            one / n / (usual if usual > height else height) for one, usual in zip(sums, self.height, strict=True)
        ]
        apart = min(distances)
        at = distances.index(apart)
        return (at, apart) if apart <= max(DISTANCE_MAX, APART_MAX * self.apart[at]) else (-1, 0.0)

    def _place(self, qrs_mv: Floats, height: float) -> int:
        """Room for a new variant, that of the least seen one if there is no other."""
        if self.template is None:
            self.template = qrs_mv[np.newaxis]
        elif len(self.number) < VARIANTS_MAX:
            self.template = np.vstack([self.template, qrs_mv])
        if len(self.number) < VARIANTS_MAX:
            for kept, new in ((self.height, height), (self.apart, 0.0), (self.weight, 0.0)):
                kept.append(new)
            self.count.append(0)
            self.number.append(self.made)
            at = len(self.number) - 1
        else:
            at = self.weight.index(min(self.weight))
            template = self.template.copy()
            template[at] = qrs_mv
            self.template = template
            self.height[at], self.apart[at], self.weight[at], self.count[at] = height, 0.0, 0.0, 0
            self.number[at] = self.made
        self.made += 1
        return at
