"""What kind of lead it is reaches the screen: said as a finding, shown beside the signal while that can be believed."""

from __future__ import annotations

import numpy as np
import pytest
from tests.monitor.monitor_helpers import blocks, monitor, run, stream, toy_counts

from bedside.core.api import SignalView
from bedside.core.events import Finding
from bedside.core.ports import Patient
from bedside.core.samples import Counts, StreamInfo
from bedside.core.time import US_PER_S
from bedside.ward.view import PatientBoard, lead_note

pytestmark = pytest.mark.requirement("SIG-003")


def shown(info: StreamInfo, counts: Counts) -> tuple[list[Finding], SignalView, SignalView]:
    """Findings of the lead's kind, the signal as a screen shows it at the end, and ten seconds later."""
    parts = blocks(info, counts, 180)
    output = run(monitor(), parts)
    board = PatientBoard(Patient(id=info.patient, name="Body (simulated)", bed="1", simulated=True), {}, {})
    board.stream(info, parts[-1].end_us)
    for event in output.events:
        board.event(event)
    now, later = (board.view([], parts[-1].end_us + after_s * US_PER_S, None)["signals"][0] for after_s in (1, 10))
    told = [event for event in output.events if isinstance(event, Finding) and event.kind == "lead_character"]
    return told, now, later


def test_a_lead_upside_down_with_mains_in_it_is_said_and_shown_and_not_once_it_is_missing() -> None:
    counts = -toy_counts()[: 360 * 40]
    hum = 200 * np.sin(2 * np.pi * 50.0 * np.arange(counts.size) / 360.0)
    told, now, later = shown(stream(360.0), (counts + hum).astype(counts.dtype))
    assert [(one.evidence["direction"], one.evidence["mains_hz"]) for one in told] == [("down", 50)]
    assert now["usable"]
    assert now["note"] == "QRS points down: strap upside down or leads swapped? · mains 50 Hz, filtered out"
    assert (later["usable"], later["note"]) == (False, None)


def test_an_ordinary_lead_is_said_once_and_needs_no_note() -> None:
    told, now, _ = shown(stream(360.0), toy_counts()[: 360 * 40])
    assert [one.evidence["direction"] for one in told] == ["up"]
    assert now["usable"] and now["note"] is None


def test_size_is_noted_when_it_is_unusual() -> None:
    assert lead_note({"direction": "up", "size": "small", "qrs_mv": 0.21}) == "small QRS, 0.21 mV"
    assert lead_note({"direction": "mixed", "size": "large", "qrs_mv": 7.5}) == "large QRS, 7.5 mV"
