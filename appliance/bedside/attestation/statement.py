"""The usage statement: once an epoch a gateway signs which software and models it ran, and nothing about patients.

An EAT (RFC 9711) in a CWT (RFC 8392): COSE_Sign1 over deterministic CBOR, `STATEMENT_BYTES` long,
always. There is no count in it: its own number counts epochs, the work tree has a constant size, a
padding claim takes up what versions and numbers leave free. `statement.cddl` has the form.

The statement of epoch e carries the operator's beacon of e, so it was made in e or later; it commits
to the work of the epoch before, and carries the care site's audit of what the
last one committed to. It never carries a place, a serial number or an uptime.

Pure: keys and time are passed in; no clock, file, socket or asyncio.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from bedside.attestation.audit import Audit
from bedside.attestation.sign1 import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Signer, assemble, encode, header_of, sign1
from bedside.attestation.work import WORK_DEPTH, WORK_SLOTS

STATEMENT_BYTES: Final = 1280
PROFILE: Final = "tag:bedside.example,2026:epoch/1"
TYP: Final = "application/eat+cwt"
OEM_ID: Final = bytes.fromhex("b3a0f3c4c9d24f0f9f0c5d1a6c1e7b52")  # random form of RFC 9711, 4.2.3
HARDWARE_MODEL: Final = b"bedside-gateway"  # coarse: no serial, no board
BEACON_BYTES: Final = 32
HASH_BYTES: Final = 32
CTI_BYTES: Final = 16
SUEID_BYTES: Final = 33  # RFC 9711, 4.2.1: type RAND (0x01), then 32 random bytes
GENESIS: Final = bytes(HASH_BYTES)  # the hash before the first statement
MODELS_MAX: Final = 6
NAME_CHARS_MAX: Final = 24
UINT_MAX: Final = 2**63 - 1
CBOR_CONTENT_FORMAT: Final = 60  # CoAP Content-Formats: application/cbor


class Claim:
    """Claim keys: CWT (RFC 8392, 4), EAT (RFC 9711, 10.3), and our own below -65536 (private use)."""

    IAT: Final = 6
    CTI: Final = 7
    NONCE: Final = 10
    SUEIDS: Final = 257
    OEMID: Final = 258
    HWMODEL: Final = 259
    OEMBOOT: Final = 262
    DBGSTAT: Final = 263
    LOCATION: Final = 264  # never written, always refused
    PROFILE: Final = 265
    BOOTCOUNT: Final = 267
    SWNAME: Final = 270
    SWVERSION: Final = 271
    MEASUREMENTS: Final = 273
    WORK: Final = -70001
    CHAIN: Final = -70002
    AUDIT: Final = -70003
    PADDING: Final = -70009


class Status(StrEnum):
    """How the gateway itself describes the epoch before: in service, not all of it, or out for maintenance."""

    OK = "ok"
    GAP = "gap"
    MAINTENANCE = "maint"


STATUS_CODES: Final[dict[Status, int]] = {Status.OK: 0, Status.GAP: 1, Status.MAINTENANCE: 2}
STATUS_OF_CODE: Final[dict[int, Status]] = {code: status for status, code in STATUS_CODES.items()}


@dataclass(frozen=True, slots=True)
class Measured:
    """What the gateway runs, measured as it was loaded."""

    models: Mapping[str, bytes]  # name -> SHA-256 of the model's bytes as loaded; empty: none is loaded
    runtime: str  # name and version of the inference runtime
    runtime_digest: bytes  # SHA-256 of the runtime's library file
    kernels: str  # "builtin" or "xnnpack": int8 results differ by one step between the two
    version: str  # of Bedside

    def __post_init__(self) -> None:
        """Raises `ValueError` for what would not fit the statement's constant size."""
        names = (*self.models, self.runtime, self.kernels, self.version)
        if len(self.models) > MODELS_MAX or any(not 0 < len(name.encode()) <= NAME_CHARS_MAX for name in names):
            raise ValueError(
                f"measured: at most {MODELS_MAX} models, names and versions of 1 to {NAME_CHARS_MAX} bytes"
            )
        if any(len(digest) != HASH_BYTES for digest in (*self.models.values(), self.runtime_digest)):
            raise ValueError(f"measured: a digest has {HASH_BYTES} bytes")

    def to_map(self) -> dict[int, Any]:
        """As it stands in the statement's measurement and at the operator."""
        return {1: dict(self.models), 2: self.runtime, 3: self.runtime_digest, 4: self.kernels}

    @classmethod
    def from_map(cls, values: Any, version: str) -> Measured:
        """The reverse of `to_map`. Raises `ValueError` when it is not that."""
        if not isinstance(values, dict) or set(values) != {1, 2, 3, 4}:
            raise ValueError("measured: expected a map with keys 1 to 4")
        models, runtime, runtime_digest, kernels = (values[key] for key in (1, 2, 3, 4))
        if not isinstance(models, dict) or not all(isinstance(name, str) for name in (*models, runtime, kernels)):
            raise ValueError("measured: expected names as text")
        if not all(isinstance(digest, bytes) for digest in (*models.values(), runtime_digest)):
            raise ValueError("measured: expected digests as bytes")
        return cls(models, runtime, runtime_digest, kernels, version)


@dataclass(frozen=True, slots=True)
class Link:
    """Where a statement stands in its gateway's chain."""

    seq: int  # 1, 2, 3 …: counts statements, so hours
    prev: bytes  # SHA-256 of the statement before; `GENESIS` for the first
    epoch: int  # the operator's number of the epoch
    status: Status


@dataclass(frozen=True, slots=True)
class Statement:
    """All that a statement says."""

    beacon: bytes
    cti: bytes  # random, names this statement
    issued_s: int  # the gateway's own clock, seconds UTC; nothing is decided by it
    operator: str  # whom the pseudonym is for
    sueid: bytes
    boot_count: int
    measured: Measured
    work_root: bytes
    link: Link
    audit: Audit | None = None  # of the work that the statement before committed to
    oem_boot: bool = False  # true needs measured boot
    debug_status: int = 0  # RFC 9711, 4.2.9: 0 enabled … 4 disabled fully and for good
    extra: Mapping[int, Any] = field(default_factory=dict)  # further claims; a strict verifier knows none


def statement_hash(data: bytes) -> bytes:
    """What the next statement carries as `prev`: SHA-256 of the whole signed message."""
    return hashlib.sha256(data).digest()


def claims(statement: Statement) -> dict[int, Any]:
    """The claims map, without padding."""
    link = statement.link
    return {
        Claim.IAT: statement.issued_s,
        Claim.CTI: statement.cti,
        Claim.NONCE: statement.beacon,
        Claim.SUEIDS: {f"op:{statement.operator}": statement.sueid},
        Claim.OEMID: OEM_ID,
        Claim.HWMODEL: HARDWARE_MODEL,
        Claim.OEMBOOT: statement.oem_boot,
        Claim.DBGSTAT: statement.debug_status,
        Claim.PROFILE: PROFILE,
        Claim.BOOTCOUNT: statement.boot_count,
        Claim.SWNAME: "bedside",
        Claim.SWVERSION: [statement.measured.version],
        Claim.MEASUREMENTS: [[CBOR_CONTENT_FORMAT, encode(statement.measured.to_map())]],
        Claim.WORK: {1: statement.work_root, 2: WORK_DEPTH, 3: WORK_SLOTS},
        Claim.CHAIN: {1: link.seq, 2: link.prev, 3: link.epoch, 4: STATUS_CODES[link.status]},
        **({Claim.AUDIT: statement.audit.to_map()} if statement.audit is not None else {}),
        **statement.extra,
    }


def make(statement: Statement, signer: Signer) -> bytes:
    """The signed statement: `STATEMENT_BYTES` bytes, whatever it says.

    Raises `ValueError` when the claims cannot fit, which `Measured` and the field sizes exclude.
    """
    payload = padded(claims(statement), STATEMENT_BYTES - _envelope_bytes(signer))
    return sign1(payload, signer, TYP)


def padded(unpadded: Mapping[int, Any], payload_bytes: int) -> bytes:
    """The claims with a padding claim of zeros, so that they take exactly `payload_bytes`."""
    shortest = encode({**unpadded, Claim.PADDING: bytes(256)})  # from 256 on, a byte string's head has 3 bytes
    more = payload_bytes - len(shortest)
    if more < 0:
        raise ValueError(f"claims leave {256 + more} bytes for padding: at least 256 are needed")
    return encode({**unpadded, Claim.PADDING: bytes(256 + more)})


def _envelope_bytes(signer: Signer) -> int:
    """What COSE_Sign1 adds to a payload of about this size."""
    header = encode(header_of(signer.public_key, TYP))
    payload = bytes(STATEMENT_BYTES - PUBLIC_KEY_BYTES)  # any size whose head has 3 bytes
    return len(assemble(header, payload, bytes(SIGNATURE_BYTES))) - len(payload)
