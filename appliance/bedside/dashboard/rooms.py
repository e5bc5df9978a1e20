"""What the request handlers share: the gateway's client and feed, the door, and the places for viewers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from bedside.dashboard.access import Access, Names
from bedside.dashboard.accounts import Accounts, Bucket, Throttle
from bedside.dashboard.feed import Feed
from bedside.dashboard.gateway_client import GatewayClient
from bedside.dashboard.my_door import PatientDoor
from bedside.settings import Home


@dataclass(frozen=True, slots=True, eq=False)
class Rooms:
    """Everything that a request may need; made once, in `create_app`."""

    client: GatewayClient
    feed: Feed
    access: Access
    names: Names
    cookie_name: str
    viewers: threading.BoundedSemaphore
    accounts: Accounts
    home: Home
    throttle: Throttle
    bucket: Bucket
    authority: Path | None  # the certificate that a browser is to trust, where connections are encrypted
    patients: PatientDoor | None = None
