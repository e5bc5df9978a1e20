"""What the network thinks of each kind of a patient's beats: a beat is judged in the light of those like it.

Pure arithmetic, fed by `beats.py` with the V logits of one lead in order. A variant's opinion is the mean of its
beats' logits, this beat included, each held within six; a beat's own logit moves towards it, the more the more
beats the variant has had. Noise on one beat of a common kind so decides little, and a kind that was ventricular
fifty times is so again. Nothing here calls a kind normal because it is common.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

SHARE_MAX: Final = 0.8
HALF_BEATS: Final = 5.0
LOGIT_MAX: Final = 6.0


class Opinions:
    """Of one lead's variants: how many beats each had, and the mean of their V logits. `copy()` forks it."""

    __slots__ = ("of",)

    def __init__(self, of: dict[int, tuple[int, float]] | None = None) -> None:
        self.of = of if of is not None else {}

    def heard(self, variant: int, logit: float) -> float:
        """One more beat of `variant`: its logit, moved towards its kind's."""
        held = min(max(logit, -LOGIT_MAX), LOGIT_MAX)
        count, mean = self.of.get(variant, (0, 0.0))
        count += 1
        mean += (held - mean) / count
        self.of[variant] = count, mean
        share = SHARE_MAX * count / (count + HALF_BEATS)
        return (1 - share) * held + share * mean

    def copy(self, alive: Collection[int]) -> Opinions:
        """Opinions that go their own way from here, of the variants that can still be met."""
        return Opinions({variant: opinion for variant, opinion in self.of.items() if variant in alive})
