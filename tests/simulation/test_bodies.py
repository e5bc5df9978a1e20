"""Bodies are pure functions of time: the same in any order and cut, and what their script says."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from bedside.core.physiology import Physiology
from bedside.core.samples import MISSING, Counts
from bedside.simulation.bodies import RecordedBody, SimulatedBody, pick_peaks
from bedside.simulation.demonstration import Body, demonstration, toy_recording
from bedside.simulation.happenings import Happening, Timetable, What
from bedside.simulation.heart import Shape

pytestmark = pytest.mark.requirement("SIM-001")

ECG_MV, FS_HZ = toy_recording()
RATE_HZ = 130.0


def ward() -> tuple[Body, ...]:
    return demonstration(ECG_MV, FS_HZ)


def with_a(what: What, for_s: float, rate_bpm: float | None = None, level: float | None = None) -> SimulatedBody:
    table = Timetable((Happening(20, for_s, what, rate_bpm=rate_bpm, level=level),))
    return SimulatedBody("Test (simulated)", 7, table, rate_bpm=70)


# ---------------------------------------------------------------------- purity


@settings(deadline=None, max_examples=25)
@given(bed=st.integers(0, 3), start_s=st.integers(0, 2000), cuts=st.lists(st.integers(0, 4000), max_size=12))
def test_the_ecg_does_not_depend_on_how_it_is_asked_for(bed: int, start_s: int, cuts: list[int]) -> None:
    whole_body, cut_body = ward()[bed], ward()[bed]
    first = round(start_s * whole_body.ecg_rate_hz)
    whole = whole_body.ecg_uv(first, 4000)
    edges = [0, *sorted(cuts), 4000]
    pieces = [(low, high - low) for low, high in itertools.pairwise(edges)]
    parts = {low: cut_body.ecg_uv(first + low, n) for low, n in reversed(pieces) if n}  # backwards, from a fresh body
    np.testing.assert_array_equal(np.concatenate([parts[low] for low, n in pieces if n]), whole)
    assert whole.dtype == np.int32
    assert whole.shape == (4000,)


@settings(deadline=None, max_examples=25)
@given(bed=st.integers(0, 3), start_s=st.floats(0, 3000), cut_s=st.floats(0, 60))
def test_the_beats_of_two_spans_are_the_beats_of_both(bed: int, start_s: float, cut_s: float) -> None:
    body = ward()[bed]
    joined = body.beats_s(start_s, start_s + cut_s) + body.beats_s(start_s + cut_s, start_s + 60)
    assert joined == ward()[bed].beats_s(start_s, start_s + 60)
    assert list(joined) == sorted(joined)


def test_a_seed_makes_a_body_and_another_seed_another() -> None:
    def ecg(seed: int) -> Counts:
        return SimulatedBody("Test (simulated)", seed).ecg_uv(0, 5000)

    np.testing.assert_array_equal(ecg(1), ecg(1))
    assert np.any(ecg(1) != ecg(2))


def test_an_hour_in_small_packets_costs_little_enough_to_simulate_a_ward() -> None:
    body = ward()[2]
    rendered: list[int] = []
    render = body._render  # type: ignore[union-attr]

    def counted(number: int) -> Counts:
        rendered.append(number)
        return render(number)

    body._render = counted  # type: ignore[method-assign, union-attr]
    n = round(3600 * body.ecg_rate_hz)
    for first in range(0, n, 73):
        body.ecg_uv(first, 73)
    assert len(rendered) <= n // 1024 + 2  # each sample is computed once, whatever the packets


def test_the_beginning_of_time_is_where_a_body_begins() -> None:
    for body in ward():
        with pytest.raises(ValueError, match="begins at sample 0"):
            body.ecg_uv(-1, 5)
        assert body.ecg_uv(10, 0).shape == (0,)
        assert body.beats_s(5.0, 5.0) == ()


# ---------------------------------------------------------------------- rhythms


def test_sinus_rhythm_has_its_rate_and_varies_as_a_heart_does() -> None:
    beats = SimulatedBody("Test (simulated)", 3, rate_bpm=72).beats(0, 1800)
    rr_s = np.diff(beats.time_s)
    assert 60 / rr_s.mean() == pytest.approx(72, rel=0.02)
    assert 0.01 < rr_s.std() / rr_s.mean() < 0.08
    assert set(beats.shape) == {Shape.NORMAL}
    assert rr_s.min() > 0.6  # nor does the join of two chapters show


def test_every_beat_is_in_the_ecg_where_it_is_said_to_be() -> None:
    body = SimulatedBody("Test (simulated)", 3, rate_bpm=72, pvc_per_min=4)
    ecg = body.ecg_uv(0, round(600 * RATE_HZ))
    for time_s in body.beats_s(1, 599):
        near = slice(round((time_s - 0.05) * RATE_HZ), round((time_s + 0.05) * RATE_HZ))
        around = slice(round((time_s - 0.2) * RATE_HZ), round((time_s + 0.2) * RATE_HZ))
        assert ecg[near].max() == ecg[around].max()


def test_atrial_fibrillation_is_irregular_and_without_p_waves() -> None:
    body = with_a(What.AF, 120, rate_bpm=110)
    beats = body.beats(22, 138)
    rr_s = np.diff(beats.time_s)
    assert rr_s.std() / rr_s.mean() > 0.15
    assert abs(np.corrcoef(rr_s[:-1], rr_s[1:])[0, 1]) < 0.25
    assert set(beats.shape) == {Shape.NO_P}


def test_ventricular_tachycardia_is_a_run_of_wide_beats_at_its_rate() -> None:
    beats = with_a(What.VT, 8, rate_bpm=170).beats(10, 40)
    wide = beats.time_s[beats.shape == Shape.VENTRICULAR]
    assert len(wide) >= 20
    assert 60 / np.diff(wide).mean() == pytest.approx(170, rel=0.02)
    assert wide[0] >= 20
    assert wide[-1] < 28


@pytest.mark.parametrize("what", [What.ASYSTOLE, What.PAUSE, What.VF])
def test_a_heart_that_does_not_beat_has_no_beats_and_no_pulse(what: What) -> None:
    body = with_a(what, 15)
    assert body.beats_s(20, 35) == ()
    assert body.beats_s(35, 40)
    assert body.pulse_bpm(30) is None
    assert body.spo2_pct(30) is None
    size_uv = np.ptp(body.ecg_uv(round(24 * RATE_HZ), round(2 * RATE_HZ)))
    assert (size_uv > 800) == (what is What.VF)


# ---------------------------------------------------------------------- wearables


def test_a_lead_that_is_off_shows_the_rail_and_the_strap_counts_nothing() -> None:
    body = with_a(What.LEAD_OFF, 10)
    assert [body.contact(t) for t in (19.9, 20.0, 29.9, 30.0)] == [True, False, False, True]
    assert body.ecg_uv(round(21 * RATE_HZ), round(8 * RATE_HZ)).min() > 3000
    assert body.beats_s(20, 30) == ()
    assert body.beats(20, 30).time_s.size > 8  # the heart goes on


def test_a_desaturation_falls_in_30_s_to_its_level_and_recovers() -> None:
    body = with_a(What.DESATURATION, 90, level=78)
    values = [body.spo2_pct(t) for t in range(10, 140)]
    assert all(value is not None and value == round(value) for value in values)
    assert body.spo2_pct(15) in (96, 97, 98)
    assert body.spo2_pct(35) in range(84, 92)
    assert body.spo2_pct(60) in (77, 78, 79)
    assert body.spo2_pct(125) in (96, 97, 98)


def test_radio_and_battery_follow_the_timetable() -> None:
    table = Timetable(
        (
            Happening(10, 5, What.RADIO_OFF),
            Happening(20, 5, What.RADIO_LOSS, level=0.25),
            Happening(30, 5, What.BATTERY, level=4),
        )
    )
    body = SimulatedBody("Test (simulated)", 7, table, battery_pct=80, drain_pct_per_h=10)
    assert [body.radio(t).on for t in (9, 12, 16)] == [True, False, True]
    assert [body.radio(t).loss for t in (12, 22, 26)] == [0.0, 0.25, 0.0]
    assert [body.battery_pct(t) for t in (0, 32, 3600, 360_000)] == [80, 4, 70, 1]


def test_a_body_without_oximeter_has_no_saturation() -> None:
    body = SimulatedBody("Test (simulated)", 7, oximeter=False)
    assert (body.spo2_pct(20), body.pulse_bpm(20)) == (None, None)


# ---------------------------------------------------------------------- recordings


def recorded(**options: object) -> RecordedBody:
    counts = np.rint(ECG_MV * 1000).astype(np.int32)
    return RecordedBody(counts, FS_HZ, "MLII", "MIT-BIH 208 (recording)", **options)  # type: ignore[arg-type]


def test_the_first_time_through_a_recording_is_as_recorded_and_then_it_begins_again() -> None:
    body, counts = recorded(), np.rint(ECG_MV * 1000).astype(np.int32)
    length = round(body.loop_s * FS_HZ)
    assert length > 0.99 * counts.size
    np.testing.assert_array_equal(body.ecg_uv(0, length), counts[:length])
    fade = round(RecordedBody.JOIN_S * FS_HZ)
    again = body.ecg_uv(length, length)
    np.testing.assert_array_equal(again[fade:], counts[fade:length])
    np.testing.assert_array_equal(body.ecg_uv(7 * length, length), again)


def test_no_step_and_no_odd_interval_shows_where_a_recording_begins_again() -> None:
    body, counts = recorded(), np.rint(ECG_MV * 1000).astype(np.int32)
    length = round(body.loop_s * FS_HZ)
    join = body.ecg_uv(length - 5, round(RecordedBody.JOIN_S * FS_HZ) + 10)
    assert np.abs(np.diff(join)).max() <= np.abs(np.diff(counts)).max() / 4
    rr_s = np.diff(body.beats_s(body.loop_s - 5, body.loop_s + 5))
    usual_s = float(np.median(np.diff(body.beats_s(0, body.loop_s))))
    at_join = rr_s[np.argmin(np.abs(np.array(body.beats_s(body.loop_s - 5, body.loop_s + 5))[1:] - body.loop_s - 0.3))]
    assert at_join == pytest.approx(usual_s, rel=0.25)


def test_the_straps_counter_finds_the_beats_of_a_real_recording() -> None:
    peaks = pick_peaks(np.rint(ECG_MV * 1000).astype(np.int32), FS_HZ)
    rr_s = np.diff(peaks) / FS_HZ
    assert 80 < 60 * len(peaks) / (ECG_MV.size / FS_HZ) < 115  # record 208: 98 beats a minute over half an hour
    assert rr_s.min() >= 0.25
    *usual_s, longest_s = sorted(rr_s)
    assert usual_s[-1] < 3.0
    assert longest_s == pytest.approx(5.3, abs=0.2)  # at 209 s an electrode was touched: no beat can be seen


def test_a_recording_invents_nothing() -> None:
    body = recorded()
    assert (body.simulated, body.spo2_pct(10), body.pulse_bpm(10), body.script()) == (False, None, None, ())
    with pytest.raises(ValueError, match="as recorded"):
        recorded(timetable=Timetable((Happening(1, 2, What.VT, rate_bpm=150),)))
    with pytest.raises(ValueError, match="at least 4 s"):
        RecordedBody(np.zeros(100, np.int32), 250.0, "I", "short")


def test_what_a_recording_lacks_holds_the_value_before() -> None:
    counts = np.arange(1500, dtype=np.int32)
    counts[:3] = counts[700:800] = MISSING
    ecg = RecordedBody(counts, 250.0, "I", "with holes", beats_index=[]).ecg_uv(0, 1000)
    assert list(ecg[:4]) == [0, 0, 0, 3]
    assert set(ecg[700:800]) == {699}
    assert ecg[800] == 800


def test_given_beats_are_the_straps_beats() -> None:
    body = recorded(beats_index=[500, 700, 900])
    assert body.beats_s(0, 10) == (500 / FS_HZ, 700 / FS_HZ, 900 / FS_HZ)


# ---------------------------------------------------------------------- timetable and demonstration


def test_a_timetable_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        Timetable((Happening(10, 1, What.AF), Happening(5, 1, What.AF)))
    with pytest.raises(ValueError, match="begins inside"):
        Timetable((Happening(10, 10, What.AF), Happening(15, 1, What.VT)))
    with pytest.raises(ValueError, match="does not end"):
        Timetable((Happening(10, 100, What.AF),), repeat_s=100)


@given(vary_s=st.floats(0, 50), seed=st.integers(0, 1000), start_s=st.floats(0, 5000), span_s=st.floats(1, 900))
def test_a_repeating_timetable_is_shifted_as_a_whole_and_never_out_of_its_repetition(
    vary_s: float, seed: int, start_s: float, span_s: float
) -> None:
    table = Timetable((Happening(30, 8, What.VT), Happening(90, 20, What.LEAD_OFF)), 200.0, vary_s, seed)
    for one in table.between(start_s, start_s + span_s):
        assert one.at_s < start_s + span_s
        assert one.end_s > start_s
        shift_s = one.at_s % 200.0 - (30 if one.what is What.VT else 90)
        assert -1e-6 <= shift_s <= vary_s + 1e-6
        if one.at_s < 200:
            assert shift_s == pytest.approx(0, abs=1e-9)


def test_the_demonstration_shows_an_alarm_within_a_minute_and_every_kind_within_three() -> None:
    bodies: tuple[Physiology, ...] = ward()
    assert len(bodies) == 4
    assert [body.simulated for body in bodies] == [False, True, True, True]
    assert all("(simulated)" in body.name for body in bodies if body.simulated)
    assert "recording" in bodies[0].name
    assert len({body.bed for body in ward()}) == 4
    lines = [line for body in bodies for line in body.script()]
    assert min(line.at_s for line in lines) <= 35
    early = " ".join(line.text for line in lines if line.at_s <= 120)
    for word in ("fibrillation", "tachycardia", "electrode", "saturation"):
        assert word in early
    for body in bodies:
        assert list(body.script()) == sorted(body.script(), key=lambda line: line.at_s)
