"""The health of the appliance's parts, and tasks that are started anew when they fall over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bedside.core.api import PartView
from bedside.core.time import Clock

log = logging.getLogger(__name__)

BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
ORDER = ("gateway", "ble", "models", "alarms", "records", "network", "dashboard", "annunciator", "operator")


class Parts:
    """What each part last said of itself. `changed(name, failed, detail)` is called when one fails or is well again."""

    def __init__(self, changed: Callable[[str, bool, str], None]) -> None:
        self._states: dict[str, PartView] = {}
        self._changed = changed

    def set(self, name: str, state: str, detail: str) -> None:
        """Note that part `name` is ok, starting, degraded or failed."""
        before = self._states.get(name)
        self._states[name] = PartView(name=name, state=state, detail=detail)
        failed, failed_before = state == "failed", before is not None and before["state"] == "failed"
        if failed != failed_before:
            self._changed(name, failed, detail)

    def views(self) -> list[PartView]:
        """All parts, in the order in which an engineer looks at them."""
        known = {name: index for index, name in enumerate(ORDER)}
        return sorted(self._states.values(), key=lambda part: (known.get(part["name"], len(ORDER)), part["name"]))


async def keep_running(name: str, run: Callable[[], Awaitable[None]], parts: Parts, clock: Clock) -> None:
    """Run `run` until cancelled. When it ends or fails it is started again, with back-off, and the part is failed.

    A part is well again when it has run for as long as its back-off was.
    """
    failures = 0
    while True:
        began_s = clock.monotonic_s()
        well = asyncio.get_running_loop().call_later(
            BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)] if failures else 0.0, parts.set, name, "ok", "running"
        )
        try:
            await run()
            detail = "it ended though nobody stopped it"
        except Exception as error:
            log.exception("part failed", extra={"part": name})
            detail = f"it failed: {type(error).__name__}"
        finally:
            well.cancel()
        if clock.monotonic_s() - began_s > 2 * BACK_OFF_S[-1]:
            failures = 0
        pause_s = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
        parts.set(name, "failed", f"{detail}; started again in {pause_s:g} s")
        await asyncio.sleep(pause_s)
        failures += 1
