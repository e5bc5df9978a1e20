"""Telling the service manager that a process lives: systemd's notification protocol (sd_notify(3)), one datagram each.

Without a manager (`NOTIFY_SOCKET` unset) nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket

READY = "READY=1"
ALIVE = "WATCHDOG=1"


def tell(state: str) -> bool:
    """Send `state`; whether there was a manager that took it. Raises nothing: monitoring does not depend on it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.sendto(state.encode(), name)
        return True
    return False
