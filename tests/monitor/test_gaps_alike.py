"""A declared gap, a jump of the index and samples marked missing are one thing to the analysis: the same findings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.monitor.monitor_helpers import T0_US, block, monitor, run, stream

from bedside.core.events import Beat, Event, Quality, Rhythm
from bedside.core.samples import MISSING, Gap, Item
from bedside.core.time import US_PER_S
from bedside.simulation.bodies import SimulatedBody

pytestmark = pytest.mark.requirement("MON-001")

RATE_HZ = 130.0


def told(items: list[Item]) -> list[tuple[Any, ...]]:
    """What the analysis says of the heart; how the hole became known is left out."""
    out: list[tuple[Any, ...]] = []
    events: tuple[Event, ...] = run(monitor(), items).events
    for event in events:
        match event:
            case Beat():
                out.append(("beat", event.index, event.beat_class, event.rr_s))
            case Quality():
                out.append(("quality", event.index, event.usable, event.reason))
            case Rhythm():
                out.append(("rhythm", event.label, event.index, event.end_index))
    return out


@pytest.mark.parametrize("hole_s", [0.1, 0.7, 3.0, 9.0, 300.0])
def test_a_declared_gap_and_a_jump_of_the_index_hide_the_same(hole_s: float) -> None:
    info, n = stream(RATE_HZ), int(hole_s * RATE_HZ)
    counts = SimulatedBody("simulated", 3).ecg_uv(0, round(20 * RATE_HZ))
    before: list[Item] = [block(info, counts[at : at + 65], at) for at in range(0, 1300, 65)]
    after: list[Item] = [block(info, counts[at : at + 65], at + n) for at in range(1300, 2600, 65)]
    start_us, end_us = (T0_US + round(at * US_PER_S / RATE_HZ) for at in (1300, 1300 + n))
    gap = Gap(stream=info, first_index=1300, n_samples=n, start_us=start_us, end_us=end_us, cause="packets_lost")
    declared, jumped = told([*before, gap, *after]), told([*before, *after])
    assert declared == jumped
    beats = [one[1] for one in declared if one[0] == "beat"]
    assert len(beats) > 15
    assert not any(1300 < index < 1300 + n for index in beats)
    if hole_s < 10:  # a longer one begins the analysis anew
        marked = block(info, np.full(n, MISSING, dtype=np.int32), 1300)
        assert told([*before, marked, *after]) == declared
        shorter: list[Item] = [block(info, counts[at : at + 65], at + n - 1) for at in range(1300, 2600, 65)]
        assert told([*before, *shorter]) != declared  # the negative control: one sample less
