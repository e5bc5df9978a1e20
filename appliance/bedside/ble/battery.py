"""Battery Service 1.0: battery level (0x2A19), both directions. Pure; no clock, file, socket or asyncio."""

from __future__ import annotations

from dataclasses import dataclass

from bedside.ble.reader import Reader

SERVICE = "0000180f-0000-1000-8000-00805f9b34fb"
LEVEL = "00002a19-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryLevel:
    """Charge in percent, 0 to 100."""

    battery_pct: int

    def encode(self) -> bytes:
        return bytes([self.battery_pct])


def decode_battery_level(payload: bytes) -> BatteryLevel:
    """Decode 0x2A19. Raises `DecodeError`, and nothing else; 101 to 255 are reserved and refused."""
    reader = Reader("battery level 2A19", payload)
    level = reader.u8("battery level")
    if level > 100:
        reader.refuse("battery level", f"{level} %: at most 100 is defined")
    reader.end()
    return BatteryLevel(battery_pct=level)
