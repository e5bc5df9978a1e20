"""Sealed envelopes: one size, one recipient, one sender, and nothing to tell a dummy by."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attestation.attest_world import KeySigner

from bedside.attestation import sign1
from bedside.attestation.alert import (
    INFO,
    KIND_BYTES_MAX,
    MERGED_KIND,
    PLAINTEXT_BYTES,
    SEALED_BYTES,
    TEXT_BYTES_MAX,
    TYP,
    Alert,
    Envelope,
    EnvelopeError,
    fill,
    merge,
    open_envelope,
    seal,
)
from bedside.core.events import Alarm, AlarmClass, AlarmState, Priority
from bedside.core.sealing import OpeningKey

pytestmark = pytest.mark.requirement("ATT-003")

KEY = OpeningKey.generate()
SIGNER = KeySigner()
SENDERS = {sign1.key_id(SIGNER.public_key): SIGNER.public_key}
NOW_US = 1_800_000_000_000_000

IDS = st.uuids().map(str) | st.uuids().map(lambda value: value.hex) | st.text(max_size=12)
ALERTS = st.builds(
    Alert,
    alarm=IDS,
    patient=st.none() | IDS,
    kind=st.text(max_size=10),
    alarm_class=st.sampled_from(AlarmClass),
    priority=st.sampled_from(Priority),
    state=st.sampled_from(AlarmState),
    raised_us=st.integers(0, 2**53),
    changed_us=st.integers(0, 2**53),
    text=st.text(max_size=30),
    simulated=st.booleans(),
    count=st.integers(1, 5000),
)


def alert(n: int = 0, priority: Priority = Priority.HIGH, raised_us: int = NOW_US) -> Alert:
    return Alert(
        alarm=str(uuid.UUID(int=n)),
        patient="ab" * 16,
        kind="ventricular_tachycardia",
        alarm_class=AlarmClass.PHYSIOLOGICAL,
        priority=priority,
        state=AlarmState.ACTIVE,
        raised_us=raised_us,
        changed_us=raised_us,
        text="Ventricular tachycardia, 190/min for 12 s",
    )


def envelope(*alerts: Alert, waiting: int = 0) -> Envelope:
    return Envelope(NOW_US // 10_000_000, NOW_US, 10_000, alerts, waiting)


@given(alerts=st.lists(ALERTS, max_size=40))
def test_every_envelope_has_the_same_size_and_opens_to_what_fitted(alerts: list[Alert]) -> None:
    waiting = sorted(alerts, key=lambda item: item.urgency)
    filled = fill(180_000_000, NOW_US, 10_000, waiting, SIGNER)
    sealed = seal(filled, SIGNER, KEY.public)
    assert len(sealed) == SEALED_BYTES
    kid, opened = open_envelope(sealed, KEY, SENDERS)
    assert opened == filled
    assert kid in SENDERS
    assert list(filled.alerts) == waiting[: len(filled.alerts)]
    assert filled.waiting == len(alerts) - len(filled.alerts)
    assert filled.alerts or not alerts


def test_without_padding_a_dummy_would_be_told_by_its_size() -> None:
    """Negative control of the size test."""
    empty, full = (
        sign1.sign1(sign1.encode([[a.to_list() for a in alerts]]), SIGNER, TYP) for alerts in ([], [alert()])
    )
    assert len(KEY.public.seal(empty, INFO)) != len(KEY.public.seal(full, INFO))


def test_several_alerts_fit_one_envelope() -> None:
    filled = fill(1, NOW_US, 10_000, [alert(n) for n in range(20)], SIGNER)
    assert len(filled.alerts) >= 4


def test_only_the_recipients_key_opens() -> None:
    sealed = seal(envelope(alert()), SIGNER, KEY.public)
    with pytest.raises(EnvelopeError, match="another recipient"):
        open_envelope(sealed, OpeningKey.generate(), SENDERS)


def test_a_box_that_is_not_believed_is_refused_and_so_is_a_forged_signature() -> None:
    sealed = seal(envelope(alert()), KeySigner(), KEY.public)
    with pytest.raises(EnvelopeError, match="does not know"):
        open_envelope(sealed, KEY, SENDERS)
    signed = sign1.sign1(sign1.encode({}), SIGNER, TYP)
    parts = sign1.take_apart(signed)
    forged = sign1.assemble(parts.protected, parts.payload, bytes(64))
    plain = (len(forged).to_bytes(2, "big") + forged).ljust(PLAINTEXT_BYTES, b"\x00")
    with pytest.raises(EnvelopeError, match="signature does not match"):
        open_envelope(KEY.public.seal(plain, INFO), KEY, SENDERS)


def test_a_statement_by_the_same_key_is_no_envelope() -> None:
    """One key signs two kinds of message; neither can be passed off as the other."""
    signed = sign1.sign1(sign1.encode({1: 1, 2: 1, 3: 1, 4: 1, 5: [], 6: 0}), SIGNER, "application/eat+cwt")
    plain = (len(signed).to_bytes(2, "big") + signed).ljust(PLAINTEXT_BYTES, b"\x00")
    with pytest.raises(EnvelopeError):
        open_envelope(KEY.public.seal(plain, INFO), KEY, SENDERS)


@given(plain=st.binary(max_size=PLAINTEXT_BYTES))
def test_whatever_was_sealed_to_us_opens_or_is_refused(plain: bytes) -> None:
    with pytest.raises(EnvelopeError):
        open_envelope(KEY.public.seal(plain.ljust(PLAINTEXT_BYTES, b"\x00"), INFO), KEY, SENDERS)


@given(
    values=st.recursive(
        st.none() | st.integers() | st.binary(max_size=20) | st.text(max_size=9), st.lists, max_leaves=20
    )
)
def test_no_values_make_an_alert_by_chance(values: object) -> None:
    try:
        found = Alert.from_list(values)
    except ValueError:
        return
    assert found.to_list() == values


def test_high_priority_and_newest_come_first() -> None:
    alerts = [
        alert(1, Priority.LOW, NOW_US), alert(2, Priority.HIGH, NOW_US - 9), alert(3, Priority.HIGH, NOW_US - 3),
        alert(4, Priority.MEDIUM, NOW_US),
    ]  # fmt: skip
    order = [item.alarm[-1] for item in sorted(alerts, key=lambda item: item.urgency)]
    assert order == ["3", "2", "4", "1"]


def test_a_late_alert_is_history_and_never_live() -> None:
    late, fresh = alert(1, raised_us=NOW_US - 61_000_000), alert(2, raised_us=NOW_US - 10_500_000)
    sealed = envelope(late, fresh)
    assert not sealed.is_live(late)
    assert sealed.is_live(fresh)
    assert sealed.age_s(late) == 61.0


def test_an_alarm_of_any_length_fits_whole_in_an_envelope_of_its_own() -> None:
    alarm = Alarm(
        id="x" * 300, patient="ü" * 100, start_us=1, alarm="é" * 100, kind="k" * 100,
        alarm_class=AlarmClass.TECHNICAL, priority=Priority.HIGH, state=AlarmState.LATCHED, condition=False,
        latching=True, raised_us=2**60, changed_us=2**60, text="Ä" * 500,
    )  # fmt: skip
    told = Alert.of(alarm)
    assert len(told.kind.encode()) <= KIND_BYTES_MAX
    assert len(told.text.encode()) <= TEXT_BYTES_MAX
    filled = fill(1, NOW_US, 10_000, [told], SIGNER)
    assert len(filled.alerts) == 1
    opened = open_envelope(seal(filled, SIGNER, KEY.public), KEY, SENDERS)[1]
    assert opened.alerts[0].kind == told.kind


def test_merged_alerts_say_how_many_they_were() -> None:
    first = merge([alert(1, Priority.LOW, 5), alert(2, Priority.MEDIUM, 9)])
    both = merge([first, alert(3, Priority.LOW, 11)])
    assert (first.count, both.count, both.kind, both.priority) == (2, 3, MERGED_KIND, Priority.LOW)
    assert both.patient is None
    assert replace(both, count=1).to_list() != both.to_list()
