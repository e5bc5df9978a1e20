"""What is held usual of a patient can be looked at and forgotten, by name, in a running gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from virtual_hour import run_virtually, virtual_box

from bedside.commands import _usual_lines
from bedside.core.events import Audit
from bedside.stage import bodies_for
from bedside.ward.socket import RequestError

pytestmark = pytest.mark.requirement("MOD-002")


def test_the_usual_is_shown_and_forgotten_by_name(tmp_path: Path) -> None:
    async def watch() -> tuple[Any, Any, list[Any]]:
        async with virtual_box(tmp_path / "home", bodies=bodies_for(demo=True, replays=())[1:2]) as box:
            await box.until(400)
            answers = box.gateway.ward.operations()
            patient = box.gateway.ward.sessions()[0].patient
            before = await answers["usual"]({"op": "usual", "patient": patient})
            for wrong in ({"by": ""}, {"by": "Ada", "quantity": "mood"}):
                with pytest.raises(RequestError):
                    await answers["forget_usual"]({"op": "forget_usual", "patient": patient, **wrong})
            after = await answers["forget_usual"]({"op": "forget_usual", "patient": patient, "by": "Ada"})
            await box.gateway.ward.saved()
            audits = box.gateway._store.events(patient, 0, 2**62, ("audit",))
            return before, after, [one for one in audits if isinstance(one, Audit) and one.action == "forget_usual"]

    before, after, audits = run_virtually(watch)
    assert before["quantities"]["heart_rate"]["hours_known"] > 0
    assert after["quantities"] == {}
    assert [(one.actor, one.detail["quantity"]) for one in audits] == [("Ada", "all")]
    assert "not judged yet" in "\n".join(_usual_lines("Somebody", before))
    assert "nothing was measured" in "\n".join(_usual_lines("Somebody", after))


def test_a_change_is_marked_for_people() -> None:
    one = {
        "label": "rate", "unit": "/min", "now": 96.0, "usual": 70.0, "spread": 3.0, "limit": 20.0,
        "hours_known": 5.0, "hours_wanted": 2.0, "changed": True, "since_minute": 3,
    }  # fmt: skip
    text = "\n".join(_usual_lines("Somebody", {"learning": False, "quantities": {"heart_rate": one}}))
    assert "NOT AS USUAL" in text
    assert "nothing is learned" in text
