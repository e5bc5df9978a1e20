"""Which drivers there are: those of Bedside, and those that other packages bring through their entry points."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from bedside.ble.drivers import movesense, polar
from bedside.ble.drivers.api import API, Device, Driver

logger = logging.getLogger(__name__)

GROUP = "bedside.wearables"
OURS = (polar.DRIVER, movesense.DRIVER)


@cache
def drivers() -> tuple[Driver, ...]:
    """All drivers, ours first. One that cannot be loaded is left out, loudly: the others' patients are monitored."""
    return with_others(entry_points(group=GROUP))


def with_others(found: Iterable[EntryPoint]) -> tuple[Driver, ...]:
    """Our drivers and those of `found`; of two with one name the first counts."""
    known = {driver.name: driver for driver in OURS}
    for entry in found:
        try:
            driver = entry.load()
        except Exception:
            logger.exception("driver not loaded", extra={"driver": entry.name})
            continue
        if not isinstance(driver, Driver) or driver.api != API:
            made_for = getattr(driver, "api", None)
            logger.error("driver refused", extra={"driver": entry.name, "api": str(made_for), "expected": API})
            continue
        known.setdefault(driver.name, driver)
    return tuple(known.values())


def driver_for(device: Device, among: Iterable[Driver] | None = None) -> Driver | None:
    """The first driver that knows this wearable."""
    return next((driver for driver in (drivers() if among is None else among) if driver.match(device)), None)
