"""A whole ward on the virtual clock, in a process of its own that loses its power: `killed_box.py FOLDER`.

Says on stdout, as JSON, what stood on the screens two seconds before, then dies by SIGKILL: nothing is closed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from virtual_hour import run_virtually, virtual_box

from bedside.supervisor import ask_all


async def main() -> None:
    async with virtual_box(Path(sys.argv[1])) as box:
        await box.until(62)
        ward = box.gateway.ward.view()
        latched = next(a for p in ward["patients"] for a in p["alarms"] if a["state"] == "latched")
        patient = ward["patients"][0]["id"]
        limit = {"patient": patient, "code": "MDC_PULS_OXIM_SAT_O2", "low": 87, "by": "Nurse Joy"}
        box.gateway.ward.condition("part_failed", True, key="seen", part="x", detail="y")
        seen = next(a["alarm"] for a in box.gateway.ward.view()["alarms"] if a["kind"] == "part_failed")
        box.gateway.ward.condition("part_failed", True, key="unseen", part="y", detail="z")  # nobody acknowledges it
        await ask_all(
            box.home.gateway_socket,
            [{"op": "set_limit", **limit}, {"op": "acknowledge", "alarm": seen, "by": "Nurse Joy"}],
        )
        await box.until(64)
        ward = box.gateway.ward.view()
        alarms = [*ward["alarms"], *(a for p in ward["patients"] for a in p["alarms"])]
        states = {a["alarm"]: [a["kind"], a["state"], a["priority"], a["by"]] for a in alarms}
        assert latched["alarm"] in states
        print(json.dumps({"states": states, "patient": patient, "time_us": ward["time_us"]}), flush=True)
        await box.until(66)
        os.kill(os.getpid(), signal.SIGKILL)


run_virtually(main)
