"""How long records are kept, by kind and patient; without a rule they are kept for good.

    retention.json      {"v": 1, "rules": {"": {"ecg": 365}, PATIENT: {"events": 3650}}, "seal": ...}

A kind is that of a stream (ecg, pleth, acceleration, ...), or `events`: numbers, beats, alarms and audit of a patient
together, because they share rows. The file is sealed by the box key: an altered one deletes nothing, and is said.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path

from bedside.core.codes import StreamKind
from bedside.core.errors import SetupError, StoreError
from bedside.core.events import Audit
from bedside.core.time import iso_utc
from bedside.records.files import write_atomically
from bedside.records.keys import KeyRing

POLICY_FILE = "retention.json"
PURPOSE = "retention"
EVENTS = "events"
KINDS = (*map(str, StreamKind), EVENTS)
DAY_US = 86_400_000_000
DAYS_MAX = 36_500
FORGET_US = 300_000_000  # between two looks at what is past its time
MAKE_ROOM = "make-room"  # a rule of all: days that are kept even of the oldest samples on a disk that is nearly full
ALL = ""  # of all patients that have no rule of their own


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules: patient (or `ALL`), kind, days."""

    rules: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not any(self.rules.values())

    def days(self, patient: str, kind: str) -> int | None:
        """How long; None: for good. A patient's own rule (0: for good) goes before that of all."""
        own = self.rules.get(patient, {}).get(kind)
        days = own if own is not None else self.rules.get(ALL, {}).get(kind)
        return days or None

    def changed(self, patient: str, kind: str, days: int) -> Policy:
        """With another rule; 0 days: for good. Raises `SetupError`."""
        if kind not in KINDS and (kind, patient) != (MAKE_ROOM, ALL):
            raise SetupError(f"kind {kind!r} is not known", hint=f"one of {', '.join(KINDS)}, {MAKE_ROOM} (of all)")
        if not 0 <= days <= DAYS_MAX:
            raise SetupError(f"{days} days cannot be kept", hint=f"1 to {DAYS_MAX}, or 0: for good")
        rules = {name: dict(rule) for name, rule in self.rules.items()}
        rules.setdefault(patient, {})[kind] = days
        return Policy(rules)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What one step deleted."""

    patient: str
    kind: str
    before_us: int
    entries: int
    why: str = "retention"

    def audit(self, event_id: str, now_us: int) -> Audit:
        """The act, in the box's audit."""
        return Audit(
            id=event_id,
            patient=None,
            start_us=now_us,
            actor=self.why,
            action="deleted",
            detail={
                "patient": self.patient,
                "kind": self.kind,
                "before": iso_utc(self.before_us),
                "entries": self.entries,
            },
        )


def load_policy(path: Path, keys: KeyRing) -> Policy:
    """The rules of this box; none where there is no file. Raises `StoreError` for one that this box did not write."""
    try:
        held = json.loads(path.read_bytes())
        rules = {str(who): {str(kind): int(days) for kind, days in rule.items()} for who, rule in held["rules"].items()}
        if not any(hmac.compare_digest(held["seal"], _seal(rules, key)) for key in keys.derive_all(PURPOSE)):
            raise ValueError("seal")
    except FileNotFoundError:
        return Policy()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is altered or damaged") from error
    return Policy(rules)


def save_policy(path: Path, keys: KeyRing, policy: Policy) -> None:
    """Durable on return. Raises `StoreError`."""
    content = {"v": 1, "rules": policy.rules, "seal": _seal(policy.rules, keys.derive(PURPOSE))}
    write_atomically(path, json.dumps(content, indent=1, sort_keys=True).encode())


def _seal(rules: dict[str, dict[str, int]], key: bytes) -> str:
    return hmac.digest(key, b"bedside retention v1" + json.dumps(rules, sort_keys=True).encode(), "sha256").hex()
