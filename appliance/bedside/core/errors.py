"""Bedside's errors: one tree, and the type says who must act.

    BedsideError
    ├── DecodeError      the sender: bytes that are not what their characteristic says
    ├── WearableError    time: a radio or a strap failed; the session tries again
    ├── StoreError       the box: records cannot be written or read back whole
    │   └── RejectedError  we: this content can never be stored, however often it is tried
    ├── LinkError        time: the way to the operator is down; the outbox keeps what was to be sent
    └── SetupError       the person: a file, key, port or setting must be changed; carries a hint

No message holds patient data or a secret.
"""

from __future__ import annotations


class BedsideError(Exception):
    """Everything that Bedside raises on purpose."""


class DecodeError(BedsideError):
    """Bytes from a wearable that cannot be read as their characteristic promises."""

    def __init__(self, characteristic: str, field: str, reason: str) -> None:
        self.characteristic = characteristic
        self.field = field
        self.reason = reason
        super().__init__(f"{characteristic}: {field}: {reason}")


class WearableError(BedsideError):
    """A wearable or its link failed in a way that time may mend."""


class StoreError(BedsideError):
    """Records could not be written, or could not be read back whole."""


class RejectedError(StoreError):
    """What was to be written can never be stored: a stream of another patient, a time out of range. Nothing was."""


class LinkError(BedsideError):
    """The link to the operator failed; what was to be sent stays in the outbox."""


class SetupError(BedsideError):
    """Something that a person must change: `str()` says what is wrong, `hint` what to do."""

    def __init__(self, message: str, *, hint: str) -> None:
        self.hint = hint
        super().__init__(message)
