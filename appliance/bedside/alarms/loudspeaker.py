"""The box's loudspeaker: which burst begins when, and a program of the system that plays it.

The annunciator alone uses this. `Sounder` is pure. `Loudspeaker` starts the player as a process of its own, gives
it a WAV file as standard input, and never waits for it: a player that hangs is ended, one that fails is told of,
and the terminal's bell stands in for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

URGENCY = ("stopped", "high", "medium", "low")
REPEAT_S: Mapping[str, float] = {"stopped": 6.0, "high": 8.0, "medium": 15.0, "low": 30.0}  # where no table can be read
QUIET_S = 2.5  # IEC 60601-1-8, table 3: the least between two bursts
HANG_S = 3.0  # a player that is so late does not play
APLAY = ("aplay", "-q", "-t", "wav", "-")


@dataclass(frozen=True, slots=True)
class Sound:
    """A burst that is ready to be played."""

    wav: bytes
    length_s: float
    repeat_s: float


def ready_sounds() -> dict[str, Sound]:
    """All bursts, made once. Empty where they cannot be made (then the bell alone sounds)."""
    try:
        from bedside.alarms.tones import bursts  # here, so that a broken numeric library cannot silence the bell

        return {name: Sound(one.wav(), one.length_s, one.repeat_s) for name, one in bursts().items()}
    except (ImportError, OSError, ValueError, KeyError):
        return {}


@dataclass(slots=True)
class Sounder:
    """Decides which burst begins now. Only the most urgent sounds; a more urgent one does not wait for a less."""

    sounds: Mapping[str, Sound]
    _wanted: str | None = None
    _last: str | None = None
    _began_s: float = 0.0

    def want(self, name: str | None, now_s: float) -> str | None:
        """`name` must sound now (None: nothing must). The burst that begins now, if one does."""
        before, self._wanted = self._wanted, name
        if name is None or name not in URGENCY:
            return None
        since_s = now_s - self._began_s
        sound = self.sounds.get(self._last or "")
        quiet = since_s >= (sound.length_s if sound is not None else 0.0) + QUIET_S
        worse = self._last is None or (URGENCY.index(name) < URGENCY.index(self._last) and before != name)
        repeat_s = self.sounds[name].repeat_s if name in self.sounds else REPEAT_S[name]
        if not (worse or (before is None and quiet) or since_s >= repeat_s):
            return None
        self._last, self._began_s = name, now_s
        return name


@dataclass(slots=True)
class Loudspeaker:
    """Plays bursts through `command` (None: there is no player, the bell alone sounds).

    `ring` rings the bell. `verified`: the player has played a whole burst without complaint.
    """

    command: Sequence[str] | None
    sounds: Mapping[str, Sound]
    ring: Callable[[], None]
    now_s: Callable[[], float] = time.monotonic
    last_error: str | None = None
    verified: bool = False
    playing: str | None = None
    _process: subprocess.Popen[bytes] | None = None
    _complaints: int = -1
    _until_s: float = 0.0

    @property
    def player(self) -> str:
        """What sounds, for the people who look after the box."""
        if self.command is None or not self.sounds or self.last_error is not None:
            return "terminal bell"
        return os.path.basename(self.command[0])  # noqa: PTH119  a word of a command, no path of ours

    def play(self, name: str) -> None:
        """Begin a burst; one that is still playing is cut off."""
        self.stop()
        sound = self.sounds.get(name)
        if self.command is None or sound is None:
            if self.command is not None:
                self.last_error = "the tones cannot be made"
            self.ring()
            return
        if self.last_error is not None:
            self.ring()  # the player may be well again, but until it has shown so nobody relies on it
        try:
            self._start(self.command, sound)
        except OSError as error:
            self._failed(f"the player does not start: {error.strerror or error}", bell=self.last_error is None)
            return
        self.playing = name

    def poll(self) -> None:
        """Look after the player: has it ended, well or not, or does it hang?"""
        process = self._process
        if process is None:
            return
        code = process.poll()
        if code is None and self.now_s() < self._until_s:
            return
        if code is None:
            process.kill()
            process.wait()
        bell = self.last_error is None
        complaint = self._end()
        if code == 0:
            self.last_error, self.verified = None, True
        elif code is None:
            self._failed("the player hangs", bell=bell)
        else:
            self._failed(f"the player ended with code {code}{complaint}", bell=bell)

    def stop(self) -> None:
        """Fall silent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._end()

    def _start(self, command: Sequence[str], sound: Sound) -> None:
        data = os.memfd_create("burst")  # in memory: a full disk silences nothing, a slow reader blocks nobody
        complaints = os.memfd_create("complaints")
        try:
            with os.fdopen(os.dup(data), "wb") as file:
                file.write(sound.wav)
            os.lseek(data, 0, os.SEEK_SET)
            self._process = subprocess.Popen(command, stdin=data, stdout=subprocess.DEVNULL, stderr=complaints)
        except OSError:
            os.close(complaints)
            raise
        finally:
            os.close(data)
        self._complaints = complaints
        self._until_s = self.now_s() + sound.length_s + HANG_S

    def _end(self) -> str:
        """Let go of a player that has ended; what it complained of, in a line."""
        said = ""
        if self._complaints >= 0:
            with contextlib.suppress(OSError):
                said = os.pread(self._complaints, 300, 0).decode(errors="replace").strip().split("\n")[0]
            os.close(self._complaints)
        self._process, self._complaints, self.playing = None, -1, None
        return f": {said}" if said else ""

    def _failed(self, reason: str, *, bell: bool) -> None:
        self.last_error, self.verified = reason[:200], False
        if bell:
            self.ring()


def find_player() -> Sequence[str] | None:
    """The system's player; None where there is none."""
    return APLAY if shutil.which(APLAY[0]) is not None else None
