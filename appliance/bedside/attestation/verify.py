"""The strict verifier of usage statements: bytes in, a verdict with a named reason out, and the gateway's new state.

Checks run in `CHECKS`' order, cheapest and authenticating first, and the first that fails names the
refusal. Nothing that a stranger sends changes any state before its signature was checked. State is
passed in and given back, so that the check can run in any number of processes; storing and paying
are the caller's. Pure: no clock, file, socket or asyncio.

The chain's rule: a statement is number last + 1, carries the hash of the last, and a later epoch. One
that says `gap` of itself may leave numbers out (they were made, and never arrived in time): it is
verified, not payable, and the chain goes on from it; so is one after epochs without any. A number or
epoch that was signed twice with different bytes is an equivocation, and both are evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from bedside.attestation.audit import Audit, Subject, is_signed
from bedside.attestation.sign1 import (
    ALG_EDDSA,
    HEADER_ALG,
    HEADER_KID,
    HEADER_TYP,
    FormError,
    Signed,
    decode,
    encode,
    is_deterministic,
    take_apart,
)
from bedside.attestation.statement import (
    BEACON_BYTES,
    CBOR_CONTENT_FORMAT,
    CTI_BYTES,
    GENESIS,
    HARDWARE_MODEL,
    HASH_BYTES,
    OEM_ID,
    PROFILE,
    STATEMENT_BYTES,
    STATUS_OF_CODE,
    SUEID_BYTES,
    TYP,
    UINT_MAX,
    Claim,
    Link,
    Measured,
    Statement,
    Status,
    statement_hash,
)
from bedside.attestation.work import WORK_DEPTH, WORK_SLOTS

RECENT_MAX: Final = 64  # statements of which the hash is remembered, for equivocation
_DECODED_BYTES_MAX: Final = 4 * STATEMENT_BYTES  # more is never decoded, whichever checks are left out
MANDATORY: Final = frozenset(
    value for name, value in vars(Claim).items() if not name.startswith("_") and name not in ("LOCATION", "AUDIT")
)
ALLOWED: Final = MANDATORY | {Claim.LOCATION, Claim.AUDIT}  # the location has a check of its own


class Refusal(StrEnum):
    """Why a statement is refused. One word for each thing that can be wrong."""

    SIZE = "size"
    CBOR_FORM = "cbor_form"
    HEADER = "header"
    UNKNOWN_KEY = "unknown_key"
    REVOKED_KEY = "revoked_key"
    SIGNATURE = "signature"
    PROFILE = "profile"
    LOCATION = "location"
    CLAIM_MISSING = "claim_missing"
    CLAIM_UNKNOWN = "claim_unknown"
    CLAIM_VALUE = "claim_value"
    IDENTITY = "identity"
    EPOCH_FUTURE = "epoch_future"
    BEACON_STALE = "beacon_stale"
    BEACON_UNKNOWN = "beacon_unknown"
    ARRIVAL_LATE = "arrival_late"
    REPLAY = "replay"
    EQUIVOCATION = "equivocation"
    SEQUENCE_OLD = "sequence_old"
    SEQUENCE_SKIPPED = "sequence_skipped"
    PREVIOUS_HASH = "previous_hash"
    EPOCH_ORDER = "epoch_order"
    EPOCH_SKIPPED = "epoch_skipped"
    BOOT_COUNT = "boot_count"
    MODEL = "model"
    RUNTIME = "runtime"
    KERNELS = "kernels"
    VERSION = "version"
    AUDITOR = "auditor"
    AUDIT_SIGNATURE = "audit_signature"
    AUDIT_FAILED = "audit_failed"


MEANING: Final[dict[Refusal, str]] = {
    Refusal.SIZE: f"a statement has {STATEMENT_BYTES} bytes",
    Refusal.CBOR_FORM: "not a COSE_Sign1 in deterministic CBOR",
    Refusal.HEADER: "the header is not {EdDSA, kid, typ}",
    Refusal.UNKNOWN_KEY: "no gateway has enrolled this key",
    Refusal.REVOKED_KEY: "this key was revoked",
    Refusal.SIGNATURE: "the signature does not match",
    Refusal.PROFILE: "another profile than ours",
    Refusal.LOCATION: "it carries a location, which no statement may",
    Refusal.CLAIM_MISSING: "a mandatory claim is missing",
    Refusal.CLAIM_UNKNOWN: "it carries a claim that the profile does not know",
    Refusal.CLAIM_VALUE: "a claim's value has the wrong type, size or range",
    Refusal.IDENTITY: "the pseudonym is not the one that enrolled with this key",
    Refusal.EPOCH_FUTURE: "its epoch has not begun",
    Refusal.BEACON_STALE: "its beacon is another epoch's",
    Refusal.BEACON_UNKNOWN: "its beacon was never published",
    Refusal.ARRIVAL_LATE: "it came after its epoch's arrival window",
    Refusal.REPLAY: "this very statement was received before",
    Refusal.EQUIVOCATION: "its number or epoch was signed before with other bytes",
    Refusal.SEQUENCE_OLD: "its number is not after the last one: a rolled-back or copied box",
    Refusal.SEQUENCE_SKIPPED: "numbers were left out without saying so",
    Refusal.PREVIOUS_HASH: "it does not carry the hash of the statement before",
    Refusal.EPOCH_ORDER: "its epoch is not after the last one",
    Refusal.EPOCH_SKIPPED: "epochs were left out without saying so",
    Refusal.BOOT_COUNT: "its boot count went back: a rolled-back or copied box",
    Refusal.MODEL: "its models are none of the published reference values",
    Refusal.RUNTIME: "its inference runtime is none of the published reference values",
    Refusal.KERNELS: "its kernel path is none of the published reference values",
    Refusal.VERSION: "its software version is none of the published reference values",
    Refusal.AUDITOR: "its audit is by a key that is no enrolled site's auditor, or not by its own site's",
    Refusal.AUDIT_SIGNATURE: "its audit is not of the work that its last statement committed to",
    Refusal.AUDIT_FAILED: "the site's auditor found work that was not done as committed",
}


@dataclass(frozen=True, slots=True)
class Received:
    """What is remembered of a statement that was taken into the chain."""

    epoch: int
    seq: int
    hash: bytes
    root: bytes = b""  # of the work it committed to


class Tier(StrEnum):
    """How an epoch in service was attested, and so how it is paid."""

    SITE = "site"  # audited by the care site, and in service by its word
    STANDBY = "standby"  # audited by the care site, and not in service: an empty box
    HOME = "home"  # no care site: the gateway's own word, the lowest and capped


@dataclass(frozen=True, slots=True)
class Gateway:
    """One enrolled gateway as the operator knows it: its key, what it may run, and its chain's head."""

    kid: bytes
    public_key: bytes
    sueid: bytes
    references: tuple[Measured, ...]
    revoked: bool = False
    seq: int = 0
    epoch: int = -1
    boot_count: int = 0
    auditor: bytes = b""  # kid of its site's auditor, from its first audit on: without an audit it is not paid
    recent: tuple[Received, ...] = ()  # oldest first, at most `RECENT_MAX`

    @property
    def head(self) -> bytes:
        """The hash of the last statement in the chain; `GENESIS` before the first."""
        return self.recent[-1].hash if self.recent else GENESIS


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a statement came, in the operator's own epochs, and the beacons that it published.

    `beacons` holds at least the epochs of the arrival window, and older ones to tell stale from unknown.
    """

    epoch: int
    beacons: Mapping[int, bytes]
    operator: str
    late_epochs: int = 1  # a statement of epoch e may come until the end of epoch e + this
    auditors: Mapping[bytes, bytes] = field(default_factory=dict)  # kid -> public key, enrolled and not revoked


@dataclass(frozen=True, slots=True)
class Examined:
    """What the outer checks look at: the message, and who may have sent it."""

    data: bytes
    arrival: Arrival
    signed: Signed
    claims: dict[Any, Any]
    gateway: Gateway | None


@dataclass(frozen=True, slots=True)
class Case:
    """What the inner checks look at: an authentic statement, and what is known of its gateway."""

    statement: Statement
    gateway: Gateway
    arrival: Arrival
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refusal` None: verified. `payable` only when verified, and in service for the whole epoch by its own word."""

    refusal: Refusal | None
    hash: bytes
    kid: bytes | None = None
    statement: Statement | None = None
    gateway: Gateway | None = None  # the new state when verified

    @property
    def payable(self) -> bool:
        """Whether this epoch counts as in service."""
        return self.tier is not None

    @property
    def tier(self) -> Tier | None:
        """How the epoch is paid; None when it is not."""
        if self.refusal is not None or self.statement is None or self.statement.link.status is not Status.OK:
            return None
        if self.statement.audit is not None:
            return Tier.SITE if self.statement.audit.in_service else Tier.STANDBY
        return None if self.gateway is not None and self.gateway.auditor else Tier.HOME


OuterCheck = Callable[[Examined], Refusal | None]
InnerCheck = Callable[[Case], Refusal | None]
Find = Callable[[bytes], Gateway | None]


@dataclass(frozen=True, slots=True)
class Verifier:
    """The checks in their order: `outer` on the message, `inner` on what it says, once it is read.

    Tests leave checks out to show that they, and nothing else, stop an attack.
    """

    outer: Mapping[str, OuterCheck]
    inner: Mapping[str, InnerCheck]

    def without(self, *names: str) -> Verifier:
        """This verifier with some checks removed. Raises `ValueError` for a name that is none."""
        unknown = set(names) - set(self.outer) - set(self.inner)
        if unknown:
            raise ValueError(f"no such check: {', '.join(sorted(unknown))}")
        return Verifier(
            {name: check for name, check in self.outer.items() if name not in names},
            {name: check for name, check in self.inner.items() if name not in names},
        )

    def verify(self, data: bytes, find: Find, arrival: Arrival) -> Verdict:
        """Judge one statement; `find` gives the enrolled gateway of a kid. Raises nothing, whatever the bytes."""
        digest = statement_hash(data)
        if len(data) > _DECODED_BYTES_MAX or ("size" in self.outer and len(data) != STATEMENT_BYTES):
            return Verdict(Refusal.SIZE, digest)  # before anything is decoded
        try:
            signed = take_apart(data)
            claims = decode(signed.payload)
        except FormError:
            return Verdict(Refusal.CBOR_FORM, digest)
        kid = signed.kid
        if not isinstance(claims, dict):
            return Verdict(Refusal.CBOR_FORM, digest, kid)
        gateway = find(kid) if kid is not None else None
        examined = Examined(data, arrival, signed, claims, gateway)
        for check in self.outer.values():
            if refusal := check(examined):
                return Verdict(refusal, digest, kid, gateway=gateway)
        statement = read(claims, arrival.operator)
        if statement is None or gateway is None:  # without a gateway nothing was authenticated
            refusal = Refusal.CLAIM_VALUE if gateway is not None else Refusal.UNKNOWN_KEY
            return Verdict(refusal, digest, kid, gateway=gateway)
        case = Case(statement, gateway, arrival, digest)
        for inner in self.inner.values():
            if refusal := inner(case):
                return Verdict(refusal, digest, kid, statement, gateway)
        return Verdict(None, digest, kid, statement, _advanced(gateway, statement, digest))


def _advanced(gateway: Gateway, statement: Statement, digest: bytes) -> Gateway:
    link = statement.link
    recent = (*gateway.recent, Received(link.epoch, link.seq, digest, statement.work_root))[-RECENT_MAX:]
    auditor = statement.audit.auditor if statement.audit is not None else gateway.auditor
    return replace(
        gateway, seq=link.seq, epoch=link.epoch, boot_count=statement.boot_count, auditor=auditor, recent=recent
    )


# The outer checks: is this a well-formed message of an enrolled gateway, with the profile's claims?


def _size(examined: Examined) -> Refusal | None:
    return None if len(examined.data) == STATEMENT_BYTES else Refusal.SIZE


def _form(examined: Examined) -> Refusal | None:
    exact = is_deterministic(examined.data, examined.signed) and _encodes_to(examined.claims, examined.signed.payload)
    return None if exact else Refusal.CBOR_FORM


def _header(examined: Examined) -> Refusal | None:
    header = examined.signed.header
    exact = (
        set(header) == {HEADER_ALG, HEADER_KID, HEADER_TYP}
        and header[HEADER_ALG] == ALG_EDDSA
        and header[HEADER_TYP] == TYP
        and examined.signed.kid is not None
        and examined.signed.unprotected == {}
    )
    return None if exact else Refusal.HEADER


def _enrolment(examined: Examined) -> Refusal | None:
    return Refusal.UNKNOWN_KEY if examined.gateway is None else None


def _revocation(examined: Examined) -> Refusal | None:
    return Refusal.REVOKED_KEY if examined.gateway is not None and examined.gateway.revoked else None


def _signature(examined: Examined) -> Refusal | None:
    gateway = examined.gateway
    valid = gateway is not None and examined.signed.verified_by(gateway.public_key)
    return None if valid else Refusal.SIGNATURE


def _profile(examined: Examined) -> Refusal | None:
    return None if examined.claims.get(Claim.PROFILE) == PROFILE else Refusal.PROFILE


def _location(examined: Examined) -> Refusal | None:
    return Refusal.LOCATION if Claim.LOCATION in examined.claims else None


def _mandatory(examined: Examined) -> Refusal | None:
    return None if examined.claims.keys() >= MANDATORY else Refusal.CLAIM_MISSING


def _unknown(examined: Examined) -> Refusal | None:
    return None if examined.claims.keys() <= ALLOWED else Refusal.CLAIM_UNKNOWN


# The inner checks: is it fresh, the next of its chain, from the same box, and running what is published?


def _identity(case: Case) -> Refusal | None:
    return None if case.statement.sueid == case.gateway.sueid else Refusal.IDENTITY


def _beacon(case: Case) -> Refusal | None:
    if case.statement.link.epoch > case.arrival.epoch:
        return Refusal.EPOCH_FUTURE
    if case.arrival.beacons.get(case.statement.link.epoch) == case.statement.beacon:
        return None
    return Refusal.BEACON_STALE if case.statement.beacon in case.arrival.beacons.values() else Refusal.BEACON_UNKNOWN


def _window(case: Case) -> Refusal | None:
    return Refusal.ARRIVAL_LATE if case.arrival.epoch - case.statement.link.epoch > case.arrival.late_epochs else None


def _uniqueness(case: Case) -> Refusal | None:
    for known in case.gateway.recent:
        if known.hash == case.hash:
            return Refusal.REPLAY
        if known.epoch == case.statement.link.epoch or known.seq == case.statement.link.seq:
            return Refusal.EQUIVOCATION
    return None


def _sequence(case: Case) -> Refusal | None:
    link = case.statement.link
    if link.seq <= case.gateway.seq:
        return Refusal.SEQUENCE_OLD
    return Refusal.SEQUENCE_SKIPPED if link.seq > case.gateway.seq + 1 and link.status is Status.OK else None


def _previous(case: Case) -> Refusal | None:
    link = case.statement.link
    return Refusal.PREVIOUS_HASH if link.seq == case.gateway.seq + 1 and link.prev != case.gateway.head else None


def _epochs(case: Case) -> Refusal | None:
    link = case.statement.link
    if link.epoch <= case.gateway.epoch:
        return Refusal.EPOCH_ORDER
    return Refusal.EPOCH_SKIPPED if link.epoch > case.gateway.epoch + 1 and link.status is Status.OK else None


def _boot_count(case: Case) -> Refusal | None:
    return Refusal.BOOT_COUNT if case.statement.boot_count < case.gateway.boot_count else None


def _measurements(case: Case) -> Refusal | None:
    found = case.statement.measured
    left = [known for known in case.gateway.references if known.models == found.models]
    if not left:
        return Refusal.MODEL
    left = [known for known in left if (known.runtime, known.runtime_digest) == (found.runtime, found.runtime_digest)]
    if not left:
        return Refusal.RUNTIME
    left = [known for known in left if known.kernels == found.kernels]
    if not left:
        return Refusal.KERNELS
    return None if any(known.version == found.version for known in left) else Refusal.VERSION


def _audit(case: Case) -> Refusal | None:
    audit = case.statement.audit
    if audit is None:
        return None  # not refused: not paid, where it has a site
    key = case.arrival.auditors.get(audit.auditor)
    if key is None or case.gateway.auditor not in (b"", audit.auditor):
        return Refusal.AUDITOR
    last = case.gateway.recent[-1] if case.gateway.recent else None
    if last is None or last.epoch != case.statement.link.epoch - 1:
        return Refusal.AUDIT_SIGNATURE  # of other work than the statement before committed to
    subject = Subject(case.gateway.sueid, last.epoch, last.root, case.statement.beacon)
    return None if is_signed(audit, subject, key) else Refusal.AUDIT_SIGNATURE


def _audit_result(case: Case) -> Refusal | None:
    audit = case.statement.audit
    return Refusal.AUDIT_FAILED if audit is not None and audit.failed else None


STRICT: Final = Verifier(
    outer={
        "size": _size,
        "form": _form,
        "header": _header,
        "enrolment": _enrolment,
        "revocation": _revocation,
        "signature": _signature,
        "profile": _profile,
        "location": _location,
        "mandatory": _mandatory,
        "unknown": _unknown,
    },
    inner={
        "identity": _identity,
        "beacon": _beacon,
        "window": _window,
        "uniqueness": _uniqueness,
        "sequence": _sequence,
        "previous": _previous,
        "epochs": _epochs,
        "boot_count": _boot_count,
        "measurements": _measurements,
        "audit": _audit,
        "audit_result": _audit_result,
    },
)


# Reading the claims: types, sizes and ranges, nothing assumed.


def read(claims: dict[Any, Any], operator: str) -> Statement | None:
    """The statement in a claims map; None when a claim is missing or has a wrong type, size or range."""
    try:
        return _read(claims, operator)
    except (LookupError, ValueError, TypeError, ArithmeticError):  # decimals of CBOR tags can refuse to be compared
        return None


def _read(claims: dict[Any, Any], operator: str) -> Statement:
    _require(claims[Claim.OEMID] == OEM_ID and claims[Claim.HWMODEL] == HARDWARE_MODEL)
    _require(claims[Claim.SWNAME] == "bedside" and type(claims[Claim.OEMBOOT]) is bool)
    padding = claims[Claim.PADDING]
    _require(isinstance(padding, bytes) and padding == bytes(len(padding)))  # a message could hide in it
    sueids = claims[Claim.SUEIDS]
    _require(isinstance(sueids, dict) and set(sueids) == {f"op:{operator}"})
    (version,) = claims[Claim.SWVERSION]
    ((content_format, measured),) = claims[Claim.MEASUREMENTS]
    _require(content_format == CBOR_CONTENT_FORMAT and isinstance(version, str))
    _require(isinstance(measured, bytes))
    work, chain = claims[Claim.WORK], claims[Claim.CHAIN]
    _require(isinstance(work, dict) and isinstance(chain, dict))
    _require(set(work) == {1, 2, 3} and (work[2], work[3]) == (WORK_DEPTH, WORK_SLOTS))
    _require(set(chain) == {1, 2, 3, 4})
    return Statement(
        beacon=_bytes(claims[Claim.NONCE], BEACON_BYTES),
        cti=_bytes(claims[Claim.CTI], CTI_BYTES),
        issued_s=_uint(claims[Claim.IAT]),
        operator=operator,
        sueid=_bytes(sueids[f"op:{operator}"], SUEID_BYTES),
        boot_count=_uint(claims[Claim.BOOTCOUNT]),
        measured=_measured(measured, version),
        work_root=_bytes(work[1], HASH_BYTES),
        audit=Audit.from_map(claims[Claim.AUDIT]) if Claim.AUDIT in claims else None,
        link=Link(_uint(chain[1]), _bytes(chain[2], HASH_BYTES), _uint(chain[3]), STATUS_OF_CODE[_uint(chain[4])]),
        oem_boot=claims[Claim.OEMBOOT],
        debug_status=_uint(claims[Claim.DBGSTAT], 4),
    )


@lru_cache(maxsize=256)
def _measured(data: bytes, version: str) -> Measured:
    """What is measured is the same for many gateways and hours; only authentic statements come this far."""
    values = decode(data)
    _require(_encodes_to(values, data))
    return Measured.from_map(values, version)


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError("claim")


def _bytes(value: Any, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise ValueError("claim")
    return value


def _uint(value: Any, at_most: int = UINT_MAX) -> int:
    if type(value) is not int or not 0 <= value <= at_most:  # a bool is no number here
        raise ValueError("claim")
    return value


def _encodes_to(value: Any, data: bytes) -> bool:
    """Whether `data` is the deterministic encoding of `value`; what cannot be encoded again is not."""
    try:
        return encode(value) == data
    except Exception:  # noqa: BLE001  (whatever a stranger's tags decoded to)
        return False
