"""Figures of the box for Prometheus at `/metrics`: counts and states, nothing of any patient.

Off until somebody turns it on (`bedside metrics on` prints a token, once; its digest lies in `home.keys`). The token
is a bearer's: a program cannot sign in. No name, bed, id, number of a patient or sentence of an alarm stands in it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedside.core.errors import SetupError
from bedside.dashboard.access import write_private
from bedside.settings import Home

STATES = ("ok", "starting", "degraded", "failed")
PATIENT_STATES = ("monitored", "waiting_for_signal", "standby", "failed")
PRIORITIES = ("high", "medium", "low")


def _file(home: Home) -> Path:
    return home.keys / "metrics.json"


def turn_on(home: Home) -> str:
    """A new token; an older one stops to serve. Raises `SetupError`."""
    token = secrets.token_urlsafe(32)
    write_private(_file(home), json.dumps({"sha256": hashlib.sha256(token.encode()).hexdigest()}))
    return token


def turn_off(home: Home) -> bool:
    """Nothing is given from now on. Was it on?"""
    try:
        _file(home).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SetupError(f"{_file(home)}: {error.strerror}", hint="make the file yours, or remove it") from error
    return True


def allowed(home: Home, authorization: str | None) -> bool:
    """May the bearer of this header read the figures? Nobody may while it is off."""
    kind, _, token = (authorization or "").partition(" ")
    try:
        digest = str(json.loads(_file(home).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    given = hashlib.sha256(token.strip().encode()).hexdigest()
    return kind.lower() == "bearer" and hmac.compare_digest(digest, given)


def exposition(ward: Mapping[str, Any] | None, viewers: int) -> str:
    """The figures in Prometheus's text format. `ward` None: the gateway does not answer, and nothing else is known."""
    lines: list[str] = []

    def tell(name: str, words: str, values: Mapping[str, float]) -> None:
        lines.extend([f"# HELP bedside_{name} {words}", f"# TYPE bedside_{name} gauge"])
        lines.extend(f"bedside_{name}{labels} {value:g}" for labels, value in values.items())

    tell("gateway_answering", "1 while the gateway answers the dashboard.", {"": float(ward is not None)})
    tell("viewers", "Browsers that hold an event stream.", {"": float(viewers)})
    if ward is None:
        return "\n".join(lines) + "\n"
    patients = ward["patients"]
    states = Counter(str(one["state"]) for one in patients)
    tell("patients", "Patients by state.", {f'{{state="{one}"}}': float(states[one]) for one in PATIENT_STATES})
    alarms = [alarm for alarms in (ward["alarms"], *(one["alarms"] for one in patients)) for alarm in alarms]
    open_ones = Counter((str(one["priority"]), str(one["state"])) for one in alarms)
    tell(
        "alarms_open",
        "Open alarms by priority and state, of the box and of all patients together.",
        {
            f'{{priority="{priority}",state="{state}"}}': float(open_ones[priority, state])
            for priority in PRIORITIES
            for state in ("active", "acknowledged", "latched")
        },
    )
    links = Counter(str(one["link"]) for patient in patients for one in patient["wearables"])
    tell(
        "wearables",
        "Wearables by the state of their link.",
        {f'{{link="{one}"}}': float(n) for one, n in links.items()},
    )
    tell(
        "part_state",
        "1 for the state that each part of the box is in.",
        {f'{{part="{p["name"]}",state="{s}"}}': float(p["state"] == s) for p in ward["parts"] for s in STATES},
    )
    tell("uptime_seconds", "Since the gateway started.", {"": (ward["time_us"] - ward["started_us"]) / 1e6})
    return "\n".join(lines) + "\n"
