"""The monitor on generated bodies and on five minutes of a real lead: cuts, gaps, ages, electrodes, faults."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.monitor.monitor_helpers import (
    T0_US,
    StubJudge,
    block,
    blocks,
    monitor,
    plain,
    run,
    stream,
    time_of,
    toy_counts,
)

from bedside.core.codes import Code, StreamKind
from bedside.core.events import Beat, BeatClass, Event, Finding, Link, Numeric, Quality, Rhythm, RhythmLabel, StreamGap
from bedside.core.samples import MISSING, Contact, Counts, Gap, LinkChange, LinkState, Reading, Validity
from bedside.core.time import US_PER_S
from bedside.monitor.patient import MonitorOutput
from bedside.signal.lead import LeadAnalyser
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Happening, Timetable, What

pytestmark = pytest.mark.requirement("MON-001")

RATE_HZ = 130.0
VENTRICULAR_MV = 1.35  # the simulation's ventricular beats are taller than its own


def simulated(seconds: float, *happenings: Happening, seed: int = 3) -> Counts:
    body = SimulatedBody("simulated", seed, Timetable(happenings))
    return body.ecg_uv(0, round(seconds * RATE_HZ))


def rhythms(events: Sequence[Event], label: RhythmLabel) -> list[Rhythm]:
    return [event for event in events if isinstance(event, Rhythm) and event.label is label]


def heart_rates(events: Sequence[Event]) -> list[Numeric]:
    return [event for event in events if isinstance(event, Numeric) and event.code is Code.HEART_RATE]


def second(time_us: int) -> float:
    return float((time_us - T0_US) / US_PER_S)


# Cuts


def described(output: MonitorOutput) -> tuple[Any, ...]:
    return plain(output.events), output.known_us


def test_single_samples_half_seconds_and_the_whole_give_the_same_events() -> None:
    info, counts = stream(360.0), toy_counts()[: 360 * 60]
    whole = run(monitor(), blocks(info, counts, counts.size))
    assert len([event for event in whole.events if isinstance(event, Beat)]) > 60
    assert described(run(monitor(), blocks(info, counts, 180))) == described(whole)
    short = counts[: 360 * 12]
    assert described(run(monitor(), blocks(info, short, 1))) == described(
        run(monitor(), blocks(info, short, short.size))
    )


def test_without_groups_on_a_fixed_grid_the_cut_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the two tests beside it."""
    monkeypatch.setattr(LeadAnalyser, "wanted", lambda *_: 10**9)
    info, counts = stream(), simulated(20)
    assert described(run(monitor(), blocks(info, counts, 65))) != described(run(monitor(), blocks(info, counts, 2600)))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=40))
def test_any_cut_gives_the_same_events(sizes: list[int]) -> None:
    info = stream()
    counts = simulated(40, Happening(12, 8, What.VT, rate_bpm=160), Happening(25, 6, What.ASYSTOLE))
    judge = StubJudge(ventricular_mv=VENTRICULAR_MV)
    items, at = [], 0
    for size in sizes:
        items.append(block(info, counts[at : at + size], at))
        at += size
    items.append(block(info, counts[at:], at))
    assert described(run(monitor(judge), items)) == described(run(monitor(judge), blocks(info, counts, 65)))


def test_waves_are_whole_whatever_the_cut() -> None:
    info, counts = stream(), simulated(20)
    for size in (1, 65, counts.size):
        waves = run(monitor(), blocks(info, counts, size)).waves
        for before, after in itertools.pairwise(waves):
            assert after.first_index == before.first_index + before.values.size
        assert waves[0].rate_hz == 125.0
        assert sum(wave.values.size for wave in waves) == pytest.approx(19.6 * 125, abs=50)


# Rhythms of generated bodies


def test_what_befalls_a_heart_is_told_with_its_onset_and_its_end() -> None:
    counts = simulated(
        300,
        Happening(60, 20, What.VT, rate_bpm=150),
        Happening(100, 20, What.VF),
        Happening(140, 12, What.ASYSTOLE),
        Happening(170, 70, What.AF),
    )
    output = run(monitor(StubJudge(ventricular_mv=VENTRICULAR_MV)), blocks(stream(), counts, 65))
    known = dict(zip((event.id for event in output.events), output.known_us, strict=True))

    for label, onset_s, said_s in (
        (RhythmLabel.VT, pytest.approx(60.8, abs=1), pytest.approx(62, abs=2)),
        (RhythmLabel.VF, pytest.approx(100, abs=1.5), pytest.approx(105, abs=3)),
        (RhythmLabel.ASYSTOLE, pytest.approx(139.5, abs=1), pytest.approx(144.5, abs=2)),
        (RhythmLabel.AF, pytest.approx(175, abs=15), pytest.approx(200, abs=25)),
    ):
        episodes = rhythms(output.events, label)
        assert second(episodes[0].start_us) == onset_s, label
        assert second(known[episodes[0].id]) == said_s, label
        last = episodes[-1]
        assert last.end_us is not None, label
        assert last.supersedes is not None, label


def test_the_heart_rate_comes_once_a_second_and_follows_the_heart() -> None:
    counts = simulated(60)
    rates = heart_rates(run(monitor(), blocks(stream(), counts, 65)).events)
    assert [second(rate.start_us) for rate in rates] == pytest.approx(list(range(1, len(rates) + 1)), abs=0.01)
    assert all(rate.value == pytest.approx(72, abs=5) for rate in rates[8:])
    assert all(rate.value is None and rate.reason for rate in rates[:1])


# Gaps, duplicates, order


def test_a_short_hole_is_told_and_the_analysis_goes_on() -> None:
    info, counts = stream(), simulated(60)
    items = [one for one in blocks(info, counts, 65) if not 30 <= one.first_index / RATE_HZ < 32]
    output = run(monitor(), items)
    (gap,) = [event for event in output.events if isinstance(event, StreamGap)]
    assert (gap.cause, gap.n_samples) == ("packets_lost", 4 * 65)
    assert not [event for event in output.events if isinstance(event, Finding) and event.kind == "analysis_restarted"]
    beats = [event for event in output.events if isinstance(event, Beat)]
    assert beats[-1].start_us > time_of(55 * 130, RATE_HZ)
    assert not [event for event in beats if 30.2 < second(event.start_us) < 31.8]
    assert not rhythms(output.events, RhythmLabel.ASYSTOLE)


def test_a_declared_gap_and_the_jump_behind_it_are_one_gap() -> None:
    info, counts = stream(), simulated(40)
    before, after = blocks(info, counts[: 20 * 130], 65), blocks(info, counts, 65)[48:]
    gap = Gap(
        stream=info,
        first_index=2600,
        n_samples=48 * 65 - 2600,
        start_us=time_of(2600, RATE_HZ),
        end_us=time_of(48 * 65, RATE_HZ),
        cause="link_lost",
    )
    output = run(monitor(), [*before, gap, *after])
    (told,) = [event for event in output.events if isinstance(event, StreamGap)]
    assert (told.cause, told.index, told.n_samples) == ("link_lost", 2600, 520)


def test_a_gap_before_the_first_sample_is_told_with_the_times_it_carries() -> None:
    info = stream()
    gap = Gap(stream=info, first_index=0, n_samples=650, start_us=T0_US, end_us=T0_US + 5 * US_PER_S, cause="restart")
    counts = simulated(20)
    output = run(monitor(), [gap, *(one for one in blocks(info, counts, 65) if one.first_index >= 650)])
    (told,) = [event for event in output.events if isinstance(event, StreamGap)]
    assert (told.cause, told.start_us, told.end_us) == ("restart", T0_US, T0_US + 5 * US_PER_S)
    assert [event for event in output.events if isinstance(event, Beat)]


def test_a_long_hole_begins_the_analysis_anew_with_indices_and_times_that_go_on() -> None:
    info, counts = stream(), simulated(120)
    items = [one for one in blocks(info, counts, 65) if not 30 <= one.first_index / RATE_HZ < 80]
    output = run(monitor(), items)
    kinds = [event.kind for event in output.events if isinstance(event, Finding)]
    assert kinds.count("pacing_not_judged") == 1, "what cannot be judged is said once a stream"
    assert [kind for kind in kinds if kind != "lead_character"] == ["pacing_not_judged", "analysis_restarted"]
    beats = [event for event in output.events if isinstance(event, Beat)]
    late = [beat for beat in beats if beat.index > 80 * 130]
    whole = run(monitor(), blocks(info, counts, 65)).events
    expected = {event.index for event in whole if isinstance(event, Beat)}
    assert len(late) > 30
    assert len([beat for beat in late if beat.index in expected]) >= len(late) - 2
    assert all(beat.start_us == pytest.approx(time_of(beat.index, RATE_HZ), abs=2) for beat in beats)
    assert not rhythms(output.events, RhythmLabel.ASYSTOLE)


def test_blocks_that_come_twice_or_late_change_nothing_and_are_counted() -> None:
    info, counts = stream(), simulated(40)
    items = blocks(info, counts, 65)
    shuffled = [*items[:20], items[19], items[3], items[20], *items[20:]]
    clean, messy = run(monitor(), items), run(monitor(), shuffled)
    dropped = [event for event in messy.events if isinstance(event, Finding) and event.kind == "samples_dropped"]
    assert len(dropped) == 1
    kept = [event for event in messy.events if event not in dropped]
    for a, b in zip(kept, clean.events, strict=True):
        assert (a.type, a.start_us, a.end_us) == (b.type, b.start_us, b.end_us)


def test_a_wearable_that_counts_from_zero_again_is_followed_on() -> None:
    info, counts = stream(), simulated(60)
    again = T0_US + 60 * US_PER_S
    items = [*blocks(info, counts, 65), *(block(info, counts[at : at + 65], at, again) for at in range(0, 3900, 65))]
    output = run(monitor(), items)
    assert "analysis_restarted" in {event.kind for event in output.events if isinstance(event, Finding)}
    beats = [event for event in output.events if isinstance(event, Beat)]
    assert len([beat for beat in beats if 62 < second(beat.start_us) < 90]) > 25


@pytest.mark.parametrize("seed", range(10))
def test_no_order_of_blocks_gaps_and_repeats_breaks_the_monitor(seed: int) -> None:
    rng = np.random.default_rng(seed)
    info, counts = stream(), simulated(40)
    items: list[Any] = []
    for item in blocks(info, counts, 65):
        if rng.random() < 0.1:
            continue
        items.append(item)
        if rng.random() < 0.1:
            items.append(items[rng.integers(len(items))])
        if rng.random() < 0.05:
            first = int(rng.integers(0, 60 * 130))
            items.append(
                Gap(
                    stream=info,
                    first_index=first,
                    n_samples=int(rng.integers(0, 4000)),
                    start_us=time_of(first, RATE_HZ),
                    end_us=time_of(first, RATE_HZ),
                    cause=str(rng.choice(["packets_lost", "clock_reset", "restart"])),
                )
            )
    watched = monitor()
    output = run(watched, items)
    indices = [event.index for event in output.events if isinstance(event, Beat)]
    assert len(output.events) == len(output.known_us)
    assert len(indices) > 5
    watched.advance(T0_US + 100 * US_PER_S)


def test_missing_samples_inside_a_block_are_not_taken_for_a_signal() -> None:
    counts = simulated(40)
    counts[15 * 130 : 25 * 130] = MISSING
    output = run(monitor(), blocks(stream(), counts, 65))
    assert not rhythms(output.events, RhythmLabel.ASYSTOLE)
    assert "missing" in {event.reason for event in output.events if isinstance(event, Quality)}
    shown = {round(second(rate.start_us)): rate for rate in heart_rates(output.events)}
    assert shown[22].value is None
    assert shown[22].reason == "missing"


# Ages


def test_silence_withdraws_the_numbers_and_says_missing_each_second() -> None:
    watched = monitor()
    run(watched, blocks(stream(), simulated(30), 65))
    end_us = T0_US + 30 * US_PER_S
    fresh = watched.advance(end_us + 4 * US_PER_S)
    assert not fresh.events
    withdrawn: list[Event] = []
    for k in range(5, 12):
        withdrawn += watched.advance(end_us + k * US_PER_S + 1).events
    (quality,) = [event for event in withdrawn if isinstance(event, Quality)]
    assert (quality.usable, quality.reason) == (False, "missing")
    rates = heart_rates(withdrawn)
    assert len(rates) == 7
    assert all(rate.value is None and rate.reason == "missing" for rate in rates)


def test_a_rhythm_that_was_on_when_the_signal_went_ends_with_what_was_seen_of_it() -> None:
    watched = monitor()
    items = blocks(stream(), simulated(30, Happening(20, 10, What.ASYSTOLE)), 65)
    begun = rhythms(run(watched, items).events, RhythmLabel.ASYSTOLE)
    assert [event.end_us for event in begun] == [None]
    assert not rhythms(watched.advance(T0_US + 39 * US_PER_S).events, RhythmLabel.ASYSTOLE)
    (ended,) = rhythms(watched.advance(T0_US + 41 * US_PER_S).events, RhythmLabel.ASYSTOLE)
    assert ended.supersedes == begun[0].id
    assert ended.end_us is not None
    assert second(ended.end_us) == pytest.approx(30, abs=0.1)


def test_samples_that_come_again_after_silence_are_believed_again() -> None:
    info, counts = stream(), simulated(60)
    items = blocks(info, counts, 65)
    watched = monitor()
    run(watched, items[:60])
    watched.advance(T0_US + 38 * US_PER_S)
    later = run(watched, items[76:])
    assert True in {event.usable for event in later.events if isinstance(event, Quality)}
    assert heart_rates(later.events)[-1].value == pytest.approx(72, abs=5)


def test_readings_pass_on_and_are_withdrawn_when_they_are_too_old() -> None:
    watched = monitor()
    reading = Reading(wearable="oximeter", patient="patient", code=Code.SPO2, time_us=T0_US, value=96.0)
    (event,) = watched.feed(reading).events
    assert isinstance(event, Numeric)
    assert (event.code, event.value, event.unit, event.validity) == (Code.SPO2, 96.0, "%", Validity.GOOD)
    older = Reading(wearable="oximeter", patient="patient", code=Code.SPO2, time_us=T0_US - 1, value=80.0)
    assert not watched.feed(older).events
    assert not watched.advance(T0_US + 9 * US_PER_S).events
    (stale,) = watched.advance(T0_US + 11 * US_PER_S).events
    assert isinstance(stale, Numeric)
    assert (stale.value, stale.validity, stale.reason) == (None, Validity.REJECTED, "stale")
    assert not watched.advance(T0_US + 12 * US_PER_S).events


def test_a_reading_without_a_value_keeps_its_reason() -> None:
    reading = Reading(
        wearable="oximeter",
        patient="patient",
        code=Code.SPO2,
        time_us=T0_US,
        value=None,
        validity=Validity.REJECTED,
        reason="no pulse",
    )
    (event,) = monitor().feed(reading).events
    assert isinstance(event, Numeric)
    assert (event.value, event.reason) == (None, "no pulse")


def test_a_link_change_is_told() -> None:
    change = LinkChange(wearable="strap", patient="patient", time_us=T0_US, state=LinkState.LOST, reason="out of range")
    (event,) = monitor().feed(change).events
    assert isinstance(event, Link)
    assert (event.state, event.reason, event.wearable) == (LinkState.LOST, "out of range", "strap")


# Electrodes


def contact(at_s: float, on_skin: bool) -> Contact:
    return Contact(wearable="strap", patient="patient", time_us=T0_US + round(at_s * US_PER_S), on_skin=on_skin)


def test_a_lead_that_falls_off_gives_no_asystole_and_no_heart_rate() -> None:
    info, counts = stream(), simulated(60, Happening(20, 20, What.ASYSTOLE))
    items: list[Any] = list(blocks(info, counts, 65))
    items.insert(40, contact(20, False))
    output = run(monitor(), items)
    assert not rhythms(output.events, RhythmLabel.ASYSTOLE)
    assert "lead_off" in {event.reason for event in output.events if isinstance(event, Quality)}
    shown = {round(second(rate.start_us)): rate for rate in heart_rates(output.events)}
    assert (shown[25].value, shown[25].reason) == (None, "lead_off")
    without = run(monitor(), blocks(info, counts, 65))  # negative control: the same samples on skin
    assert rhythms(without.events, RhythmLabel.ASYSTOLE)


def test_a_lead_put_on_again_is_believed_again() -> None:
    items: list[Any] = list(blocks(stream(), simulated(60), 65))
    items.insert(40, contact(20, False))
    items.insert(61, contact(30, True))
    output = run(monitor(), items)
    qualities = [(event.usable, event.reason) for event in output.events if isinstance(event, Quality)]
    assert qualities == [(True, None), (False, "lead_off"), (True, None)]
    assert heart_rates(output.events)[-1].value == pytest.approx(72, abs=5)


# Faults


def test_a_model_that_raises_is_told_once_and_beats_go_on_unjudged() -> None:
    output = run(monitor(StubJudge(raise_after=20)), blocks(stream(), simulated(60), 65))
    failures = [event for event in output.events if isinstance(event, Finding) and event.kind == "model_failed"]
    assert len(failures) == 1
    beats = [event for event in output.events if isinstance(event, Beat)]
    healthy = [event for event in run(monitor(), blocks(stream(), simulated(60), 65)).events if isinstance(event, Beat)]
    assert [beat.index for beat in beats] == [beat.index for beat in healthy]
    assert all(beat.judged and beat.model == "stub" for beat in beats[:20])
    assert all(not beat.judged and beat.beat_class is BeatClass.Q and beat.model is None for beat in beats[20:])
    assert heart_rates(output.events)[-1].value == pytest.approx(72, abs=5)


def test_a_stream_that_cannot_be_analysed_is_refused_aloud_and_does_not_stop_the_others() -> None:
    watched = monitor()
    slow = stream(25.0, id="slow")
    refused = run(watched, blocks(slow, np.zeros(200, np.int32), 25)).events
    assert {event.kind for event in refused if isinstance(event, Finding)} == {"stream_refused"}
    assert len(refused) == 4  # of eight blocks: the 1st, 2nd, 4th, 8th
    output = run(watched, blocks(stream(), simulated(20), 65))
    assert [event for event in output.events if isinstance(event, Beat)]


def test_a_pulse_wave_is_shown_thinned_and_its_gaps_are_told() -> None:
    info = stream(250.0, StreamKind.PLETH, id="pleth", unit="1", label="PLETH")
    items = blocks(info, np.arange(2500, dtype=np.int32), 125)
    output = run(monitor(), [*items[:5], *items[7:]])
    assert {wave.rate_hz for wave in output.waves} == {125.0}
    (gap,) = [event for event in output.events if isinstance(event, StreamGap)]
    assert (gap.index, gap.n_samples) == (625, 250)


def test_numbers_come_from_one_lead_and_change_over_when_it_fails() -> None:
    first, second_lead = stream(id="a", label="I"), stream(id="b", wearable="other", label="II")
    counts = simulated(60)
    silent = counts.copy()
    silent[20 * 130 :] = MISSING
    items: list[Any] = []
    for one, other in zip(blocks(first, silent, 65), blocks(second_lead, counts, 65), strict=True):
        items += [one, other]
    output = run(monitor(), items)
    sources = [(round(second(rate.start_us)), rate.source) for rate in heart_rates(output.events)]
    assert len({at_s for at_s, _ in sources}) >= len(sources) - 1
    assert [source for at_s, source in sources if at_s < 20] == ["a"] * 19
    assert sources[-1][1] == "b"
    assert "lead_switched" in {event.kind for event in output.events if isinstance(event, Finding)}


def test_finish_gives_the_beats_that_wait_and_ends_what_is_open() -> None:
    watched = monitor()
    output = run(watched, blocks(stream(), simulated(30), 65))
    closed = watched.finish()
    (ended,) = [event for event in closed.events if isinstance(event, Rhythm)]
    (begun,) = rhythms(output.events, RhythmLabel.SINUS)
    assert (ended.label, ended.supersedes) == (RhythmLabel.SINUS, begun.id)
    assert not watched.finish().events
