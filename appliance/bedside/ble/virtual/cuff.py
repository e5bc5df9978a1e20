"""A virtual blood pressure cuff on a body's arm: it inflates by its own timetable and calls with what it measured."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal

from bedside.ble import blood_pressure, spot
from bedside.ble.air import Air
from bedside.ble.blood_pressure import BloodPressure
from bedside.ble.date_time import CurrentTime
from bedside.ble.ieee11073 import Special
from bedside.ble.virtual.visitor import VirtualVisitor
from bedside.core.physiology import Physiology
from bedside.core.time import US_PER_S

FIRST_S = 20.0
EVERY_S = 300.0  # an interval that ward cuffs are programmed to
CLOCK_US = 1_577_836_800 * US_PER_S  # 2020-01-01


class VirtualCuff:
    """One cuff on `air`. Call `start` inside the running loop, `close` at the end.

    Its clock begins at `CLOCK_US`, which is wrong, until somebody sets it.
    """

    def __init__(self, physiology: Physiology, air: Air, *, name: str, address: str) -> None:
        self.visitor = VirtualVisitor(
            air,
            name=name,
            address=address,
            service=blood_pressure.SERVICE,
            characteristic=blood_pressure.MEASUREMENT,
            clock=lambda: spot.current_time(self._clock_us(), 0.0),
            on_clock_set=self._set_clock,
        )
        self._ahead_us = CLOCK_US
        self._physiology = physiology
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Switch on."""
        await self.visitor.start()
        self._task = asyncio.create_task(self._measure(), name="virtual cuff")

    async def close(self) -> None:
        """Switch off for good. Safe to call twice, and before `start`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self.visitor.close()

    def _clock_us(self) -> int:
        return self._ahead_us + round(asyncio.get_running_loop().time() * US_PER_S)

    def _set_clock(self, value: CurrentTime) -> None:
        shown_s = spot.clock_offset_s(value, 0)
        if shown_s is not None:
            self._ahead_us += round(-shown_s * US_PER_S) - self._clock_us()

    async def _measure(self) -> None:
        """Measure for ever."""
        begun_s = asyncio.get_running_loop().time()
        await asyncio.sleep(FIRST_S)
        while True:
            at_s = asyncio.get_running_loop().time() - begun_s
            pressures = self._physiology.pressure_mmhg(at_s)
            if pressures is not None:
                pulse = self._physiology.pulse_bpm(at_s)
                packet = BloodPressure(
                    systolic=Decimal(round(pressures[0])),
                    diastolic=Decimal(round(pressures[1])),
                    map=Special.NAN,
                    unit="mmHg",
                    timestamp=spot.current_time(self._clock_us(), 0.0).datetime,
                    pulse_rate=None if pulse is None else Decimal(round(pulse)),
                )
                self.visitor.measure(packet.encode())
            await asyncio.sleep(EVERY_S)
