"""What a gateway takes from outside: time, randomness, and where blocking work runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from bedside.core.ids import IdSource
from bedside.core.time import US_PER_S, Clock, ThreadWorker, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """What the gateway takes from outside: time, randomness (never of keys), and where blocking work runs."""

    clock: Clock
    ids: IdSource
    randomness: random.Random
    records_worker: Worker
    network_worker: Worker

    def zone_s(self) -> float:
        """This box's local time minus UTC, now."""
        offset = datetime.fromtimestamp(self.clock.now_us() / US_PER_S, UTC).astimezone().utcoffset()
        return 0.0 if offset is None else offset.total_seconds()

    @classmethod
    def of_the_box(cls, clock: Clock) -> Edges:
        """The edges of a gateway in service."""
        return cls(
            clock=clock,
            ids=IdSource(clock.now_us),
            randomness=random.Random(),  # noqa: S311  jitter, no secret
            records_worker=ThreadWorker("records"),
            network_worker=ThreadWorker("network"),
        )
