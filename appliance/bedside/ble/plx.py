"""Pulse Oximeter Service 1.0: spot check (0x2A5E) and continuous measurement (0x2A5F), both directions.

Pure; no clock, file, socket or asyncio.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag

from bedside.ble import ieee11073
from bedside.ble.date_time import Timestamp, read_timestamp
from bedside.ble.ieee11073 import Number
from bedside.ble.reader import Reader

SERVICE = "00001822-0000-1000-8000-00805f9b34fb"
SPOT_CHECK = "00002a5e-0000-1000-8000-00805f9b34fb"
CONTINUOUS = "00002a5f-0000-1000-8000-00805f9b34fb"


class MeasurementStatus(IntFlag):
    """What the oximeter says of its measurement (PLXS 3.1.1.5); bits 0 to 4 are reserved."""

    MEASUREMENT_ONGOING = 0x0020
    EARLY_ESTIMATE = 0x0040
    VALIDATED = 0x0080
    FULLY_QUALIFIED = 0x0100
    FROM_STORAGE = 0x0200
    DEMONSTRATION = 0x0400
    TEST = 0x0800
    CALIBRATION_ONGOING = 0x1000
    UNAVAILABLE = 0x2000
    QUESTIONABLE = 0x4000
    INVALID = 0x8000


class SensorStatus(IntFlag):
    """What the oximeter says of itself and its sensor (PLXS 3.1.1.6)."""

    EXTENDED_DISPLAY_UPDATE = 0x0001
    EQUIPMENT_MALFUNCTION = 0x0002
    SIGNAL_PROCESSING_IRREGULAR = 0x0004
    INADEQUATE_SIGNAL = 0x0008
    POOR_SIGNAL = 0x0010
    LOW_PERFUSION = 0x0020
    ERRATIC_SIGNAL = 0x0040
    NON_PULSATILE_SIGNAL = 0x0080
    QUESTIONABLE_PULSE = 0x0100
    SIGNAL_ANALYSIS_ONGOING = 0x0200
    SENSOR_INTERFERENCE = 0x0400
    SENSOR_UNCONNECTED = 0x0800
    UNKNOWN_SENSOR = 0x1000
    SENSOR_DISPLACED = 0x2000
    SENSOR_MALFUNCTIONING = 0x4000
    SENSOR_DISCONNECTED = 0x8000  # "Sensor Disconnected", bit 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuous:
    """One continuous measurement. SpO2 in %, pulse rate in 1/min; statuses are the raw bits."""

    spo2: Number
    pulse_rate: Number
    spo2_fast: Number | None = None
    pulse_rate_fast: Number | None = None
    spo2_slow: Number | None = None
    pulse_rate_slow: Number | None = None
    measurement_status: int | None = None
    device_sensor_status: int | None = None
    pulse_amplitude_index: Number | None = None

    def encode(self) -> bytes:
        """The packet. Raises `ValueError` for a number that no SFLOAT says exactly, or half of a pair."""
        fast = _pair(self.spo2_fast, self.pulse_rate_fast)
        slow = _pair(self.spo2_slow, self.pulse_rate_slow)
        flags = (0x01 if fast else 0) | (0x02 if slow else 0)
        flags |= 0x04 if self.measurement_status is not None else 0
        flags |= 0x08 if self.device_sensor_status is not None else 0
        flags |= 0x10 if self.pulse_amplitude_index is not None else 0
        tail = _tail(self.measurement_status, self.device_sensor_status, self.pulse_amplitude_index)
        return bytes([flags]) + _pair(self.spo2, self.pulse_rate) + fast + slow + tail


def decode_continuous(payload: bytes) -> Continuous:
    """Decode 0x2A5F. Raises `DecodeError`, and nothing else.

    Refused: reserved flags and bytes after the end. Reserved status bits are kept raw: they move no other field.
    """
    reader = Reader("pulse oximeter continuous 2A5F", payload)
    flags = reader.only("flags", reader.u8("flags"), 0x1F)
    value = Continuous(
        spo2=reader.sfloat("SpO2"),
        pulse_rate=reader.sfloat("pulse rate"),
        spo2_fast=reader.sfloat("SpO2 fast") if flags & 0x01 else None,
        pulse_rate_fast=reader.sfloat("pulse rate fast") if flags & 0x01 else None,
        spo2_slow=reader.sfloat("SpO2 slow") if flags & 0x02 else None,
        pulse_rate_slow=reader.sfloat("pulse rate slow") if flags & 0x02 else None,
        measurement_status=reader.u16("measurement status") if flags & 0x04 else None,
        device_sensor_status=reader.u24("device and sensor status") if flags & 0x08 else None,
        pulse_amplitude_index=reader.sfloat("pulse amplitude index") if flags & 0x10 else None,
    )
    reader.end()
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotCheck:
    """One spot check. `timestamp` is of the oximeter's clock; `device_clock_not_set` says that it means nothing."""

    spo2: Number
    pulse_rate: Number
    timestamp: Timestamp | None = None
    measurement_status: int | None = None
    device_sensor_status: int | None = None
    pulse_amplitude_index: Number | None = None
    device_clock_not_set: bool = False

    def encode(self) -> bytes:
        """The packet. Raises `ValueError` for a number that no SFLOAT says exactly."""
        flags = 0x01 if self.timestamp is not None else 0
        flags |= 0x02 if self.measurement_status is not None else 0
        flags |= 0x04 if self.device_sensor_status is not None else 0
        flags |= 0x08 if self.pulse_amplitude_index is not None else 0
        flags |= 0x10 if self.device_clock_not_set else 0
        stamp = self.timestamp.encode() if self.timestamp is not None else b""
        tail = _tail(self.measurement_status, self.device_sensor_status, self.pulse_amplitude_index)
        return bytes([flags]) + _pair(self.spo2, self.pulse_rate) + stamp + tail


def decode_spot_check(payload: bytes) -> SpotCheck:
    """Decode 0x2A5E. Raises `DecodeError`, and nothing else; refuses what `decode_continuous` refuses."""
    reader = Reader("pulse oximeter spot check 2A5E", payload)
    flags = reader.only("flags", reader.u8("flags"), 0x1F)
    value = SpotCheck(
        spo2=reader.sfloat("SpO2"),
        pulse_rate=reader.sfloat("pulse rate"),
        timestamp=read_timestamp(reader, "timestamp") if flags & 0x01 else None,
        measurement_status=reader.u16("measurement status") if flags & 0x02 else None,
        device_sensor_status=reader.u24("device and sensor status") if flags & 0x04 else None,
        pulse_amplitude_index=reader.sfloat("pulse amplitude index") if flags & 0x08 else None,
        device_clock_not_set=bool(flags & 0x10),
    )
    reader.end()
    return value


def _pair(spo2: Number | None, pulse_rate: Number | None) -> bytes:
    if spo2 is None and pulse_rate is None:
        return b""
    if spo2 is None or pulse_rate is None:
        raise ValueError("SpO2 and pulse rate go together: one of them is None")
    return struct.pack("<HH", ieee11073.encode_sfloat(spo2), ieee11073.encode_sfloat(pulse_rate))


def _tail(measurement_status: int | None, sensor_status: int | None, amplitude: Number | None) -> bytes:
    packet = b""
    if measurement_status is not None:
        packet += measurement_status.to_bytes(2, "little")
    if sensor_status is not None:
        packet += sensor_status.to_bytes(3, "little")
    if amplitude is not None:
        packet += struct.pack("<H", ieee11073.encode_sfloat(amplitude))
    return packet
