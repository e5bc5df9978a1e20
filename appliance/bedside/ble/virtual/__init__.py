"""Virtual wearables: real GATT servers on bumble devices that measure a `Physiology`, with faults on demand."""

from bedside.ble.virtual.wearable import Ledger, VirtualWearable

__all__ = ["Ledger", "VirtualWearable"]
