"""The annunciator says "monitoring stopped" when heartbeats end, and only then."""

from __future__ import annotations

import json
import socket
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.annunciator import REPEAT_S, SILENCE_S, START_S, Annunciator, Watch
from bedside.settings import Home

pytestmark = pytest.mark.requirement("GWY-002")


def test_it_says_so_within_ten_seconds_of_the_last_beat_and_goes_on_saying_it() -> None:
    watch = Watch.begin(0.0).beat(False, 1.0)
    said = []
    for tenth in range(10, 400):
        watch, say = watch.look(tenth / 10)
        if say:
            said.append(tenth / 10)
    assert 1.0 + SILENCE_S <= said[0] <= 10.0
    assert len(said) >= 5
    assert all(after - before <= REPEAT_S + 0.2 for before, after in pairwise(said))


def test_a_gateway_that_stops_on_purpose_is_not_mourned() -> None:
    watch = Watch.begin(0.0).beat(False, 1.0).beat(True, 2.0)
    assert watch.look(3600.0) == (watch, False)


def test_a_gateway_that_never_starts_is_said_too() -> None:
    watch = Watch.begin(0.0)
    assert not watch.look(START_S - 0.1)[1]
    assert watch.look(START_S)[1]


def test_a_gateway_that_died_and_came_back_at_once_is_said_too() -> None:
    watch = Watch.begin(0.0).beat(False, 1.0, "first").beat(False, 2.0, "first")
    assert watch.state == "monitoring"
    watch = watch.beat(False, 4.0, "second")
    assert watch.state == "interrupted"
    assert watch.beat(False, 5.0, "second").state == "monitoring"


def test_a_new_gateway_after_a_farewell_is_no_interruption() -> None:
    watch = Watch.begin(0.0).beat(False, 1.0, "first").beat(True, 2.0, "first").beat(False, 9.0, "second")
    assert watch.state == "monitoring"


@given(beats=st.lists(st.floats(0.1, SILENCE_S - 0.6), max_size=50))
def test_it_is_quiet_as_long_as_beats_come(beats: list[float]) -> None:
    now_s, watch = 0.0, Watch.begin(0.0).beat(False, 0.0)
    for pause_s in beats:
        now_s += pause_s
        watch, say = watch.look(now_s)
        assert not say
        watch = watch.beat(False, now_s)


def test_the_process_hears_real_datagrams_and_logs_each_change(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    now_s, sounded = [0.0], threading.Event()
    said: list[str] = []

    def sound(sentence: str) -> None:
        said.append(sentence)
        sounded.set()

    annunciator = Annunciator(home, sound, now_s=lambda: now_s[0], stamp_us=lambda: 0)
    thread = threading.Thread(target=annunciator.run)
    thread.start()
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    while not home.annunciator_socket.exists():
        time.sleep(0.01)
    for message in (b"rubbish", b"[]", json.dumps({"v": 1, "state": "monitoring"}).encode()):
        sender.sendto(message, str(home.annunciator_socket))
    while not home.annunciator_log.exists():
        time.sleep(0.01)
    assert not sounded.is_set()
    now_s[0] = SILENCE_S + 1
    assert sounded.wait(30)
    annunciator.stop()
    thread.join(30)
    sender.close()
    states = [json.loads(line)["state"] for line in home.annunciator_log.read_text().splitlines()]
    assert states == ["monitoring", "lost"]
    assert "MONITORING STOPPED" in said[0]
    assert not home.annunciator_socket.exists()
