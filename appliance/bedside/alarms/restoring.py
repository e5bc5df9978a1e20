"""Alarms of before a restart: taken over in their state, and let go when their signal is well without them."""

from __future__ import annotations

from bedside.alarms.clock import EngineClock
from bedside.alarms.lifecycle import Track
from bedside.alarms.signal_rules import SignalRules
from bedside.core.events import Alarm
from bedside.core.time import US_PER_S

TECHNICAL_CONFIRM_S = 60.0  # the box's own conditions are said anew by the gateway within so long of a start


def take_over(track: Track, alarm: Alarm, clock: EngineClock) -> None:
    """`track` goes on with `alarm`; a condition that was on counts as on, with its escalation where it stood."""
    elapsed_us = clock.elapsed_us
    track.alarm = alarm
    track.on = track.present = alarm.condition
    track.witnesses = {"restart"} if alarm.condition else set()
    track.onset_us, track.end_us = alarm.start_us, alarm.end_us
    track.since_us = track.gone_us = elapsed_us
    if alarm.condition:  # an escalation does not begin again
        lasted_us = max(0, clock.now_us - alarm.start_us)
        longest_us = round(max((step.after_s for step in track.condition.escalation), default=0.0) * US_PER_S)
        track.since_us = elapsed_us - min(lasted_us, longest_us)
    track.stream, track.simulated = alarm.stream, alarm.simulated
    wearable = alarm.evidence.get("wearable")
    track.wearable = wearable if isinstance(wearable, str) else None
    track.episodes = max(1, int(str(alarm.evidence.get("episodes", 1))))
    track.unconfirmed, track.unconfirmed_us = alarm.condition, elapsed_us


def disbelieve(track: Track, signals: SignalRules, clock: EngineClock, *, of_the_box: bool) -> None:
    """A restored condition is over when its signal has been valid long enough without it."""
    if not (track.unconfirmed and track.on):
        return
    condition = track.condition
    if condition.chain == "arrhythmia":
        valid_us = signals.ecg_valid_since_us
    elif condition.chain == "oxygen":
        valid_us = signals.spo2_valid_since_us
    elif of_the_box:
        valid_us = track.unconfirmed_us
    else:
        return  # a stream, link or battery says itself when it is well again
    needed_s = TECHNICAL_CONFIRM_S if of_the_box else condition.confirm_s
    if valid_us is None:
        return
    if clock.elapsed_us - max(valid_us, track.unconfirmed_us) >= needed_s * US_PER_S:
        track.on, track.unconfirmed = False, False
        track.witnesses.clear()
