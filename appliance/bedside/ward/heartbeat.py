"""The gateway's heartbeat to the annunciator: one datagram a second, only while the ward really lives.

A beat is withheld when a patient's session has not ticked for `STALL_S`: a gateway that is alive but
watches nobody must not look well. The annunciator answers in a file, which `read_report` understands.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from bedside.core.time import Clock

BEAT_S = 1.0
STALL_S = 5.0
VERSION = 1
REPORT_AGE_S = 15.0  # the annunciator writes its report every two seconds


class Heartbeat:
    """Sends beats to the annunciator's datagram socket; a missing annunciator is `healthy == False`, no error."""

    def __init__(
        self, path: Path, clock: Clock, oldest_tick_s: Callable[[], float], priority: Callable[[], str]
    ) -> None:
        """`priority`: what must be heard now, "none" where nothing must."""
        self.healthy = False
        self._run = os.urandom(8).hex()  # tells this start of the gateway from the one before
        self._path = path
        self._clock = clock
        self._oldest_tick_s = oldest_tick_s
        self._priority = priority
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            if self._clock.monotonic_s() - self._oldest_tick_s() < STALL_S:
                self._send({"state": "monitoring", "alarm": self._priority()})
            await asyncio.sleep(BEAT_S)

    def farewell(self) -> None:
        """Tell the annunciator that monitoring ends on purpose."""
        self._send({"state": "stopped"})
        self._socket.close()

    def _send(self, message: dict[str, str]) -> None:
        data = json.dumps({"v": VERSION, "run": self._run, **message}).encode()
        self.healthy = False
        with contextlib.suppress(OSError):  # not there (yet), or its queue is full: shown as a part that failed
            self._socket.sendto(data, str(self._path))
            self.healthy = True


def read_report(path: Path, now_us: int) -> tuple[str, str]:
    """How the annunciator's loudspeaker does: "ok" or "degraded", and why in words. Blocks for a small file."""
    try:
        report = json.loads(path.read_text())
        age_s = abs(now_us - int(report["time_us"])) / 1e6
        player, verified, error = str(report["player"]), bool(report["verified"]), report["last_error"]
    except FileNotFoundError:
        return "degraded", "no loudspeaker: the annunciator has not said that it runs"
    except (OSError, ValueError, KeyError, TypeError):
        return "degraded", "no loudspeaker: what the annunciator says cannot be read"
    if age_s > REPORT_AGE_S:
        return "degraded", "no loudspeaker: the annunciator says nothing any more"
    if player == "muted":
        return "degraded", "no loudspeaker: the annunciator is muted"
    if player == "terminal bell":
        why = f" ({str(error)[:120]})" if error else ""
        return "degraded", f"no loudspeaker: terminal bell only{why}"
    return "ok", f"sounds through {player}" + ("" if verified else ", not heard yet")
