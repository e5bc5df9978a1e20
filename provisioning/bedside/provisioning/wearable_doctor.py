"""`bedside doctor ble`: why a patient has no data, wearable by wearable, in plain words, and what to do.

`explain` looks at what a running gateway says of its ward and at the newest findings of each patient; it asks nothing
of the radio, so it can be run at any time and changes nothing. What it was told stays in the answer of `--json`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any, cast

from bedside.core import wire
from bedside.core.api import PatientView, SignalView, Ward, WearableView
from bedside.core.errors import SetupError
from bedside.core.time import US_PER_S
from bedside.provisioning.doctor import Diagnosis
from bedside.settings import Home

ANSWER_S = 5.0
LOOK_US = 2 * 3600 * US_PER_S
FINDINGS_MAX = 2_000
SILENT_S = 5.0
LOW_PCT = 10.0
COMPLETE_MIN = 0.95
CLOCK_US_MAX = 1_000_000
Events = Sequence[Mapping[str, Any]]

_ADVICE = {
    "battery": "charge it or change its battery",
    "taken off": "put it on again; wet the electrodes of a strap",
    "out of range": "bring it within ten metres, without a wall between",
    "hears no device": "look at the box: is the adapter plugged in, is bluetoothd running? `bedside doctor` says more",
    "another device": "end the other connection (a phone's app), then wait half a minute",
    "Bluetooth is switched off": "switch it on: `rfkill unblock bluetooth`, then `systemctl restart bluetooth`",
    "Bluetooth service does not answer": "start it: `systemctl restart bluetooth`",
    "bond": "pair it anew: `bedside pair`",
    "no signal that Bedside can read": "this kind of wearable is not known here: see `ble/README.md`, drivers",
    "refused to start its ECG": "switch the wearable off and on; end other apps that use it",
}
_ANY = "is it on, charged, worn and near? If all of that: switch it off and on"


def explain(ward: Ward, findings: Mapping[str, Events]) -> list[Diagnosis]:
    """All wearables of all patients, and the links of the box; `findings`: the newest of each patient, by id."""
    found = [_box(ward)]
    for patient in ward["patients"]:
        place = patient["bed"] or f"patient {patient['id'][:8]}"
        for wearable in patient["wearables"]:
            found += _wearable(place, patient, wearable, ward["time_us"])
        found += _received(place, patient)
        found += _told(place, patient, findings.get(patient["id"], ()))
    return found


def _box(ward: Ward) -> Diagnosis:
    part = next((one for one in ward["parts"] if one["name"] == "ble"), None)
    if part is None:
        return Diagnosis(name="links", level="note", found="the gateway has not looked at its links yet")
    level = "ok" if part["state"] == "ok" else "note"
    return Diagnosis(name="links", level=level, found=part["detail"])


def _wearable(place: str, patient: PatientView, wearable: WearableView, now_us: int) -> list[Diagnosis]:
    name = place
    found = []
    battery = wearable["battery_pct"]
    charge = "" if battery is None else f", battery {battery:.0f} %"
    if wearable["link"] == "resting":
        found.append(Diagnosis(name=name, level="ok", found=f"{wearable['name']}: waits for a measurement{charge}"))
    elif wearable["link"] != "up":
        reason = wearable["reason"] or "no reason known"
        words = f"{wearable['name']}: {wearable['link']} ({reason}){charge}"
        found.append(Diagnosis(name=name, level="wrong", found=words, advice=_advice(reason)))
    else:
        found.append(_connected(name, wearable["name"], charge, patient["signals"], now_us))
    if battery is not None and battery < LOW_PCT:
        words = f"{wearable['name']}: battery {battery:.0f} %"
        found.append(Diagnosis(name=name, level="note", found=words, advice=_ADVICE["battery"]))
    return found


def _connected(name: str, wearable: str, charge: str, signals: Sequence[SignalView], now_us: int) -> Diagnosis:
    """The link is up: do samples come, and can they be used?"""
    for signal in signals:
        if signal["kind"] != "ecg":
            continue
        newest_us = signal["newest_us"]
        silent_s = None if newest_us is None else (now_us - newest_us) / US_PER_S
        if signal["reason"] == "lead_off":
            words = f"{wearable}: connected, but an electrode does not touch the skin"
            return Diagnosis(name=name, level="wrong", found=words, advice=_ADVICE["taken off"])
        if silent_s is None or silent_s > SILENT_S:
            since = "yet" if silent_s is None else f"for {silent_s:.0f} s"
            words = f"{wearable}: connected, but no samples {since}"
            advice = "wait ten seconds: a silent link is ended and made anew; then switch the wearable off and on"
            return Diagnosis(name=name, level="wrong", found=words, advice=advice)
        if not signal["usable"]:
            words = f"{wearable}: samples come, but cannot be used ({signal['reason_text'] or signal['reason']})"
            return Diagnosis(name=name, level="note", found=words, advice="look at the electrodes, and at the patient")
    return Diagnosis(name=name, level="ok", found=f"{wearable}: connected{charge}")


def _received(place: str, patient: PatientView) -> list[Diagnosis]:
    complete = patient.get("completeness")
    share = None if complete is None else complete["share"]
    if complete is None or share is None or share >= COMPLETE_MIN:
        return []
    lost: dict[str, float] = {}
    for hour in complete["hours"]:
        for cause, seconds in hour["lost_s"].items():
            lost[cause] = lost.get(cause, 0.0) + seconds
    worst = max(lost, key=lambda cause: lost[cause], default="")
    words = f"{100 * share:.1f} % of the ECG came, {complete['missing_s']:.0f} s are missing"
    words += f", most of it: {worst.replace('_', ' ')}" if worst else ""
    advice = "move the box nearer to the bed" if worst in ("link_lost", "packets_lost") else ""
    return [Diagnosis(name=place, level="note", found=words, advice=advice)]


def _told(place: str, patient: PatientView, events: Events) -> list[Diagnosis]:
    """What sessions found out: clocks that restart or are unsure, memories that could not be fetched."""
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        evidence = event.get("evidence") or {}
        newest[str(event.get("kind")), str(evidence.get("wearable"))] = evidence
    names = {wearable["id"]: wearable["name"] for wearable in patient["wearables"]}
    found = []
    for (kind, wearable), evidence in newest.items():
        name = names.get(wearable, "a wearable")
        if kind == "wearable_clock" and (evidence.get("resets") or evidence.get("uncertainty_us", 0) > CLOCK_US_MAX):
            sure_s = evidence.get("uncertainty_us", 0) / US_PER_S
            words = f"{name}: its clock jumped {evidence.get('resets')} times; times are sure to {sure_s:.2f} s"
            found.append(Diagnosis(name=place, level="note", found=words))
        elif kind == "back_fill" and "failed" in evidence:
            words = f"{name}: what it kept could not be fetched ({evidence['failed']})"
            advice = "it is tried again on its next call"
            found.append(Diagnosis(name=place, level="note", found=words, advice=advice))
        elif kind == "back_fill" and evidence.get("whole") is False:
            words = f"{name}: {evidence.get('fetched')} of {evidence.get('counted')} records in its memory came"
            found.append(Diagnosis(name=place, level="note", found=words, advice="it is asked again"))
    return found


def _advice(reason: str) -> str:
    return next((advice for word, advice in _ADVICE.items() if word in reason), _ANY)


def look_at_wearables(home: Home) -> tuple[Ward, dict[str, Events]]:
    """Ask the running gateway. Raises `SetupError` when none answers."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(home.gateway_socket))
            ward = cast("Ward", _ask(connection, {"op": "ward"}))
            findings: dict[str, Events] = {}
            for patient in ward["patients"]:
                wanted = {
                    "op": "events", "patient": patient["id"], "start_us": ward["time_us"] - LOOK_US,
                    "end_us": ward["time_us"] + 1, "types": ["finding"], "limit": FINDINGS_MAX,
                }  # fmt: skip
                findings[patient["id"]] = cast("Events", _ask(connection, wanted))
    except (OSError, wire.WireError) as error:
        raise SetupError(
            f"no gateway answers on {home.gateway_socket}", hint="start one with `bedside run`, or name its --home"
        ) from error
    return ward, findings


def _ask(connection: socket.socket, request: Mapping[str, object]) -> object:
    connection.sendall(wire.frame({"v": wire.VERSION, "id": 1, **request}))
    answer = wire.receive_frame(connection)
    if answer is None:
        raise wire.WireError("the gateway hung up")
    if not answer.get("ok"):
        raise SetupError(
            f"the gateway refused {request['op']}: {answer.get('error')}",
            hint="is it of the same version as this command?",
        )
    return answer["result"]
