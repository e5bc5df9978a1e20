"""A gateway for the dashboard's tests: `core.wire` on a real Unix socket, four patients, waves in real time.

It can freeze (accept, say nothing), die and come back, raise alarms and lose a lead, so that a test sees
what a clinician would see.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedside.core.wire import frame, receive_frame

RATE_HZ = 125.0
UNIT = 0.002
BATCH_S = 0.1
Json = dict[str, Any]


def _limit(code: str, label: str, unit: str, low: int, high: int | None, severe: float) -> Json:
    return {
        "code": code,
        "label": label,
        "unit": unit,
        "step": 1,
        "preset": "adult",
        "low": low,
        "high": high,
        "severe_low": severe,
        "severe_high": 140.0 if high else None,
        "low_range": [35, 100],
        "high_range": [80, 180] if high else None,
        "severe_low_range": None if high else [70, 95],
        "preset_low": low,
        "preset_high": high,
        "changed": False,
    }


def _shift(number: int) -> Json:
    return {
        "id": f"{number:032x}",
        "name": "Record 208",
        "bed": f"Bed {number}",
        "counts": {"high": 1, "medium": 2, "low": 0},
        "unanswered": 0,
        "more": 0,
        "acts": [{"at_us": 1, "by": "Nurse Joy", "action": "quiet", "what": "standby"}],
        "alarms": [
            {
                "alarm": "a1",
                "kind": "asystole",
                "priority": "high",
                "alarm_class": "physiological",
                "state": "ended",
                "raised_us": 1,
                "start_us": 1,
                "end_us": 2,
                "text": "Asystole: no heart beat for 5 s (limit 4 s)",
                "by": "Nurse Joy",
                "stream": None,
                "heard_s": 12.0,
            }
        ],
        "suppressed": [{"kind": "asystole", "reason": "another lead shows beats", "count": 2}],
    }


CARE: Json = {
    "limits": [
        _limit("MDC_ECG_HEART_RATE", "HR", "/min", 50, 120, 40.0),
        _limit("MDC_PULS_OXIM_SAT_O2", "SpO₂", "%", 90, None, 80.0),
    ],
    "set_limit": {},
    "standby": {},
    "end_standby": {},
    "alarm_off": {},
    "alarm_on": {},
    "review": {},
    "alarm_test": {"self_check": "passed"},
    "quiet": {
        "standby": None,
        "off": {},
        "conditions": [
            {"kind": "spo2_low", "priority": "medium", "alarm_class": "physiological", "can_be_off": True},
            {"kind": "asystole", "priority": "high", "alarm_class": "physiological", "can_be_off": False},
        ],
    },
    "what_if": {
        "hours": 8,
        "events": 1000,
        "first_us": 1,
        "now": {"total": 9, "counts": {"tachycardia": 9}, "alarms": []},
        "then": {"total": 3, "counts": {"tachycardia": 3}, "alarms": []},
    },
    "observe": {},
    "early_warning": {
        "total": 3,
        "scale": 1,
        "told": "at least 3 (scale 1; partial, 2 of 7 inputs)",
        "points": {"pulse": 2, "saturation": 1},
        "missing": ["respiration"],
        "inputs": [
            {"name": "respiration", "label": "respiration", "points": None},
            {"name": "pulse", "label": "pulse", "points": 2},
            {"name": "saturation", "label": "SpO₂", "points": 1},
        ],
    },
    "trend": {
        "code": "MDC_ECG_HEART_RATE",
        "label": "HR",
        "unit": "/min",
        "decimals": 0,
        "start_us": 0,
        "end_us": 240,
        "points": [
            [n, 60 + n % 9, 65 + n % 9, 70 + n % 9, 60] if n % 50 else [n, None, None, None, 0] for n in range(240)
        ],
    },
    "handover": {"start_us": 1, "end_us": 2, "patients": [_shift(1), _shift(2)]},
    "fatigue": {
        "start_us": 1,
        "end_us": 2,
        "patients": [
            {
                "id": f"{n:032x}",
                "name": "x",
                "bed": f"Bed {n}",
                "alarms": 10 * n,
                "per_day": 20.0 * n,
                "quick": 5,
                "unanswered": 1,
                "suppressed": 2,
                "kinds": {"spo2_low": 7 * n, "asystole": n},
            }
            for n in (1, 2)
        ],
    },
}


def now_us() -> int:
    return time.time_ns() // 1000


def ecg_mv(times_s: npt.NDArray[np.float64], rate_bpm: float, wide: bool = False) -> npt.NDArray[np.float64]:
    """A plain ECG: Gaussian P, Q, R, S, T waves at a constant rate; `wide`: ventricular beats."""
    phase = (times_s * rate_bpm / 60.0) % 1.0
    waves: tuple[tuple[float, float, float], ...]
    if wide:
        waves = ((0.30, 1.9, 0.07), (0.52, -0.9, 0.09))
    else:
        waves = (
            (0.18, 0.14, 0.028),
            (0.285, -0.12, 0.010),
            (0.31, 1.3, 0.012),
            (0.335, -0.28, 0.011),
            (0.58, 0.32, 0.05),
        )
    wave = sum(
        (height * np.exp(-0.5 * ((phase - at) / width) ** 2) for at, height, width in waves), np.zeros_like(phase)
    )
    return np.asarray(wave + 0.012 * np.sin(times_s * 91.0) * np.sin(times_s * 37.0), dtype=np.float64)


def pleth(times_s: npt.NDArray[np.float64], rate_bpm: float) -> npt.NDArray[np.float64]:
    phase = (times_s * rate_bpm / 60.0 + 0.4) % 1.0
    return np.asarray(np.exp(-0.5 * ((phase - 0.25) / 0.11) ** 2) + 0.35 * np.exp(-0.5 * ((phase - 0.55) / 0.13) ** 2))


class FakePatient:
    def __init__(self, number: int, name: str, rate_bpm: float, *, with_pleth: bool = True) -> None:
        self.id = f"{number:032x}"
        self.name = name
        self.bed = f"Bed {number}"
        self.rate_bpm = rate_bpm
        self.with_pleth = with_pleth
        self.simulated = number != 1
        self.usable = True
        self.reason: str | None = None
        self.since_us: int | None = None
        self.link = "up"
        self.wide = False
        self.rhythm = "N"
        self.spo2: float | None = 97.0
        self.alarms: dict[str, Json] = {}
        self.index = 0
        self.state = "monitored"
        self.extra: Json = {}

    def streams(self) -> list[tuple[str, str]]:
        return [(f"{self.id}-ecg", "ecg")] + ([(f"{self.id}-pleth", "pleth")] if self.with_pleth else [])

    def samples(self, kind: str, first: int, count: int) -> npt.NDArray[np.float64]:
        times_s = (np.arange(first, first + count)) / RATE_HZ
        if kind == "ecg":
            return ecg_mv(times_s, self.rate_bpm, self.wide)
        return pleth(times_s, self.rate_bpm)


class FakeGateway:
    """Start it with `start`; `close` is idempotent. All state may be changed from the test's thread."""

    def __init__(self, path: Path, patients: int = 4) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.started_us = now_us()
        names = ["Record 208", "Simulated B", "Simulated C", "Simulated D"]
        self._admit: Callable[[], list[FakePatient]] = lambda: [
            FakePatient(n + 1, names[n % 4], 64.0 + 7 * n, with_pleth=n % 4 != 2) for n in range(patients)
        ]
        self.patients = self._admit()
        self.frozen = threading.Event()
        self.closing = threading.Event()
        self.sequence = 0
        self.ring: deque[tuple[int, bytes]] = deque(maxlen=600)
        self.acknowledged: list[Json] = []
        self.audits: list[Json] = []
        self.requests: list[str] = []
        self.told: list[Json] = []  # requests of the desks, whole
        self.canned: Json = {}  # other answers than `CARE`
        self.events: list[Json] = []
        self.box_alarms: list[Json] = []
        self.audio = "muted: demonstration"
        self.pause: Json = {}
        self.script = self._script()
        self._subscribers: list[tuple[socket.socket, threading.Lock]] = []
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def _script(self) -> list[Json]:
        return [
            {"at_s": 20.0, "patient": self.patients[-1].id, "text": "Atrial fibrillation begins", "done": True},
            {"at_s": 45.0, "patient": self.patients[0].id, "text": "A run of ventricular tachycardia", "done": False},
            {"at_s": 90.0, "patient": self.patients[0].id, "text": "The lead falls off", "done": False},
            {"at_s": 120.0, "patient": self.patients[-1].id, "text": "Oxygen saturation falls", "done": False},
        ]

    def start(self) -> FakeGateway:
        self.closing.clear()
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen(50)
        listener.settimeout(0.2)
        self._listener = listener
        self._spawn(self._accept)
        self._spawn(self._play)
        return self

    def close(self) -> None:
        self.closing.set()
        self.frozen.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()
        self._subscribers.clear()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5)
        self._threads.clear()
        self.path.unlink(missing_ok=True)

    def reset(self) -> None:
        """All patients well again, nothing ever happened; the waves go on."""
        with self.lock:
            indices = [patient.index for patient in self.patients]
            self.patients = self._admit()
            for patient, index in zip(self.patients, indices, strict=True):
                patient.index = index
            self.acknowledged.clear()
            self.audits.clear()
            self.told.clear()
            self.canned.clear()
            self.events.clear()
            self.box_alarms.clear()
            self.audio, self.pause = "muted: demonstration", {}
            self.script = self._script()
            self.frozen.clear()

    def freeze(self) -> None:
        """As SIGSTOP does: connections stay open, nothing is said."""
        self.frozen.set()

    def thaw(self) -> None:
        self.frozen.clear()

    def raise_alarm(
        self,
        patient: int,
        kind: str,
        priority: str,
        text: str,
        *,
        alarm_class: str = "physiological",
        latching: bool = True,
    ) -> str:
        with self.lock:
            alarm_id = f"alarm-{len(self.events)}-{kind}"
            at_us = now_us()
            view = {
                "alarm": alarm_id,
                "kind": kind,
                "alarm_class": alarm_class,
                "priority": priority,
                "state": "active",
                "condition": True,
                "latching": latching,
                "start_us": at_us - 2_000_000,
                "raised_us": at_us,
                "text": text,
                "by": None,
                "evidence": {"mean_rate_bpm": 148.4, "beats": 6, "onset_us": at_us - 2_000_000, "model": "ab" * 32},
            }
            self.patients[patient].alarms[alarm_id] = view
            self._alarm_event(self.patients[patient], view)
            return alarm_id

    def lose_lead(self, patient: int) -> None:
        with self.lock:
            who = self.patients[patient]
            who.usable, who.reason, who.since_us = False, "lead_off", now_us()
            self.events.append(self._event("quality", who, index=who.index, usable=False, score=0.0, reason="lead_off"))

    def _alarm_event(self, patient: FakePatient, view: Json) -> None:
        extra = {key: view[key] for key in view if key not in ("start_us",)}
        event = self._event("alarm", patient, changed_us=now_us(), **extra)
        event["start_us"] = view["start_us"]
        event["end_us"] = None if view["condition"] else now_us()
        self.events.append(event)

    def _event(self, event_type: str, patient: FakePatient, /, **fields: Any) -> Json:
        return {
            "type": event_type,
            "schema": 1,
            "id": f"e{len(self.events):08d}",
            "patient": patient.id,
            "stream": f"{patient.id}-ecg",
            "start_us": now_us(),
            "end_us": None,
            "supersedes": None,
            "simulated": patient.simulated,
            **fields,
        }

    def ward(self) -> Json:
        with self.lock:
            return {
                "v": 1,
                "time_us": now_us(),
                "started_us": self.started_us,
                "version": "0.1.0",
                "demonstration": True,
                "audio": self.audio,
                **self.pause,
                "parts": [
                    {"name": name, "state": "ok", "detail": ""}
                    for name in ("gateway", "ble", "records", "models", "alarms", "network", "dashboard", "annunciator")
                ],
                "patients": [self._patient(patient) for patient in self.patients],
                "alarms": list(self.box_alarms),
                "script": [dict(step) for step in self.script],
                "stored_in": "the data folder",
            }

    def _patient(self, patient: FakePatient) -> Json:
        at_us = now_us()
        usable = patient.usable and patient.link == "up"
        reason = patient.reason
        numerics = [
            _numeric("MDC_ECG_HEART_RATE", "HR", "/min", patient.rate_bpm if usable else None, at_us, reason, 50, 120),
            _numeric("MDC_PULS_OXIM_SAT_O2", "SpO₂", "%", patient.spo2, at_us, None, 90, None),
            _numeric("MDC_PULS_OXIM_PULS_RATE", "PR", "/min", patient.rate_bpm, at_us, None, None, None),
            _numeric("MDC_ECG_TIME_PD_PR", "PR int", "ms", None, at_us, "no_p_wave", None, None),
            _numeric("MDC_ECG_TIME_PD_QRS", "QRS", "ms", 92.0 if usable else None, at_us, reason, None, None),
            _numeric("MDC_ECG_TIME_PD_QTcF", "QTcF", "ms", 418.0 if usable else None, at_us, reason, None, None),
        ]
        signals = [
            {
                "stream": stream,
                "kind": kind,
                "label": "I" if kind == "ecg" else "PLETH",
                "rate_hz": 130.0,
                "unit": "mV" if kind == "ecg" else "1",
                "usable": usable if kind == "ecg" else True,
                "reason": reason if kind == "ecg" else None,
                "reason_text": {"lead_off": "Lead off", None: None}.get(reason, reason) if kind == "ecg" else None,
                "since_us": patient.since_us,
                "newest_us": at_us if patient.link == "up" else patient.since_us,
            }
            for stream, kind in patient.streams()
        ]
        rank = {"high": 0, "medium": 1, "low": 2}
        alarms = sorted(patient.alarms.values(), key=lambda alarm: (rank[alarm["priority"]], -alarm["raised_us"]))
        return {
            "id": patient.id,
            "name": patient.name,
            "bed": patient.bed,
            "simulated": patient.simulated,
            "state": patient.state,
            "numerics": numerics,
            "signals": signals if patient.state != "waiting_for_signal" else [],
            "rhythm": patient.rhythm if usable else None,
            "alarms": [dict(alarm) for alarm in alarms],
            "wearables": [
                {
                    "id": f"w{patient.id}",
                    "name": "Virtual strap",
                    "link": patient.link,
                    "battery_pct": 82.0,
                    "reason": None,
                }
            ],
            "newest_sample_us": at_us,
            "stored_us": at_us,
            **patient.extra,
        }

    def answer(self, request: Json) -> Any:
        """The result of one request; KeyError becomes `unknown_…`."""
        op = request["op"]
        with self.lock:
            self.requests.append(op)
            if op == "ward":
                return self.ward()
            if op == "events":
                return self._find_events(request)
            if op == "strip":
                return self._strip(request)
            if op == "acknowledge":
                return self._acknowledge(request)
            if op == "audio_pause":
                until_us = now_us() + request["seconds"] * 1_000_000
                self.pause = {"audio_paused_until_us": until_us, "audio_paused_by": request["by"]}
                return {"audio_paused_until_us": until_us}
            if op == "audio_resume":
                self.pause = {}
                return {}
            if op in CARE:
                self.told.append(request)
                return self.canned.get(op, CARE[op])
            if op == "audit":
                self.audits.append(request)
                return {}
        raise ValueError(op)

    def _find_events(self, request: Json) -> list[Json]:
        wanted = set(request["types"])
        who = self._known(request["patient"])
        found = [e for e in self.events if e["patient"] == who.id and (not wanted or e["type"] in wanted)]
        if "beat" in wanted:
            found += self._beats(who, request["start_us"], min(request["end_us"], now_us()))
        found = [e for e in found if request["start_us"] <= e["start_us"] < request["end_us"]]
        return sorted(found, key=lambda e: e["start_us"])[-request["limit"] :]

    def _known(self, patient: str) -> FakePatient:
        for candidate in self.patients:
            if candidate.id == patient:
                return candidate
        raise KeyError("unknown_patient")

    def _beats(self, who: FakePatient, start_us: int, end_us: int) -> list[Json]:
        period_s = 60.0 / who.rate_bpm
        start_s, end_s = (start_us - self.started_us) / 1e6, (end_us - self.started_us) / 1e6
        first = max(0, int(start_s / period_s))
        beats = []
        for n in range(first, int(end_s / period_s) + 1)[-200:]:
            at_us = self.started_us + round((n + 0.31) * period_s * 1e6)
            letter = "V" if who.wide else "S" if n % 11 == 0 else "N"
            beats.append(
                {**self._event("beat", who), "id": f"b{who.id[-2:]}{n}", "start_us": at_us, "beat_class": letter}
            )
        return beats

    def _strip(self, request: Json) -> Json:
        who = self._known(request["patient"])
        kinds = dict(who.streams())
        if request["stream"] not in kinds:
            raise KeyError("unknown_stream")
        kind = kinds[request["stream"]]
        start_us = max(request["start_us"], self.started_us)
        first = max(0, round((start_us - self.started_us) * RATE_HZ / 1e6))
        count = max(0, round((request["end_us"] - start_us) * RATE_HZ / 1e6))
        beats = self._beats(who, start_us, request["end_us"]) if kind == "ecg" else []
        return {
            "stream": request["stream"],
            "kind": kind,
            "label": "I",
            "unit": "mV",
            "simulated": who.simulated,
            "segments": [self._wave(who, request["stream"], kind, first, count)],
            "beats": [{"time_us": b["start_us"], "beat_class": b["beat_class"], "probability": 0.9} for b in beats],
            "complete": start_us == request["start_us"],
        }

    def _acknowledge(self, request: Json) -> Json:
        for patient in self.patients:
            alarm = patient.alarms.get(request["alarm"])
            if alarm is not None:
                alarm["state"], alarm["by"] = "acknowledged", request["by"]
                self.acknowledged.append(request)
                self._alarm_event(patient, alarm)
                return {"alarm": request["alarm"], "state": "acknowledged"}
        raise KeyError("unknown_alarm")

    def _wave(self, patient: FakePatient, stream: str, kind: str, first: int, count: int) -> Json:
        values = patient.samples(kind, first, count)
        counts = np.clip(np.round(values / UNIT), -32767, 32767).astype("<i2")
        return {
            "stream": stream,
            "patient": patient.id,
            "kind": kind,
            "rate_hz": RATE_HZ,
            "first_index": first,
            "start_us": self.started_us + round(first * 1e6 / RATE_HZ),
            "unit_per_count": UNIT,
            "data": base64.b64encode(counts.tobytes()).decode(),
        }

    def _play(self) -> None:
        beat = 0
        while not self.closing.wait(BATCH_S):
            if self.frozen.is_set():
                continue
            beat += 1
            with self.lock:
                batch = self._batch(with_ward=beat % 5 == 0)
                data = frame(batch)
                self.ring.append((self.sequence, data))
                subscribers = list(self._subscribers)
            for connection, lock in subscribers:
                self._send(connection, lock, data)

    def _batch(self, *, with_ward: bool) -> Json:
        self.sequence += 1
        end = round((now_us() - self.started_us) * RATE_HZ / 1e6)
        waves = []
        for patient in self.patients:
            first, patient.index = patient.index, end
            if patient.link != "up" or patient.state != "monitored" or end <= first:
                continue
            first = max(first, end - 500)
            waves += [self._wave(patient, stream, kind, first, end - first) for stream, kind in patient.streams()]
        batch: Json = {"v": 1, "push": "batch", "sequence": self.sequence, "time_us": now_us(), "waves": waves}
        if with_ward:
            batch["ward"] = self.ward()
        return batch

    def _subscribe(self, connection: socket.socket, lock: threading.Lock, after: int | None) -> None:
        with self.lock:
            missed = [data for sequence, data in self.ring if after is not None and sequence > after]
            self._subscribers.append((connection, lock))
        for data in missed:
            self._send(connection, lock, data)

    def _send(self, connection: socket.socket, lock: threading.Lock, data: bytes) -> None:
        try:
            with lock:
                connection.sendall(data)
        except OSError:
            with self.lock:
                self._subscribers = [pair for pair in self._subscribers if pair[0] is not connection]

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None and not self.closing.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.settimeout(None)
            self._connections.append(connection)
            self._spawn(functools.partial(self._serve, connection))

    def _serve(self, connection: socket.socket) -> None:
        lock = threading.Lock()
        try:
            while (request := receive_frame(connection)) is not None:
                while self.frozen.is_set() and not self.closing.is_set():
                    time.sleep(0.02)
                if request["op"] == "subscribe":
                    self._subscribe(connection, lock, request["after"])
                    continue
                reply: Json = {"v": 1, "id": request["id"], "ok": True}
                try:
                    reply["result"] = self.answer(request)
                except KeyError as error:
                    reply = {"v": 1, "id": request["id"], "ok": False}
                    reply["error"] = {"code": str(error.args[0]), "message": "no such thing on this box"}
                with lock:
                    connection.sendall(frame(reply))
        except OSError:
            return
        finally:
            if connection in self._connections and not self.closing.is_set():
                self._connections.remove(connection)
                with self.lock:
                    self._subscribers = [pair for pair in self._subscribers if pair[0] is not connection]
                connection.close()

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()


def _numeric(
    code: str,
    label: str,
    unit: str,
    value: float | None,
    at_us: int,
    reason: str | None,
    low: float | None,
    high: float | None,
) -> Json:
    return {
        "code": code,
        "label": label,
        "unit": unit,
        "value": value,
        "decimals": 0,
        "time_us": at_us,
        "age_s": 0.4,
        "validity": "good" if value is not None else "rejected",
        "reason": None if value is not None else reason or "no pulse found",
        "limit_low": low,
        "limit_high": high,
    }
