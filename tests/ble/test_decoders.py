"""Decoders: encode and decode are inverse, cut packets are refused, and no bytes raise anything but `DecodeError`."""

from __future__ import annotations

import dataclasses
import json
import shlex
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.ble import (
    battery,
    blood_pressure,
    cgm_session,
    date_time,
    device_information,
    glucose,
    heart_rate,
    ieee11073,
    plx,
    pmd,
    pmd_frames,
    racp,
    thermometer,
    weight,
)
from bedside.ble.characteristics import CHARACTERISTICS, full_uuid, to_json
from bedside.ble.cli import decode as decode_command
from bedside.ble.date_time import Timestamp
from bedside.core.errors import DecodeError

pytestmark = pytest.mark.requirement("BLE-001")

sfloats = st.integers(0, 0xFFFF).map(ieee11073.decode_sfloat)
floats = st.integers(0, 0xFFFFFFFF).map(ieee11073.decode_float)
u8, u16, u24 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFF)
timestamps = st.builds(
    Timestamp,
    year=st.just(0) | st.integers(1582, 9999),
    month=st.integers(0, 12),
    day=st.integers(0, 28),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    second=st.integers(0, 59),
)


def steps(step: str) -> st.SearchStrategy[Decimal]:
    return u16.map(lambda count: count * Decimal(step))


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


heart_rates = st.builds(
    heart_rate.HeartRate,
    heart_rate=u16,
    contact=optional(st.booleans()),
    energy_kj=optional(u16),
    rr_1024=st.lists(u16, max_size=9).map(tuple),
)


@st.composite
def continuous(draw: st.DrawFn) -> plx.Continuous:
    fast, slow = draw(st.booleans()), draw(st.booleans())
    return plx.Continuous(
        spo2=draw(sfloats),
        pulse_rate=draw(sfloats),
        spo2_fast=draw(sfloats) if fast else None,
        pulse_rate_fast=draw(sfloats) if fast else None,
        spo2_slow=draw(sfloats) if slow else None,
        pulse_rate_slow=draw(sfloats) if slow else None,
        measurement_status=draw(optional(u16)),
        device_sensor_status=draw(optional(u24)),
        pulse_amplitude_index=draw(optional(sfloats)),
    )


spot_checks = st.builds(
    plx.SpotCheck,
    spo2=sfloats,
    pulse_rate=sfloats,
    timestamp=optional(timestamps),
    measurement_status=optional(u16),
    device_sensor_status=optional(u24),
    pulse_amplitude_index=optional(sfloats),
    device_clock_not_set=st.booleans(),
)
temperatures = st.builds(
    thermometer.Temperature,
    temperature=floats,
    unit=st.sampled_from("CF"),
    timestamp=optional(timestamps),
    type=optional(u8),
)
pressures = st.builds(
    blood_pressure.BloodPressure,
    systolic=sfloats,
    diastolic=sfloats,
    map=sfloats,
    unit=st.sampled_from(("mmHg", "kPa")),
    timestamp=optional(timestamps),
    pulse_rate=optional(sfloats),
    user_id=optional(u8),
    status=optional(u16),
)


@st.composite
def weights(draw: st.DrawFn) -> weight.Weight:
    imperial, tall = draw(st.booleans()), draw(st.booleans())
    mass = draw(st.integers(0, 0xFFFE)) * Decimal("0.01" if imperial else "0.005")
    return weight.Weight(
        weight=draw(st.just(weight.NoMeasurement.UNSUCCESSFUL) | st.just(mass)),
        unit="lb" if imperial else "kg",
        timestamp=draw(optional(timestamps)),
        user_id=draw(optional(u8)),
        bmi=draw(steps("0.1")) if tall else None,
        height=draw(steps("0.1" if imperial else "0.001")) if tall else None,
    )


@st.composite
def compositions(draw: st.DrawFn) -> weight.BodyComposition:
    imperial = draw(st.booleans())
    mass = optional(steps("0.01" if imperial else "0.005"))
    fat = st.integers(0, 0xFFFE).map(lambda count: count * Decimal("0.1"))
    return weight.BodyComposition(
        body_fat_pct=draw(st.just(weight.NoMeasurement.UNSUCCESSFUL) | fat),
        system="imperial" if imperial else "si",
        timestamp=draw(optional(timestamps)),
        user_id=draw(optional(u8)),
        basal_metabolism_kj=draw(optional(u16)),
        muscle_pct=draw(optional(steps("0.1"))),
        muscle_mass=draw(mass),
        fat_free_mass=draw(mass),
        soft_lean_mass=draw(mass),
        body_water_mass=draw(mass),
        impedance_ohm=draw(optional(steps("0.1"))),
        weight=draw(mass),
        height=draw(optional(steps("0.1" if imperial else "0.001"))),
        multiple_packet=draw(st.booleans()),
    )


@st.composite
def glucoses(draw: st.DrawFn) -> glucose.Glucose:
    measured = draw(st.booleans())
    limits = {0x7FFF: glucose.OffsetLimit.OVERRUN, -0x8000: glucose.OffsetLimit.UNDERRUN}
    return glucose.Glucose(
        sequence=draw(u16),
        base_time=draw(timestamps),
        time_offset_min=draw(optional(st.integers(-0x8000, 0x7FFF).map(lambda code: limits.get(code, code)))),
        concentration=draw(sfloats) if measured else None,
        unit=draw(st.sampled_from(("kg/L", "mol/L"))) if measured else None,
        type=draw(st.integers(0, 15)) if measured else None,
        location=draw(st.integers(0, 15)) if measured else None,
        status=draw(optional(u16)),
        context_follows=draw(st.booleans()),
    )


cgms = st.lists(
    st.builds(
        glucose.CgmRecord,
        glucose_mgdl=sfloats,
        time_offset_min=u16,
        status_octet=optional(u8),
        caltemp_octet=optional(u8),
        warning_octet=optional(u8),
        trend=optional(sfloats),
        quality_pct=optional(sfloats),
        crc_present=st.booleans(),
    ),
    min_size=1,
    max_size=3,
).map(lambda records: glucose.CgmMeasurement(records=tuple(records)))


@st.composite
def accesses(draw: st.DrawFn) -> racp.RecordAccess:
    op = draw(st.sampled_from(racp.Op))
    if op is racp.Op.RESPONSE:
        return racp.RecordAccess(op=op, request_op=draw(u8), code=draw(u8))
    if op is racp.Op.NUMBER_OF_RECORDS:
        return racp.RecordAccess(op=op, count=draw(u16))
    if op is racp.Op.ABORT:
        return racp.RecordAccess(op=op, operator=racp.Operator.NULL)
    operator = draw(st.sampled_from([operator for operator in racp.Operator if operator]))
    needs = 2 <= operator <= 4
    operand = draw(st.binary(min_size=2, max_size=8)).hex() if needs else None
    return racp.RecordAccess(op=op, operator=operator, operand=operand)


current_times = st.builds(
    date_time.CurrentTime,
    datetime=timestamps,
    day_of_week=st.integers(0, 7),
    fractions256=u8,
    adjust_reason=u8,
)

cgm_features = st.builds(cgm_session.CgmFeature, features=u24, type=st.integers(0, 15), location=st.integers(0, 15))
cgm_statuses = st.builds(
    cgm_session.CgmStatus,
    time_offset_min=u16,
    status_octet=u8,
    caltemp_octet=u8,
    warning_octet=u8,
    crc_present=st.booleans(),
)
session_starts = st.builds(
    cgm_session.SessionStart,
    datetime=timestamps,
    zone_min=optional(st.integers(-48, 56).map(lambda quarters: quarters * 15)),
    dst_min=optional(st.sampled_from((0, 30, 60, 120))),
    crc_present=st.booleans(),
)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    heart_rate.MEASUREMENT: heart_rates,
    heart_rate.LOCATION: u8.map(lambda raw: heart_rate.decode_body_sensor_location(bytes([raw]))),
    plx.CONTINUOUS: continuous(),
    plx.SPOT_CHECK: spot_checks,
    thermometer.TEMPERATURE: temperatures,
    thermometer.INTERMEDIATE: temperatures,
    blood_pressure.MEASUREMENT: pressures,
    weight.WEIGHT: weights(),
    weight.BODY_COMPOSITION: compositions(),
    glucose.MEASUREMENT: glucoses(),
    glucose.CGM_MEASUREMENT: cgms,
    racp.RECORD_ACCESS: accesses(),
    cgm_session.FEATURE: cgm_features,
    cgm_session.STATUS: cgm_statuses,
    cgm_session.SESSION_START: session_starts,
    battery.LEVEL: st.integers(0, 100).map(lambda level: battery.BatteryLevel(battery_pct=level)),
    date_time.DATE_TIME: timestamps.map(lambda stamp: date_time.DateTime(datetime=stamp)),
    date_time.CURRENT_TIME: current_times,
}
STANDARD = sorted(VALUES)
MAY_BE_CUT = {
    heart_rate.MEASUREMENT, glucose.CGM_MEASUREMENT, racp.RECORD_ACCESS, cgm_session.STATUS, cgm_session.SESSION_START,
}  # fmt: skip
"""Those that end in a list of any length, or in a CRC that need not be: cut there they are a shorter legal packet."""


def test_every_decoder_has_an_encoder_and_a_round_trip_test() -> None:
    assert set(VALUES) | {pmd.DATA} == set(CHARACTERISTICS)


@pytest.mark.parametrize("uuid", STANDARD)
@settings(max_examples=40)
@given(data=st.data())
def test_what_was_encoded_is_decoded(uuid: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[uuid])
    assert CHARACTERISTICS[uuid].decode(value.encode()) == value


@pytest.mark.parametrize("uuid", STANDARD)
@settings(max_examples=40)
@given(data=st.data())
def test_a_cut_packet_is_an_error_and_never_another_value(uuid: str, data: st.DataObject) -> None:
    packet = data.draw(VALUES[uuid]).encode()
    for size in range(len(packet)):
        try:
            shorter = CHARACTERISTICS[uuid].decode(packet[:size])
        except DecodeError:
            continue
        assert uuid in MAY_BE_CUT, f"{size} of {len(packet)} bytes were taken: {packet.hex()}"
        assert shorter.encode() == packet[:size]


@given(value=heart_rates)
def test_a_cut_heart_rate_keeps_its_leading_fields(value: heart_rate.HeartRate) -> None:
    packet = value.encode()
    for size in range(len(packet)):
        try:
            shorter = heart_rate.decode_heart_rate(packet[:size])
        except DecodeError:
            continue
        assert dataclasses.replace(shorter, rr_1024=value.rr_1024) == value
        assert shorter.rr_1024 == value.rr_1024[: len(shorter.rr_1024)]


@pytest.mark.parametrize("uuid", STANDARD)
@settings(max_examples=40)
@given(data=st.data(), tail=st.binary(min_size=1, max_size=4))
def test_bytes_after_the_end_are_refused_or_a_longer_legal_packet(uuid: str, data: st.DataObject, tail: bytes) -> None:
    packet = data.draw(VALUES[uuid]).encode() + tail
    try:
        longer = CHARACTERISTICS[uuid].decode(packet)
    except DecodeError:
        return
    assert uuid in MAY_BE_CUT
    assert longer.encode() == packet


@pytest.mark.parametrize("uuid", sorted(CHARACTERISTICS))
@given(payload=st.binary(max_size=80))
def test_any_bytes_give_a_json_value_or_a_decode_error(uuid: str, payload: bytes) -> None:
    try:
        fields = to_json(CHARACTERISTICS[uuid].decode(payload))
    except DecodeError as error:
        assert error.characteristic and error.field and error.reason
        return
    json.dumps(fields, allow_nan=False)


@given(payload=st.binary(max_size=60))
def test_control_point_bytes_give_a_value_or_a_decode_error(payload: bytes) -> None:
    for decode in (pmd.decode_command, pmd.decode_response, pmd.decode_features, pmd.decode_ecg_frame):
        try:
            decode(payload)
        except DecodeError:
            continue


@given(payload=st.binary(max_size=20))
def test_information_texts_are_printable_or_refused(payload: bytes) -> None:
    try:
        text = device_information.decode_text(payload, characteristic="model number 2A24")
    except DecodeError:
        return
    assert text.isprintable()


def test_every_sfloat_code_is_exact_both_ways() -> None:
    for code in range(0x10000):
        value = ieee11073.decode_sfloat(code)
        assert ieee11073.decode_sfloat(ieee11073.encode_sfloat(value)) == value
        if isinstance(value, Decimal):
            mantissa = (code & 0xFFF) - (0x1000 if code & 0x800 else 0)
            exponent = (code >> 12) - (16 if code & 0x8000 else 0)
            assert value == Decimal(mantissa).scaleb(exponent)


@given(code=st.integers(0, 0xFFFFFFFF))
def test_every_float_code_is_exact_both_ways(code: int) -> None:
    value = ieee11073.decode_float(code)
    assert ieee11073.decode_float(ieee11073.encode_float(value)) == value


def test_special_codes_are_no_numbers() -> None:
    sfloat = {0x07FF: "NaN", 0x0800: "NRes", 0x07FE: "+INF", 0x0802: "-INF", 0x0801: "RFU"}
    assert {code: str(ieee11073.decode_sfloat(code)) for code in sfloat} == sfloat
    float32 = {0x7FFFFF: "NaN", 0x800000: "NRes", 0x7FFFFE: "+INF", 0x800002: "-INF", 0x800001: "RFU"}
    assert {code: str(ieee11073.decode_float(code)) for code in float32} == float32
    with pytest.raises(ValueError, match="no code"):
        ieee11073.encode_sfloat(Decimal("2047"))  # its code says NaN
    with pytest.raises(ValueError, match="no code"):
        ieee11073.encode_sfloat(Decimal("98.765"))


ecg_frames = st.builds(
    lambda stamp, uv: pmd.EcgFrame(timestamp_ns_2000=stamp, uv=np.array(uv, dtype=np.int32)),
    st.integers(0, 2**64 - 1),
    st.lists(st.integers(-(1 << 23), (1 << 23) - 1), min_size=1, max_size=pmd.ECG_SAMPLES_MAX),
)


@given(frame=ecg_frames)
def test_ecg_frames_survive_and_are_never_cut_inside_a_sample(frame: pmd.EcgFrame) -> None:
    packet = frame.encode()
    whole = pmd.decode_ecg_frame(packet)
    assert whole.timestamp_ns_2000 == frame.timestamp_ns_2000
    np.testing.assert_array_equal(whole.uv, frame.uv)
    assert pmd_frames.decode_frame(packet).uv == tuple(frame.uv.tolist())
    for size in range(len(packet)):
        if size < 13 or (size - 10) % 3:
            with pytest.raises(DecodeError):
                pmd.decode_ecg_frame(packet[:size])
        else:
            np.testing.assert_array_equal(pmd.decode_ecg_frame(packet[:size]).uv, frame.uv[: (size - 10) // 3])


def rows(channels: int, bits: int) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    value = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return st.lists(st.tuples(*[value] * channels), min_size=1, max_size=40).map(tuple)


@given(values=rows(3, 16), group=st.integers(1, 20))
def test_compressed_acceleration_is_unpacked_to_the_bit(values: tuple[tuple[int, ...], ...], group: int) -> None:
    packet = pmd_frames.encode_delta_frame(pmd.Kind.ACC, 7, 1, values, group)
    frame = pmd_frames.decode_frame(packet)
    assert (frame.kind, frame.compressed, frame.frame_type, frame.raw) == ("acc", True, 1, values)


@given(values=rows(3, 16))
def test_raw_acceleration_survives_and_half_rows_are_errors(values: tuple[tuple[int, ...], ...]) -> None:
    packet = pmd_frames.encode_raw_frame(pmd.Kind.ACC, 7, 1, values)
    assert pmd_frames.decode_frame(packet).mg == values
    with pytest.raises(DecodeError, match="sample"):
        pmd_frames.decode_frame(packet[:-1])


@given(kinds=st.frozensets(st.sampled_from(pmd.Kind)), rate=u16, more=st.booleans())
def test_control_point_messages_survive(kinds: frozenset[pmd.Kind], rate: int, more: bool) -> None:
    assert pmd.decode_features(pmd.Features(kinds=kinds).encode()).kinds == kinds
    settings: pmd.Settings = {pmd.Setting.SAMPLE_RATE: (rate,), pmd.Setting.CHANNELS: (4,), pmd.Setting.FACTOR: ()}
    command = pmd.Command(op=pmd.Op.START, kind=pmd.Kind.ECG, settings=settings)
    assert pmd.decode_command(command.encode()) == command
    response = pmd.Response(op=1, kind=0, status=pmd.Status.SUCCESS, more=more, settings=settings)
    assert pmd.decode_response(response.encode()) == response


def run(uuid: str, payload: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(decode_command, [uuid, payload])
    return result.exit_code, result.stdout, result.stderr


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("2A37", "16 48 e8 03", {"heart_rate": 72, "contact": True, "energy_kj": None, "rr_1024": [1000]}),
    ("2a37", "00:3c", {"heart_rate": 60, "contact": None, "energy_kj": None, "rr_1024": []}),
    ("2A37", "0D-2C-01-0A-00", {"heart_rate": 300, "contact": False, "energy_kj": 10, "rr_1024": []}),
    ("2A38", "01", {"location": "chest", "raw": 1}),
    ("2A38", "63", {"location": None, "raw": 99}),
    ("2A19", "58", {"battery_pct": 88}),
    ("2A1C", "00 10 0e 00 fe", {"temperature": 36, "unit": "C", "timestamp": None, "type": None}),
    ("2A1C", "00 a0 0a 00 fe", {"temperature": 27.2, "unit": "C", "timestamp": None, "type": None}),
    (
        "2A1C",
        "07 ff ff 7f 00 ea 07 01 1f 0e 02 0a 06",
        {"temperature": {"special": "NaN"}, "unit": "F", "timestamp": "2026-01-31T14:02:10", "type": 6},
    ),
    (
        "2A08",
        "0000 00 02 07 08 09",
        {"datetime": {"unknown": ["year", "month"], "year": 0, "month": 0, "day": 2, "time": "07:08:09"}},
    ),
    ("2A52", "06 00 01 01", {"op": "response", "request_op": 1, "code": 1}),
    ("2A52", "05 00 0c 00", {"op": "number_of_records", "count": 12}),
    ("2A9D", "00 d0 39", {"weight": 74, "unit": "kg", "bmi": None, "height": None}),
    ("2A9D", "00 ff ff", {"weight": {"special": "unsuccessful"}}),
    (
        "2A35",
        "1e 7b 00 51 00 5d 00 ea07 01 1f 0e 02 0a 48 00 ff 01 00",
        {"systolic": 123, "diastolic": 81, "map": 93, "unit": "mmHg", "pulse_rate": 72, "user_id": 255, "status": 1},
    ),
]


@pytest.mark.parametrize(("uuid", "payload", "expected"), CASES)
def test_decode_prints_the_fields(uuid: str, payload: str, expected: dict[str, Any]) -> None:
    code, out, err = run(uuid, payload)
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert printed["uuid"] == full_uuid(uuid)
    assert {name: printed["fields"][name] for name in expected} == expected


def test_decode_prints_specials_and_exact_numbers_of_an_oximeter() -> None:
    packet = plx.Continuous(
        spo2=Decimal("98.7"), pulse_rate=ieee11073.Special.NAN, measurement_status=0x4000, device_sensor_status=0x20
    )
    code, out, _ = run(plx.CONTINUOUS, packet.encode().hex())
    assert code == 0
    fields = json.loads(out)["fields"]
    assert fields["spo2"] == 98.7
    assert fields["pulse_rate"] == {"special": "NaN"}
    assert (fields["measurement_status"], fields["device_sensor_status"]) == (0x4000, 0x20)
    assert set(fields) == {field.name for field in dataclasses.fields(plx.Continuous)}


REFUSED = [
    ("2A37", "01 c8", "heart rate"),  # a wide rate cut to one byte is not 200
    ("2A37", "10 50 00 03 12", "RR interval"),
    ("2A37", "10 50", "RR interval"),
    ("2A37", "20 50", "reserved bits 0x20"),
    ("2A37", "00 50 00", "after the last field"),
    ("2A37", "08 50 32", "energy expended"),
    ("2A37", "", "flags"),
    ("2A19", "65", "battery level"),
    ("2A08", "ea07 02 1e 00 00 00", "day"),
    ("2A08", "e907 02 1d 00 00 00", "day"),
    ("2A08", "0100 01 01 00 00 00", "year"),
    ("2AA7", "00", "size"),
    ("2AA7", "08 00 64 00 05 00 00 00", "E2E-CRC"),
    ("2A9C", "00", "flags"),
    (pmd.DATA, "00 0000000000000000 80 000000", "compressed ecg"),
    (pmd.DATA, "00 0000000000000000 00", "ECG sample"),
    (pmd.DATA, "04 0000000000000000 00 000000", "measurement type"),
    (pmd.DATA, "02 0000000000000000 01 0000000000", "sample"),
    ("2A37", "zz", "HEX"),
    ("2A3", "00", "UUID"),
    ("FFFF", "00", "no decoder"),
]


@pytest.mark.parametrize(("uuid", "payload", "named"), REFUSED)
def test_decode_refuses_in_one_line_that_names_the_field(uuid: str, payload: str, named: str) -> None:
    code, out, err = run(uuid, payload)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert named in err


def test_the_crc_of_a_cgm_record_is_checked_with_the_published_check_value() -> None:
    assert glucose.crc16(b"123456789") == 0x6F91  # CRC-16/MCRF4XX
    record = glucose.CgmRecord(glucose_mgdl=Decimal(100), time_offset_min=5, crc_present=True)
    packet = bytearray(record.encode())
    assert glucose.decode_cgm(bytes(packet)).records == (record,)
    for byte in range(len(packet)):
        for bit in range(8):
            damaged = bytearray(packet)
            damaged[byte] ^= 1 << bit
            with pytest.raises(DecodeError):
                glucose.decode_cgm(bytes(damaged), crc=True)


def test_a_skin_temperature_that_is_no_number_is_refused() -> None:
    head = struct.pack("<BQB", pmd.Kind.SKIN_TEMPERATURE, 1, 0)
    assert pmd_frames.decode_frame(head + struct.pack("<ff", 33.5, 34.25)).celsius == (33.5, 34.25)
    with pytest.raises(DecodeError, match="no number"):
        pmd_frames.decode_frame(head + struct.pack("<f", float("nan")))


def test_a_decoder_that_cuts_numbers_would_be_caught() -> None:
    """Negative control: the check of cut packets fails for a decoder that slices past the end, as seen elsewhere."""

    def slicing(payload: bytes) -> heart_rate.HeartRate:
        wide = payload[0] & 1
        return heart_rate.HeartRate(heart_rate=int.from_bytes(payload[1 : 3 if wide else 2], "little"))

    packet = heart_rate.HeartRate(heart_rate=456).encode()
    assert slicing(packet[:2]).encode() != packet[:2]
    with pytest.raises(DecodeError):
        heart_rate.decode_heart_rate(packet[:2])


README = Path(__file__).resolve().parents[2] / "appliance/bedside/ble/README.md"


def test_the_examples_of_the_readme_are_what_the_command_prints() -> None:
    lines = [line[4:] for line in README.read_text().splitlines() if line.startswith("    ")]
    examples = [(line, lines[number + 1]) for number, line in enumerate(lines) if line.startswith("$ bedside decode")]
    assert len(examples) >= 4
    for command, printed in examples:
        _, _, _, uuid, payload = shlex.split(command)
        _, out, err = run(uuid, payload)
        assert out + err == printed + "\n"
