"""What a bad radio or a bad host does to a wearable's notifications on their way: seeded, and counted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

CUT_MAX = 60  # bytes


@dataclass(slots=True)
class Mischief:
    """Shares of notifications, 0 to 1, and a delay that all have. What was done stands in `done`."""

    duplicate: float = 0.0
    reorder: float = 0.0  # sent after the next one
    truncate: float = 0.0  # its end is missing
    delay_s: float = 0.0
    done: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1


class Carrier:
    """Carries notifications to `notify`, as the mischief of the moment will have it."""

    def __init__(self, notify: Callable[[str, bytes], bool], dice: random.Random) -> None:
        self.mischief = Mischief()
        self._notify = notify
        self._dice = dice
        self._waiting: dict[int, asyncio.TimerHandle] = {}
        self._swapped: tuple[str, bytes] | None = None
        self._number = 0

    def carry(self, uuid: str, payload: bytes) -> bool:
        """Send a notification; False when it will not arrive as it was."""
        mischief, dice = self.mischief, self._dice
        if mischief.truncate and dice.random() < mischief.truncate:
            mischief.count("truncate")
            self._later(uuid, payload[: -dice.randint(1, min(CUT_MAX, len(payload)))])
            return False
        if mischief.reorder and self._swapped is None and dice.random() < mischief.reorder:
            mischief.count("reorder")
            self._swapped = (uuid, payload)
            return True
        self._later(uuid, payload)
        if mischief.duplicate and dice.random() < mischief.duplicate:
            mischief.count("duplicate")
            self._later(uuid, payload)
        if self._swapped is not None:
            swapped, self._swapped = self._swapped, None
            self._later(*swapped)
        return True

    def lose(self) -> None:
        """The link ended: what was under way is lost."""
        for handle in self._waiting.values():
            handle.cancel()
        self._waiting.clear()
        self._swapped = None

    def _later(self, uuid: str, payload: bytes) -> None:
        if not self.mischief.delay_s and not self._waiting:
            self._notify(uuid, payload)
            return
        self.mischief.count("delay")
        self._number += 1
        number = self._number

        def arrive() -> None:
            self._waiting.pop(number, None)
            self._notify(uuid, payload)

        loop = asyncio.get_running_loop()
        due_s = loop.time() + self.mischief.delay_s
        last = next(reversed(self._waiting.values()), None)
        if last is not None:  # a delay that became shorter lets nothing overtake
            due_s = max(due_s, last.when())
        self._waiting[number] = loop.call_at(due_s, arrive)
