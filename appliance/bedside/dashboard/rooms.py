"""What the request handlers share: the gateway's client and feed, the door, and the places for viewers."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from bedside.dashboard.access import Access, Names
from bedside.dashboard.feed import Feed
from bedside.dashboard.gateway_client import GatewayClient
from bedside.dashboard.my_door import PatientDoor


@dataclass(frozen=True, slots=True, eq=False)
class Rooms:
    """Everything that a request may need; made once, in `create_app`."""

    client: GatewayClient
    feed: Feed
    access: Access
    names: Names
    cookie_name: str
    viewers: threading.BoundedSemaphore
    patients: PatientDoor | None = None
