"""The annunciator: a small process of its own that sounds alarms, and "monitoring stopped" when the gateway is gone.

It knows one thing: the last heartbeat (a datagram a second on `run/annunciator.sock`), which says what must sound.
After `SILENCE_S` without one it sounds "monitoring stopped", writes to its log and keeps on until beats come
again. It loads nothing of the appliance but the tones, so that what breaks the gateway does not break it.
`run/annunciator.json` tells the gateway what sounds, through which player, and what ails that.

States: `waiting` (no beat yet), `monitoring`, `stopped_on_purpose` (the gateway said farewell), `lost`,
`interrupted` (another gateway beats, and the one before said no farewell: it died, and was replaced so soon
that there was no silence; said once, then as `monitoring`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bedside.alarms.loudspeaker import URGENCY, Loudspeaker, Sounder, find_player, ready_sounds
from bedside.core.errors import SetupError
from bedside.core.time import iso_utc
from bedside.settings import Home

SILENCE_S = 5.0  # with the heartbeat's second and the repeat, said well within 10 s of the last sign of life
START_S = 60.0  # a gateway that never gives a first sign in this time did not start
REPEAT_S = 5.0
GIVE_UP_S = 120.0  # only the muted demonstration's: nobody is left to hear it
TAKE_OVER_S = 5.0
LOG_BYTES_MAX = 1_000_000
REPORT_S = 2.0  # the gateway takes a report that is much older for that of a dead process
SELF_TEST = "low"  # what sounds once at the start, to hear that it can

SENTENCES = {
    "waiting": "waiting for the gateway",
    "monitoring": "monitoring",
    "stopped_on_purpose": "monitoring stopped on purpose",
    "lost": "MONITORING STOPPED: the gateway gives no sign of life",
    "interrupted": "MONITORING WAS INTERRUPTED: the gateway died and was started again",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watch:
    """What the annunciator believes at a moment. Pure: `beat` and `look` give the next belief."""

    state: str
    since_s: float  # monotonic, when the state began
    last_s: float  # monotonic, when the last beat came (or the process began)
    said_s: float | None = None  # monotonic, when "monitoring stopped" was last said
    run: str = ""  # which start of the gateway the last beat came from
    alarm: str | None = None  # the priority that must sound, by the last beat

    @classmethod
    def begin(cls, now_s: float) -> Watch:
        return cls("waiting", now_s, now_s)

    def beat(self, stopped: bool, now_s: float, run: str = "", alarm: str | None = None) -> Watch:
        """A heartbeat or a farewell came, from the gateway's start `run`; `alarm` must sound."""
        state = "stopped_on_purpose" if stopped else "monitoring"
        if self.state in ("monitoring", "interrupted") and run != self.run:
            state = "interrupted"
        return Watch(state, self.since_s if state == self.state else now_s, now_s, run=run, alarm=alarm)

    @property
    def wanted(self) -> str | None:
        """The signal that must sound now, by its name in the table of signals."""
        if self.state in ("lost", "interrupted"):
            return "stopped"
        return self.alarm if self.state == "monitoring" else None

    def look(self, now_s: float) -> tuple[Watch, bool]:
        """Time passed. The next belief, and whether to say "monitoring stopped" now."""
        patience_s = {"waiting": START_S, "stopped_on_purpose": float("inf")}.get(self.state, SILENCE_S)
        if self.state != "lost" and now_s - self.last_s < patience_s:
            return self, False
        if self.said_s is not None and now_s - self.said_s < REPEAT_S:
            return self, False
        since_s = self.since_s if self.state == "lost" else now_s
        return Watch("lost", since_s, self.last_s, now_s, self.run), True


class Annunciator:
    """Listens for heartbeats and says when there are none.

    `sound`: called with each sentence; `speaker`: plays bursts (None: muted); `give_up_s`: end after saying
    "monitoring stopped" for so long (None: never); `stamp_us`: wall clock for the log; `now_s`: monotonic clock.
    """

    def __init__(
        self,
        home: Home,
        sound: Callable[[str], None],
        speaker: Loudspeaker | None = None,
        give_up_s: float | None = None,
        now_s: Callable[[], float] = time.monotonic,
        stamp_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._home = home
        self._sound = sound
        self._speaker = speaker
        self._sounder = Sounder(speaker.sounds if speaker is not None else {})
        self._reported: tuple[dict[str, object], float] | None = None
        self._give_up_s = give_up_s
        self._now_s = now_s
        self._stamp_us = stamp_us
        self._running = True

    def stop(self) -> None:
        """End `run` at its next look, within a second."""
        self._running = False

    def run(self) -> None:
        """Listen until `stop`. Raises `OSError` when the socket cannot be made."""
        path = self._home.annunciator_socket
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.settimeout(0.5)
            watch = Watch.begin(self._now_s())
            if self._speaker is not None:
                self._speaker.play(SELF_TEST)
            while self._running:
                before = watch.state
                message = _receive(listener)
                if message is not None:
                    watch = self._heard(watch, message)
                watch, say = watch.look(self._now_s())
                if watch.state != before:
                    self._note(watch.state)
                if say or (watch.state == "interrupted" != before):
                    self._sound(SENTENCES[watch.state])
                self._sound_alarm(watch.wanted)
                self._report(watch.state)
                if watch.state == "lost" and self._give_up_s is not None:
                    self._running &= self._now_s() - watch.since_s < self._give_up_s
        if self._speaker is not None:
            self._speaker.stop()
        path.unlink(missing_ok=True)

    def _heard(self, watch: Watch, message: dict[str, object]) -> Watch:
        alarm: object = message.get("alarm", "none")
        if alarm not in ("none", *URGENCY):
            alarm = "high"  # a word that is not known is no reason for silence
        stopped, run = message.get("state") == "stopped", str(message.get("run", ""))
        return watch.beat(stopped, self._now_s(), run, None if alarm == "none" else str(alarm))

    def _sound_alarm(self, wanted: str | None) -> None:
        speaker = self._speaker
        if speaker is None:
            return
        speaker.poll()
        begins = self._sounder.want(wanted, self._now_s())
        if begins is not None:
            speaker.play(begins)
        elif wanted is None and speaker.playing in ("high", "medium"):
            speaker.stop()  # acknowledged or paused in the middle of a burst

    def _report(self, state: str) -> None:
        """Tell the gateway, in a file that it reads, what sounds and through what."""
        speaker = self._speaker
        report: dict[str, object] = {
            "v": 1,
            "state": state,
            "sounding": speaker.playing if speaker is not None else None,
            "player": speaker.player if speaker is not None else "muted",
            "verified": speaker is not None and speaker.verified,
            "last_error": speaker.last_error if speaker is not None else None,
        }
        now_s = self._now_s()
        if self._reported is not None and self._reported[0] == report and now_s - self._reported[1] < REPORT_S:
            return
        self._reported = (report, now_s)
        path = self._home.annunciator_report
        with contextlib.suppress(OSError):  # a full disk must not silence anything; the gateway misses the report
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(report | {"time_us": self._stamp_us()}))
            fresh.replace(path)

    def _note(self, state: str) -> None:
        sentence = SENTENCES[state]
        line = json.dumps({"time": iso_utc(self._stamp_us()), "state": state, "text": sentence})
        try:
            self._write_log(line)
        except OSError as error:  # a full disk must not silence anything
            log.error("the annunciator's log cannot be written", extra={"reason": error.strerror})
        log.log(logging.WARNING if state in ("lost", "interrupted") else logging.INFO, sentence)

    def _write_log(self, line: str) -> None:
        path = self._home.annunciator_log
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        with path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def _receive(listener: socket.socket) -> dict[str, object] | None:
    try:
        message = json.loads(listener.recv(4096))
    except (TimeoutError, ValueError):  # silence, or no heartbeat of ours
        return None
    return message if isinstance(message, dict) and message.get("v") == 1 else None


def terminal_bell(sentence: str) -> None:
    """Sound on the box itself, as far as a terminal can: the bell, and the sentence on standard error."""
    sys.stderr.write(f"\a\n*** {sentence} ***\n")
    sys.stderr.flush()


def ring() -> None:
    """The terminal's bell alone."""
    sys.stderr.write("\a")
    sys.stderr.flush()


def silent(sentence: str) -> None:
    """The demonstration's sound: the sentence alone."""
    sys.stderr.write(f"\n*** {sentence} (sound is muted) ***\n")
    sys.stderr.flush()


def take_over(lock_path: Path, patience_s: float = TAKE_OVER_S) -> int:
    """Be the only annunciator of this data folder: one that a killed appliance left behind is asked to go.

    The open descriptor that holds the lock. Raises `SetupError` when the other one does not go.
    """
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            other = os.read(descriptor, 20).strip()
            os.lseek(descriptor, 0, os.SEEK_SET)
            if time.monotonic() > deadline_s:
                os.close(descriptor)
                raise SetupError(
                    f"another annunciator (process {other.decode(errors='replace')}) does not end",
                    hint="end it by hand, then start again",
                ) from None
            if other.isdigit():
                try:
                    os.kill(int(other), signal.SIGTERM)
                except ProcessLookupError:
                    log.info("the other annunciator has just gone")
            time.sleep(0.1)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def main(home: Path, *, muted: bool) -> None:
    """Run the annunciator as a process until SIGTERM or SIGINT."""
    place = Home(home)
    place.make()
    speaker = None if muted else Loudspeaker(find_player(), ready_sounds(), ring)
    annunciator = Annunciator(place, silent if muted else terminal_bell, speaker, GIVE_UP_S if muted else None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: annunciator.stop())
    lock = take_over(place.run / "annunciator.lock")
    try:
        annunciator.run()
    finally:
        os.close(lock)
