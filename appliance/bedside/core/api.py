"""The shapes that the gateway shows over its local socket: `bedside status` and the dashboard read these.

Operations (`op`), their arguments and results:

| op | arguments | result |
| --- | --- | --- |
| `ward` | | `Ward` |
| `events` | patient (or null: the box), start_us, end_us, types (list), limit | list of events (`events.to_dict`) |
| `strip` | patient, stream, start_us, end_us (at most 60 s) | `Strip` |
| `acknowledge` | alarm, by | `{"alarm", "state"}` |
| `audio_pause` | by, seconds (1 to 120; default 120) | `{"audio_paused_until_us"}`; `not_possible`: nothing sounds |
| `audio_resume` | by | `{}` |
| `limits` | patient | list of `LimitView` |
| `set_limit` | patient, code, low, high, severe_low (or null: as it is), by | `LimitView` |
| `what_if` | patient, hours (1 to 24), code, low, high, severe_low, delay_s (kind: seconds) | alarms of now and then |
| `quiet` | patient | standby, alarms off, and all conditions with whether they may be off |
| `standby` | patient, by, reason, seconds (60 to 14400) | as `quiet`; `not_possible`: a high alarm is open |
| `end_standby` | patient, by | as `quiet` |
| `alarm_off` | patient, kind, by, reason, seconds (60 to 43200) | as `quiet`; refused for what nobody may turn off |
| `alarm_on` | patient, kind, by | as `quiet` |
| `alarm_test` | by, priority | `{"self_check"}`; the alarm sounds and flashes for 12 s |
| `usual` | patient | what is held usual of her, and what differs now, by quantity |
| `forget_usual` | patient, quantity (or null: all), by | as `usual`: it is learned anew |
| `review` | patient, event, verdict, label, comment, onset_us, stream, by | what was kept |
| `observe` | patient, by, oxygen, alert, spo2_scale, numbers by code | `early_warning` |
| `early_warning` | patient | NEWS2: total, points by input, what is missing |
| `trend` | patient, code, start_us, end_us (28 days at most), points | points `[start_us, low, mean, high, count]` |
| `handover`, `fatigue` | start_us | by patient: see `alarms.shift` |
| `patient_call` | patient | `{"pressed_us"}`: an alarm that stays until the team has seen it |
| `pair_heard` | | wearables near: label, name, kind, rssi_dbm, owner; the box listens for a minute more |
| `pair_begin` | patient, label, typed, by, staff, user_index | the attempt: stage, question, battery, bond |
| `pair_state`, `pair_undo` | attempt, patient (or null), by | the attempt |
| `pair_answer` | attempt, answer (true, false, or six digits) | the attempt |
| `pairings` | patient (or null: all) | who has which, how it is bonded, and why it is not believed |
| `unpair` | wearable, by | `{}` |
| `pair_export` | passphrase, by | `{"sealed", "pairings"}` |
| `pair_import` | passphrase, by, sealed (hex) | `{"taken", "left_out", "pair_anew"}` |
| `subscribe` | after (sequence number, or null) | pushes of `WaveBatch`, then every 100 ms a new one |
| `audit` | actor, action, detail | `{}` |
| `stop` | | `{}`: the gateway ends cleanly |

Errors have a `code`: `bad_request`, `unknown_patient`, `unknown_stream`, `unknown_alarm`, `not_possible`, `busy`.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from bedside.core.events import Json


class NumericView(TypedDict):
    """A number on screen. `value` null: show `---` and the reason."""

    code: str
    label: str
    unit: str
    value: float | None
    decimals: int
    time_us: int | None
    age_s: float | None
    validity: str
    reason: str | None
    limit_low: float | None
    limit_high: float | None
    stored: NotRequired[bool]  # there and true when it comes from a wearable's memory
    limit_changed: NotRequired[bool]  # there and true when it is this patient's own, not the preset's


class SignalView(TypedDict):
    """Whether a stream can be believed now. `reason` says why not, in `reason_text` in words."""

    stream: str
    kind: str
    label: str
    rate_hz: float
    unit: str
    usable: bool
    reason: str | None
    reason_text: str | None
    since_us: int | None
    newest_us: int | None
    note: str | None  # what is odd about it though it can be believed: it points down, is small, mains hum in it


class AlarmView(TypedDict):
    """One alarm that is not ended."""

    alarm: str
    kind: str
    alarm_class: str  # physiological, technical
    priority: str  # high, medium, low
    state: str  # active, acknowledged, latched
    condition: bool
    latching: bool
    start_us: int
    raised_us: int
    text: str
    by: str | None
    evidence: dict[str, Json]


class LimitView(TypedDict):
    """What alarms for one number of one patient, and what it may be set to. A range is `[least, greatest]`."""

    code: str
    label: str
    unit: str
    step: int
    preset: str
    low: int | None
    high: int | None
    severe_low: float | None  # desaturation, extreme bradycardia
    severe_high: float | None  # extreme tachycardia
    low_range: list[int] | None  # null: there is no such limit to set
    high_range: list[int] | None
    severe_low_range: list[int] | None
    preset_low: int | None
    preset_high: int | None
    changed: bool


class WearableView(TypedDict):
    """A wearable and its link."""

    id: str
    name: str
    link: str  # searching, connecting, up, lost, stopped
    battery_pct: float | None
    reason: str | None


class HourView(TypedDict):
    """How much of an hour's ECG came. `lost_s` by cause, as far as it was declared."""

    hour_us: int
    share: float | None  # 0 to 1; null: monitored for too short a time to say
    lost_s: dict[str, float]


class CompletenessView(TypedDict):
    """How much of the ECG came since `since_us`, at most a day ago."""

    since_us: int
    share: float | None
    missing_s: float
    hours: list[HourView]  # oldest first, the last one is not over


class PatientView(TypedDict):
    """A tile's worth of one patient."""

    id: str
    name: str
    bed: str
    simulated: bool
    state: str  # monitored, waiting_for_signal, failed (its session is being restarted), standby
    standby: NotRequired[dict[str, Json]]  # while in standby: by, reason, since_us, until_us
    alarms_off: NotRequired[dict[str, dict[str, Json]]]  # kind: by, reason, since_us, until_us
    numerics: list[NumericView]
    signals: list[SignalView]
    rhythm: str | None  # label of the current rhythm episode
    alarms: list[AlarmView]  # most urgent first
    limits_changed: NotRequired[bool]  # there and true when her limits are not the preset's
    wearables: list[WearableView]
    completeness: NotRequired[CompletenessView]
    newest_sample_us: int | None
    stored_us: int | None  # everything up to here is on disk


class PartView(TypedDict):
    """The health of one part of the appliance."""

    name: str  # gateway, ble, records, models, alarms, network, dashboard, annunciator, operator
    state: str  # ok, starting, degraded, failed
    detail: str


class ScriptStep(TypedDict):
    """A line of the demonstration's timetable."""

    at_s: float
    patient: str | None
    text: str
    done: bool


class Ward(TypedDict):
    """Everything that the ward page shows but the waves."""

    v: int
    time_us: int
    started_us: int
    version: str
    demonstration: bool
    audio: str  # "on", or why not: "muted: demonstration", "no loudspeaker: terminal bell only"
    audio_paused_until_us: NotRequired[int]  # there while somebody has paused the sound of the box
    audio_paused_by: NotRequired[str]
    parts: list[PartView]
    patients: list[PatientView]
    alarms: list[AlarmView]  # of the box itself, most urgent first
    script: list[ScriptStep]
    stored_in: str  # data folder


class Wave(TypedDict):
    """Consecutive samples of one stream for the screen: little-endian int16 in base64, -32768 where missing.

    A value is `int16 * unit_per_count`. A `first_index` that is not the end of the last wave is a gap.
    """

    stream: str
    patient: str
    kind: str
    rate_hz: float
    first_index: int
    start_us: int
    unit_per_count: float
    data: str


class WaveBatch(TypedDict):
    """What is pushed every 100 ms to all viewers: new waves, and the ward when it changed (at least once a second)."""

    v: int
    push: str  # "batch"
    sequence: int
    time_us: int
    waves: list[Wave]
    ward: NotRequired[Ward]


class BeatMark(TypedDict):
    """A beat under a strip."""

    time_us: int
    beat_class: str
    probability: float | None


class Strip(TypedDict):
    """Stored samples of one stream, as sent by the wearable."""

    stream: str
    kind: str
    label: str
    unit: str
    simulated: bool
    segments: list[Wave]
    beats: list[BeatMark]
    complete: bool  # False: part of the range is not stored
