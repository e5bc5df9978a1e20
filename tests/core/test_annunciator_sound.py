"""The box sounds: a real player process is given the burst that the priority asks for, and failures are told."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from tone_meter import Pulse, faults, find_pulses, read_wav

from bedside.alarms.loudspeaker import APLAY, REPEAT_S, Loudspeaker, Sounder, find_player, ready_sounds
from bedside.alarms.tones import bursts
from bedside.annunciator import SILENCE_S, Annunciator
from bedside.settings import Home

pytestmark = pytest.mark.requirement("GWY-002")

SOUNDS = ready_sounds()


def fake_player(folder: Path, script: str) -> Path:
    """A program called `aplay`: what it is given lies in `folder/heard-N.wav`, in the order of starting."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "aplay"
    program.write_text(f'#!/bin/sh\ncd "{folder}"\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


LISTEN = 'number=$(ls heard-* 2>/dev/null | wc -l); cat > "part-$number"; mv "part-$number" "heard-$number.wav"'


def pulses(file: Path) -> list[Pulse]:
    samples, rate_hz = read_wav(file.read_bytes())
    return find_pulses(samples, rate_hz)


def polled(speaker: Loudspeaker) -> Loudspeaker:
    speaker.poll()
    return speaker


def until(what: Callable[[], object], patience_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline_s, "it never came"
        time.sleep(0.02)


# ---------------------------------------------------------------------- when


def begun(wanted: list[tuple[float, str | None]], end_s: float) -> list[tuple[float, str]]:
    """What begins when, looked at twice a second; `wanted` from its time on."""
    sounder = Sounder(SOUNDS)
    found: list[tuple[float, str]] = []
    for half in range(round(end_s * 2)):
        now_s = half / 2
        name = [one for at_s, one in wanted if at_s <= now_s][-1]
        begins = sounder.want(name, now_s)
        if begins is not None:
            found.append((now_s, begins))
    return found


@pytest.mark.parametrize("name", SOUNDS)
def test_a_signal_is_repeated_in_its_interval_as_long_as_it_must_sound(name: str) -> None:
    repeat_s = bursts()[name].repeat_s
    assert begun([(0, name)], 4 * repeat_s) == [(number * repeat_s, name) for number in range(4)]


def test_a_more_urgent_signal_does_not_wait_and_a_less_urgent_one_does() -> None:
    said = begun([(0, "low"), (3, "high"), (5, "low"), (50, None)], 60)
    assert said == [(0, "low"), (3, "high"), (33, "low")]
    assert begun([(0, "low"), (1, "medium"), (2, "high"), (3, "stopped")], 4) == [
        (0, "low"), (1, "medium"), (2, "high"), (3, "stopped"),
    ]  # fmt: skip


def test_an_alarm_that_comes_and_goes_each_second_leaves_the_quiet_that_bursts_need() -> None:
    flutter: list[tuple[float, str | None]] = [(second, "high" if second % 2 else None) for second in range(20)]
    times_s = [at_s for at_s, _ in begun(flutter, 20)]
    assert len(times_s) >= 2
    assert all(b - a >= bursts()["high"].length_s + 2.5 for a, b in pairwise(times_s))


def test_the_intervals_without_a_table_are_those_of_the_table() -> None:
    assert {name: one.repeat_s for name, one in bursts().items()} == REPEAT_S


# ---------------------------------------------------------------------- through what


def test_a_player_that_works_is_given_the_burst_and_is_then_verified(tmp_path: Path) -> None:
    rung: list[int] = []
    speaker = Loudspeaker([str(fake_player(tmp_path, LISTEN))], SOUNDS, lambda: rung.append(1))
    assert not speaker.verified
    speaker.play("medium")
    until(lambda: polled(speaker).verified)
    assert faults(pulses(tmp_path / "heard-0.wav"), "medium") == []
    assert (speaker.player, speaker.last_error, rung) == ("aplay", None, [])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'aplay: main: audio open error: No such file' >&2; exit 1", "code 1: aplay: main: audio open error"),
        ("kill -9 $$", "code -9"),
    ],
)
def test_a_player_that_fails_is_told_with_its_own_words_and_the_bell_stands_in(
    tmp_path: Path, script: str, reason: str
) -> None:
    rung: list[int] = []
    program = fake_player(tmp_path, script)
    speaker = Loudspeaker([str(program)], SOUNDS, lambda: rung.append(1))
    speaker.play("high")
    until(lambda: polled(speaker).last_error)
    assert reason in (speaker.last_error or "")
    assert (speaker.player, speaker.verified, len(rung)) == ("terminal bell", False, 1)
    fake_player(tmp_path, LISTEN)
    speaker.play("high")
    assert len(rung) == 2, "until it has shown that it works again nobody relies on it"
    until(lambda: polled(speaker).verified)
    assert (speaker.player, speaker.last_error) == ("aplay", None)


def test_a_player_that_hangs_is_ended_and_told(tmp_path: Path) -> None:
    now_s, rung = [0.0], list[int]()
    program = fake_player(tmp_path, "exec sleep 600")
    speaker = Loudspeaker([str(program)], SOUNDS, lambda: rung.append(1), lambda: now_s[0])
    speaker.play("high")
    speaker.poll()
    assert speaker.playing == "high"
    now_s[0] = 60.0
    speaker.poll()
    assert polled(speaker).playing is None
    assert (speaker.last_error, rung) == ("the player hangs", [1])


def test_without_a_player_or_without_tones_the_bell_sounds(tmp_path: Path) -> None:
    rung: list[int] = []
    Loudspeaker(None, SOUNDS, lambda: rung.append(1)).play("high")
    without_tones = Loudspeaker([str(fake_player(tmp_path, LISTEN))], {}, lambda: rung.append(1))
    without_tones.play("high")
    gone = Loudspeaker([str(tmp_path / "gone")], SOUNDS, lambda: rung.append(1))
    gone.play("high")
    assert len(rung) == 3
    assert without_tones.last_error == "the tones cannot be made"
    assert "does not start" in (gone.last_error or "")


def test_the_systems_player_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_player() is None
    fake_player(tmp_path / "bin", LISTEN)
    assert find_player() == APLAY


# ---------------------------------------------------------------------- the process


class Box:
    """An annunciator that runs on a clock of ours, beside a gateway that is played."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.make()
        self.heard = folder / "heard"
        self.now_s = 0.0
        self.rung: list[int] = []
        program = fake_player(self.heard, LISTEN)
        speaker = Loudspeaker([str(program)], SOUNDS, lambda: self.rung.append(1), lambda: self.now_s)
        self.annunciator = Annunciator(self.home, lambda _: None, speaker, now_s=lambda: self.now_s, stamp_us=lambda: 0)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.annunciator.run)
        thread.start()
        try:
            until(self.home.annunciator_socket.exists)
            yield
        finally:
            self.annunciator.stop()
            thread.join(30)
            self._sender.close()

    def beat(self, alarm: str) -> None:
        message = {"v": 1, "run": "one", "state": "monitoring", "alarm": alarm}
        self._sender.sendto(json.dumps(message).encode(), str(self.home.annunciator_socket))

    def file(self, number: int) -> Path:
        file = self.heard / f"heard-{number}.wav"
        until(file.exists)
        return file

    def report(self) -> dict[str, object]:
        until(self.home.annunciator_report.exists)
        values: dict[str, object] = json.loads(self.home.annunciator_report.read_text())
        return values


def test_the_box_tests_itself_sounds_what_must_sound_and_says_that_monitoring_stopped(tmp_path: Path) -> None:
    box = Box(tmp_path)
    with box.running():
        assert faults(pulses(box.file(0)), "low") == [], "heard at the start"
        until(lambda: box.report()["verified"])
        box.beat("none")
        until(lambda: box.report()["state"] == "monitoring")
        box.now_s = 3.0
        box.beat("high")
        high = pulses(box.file(1))
        assert faults(high, "high") == []
        box.now_s += SILENCE_S + 1
        stopped = pulses(box.file(2))
        assert faults(stopped, "high") == []
        assert len({round(one.fundamental_hz) for one in high}) == 1
        assert len({round(one.fundamental_hz) for one in stopped}) > 1, "no patient's alarm: another melody"
        until(lambda: box.report()["state"] == "lost")
    assert box.report()["player"] == "aplay"
    assert box.rung == []


def test_a_word_that_is_not_known_sounds_as_the_most_urgent(tmp_path: Path) -> None:
    box = Box(tmp_path)
    with box.running():
        box.file(0)
        box.beat("urgent")
        assert faults(pulses(box.file(1)), "high") == []


def test_a_full_disk_silences_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with box.running():
        box.file(0)
        box.beat("medium")
        assert faults(pulses(box.file(1)), "medium") == []
        box.now_s += SILENCE_S + 1
        assert faults(pulses(box.file(2)), "high") == []


def test_the_process_is_heard_when_a_gateway_falls_silent_and_loads_little(tmp_path: Path) -> None:
    home, heard = Home(tmp_path / "home"), tmp_path / "heard"
    fake_player(heard, LISTEN)
    environment = {
        **os.environ,
        "PATH": f"{heard}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "bedside.cli", "annunciator", "--home", str(home.path)]
    with (
        subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        try:
            until(home.annunciator_socket.exists)
            until((heard / "heard-0.wav").exists)
            message = {"v": 1, "run": "one", "state": "monitoring", "alarm": "medium"}
            sender.sendto(json.dumps(message).encode(), str(home.annunciator_socket))
            until((heard / "heard-1.wav").exists)
            until((heard / "heard-2.wav").exists)  # nothing more was sent
            maps = Path(f"/proc/{process.pid}/maps").read_text()
        finally:
            process.terminate()
            process.wait(30)
    assert faults(pulses(heard / "heard-1.wav"), "medium") == []
    stopped = pulses(heard / "heard-2.wav")
    assert faults(stopped, "high") == [] and len({round(one.fundamental_hz) for one in stopped}) > 1
    report = json.loads(home.annunciator_report.read_text())
    assert (report["state"], report["player"], report["last_error"]) == ("lost", "aplay", None)
    heavy = ("/scipy/", "tflite", "bumble", "sqlite")  # by folder: numpy 2 ships a libscipy_openblas
    assert not [word for word in heavy if word in maps]
