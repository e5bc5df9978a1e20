"""The monitor on three axes of acceleration (made by stated physics): posture, activity, a fall, holes, cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.monitor.monitor_helpers import T0_US, blocks, monitor, plain, run, stream
from tests.signal.test_motion import fall, still, walking

from bedside.core.codes import Code, StreamKind
from bedside.core.events import Event, Finding, Numeric
from bedside.core.samples import Block, Floats, StreamInfo
from bedside.core.time import US_PER_S
from bedside.signal.motion import Posture

pytestmark = pytest.mark.requirement("SIG-012")


def axis(name: str, **more: Any) -> StreamInfo:
    fields: dict[str, Any] = {"id": f"acc-{name}", "unit": "mg", "unit_per_count": 1.0, "label": f"ACC {name}"}
    return stream(50.0, StreamKind.ACCELERATION, **{**fields, **more})


def axes(values_mg: Floats, size: int = 25) -> list[Block]:
    """The blocks of the three axes, in turn, as a strap sends them."""
    each = [blocks(axis(name), np.round(values_mg[:, k]).astype(np.int32), size) for k, name in enumerate("XYZ")]
    return [block for group in zip(*each, strict=True) for block in group]


def findings(events: Sequence[Event], kind: str) -> list[Finding]:
    return [event for event in events if isinstance(event, Finding) and event.kind == kind]


def test_walking_teaches_upright_and_a_fall_is_evidence_with_its_time() -> None:
    values = np.concatenate((walking(30.0), still(Posture.UPRIGHT, 5.0), fall(lies_s=20.0)))
    events = run(monitor(), axes(values)).events
    assert [one.evidence["posture"] for one in findings(events, "posture")] == ["unknown", "upright", "lying"]
    (fell,) = findings(events, "fall")
    assert fell.start_us == pytest.approx(T0_US + 35.4 * US_PER_S, abs=0.2 * US_PER_S)
    activity = [one for one in events if isinstance(one, Numeric) and one.code is Code.ACTIVITY]
    assert activity[0].value is not None
    assert activity[0].value > 91
    assert activity[-1].value is not None
    assert activity[-1].value < 22.5


def test_steps_of_the_last_minute_are_told_once_a_minute_is_known() -> None:
    events = run(monitor(), axes(walking(80.0))).events
    steps = [one.value for one in events if isinstance(one, Numeric) and one.code is Code.STEP_RATE]
    assert steps[:5] == [None] * 5
    assert steps[-1] == pytest.approx(114, abs=6)


def test_cuts_change_no_event() -> None:
    values = np.concatenate((walking(30.0), fall(lies_s=20.0)))[:2400]
    whole = plain(run(monitor(), axes(values, 2400)).events)
    assert plain(run(monitor(), axes(values, 25)).events) == whole
    assert len(whole) > 5


def test_a_hole_hides_posture_and_says_why() -> None:
    items = axes(still(Posture.UPRIGHT, 40.0))
    lost = [item for item in items if not 500 <= item.first_index < 650]
    activity = [one for one in run(monitor(), lost).events if isinstance(one, Numeric) and one.code is Code.ACTIVITY]
    assert [one.value is not None for one in activity] == [True] * len(activity)
    longer = [item for item in items if not 500 <= item.first_index < 900]
    events = run(monitor(), longer).events
    assert [
        one.reason for one in events if isinstance(one, Numeric) and one.value is None and one.code is Code.ACTIVITY
    ]


def test_one_axis_alone_tells_nothing_and_a_strange_unit_is_refused_aloud() -> None:
    x = np.zeros(2000, np.int32)
    assert not findings(run(monitor(), blocks(axis("X"), x, 50)).events, "posture")
    refused = run(monitor(), blocks(axis("X", unit="mV"), x, 50)).events
    assert findings(refused, "stream_refused")
