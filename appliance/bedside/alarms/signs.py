"""A sign: what a rule says of one condition, for the engine to make an alarm of or not."""

from __future__ import annotations

from dataclasses import dataclass, field

from bedside.core.events import Evidence, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """The condition `kind` (of the part `key`, where there are several) is `on` since `onset_us`, or no longer.

    `end_us`: when it ended, or of a momentary condition when it was over. `fields`: numbers for the sentence
    and the evidence; at the end only where they tell more of the condition than was known.
    """

    kind: str
    on: bool
    key: str = ""
    witness: str = ""  # a condition that several rules see lasts while one of them sees it
    onset_us: int | None = None
    end_us: int | None = None
    stream: str | None = None
    wearable: str | None = None
    simulated: bool = False
    priority: Priority | None = None  # more urgent than the table's, for what the sign saw
    fields: Evidence = field(default_factory=dict)
