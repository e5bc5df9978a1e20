"""A sender in a process of its own, to be killed: its operator is a file to which every statement is appended.

Arguments: home, start in microseconds, file. Its virtual hours pass fast; epochs are 40 s long.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from tests.network.net_world import MEASURED, alarm

from bedside.attestation.exchange import Ack, Subject, encode_ack
from bedside.core.time import InlineWorker, LoopClock, VirtualTimeLoop
from bedside.network.sender import open_sender
from bedside.settings import Home

EPOCH_S = 40.0


def beacon_of(epoch: int) -> bytes:
    return hashlib.sha256(b"beacon %d" % epoch).digest()


class FileLink:
    """Keeps each statement durably before it answers, as an operator does."""

    def __init__(self, path: Path, clock: LoopClock) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._clock = clock

    async def send(self, subject: str, message: bytes, message_id: str) -> bytes:
        epoch = self._clock.now_us() // round(EPOCH_S * 1_000_000)
        if subject == Subject.STATEMENT:
            os.write(self._file, b"%d %s\n" % (epoch, message.hex().encode()))
        return encode_ack(Ack(True, "", epoch, beacon_of(epoch)))

    async def close(self) -> None:
        os.close(self._file)


async def main(home: Home, start_us: int, path: Path) -> None:
    clock = LoopClock(asyncio.get_running_loop(), start_us)
    sender = open_sender(
        home, measured=MEASURED, clock=clock, worker=InlineWorker(), link=FileLink(path, clock), epoch_s=EPOCH_S
    )
    task = asyncio.create_task(sender.run())
    number = start_us
    while not task.done():
        number += 1
        sender.offer(alarm(number, clock.now_us()))
        await asyncio.sleep(7.0)


if __name__ == "__main__":
    loop = VirtualTimeLoop()
    loop.run_until_complete(main(Home(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])))
