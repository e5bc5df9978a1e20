"""The care team's end of the sealed alerts: its keys, and the opening of what the operator kept for it.

A recipient's folder: `recipient.key` (secret), `recipient-public.json` (given to the sites' boxes),
`senders/*.json` (the public files of the boxes it believes). On a site it is another machine than the
gateway; in the demonstration a folder of its own.

What it learns: from each slot's envelope, real or dummy, that the box was there; from a missing one,
that it was not. Two missing slots are a finding of their own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from bedside.attestation.alert import Alert, Envelope, EnvelopeError, open_envelope
from bedside.attestation.exchange import (
    PICKUP_MAX,
    MessageError,
    PickedUp,
    Subject,
    decode_picked_up,
    encode_pickup,
)
from bedside.core.errors import LinkError, SetupError
from bedside.core.keyfiles import load_or_make, write_new
from bedside.core.ports import Link
from bedside.core.sealing import SUITE_NAME, OpeningKey, SealingKey
from bedside.core.time import iso_utc
from bedside.network.identity import read_public

KEY_FILE: Final = "recipient.key"
PUBLIC_FILE: Final = "recipient-public.json"
MISSING_SLOTS_ALARM: Final = 2


@dataclass(frozen=True, slots=True)
class Recipient:
    """The care team's key, and the boxes that it believes (public key by kid)."""

    key: OpeningKey
    senders: dict[bytes, bytes]

    @classmethod
    def load(cls, folder: Path) -> Recipient:
        """Raises `SetupError` when there is no recipient here, or a file is damaged."""
        path = folder / KEY_FILE
        try:
            key = OpeningKey.of(path.read_bytes())
        except FileNotFoundError as error:
            raise SetupError(
                f"{folder} holds no recipient's key", hint="make one with `bedside recipient init DIR`"
            ) from error
        except (OSError, ValueError) as error:
            raise SetupError(f"recipient's key {path}: {error}", hint="restore it from a backup") from error
        return cls(key, dict(read_public(sender) for sender in sorted((folder / "senders").glob("*.json"))))


def init(folder: Path) -> Path:
    """Make a key pair in `folder` where there is none; the public file. Raises `SetupError`."""
    raw = load_or_make(folder / KEY_FILE, lambda: OpeningKey.generate().raw)
    public = OpeningKey.of(raw).public
    body = {"bedside": "recipient", "suite": SUITE_NAME, "id": public.id.hex(), "public_key": public.raw.hex()}
    write_new(folder / PUBLIC_FILE, (json.dumps(body, indent=2) + "\n").encode(), 0o644)
    (folder / "senders").mkdir(mode=0o700, exist_ok=True)
    return folder / PUBLIC_FILE


def trust(folder: Path, gateway_public: Path) -> bytes:
    """Let the recipient in `folder` believe the box with this public file; its kid. Raises `SetupError`."""
    kid, _ = read_public(gateway_public)
    (folder / "senders").mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new(folder / "senders" / f"{kid.hex()}.json", gateway_public.read_bytes(), 0o644)
    return kid


def add(recipients: Path, recipient_public: Path) -> SealingKey:
    """Let the box seal its alerts to this recipient too, from its next start on. Raises `SetupError`."""
    key = read_recipient(recipient_public)
    recipients.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new(recipients / f"{key.id.hex()}.json", recipient_public.read_bytes(), 0o644)
    return key


def read_recipient(path: Path) -> SealingKey:
    """A recipient's public file. Raises `SetupError` when it is not one."""
    try:
        body = json.loads(path.read_text())
        if body["bedside"] != "recipient":
            raise ValueError("another kind of file")
        return SealingKey.of(bytes.fromhex(body["public_key"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"{path} is no recipient's public file: {error}", hint="take the file that `bedside recipient init` wrote"
        ) from error


def read_recipients(folder: Path) -> tuple[SealingKey, ...]:
    """All recipients that the site has set up for this box. Raises `SetupError`."""
    return tuple(read_recipient(path) for path in sorted(folder.glob("*.json")))


@dataclass(frozen=True, slots=True)
class Told:
    """One alert as it reached the recipient first, with its newest state."""

    alert: Alert
    kid: bytes
    age_s: float  # when it left the box
    live: bool
    received_us: int  # by the operator's clock, when it was first received


@dataclass(frozen=True, slots=True)
class Silence:
    """Slots from which nothing came."""

    since_us: int
    until_us: int | None  # None: it lasts
    slots: int


@dataclass(slots=True)
class Mailbox:
    """What a recipient knows after opening envelopes. Duplicates and disorder change nothing."""

    opened: int = 0
    dummies: int = 0
    waiting: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    told: dict[tuple[bytes, str], Told] = field(default_factory=dict)
    slots: dict[bytes, dict[int, int]] = field(default_factory=dict)  # kid -> slot -> its length in ms
    newest: dict[bytes, int] = field(default_factory=dict)  # kid -> newest slot

    def take(self, item: PickedUp, recipient: Recipient) -> None:
        """Open one envelope and note what it tells; what does not open is counted with its reason."""
        try:
            kid, envelope = open_envelope(item.sealed, recipient.key, recipient.senders)
        except EnvelopeError as error:
            self.refused[str(error)] = self.refused.get(str(error), 0) + 1
            return
        seen = self.slots.setdefault(kid, {})
        if envelope.slot in seen and not envelope.alerts:
            return
        self.opened += envelope.slot not in seen
        self.dummies += not envelope.alerts
        seen[envelope.slot] = envelope.slot_ms
        if envelope.slot >= self.newest.get(kid, -1):
            self.newest[kid] = envelope.slot
            self.waiting = envelope.waiting
        for alert in envelope.alerts:
            self._note(kid, envelope, alert, item.received_us)

    def silences(self, kid: bytes, now_us: int) -> list[Silence]:
        """Where two or more slots in a row are missing, also after the newest one until now."""
        slots = sorted(self.slots.get(kid, {}))
        found: list[Silence] = []
        if not slots:
            return found
        slot_us = self.slots[kid][slots[-1]] * 1000
        for before, after in pairwise(slots):
            if after - before - 1 >= MISSING_SLOTS_ALARM:
                found.append(Silence((before + 1) * slot_us, after * slot_us, after - before - 1))
        missing = now_us // slot_us - slots[-1] - 1  # the slot that runs now may still come
        if missing >= MISSING_SLOTS_ALARM:
            found.append(Silence((slots[-1] + 1) * slot_us, None, missing))
        return found

    def alerts(self) -> list[Told]:
        """All alerts, newest first."""
        return sorted(self.told.values(), key=lambda told: -told.alert.raised_us)

    def _note(self, kid: bytes, envelope: Envelope, alert: Alert, received_us: int) -> None:
        known = self.told.get((kid, alert.alarm))
        if known is None:
            told = Told(alert, kid, envelope.age_s(alert), envelope.is_live(alert), received_us)
        elif alert.changed_us > known.alert.changed_us:
            told = Told(alert, kid, known.age_s, known.live, known.received_us)
        else:
            return
        self.told[(kid, alert.alarm)] = told


async def pick_up(link: Link, recipient: Recipient, since_us: int = 0) -> Mailbox:
    """Ask the operator for everything it keeps for this recipient, and open it. Raises `LinkError`."""
    mailbox, after = Mailbox(), 0
    while True:
        message = encode_pickup(recipient.key.public.id, after)
        try:
            items = decode_picked_up(await link.send(Subject.PICKUP, message, secrets.token_hex(16)))
        except MessageError as error:
            raise LinkError(f"the operator's answer cannot be read: {error}") from error
        for item in items:
            if item.received_us >= since_us:
                mailbox.take(item, recipient)
        if len(items) < PICKUP_MAX:
            return mailbox
        after = items[-1].number


def view(mailbox: Mailbox, senders: Iterable[bytes], now_us: int) -> dict[str, Any]:
    """What was opened, as plain JSON values. `ok` is false when a box is silent now, or was never heard."""
    boxes = [_box(mailbox, kid, now_us) for kid in senders]
    return {
        "v": 1,
        "time": iso_utc(now_us),
        "ok": bool(boxes) and all(box["in_contact"] for box in boxes),
        "boxes": boxes,
        "alerts": [_alert(told) for told in mailbox.alerts()],
        "envelopes": {"opened": mailbox.opened, "dummies": mailbox.dummies, "refused": mailbox.refused},
        "waiting_at_the_box": mailbox.waiting,
    }


def _box(mailbox: Mailbox, kid: bytes, now_us: int) -> dict[str, Any]:
    silences = mailbox.silences(kid, now_us)
    newest = mailbox.newest.get(kid)
    last_us = None if newest is None else newest * mailbox.slots[kid][newest] * 1000
    in_contact = last_us is not None and not any(silence.until_us is None for silence in silences)
    return {
        "kid": kid.hex(),
        "in_contact": in_contact,
        "last_contact": None if last_us is None else iso_utc(last_us),
        "silences": [
            {
                "since": iso_utc(silence.since_us),
                "until": None if silence.until_us is None else iso_utc(silence.until_us),
                "slots": silence.slots,
            }
            for silence in silences
        ],
    }


def _alert(told: Told) -> dict[str, Any]:
    alert = told.alert
    return {
        "alarm": alert.alarm,
        "patient": alert.patient,
        "kind": alert.kind,
        "class": str(alert.alarm_class),
        "priority": str(alert.priority),
        "state": str(alert.state),
        "raised": iso_utc(alert.raised_us),
        "changed": iso_utc(alert.changed_us),
        "age_s": round(told.age_s, 1),
        "live": told.live,
        "simulated": alert.simulated,
        "count": alert.count,
        "text": alert.text,
        "received": iso_utc(told.received_us),
        "box": told.kid.hex(),
    }
