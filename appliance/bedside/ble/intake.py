"""From notifications to items: decoders, time line and the wearable's own status bits, for one wearable.

Total: whatever bytes come, `take` gives items or counts a malformed packet; it never raises, and a number that the
wearable itself doubts is marked or withheld. Nothing here touches a radio or asyncio.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from bedside.ble import battery, heart_rate, plx, pmd, spot
from bedside.ble.battery_trend import BatteryTrend, clock_text
from bedside.ble.drivers.api import Driver, Stream
from bedside.ble.ieee11073 import Number
from bedside.ble.presence import Presence
from bedside.ble.rr_clock import RrClock
from bedside.ble.timeline import Timeline
from bedside.ble.users import not_hers
from bedside.core.codes import Code, StreamKind
from bedside.core.errors import DecodeError
from bedside.core.samples import Block, Contact, Gap, Item, Reading, Remark, StreamInfo, Validity
from bedside.core.time import US_PER_S

logger = logging.getLogger(__name__)

RATE_HZ_MAX = 60.0
"""Notifications a second that a wearable may send for long; the busiest strap known sends about 20."""

BURST_MAX = 300.0
"""Notifications at once: what a strap may have queued while the radio was busy."""

CLOCK_TOLD_US = 600 * US_PER_S
"""How often it is recorded how the wearable's clock runs beside ours; at a jump of it at once."""

UNSET_NS = 30 * 86_400 * 1_000_000_000
"""A clock that shows the month in which unset ones begin says nothing of the date."""

MALFORMED_LOGGED_MAX = 5
"""Malformed packets of one characteristic that are logged one by one; later ones are only counted."""

_M = plx.MeasurementStatus
_S = plx.SensorStatus
_WITHHELD: tuple[tuple[int, int, str], ...] = (  # measurement bits, sensor bits, reason; the first that fits
    (0, _S.SENSOR_UNCONNECTED | _S.SENSOR_DISCONNECTED | _S.SENSOR_DISPLACED, "sensor off"),
    (0, _S.SENSOR_MALFUNCTIONING | _S.EQUIPMENT_MALFUNCTION | _S.UNKNOWN_SENSOR, "sensor fault"),
    (_M.DEMONSTRATION | _M.TEST, 0, "demonstration or test data"),
    (_M.FROM_STORAGE, 0, "from the wearable's memory"),
    (_M.INVALID | _M.UNAVAILABLE, 0, "measurement invalid"),
    (_M.CALIBRATION_ONGOING, 0, "calibrating"),
)
_DOUBTED = (
    (_M.QUESTIONABLE | _M.EARLY_ESTIMATE, 0, "measurement questionable"),
    (
        0,
        _S.SIGNAL_PROCESSING_IRREGULAR
        | _S.INADEQUATE_SIGNAL
        | _S.POOR_SIGNAL
        | _S.LOW_PERFUSION
        | _S.ERRATIC_SIGNAL
        | _S.NON_PULSATILE_SIGNAL
        | _S.QUESTIONABLE_PULSE
        | _S.SENSOR_INTERFERENCE,
        "poor pulse signal",
    ),
)
_SENSOR_OFF = _S.SENSOR_UNCONNECTED | _S.SENSOR_DISCONNECTED | _S.SENSOR_DISPLACED


@dataclass(slots=True)
class Counts:
    """What came in, for the ledger and for `doctor`."""

    notifications: dict[str, int] = field(default_factory=dict)
    malformed: dict[str, int] = field(default_factory=dict)
    fetched: dict[str, int] = field(default_factory=dict)  # records from the wearable's memory
    flooded: int = 0  # refused unread: more than a wearable may send
    samples: int = 0
    samples_missing: int = 0  # declared as gaps
    frames_late: int = 0


class Intake:
    """The state of one wearable's signals, kept across its links."""

    def __init__(
        self,
        *,
        wearable: str,
        patient: str,
        put: Callable[[Item], None],
        zone_s: Callable[[], float] = lambda: 0.0,
        user_index: int | None = None,
    ) -> None:
        self._wearable = wearable
        self._patient = patient
        self._put = put
        self.counts = Counts()
        self.last_s: dict[str, float] = {}  # when each characteristic last gave something that could be read
        self.presence = Presence()
        self._charge = BatteryTrend()
        self._rr = RrClock()
        self._night: bool | None = None  # what was last said: does the battery last until the morning?
        self.stream: StreamInfo | None = None
        self._timeline: Timeline | None = None
        self._cause: str | None = None  # why the next gap in the ECG will be there
        self._contact: dict[StreamKind, bool] = {}
        self._tokens = BURST_MAX
        self._tokens_s = 0.0
        self._clock_told: int | None = None  # how many jumps of the clock were told …
        self._clock_told_us = 0  # … and when that was
        self._zone_s = zone_s
        self._user_index = user_index
        self._link_s = 0.0  # when the present link began
        self._now_s = 0.0
        self._clock_offset_s: float | None = None
        self._earlier_offset_s: float | None = None
        self._session_us: int | None = None  # minute 0 of a glucose sensor's session
        self._driver: tuple[Driver, Stream] | None = None
        self._decoders: dict[str, Callable[[bytes, int], None]] = {
            heart_rate.MEASUREMENT: self._heart_rate,
            plx.CONTINUOUS: self._oximetry,
            battery.LEVEL: self._battery,
            **{uuid: partial(self._spot, uuid) for uuid in spot.UUIDS},
        }

    def open_stream(self, info: StreamInfo, first_index: int, resumed_us: int | None) -> None:
        """The ECG stream's facts are known; from now on frames become blocks."""
        self.stream = info
        self._timeline = Timeline(info.rate_hz, first_index, resumed_us)

    @property
    def ecg_uuid(self) -> str | None:
        """The characteristic whose notifications are ECG; None before a driver is followed."""
        return None if self._driver is None else self._driver[0].data

    def follow(self, driver: Driver, stream: Stream) -> None:
        """From now on notifications of the driver's `data` are read by it."""
        self._driver = (driver, stream)
        self._decoders[driver.data] = self._ecg

    def begin_link(self, now_s: float) -> None:
        """A new link: contact is told anew, and samples missing until the next frame were lost with the link."""
        self._contact.clear()
        self._rr.reset()
        self._cause = "link_lost"
        self._tokens, self._tokens_s = BURST_MAX, now_s
        self._link_s = now_s
        self._clock_offset_s = self._earlier_offset_s = self._session_us = None
        self.last_s.clear()

    def clock(self, offset_s: float | None, earlier_s: float | None = None) -> None:
        """UTC minus the wearable's clock on the present link, and before we set it."""
        self._clock_offset_s, self._earlier_offset_s = offset_s, earlier_s

    def glucose_session(self, minute: int, now_us: int) -> None:
        """A glucose sensor's status said that it is minute `minute` of its session."""
        self._session_us = now_us - minute * 60 * US_PER_S

    def take_stored(self, uuid: str, payload: bytes, *, now_us: int) -> bool:
        """A record that was asked for; False when it cannot be read, or nobody can say when it was taken."""
        counts = self.counts
        counts.fetched[uuid] = counts.fetched.get(uuid, 0) + 1
        heard = self._heard(now_us, since_subscribed_s=0.0)
        try:
            numbers = spot.decode(uuid, payload, heard)
        except DecodeError as error:
            self._malformed(uuid, payload, error)
            return False
        for one in numbers:
            self._read(one.code, one.value, one.validity, one.reason, one.taken_us, stored=one.stored)
        return not any(one.untimed for one in numbers)

    def take(self, uuid: str, payload: bytes, *, now_us: int, now_s: float) -> bool:
        """Take a notification; False when it was refused unread because the wearable sends too many."""
        counts = self.counts
        self._tokens = min(BURST_MAX, self._tokens + (now_s - self._tokens_s) * RATE_HZ_MAX) - 1.0
        self._tokens_s = now_s
        if self._tokens < 0:
            self._tokens = 0.0
            counts.flooded += 1
            self._cause = self._cause or "flood"
            return False
        self._now_s = now_s
        counts.notifications[uuid] = counts.notifications.get(uuid, 0) + 1
        try:
            self._decoders[uuid](payload, now_us)
        except DecodeError as error:
            self._malformed(uuid, payload, error)
        else:
            self.last_s[uuid] = now_s
        return True

    def _malformed(self, uuid: str, payload: bytes, error: DecodeError) -> None:
        count = self.counts.malformed[uuid] = self.counts.malformed.get(uuid, 0) + 1
        if uuid == self.ecg_uuid:
            self._cause = "malformed_packet"
        if count <= MALFORMED_LOGGED_MAX:
            logger.warning(
                "malformed packet",
                extra={
                    "wearable": self._wearable,
                    "characteristic": error.characteristic,
                    "field": error.field,
                    "size_bytes": len(payload),
                    "count": count,
                },
            )

    def _ecg(self, payload: bytes, now_us: int) -> None:
        stream, timeline = self.stream, self._timeline
        if stream is None or timeline is None or self._driver is None:
            return
        driver, facts = self._driver
        frame = driver.decode(payload, facts)
        if frame is None:
            return
        cut_before = timeline.cut_frames
        placement = timeline.place(
            last_ns=frame.last_ns,
            n_samples=frame.counts.size,
            arrived_us=now_us,
            cause=self._cause or "packets_lost",
        )
        if placement is None:
            self.counts.frames_late = timeline.late_frames
            if timeline.cut_frames > cut_before:
                raise DecodeError("ECG frame", "samples", "the frame is shorter than its time stamp says")
            return
        self._cause = None
        self._tell_clock(frame.last_ns, timeline, stream, now_us)
        if (hole := placement.hole) is not None:
            self.counts.samples_missing += hole.n_samples
            self._put(
                Gap(
                    stream=stream,
                    first_index=hole.first_index,
                    n_samples=hole.n_samples,
                    start_us=hole.start_us,
                    end_us=hole.end_us,
                    cause=hole.cause,
                )
            )
        self.counts.samples += frame.counts.size
        self._put(
            Block(
                stream=stream,
                first_index=placement.first_index,
                start_us=placement.start_us,
                rate_hz=stream.rate_hz,
                counts=frame.counts,
                uncertainty_us=placement.uncertainty_us,
            )
        )

    def _tell_clock(self, last_ns: int, timeline: Timeline, stream: StreamInfo, now_us: int) -> None:
        """Both clocks side by side: with a sample's time, what the wearable's own clock showed is known for ever."""
        fit, resets = timeline.fit, timeline.clock_resets
        if fit is None or (self._clock_told == resets and now_us - self._clock_told_us < CLOCK_TOLD_US):
            return
        self._clock_told, self._clock_told_us = resets, now_us
        unset_ns = last_ns - pmd.CLOCK_UNSET_NS
        self._put(
            Remark(
                wearable=self._wearable,
                patient=self._patient,
                time_us=now_us,
                kind="wearable_clock",
                stream=stream.id,
                evidence={
                    "device_us_2000": fit.device_us,
                    "time_us": fit.device_us + fit.offset_us,
                    "drift_ppm": fit.drift_ppm,
                    "uncertainty_us": fit.uncertainty_us,
                    "resets": resets,
                    "date_set": not 0 <= unset_ns < UNSET_NS,
                    "measured_rate_hz": round(timeline.measured_rate_hz, 4),
                },
            )
        )

    def _heart_rate(self, payload: bytes, now_us: int) -> None:
        value = heart_rate.decode_heart_rate(payload)
        if value.contact is not None:
            self._tell_contact(StreamKind.ECG, value.contact, now_us)
        if value.contact is False:
            self._read(Code.HEART_RATE_DEVICE, None, Validity.REJECTED, "lead off", now_us)
        elif value.heart_rate == 0:  # straps send 0 until they have a rate; asystole is judged from the ECG alone
            self._read(Code.HEART_RATE_DEVICE, None, Validity.REJECTED, "no rate yet", now_us)
        else:
            self._read(Code.HEART_RATE_DEVICE, float(value.heart_rate), Validity.GOOD, None, now_us)
        if value.contact is False:
            self._rr.reset()
        elif self.stream is None:  # an ECG says more, and when
            self._tell_beats(value.rr_1024, now_us)

    def _tell_beats(self, rr_1024: tuple[int, ...], now_us: int) -> None:
        """A strap without ECG: its beats, dated from their intervals."""
        beats = self._rr.take(rr_1024, now_us)
        if beats is None:
            return
        self._put(
            Remark(
                wearable=self._wearable,
                patient=self._patient,
                time_us=now_us,
                kind="wearable_beats",
                evidence={
                    "last_us": beats.times_us[-1],
                    "rr_1024": " ".join(str(interval) for interval in rr_1024),
                    "uncertainty_us": beats.uncertainty_us,
                },
            )
        )

    def _oximetry(self, payload: bytes, now_us: int) -> None:
        value = plx.decode_continuous(payload)
        measured, sensor = value.measurement_status or 0, value.device_sensor_status or 0
        self._tell_contact(StreamKind.PLETH, not sensor & _SENSOR_OFF, now_us)
        withheld = _first_reason(_WITHHELD, measured, sensor)
        doubted = _first_reason(_DOUBTED, measured, sensor)
        for code, number, lowest, highest in (
            (Code.SPO2, value.spo2, 1, 100),
            (Code.PULSE_RATE, value.pulse_rate, 1, 350),
        ):
            reason = withheld or _implausible(number, lowest, highest, doubted)
            if reason is not None or not isinstance(number, Decimal):
                self._read(code, None, Validity.REJECTED, reason, now_us)
            elif doubted is not None:
                self._read(code, float(number), Validity.QUESTIONABLE, doubted, now_us)
            else:
                self._read(code, float(number), Validity.GOOD, None, now_us)

    def _battery(self, payload: bytes, now_us: int) -> None:
        level = battery.decode_battery_level(payload).battery_pct
        self._read(Code.BATTERY, float(level), Validity.GOOD, None, now_us)
        self.presence.battery(level)
        self._charge.level(level, now_us)
        self._tell_night(now_us)

    def _tell_night(self, now_us: int) -> None:
        """In the evening say whether the battery lasts until the morning; by day, or once charged, it is no matter."""
        zone_s = self._zone_s()
        forecast = self._charge.forecast(now_us, zone_s)
        lasts = True if forecast is None else forecast.lasts
        if lasts is self._night or (lasts and self._night is None):
            return
        self._night = lasts
        self._put(
            Remark(
                wearable=self._wearable,
                patient=self._patient,
                time_us=now_us,
                kind="battery_night",
                evidence={
                    "on": not lasts,
                    "key": self._wearable,
                    "value": None if forecast is None else forecast.value,
                    "empty": None if forecast is None else clock_text(forecast.empty_us, zone_s),
                    "until": "07:00",
                },
            )
        )

    def _spot(self, uuid: str, payload: bytes, now_us: int) -> None:
        heard = self._heard(now_us, since_subscribed_s=self._now_s - self._link_s)
        refused = not_hers(uuid, payload, self._user_index)
        for one in spot.decode(uuid, payload, heard):
            if refused is not None:
                self._read(one.code, None, Validity.REJECTED, refused, one.taken_us, stored=one.stored)
                continue
            self._read(one.code, one.value, one.validity, one.reason, one.taken_us, stored=one.stored)

    def _heard(self, now_us: int, since_subscribed_s: float) -> spot.Heard:
        return spot.Heard(
            now_us=now_us,
            since_subscribed_s=since_subscribed_s,
            zone_s=self._zone_s(),
            clock_offset_s=self._clock_offset_s,
            earlier_offset_s=self._earlier_offset_s,
            session_us=self._session_us,
        )

    def _read(
        self,
        code: Code,
        value: float | None,
        validity: Validity,
        reason: str | None,
        at_us: int,
        *,
        stored: bool = False,
    ) -> None:
        self._put(
            Reading(
                wearable=self._wearable,
                patient=self._patient,
                code=code,
                time_us=at_us,
                value=value,
                validity=validity,
                reason=reason,
                stored=stored,
            )
        )

    def _tell_contact(self, kind: StreamKind, on_skin: bool, now_us: int) -> None:
        if kind is StreamKind.ECG:
            self.presence.contact(on_skin, self._now_s)
        if self._contact.get(kind) is not on_skin:
            self._contact[kind] = on_skin
            self._put(
                Contact(wearable=self._wearable, patient=self._patient, time_us=now_us, on_skin=on_skin, kind=kind)
            )


def _first_reason(table: tuple[tuple[int, int, str], ...], measured: int, sensor: int) -> str | None:
    for measured_bits, sensor_bits, reason in table:
        if measured & measured_bits or sensor & sensor_bits:
            return reason
    return None


def _implausible(number: Number, lowest: int, highest: int, doubted: str | None) -> str | None:
    """Why `number` cannot be shown at all, or None."""
    if not isinstance(number, Decimal):
        return doubted or "no measurement"
    if not lowest <= number <= highest:
        return "impossible value"
    return None
