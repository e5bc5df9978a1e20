"""An operator's evidence for a run of epochs: all that anybody needs to judge its verdicts and payments again.

In it are the statements that were verified, the beacons, the gateways and auditors as they were enrolled, and
the pool: nothing of a patient, since there is none in statements. `judge` runs the strict verifier over it and
shares the pool; whoever holds the file holds the operator to that. What it cannot show is a statement that the
operator left out: a gateway's owner has his own copy of each. Pure: bytes and values.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bedside.attestation.rewards import RULE, Earned, Shares, share
from bedside.attestation.sign1 import FormError, decode, encode
from bedside.attestation.statement import Measured
from bedside.attestation.verify import STRICT, Arrival, Gateway, Received, Verdict, Verifier

FORM: Final = "bedside-evidence/1"
STATEMENTS_MAX: Final = 1_000_000


class EvidenceError(ValueError):
    """A file that is no evidence, or not all of it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One statement as the operator received it."""

    kid: bytes
    arrival_epoch: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """Epochs `first` to `last`, both included."""

    operator: str
    first: int
    last: int
    pool: int  # of each epoch, in the smallest unit
    beacons: Mapping[int, bytes]
    gateways: tuple[Gateway, ...]  # as they were before `first`
    auditors: Mapping[bytes, tuple[bytes, int]]  # kid -> public key, licensed beds
    statements: tuple[Taken, ...]  # in the order received


@dataclass(frozen=True, slots=True)
class Judged:
    """One statement and what the strict verifier says of it."""

    taken: Taken
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """All verdicts, and how each epoch's pool is shared."""

    judged: tuple[Judged, ...]
    shares: Mapping[int, Shares]

    def totals(self) -> dict[bytes, int]:
        """What each gateway is paid over all the epochs."""
        sums: dict[bytes, int] = defaultdict(int)
        for one in self.shares.values():
            for kid, amount in one.paid.items():
                sums[kid] += amount
        return dict(sums)

    @property
    def unallocated(self) -> int:
        """What nobody earned."""
        return sum(one.unallocated for one in self.shares.values())


def judge(evidence: Evidence, verifier: Verifier = STRICT) -> Outcome:
    """Judge every statement again, in the order received, and share each epoch's pool."""
    gateways = {gateway.kid: gateway for gateway in evidence.gateways}
    auditors = {kid: key for kid, (key, _) in evidence.auditors.items()}
    judged: list[Judged] = []
    earned: dict[int, dict[bytes, Earned]] = defaultdict(dict)
    for taken in evidence.statements:
        arrival = Arrival(taken.arrival_epoch, evidence.beacons, evidence.operator, auditors=auditors)
        verdict = verifier.verify(taken.data, gateways.get, arrival)
        judged.append(Judged(taken, verdict))
        if verdict.refusal is None and verdict.gateway is not None:
            gateways[verdict.gateway.kid] = verdict.gateway
        if verdict.tier is not None and verdict.statement is not None and verdict.kid is not None:
            audit = verdict.statement.audit
            one = Earned(verdict.tier, audit.auditor if audit is not None else b"")
            earned[verdict.statement.link.epoch][verdict.kid] = one
    beds = {kid: count for kid, (_, count) in evidence.auditors.items()}
    epochs = range(evidence.first, evidence.last + 1)
    return Outcome(tuple(judged), {epoch: share(evidence.pool, earned[epoch], beds) for epoch in epochs})


def reward_file(evidence: Evidence, outcome: Outcome) -> dict[str, Any]:
    """What the operator publishes, as JSON values: totals by gateway, and which evidence they follow from."""
    totals = outcome.totals()
    return {
        "rule": RULE,
        "operator": evidence.operator,
        "epochs": [evidence.first, evidence.last],
        "pool_per_epoch": evidence.pool,
        "evidence_sha256": hashlib.sha256(encode_evidence(evidence)).hexdigest(),
        "paid": {kid.hex(): totals[kid] for kid in sorted(totals)},
        "unallocated": outcome.unallocated,
    }


def encode_evidence(evidence: Evidence) -> bytes:
    """Deterministic CBOR."""
    gateways = [
        [
            one.kid, one.public_key, one.sueid, [[known.to_map(), known.version] for known in one.references],
            one.revoked, one.seq, one.epoch, one.boot_count, one.auditor,
            [[item.epoch, item.seq, item.hash, item.root] for item in one.recent],
        ]
        for one in evidence.gateways
    ]  # fmt: skip
    auditors = [[kid, key, beds] for kid, (key, beds) in sorted(evidence.auditors.items())]
    statements = [[one.kid, one.arrival_epoch, one.data] for one in evidence.statements]
    head = [FORM, evidence.operator, evidence.first, evidence.last, evidence.pool]
    return encode([*head, dict(evidence.beacons), gateways, auditors, statements])


def decode_evidence(data: bytes) -> Evidence:
    """Raises `EvidenceError`."""
    try:
        form, operator, first, last, pool, beacons, gateways, auditors, statements = decode(data)
        if form != FORM or not isinstance(operator, str) or len(statements) > STATEMENTS_MAX:
            raise EvidenceError("evidence: another form or version")
        found = Evidence(
            operator, _int(first), _int(last), _int(pool),
            {_int(epoch): _bytes(value) for epoch, value in beacons.items()},
            tuple(_gateway(row) for row in gateways),
            {_bytes(kid): (_bytes(key), _int(beds)) for kid, key, beds in auditors},
            tuple(Taken(_bytes(kid), _int(epoch), _bytes(raw)) for kid, epoch, raw in statements),
        )  # fmt: skip
    except (FormError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise EvidenceError(
            f"evidence: {error}" if isinstance(error, EvidenceError) else "evidence: damaged"
        ) from error
    if found.last - found.first >= STATEMENTS_MAX or encode_evidence(found) != data:
        raise EvidenceError("evidence: not in deterministic CBOR")
    return found


def words(verdict: Verdict) -> str:
    """A verdict in one word for a table: how it is paid, why not, or why it was refused."""
    if verdict.refusal is not None:
        return f"refused: {verdict.refusal}"
    return f"paid as {verdict.tier}" if verdict.tier is not None else "verified, not paid"


def _gateway(row: Any) -> Gateway:
    kid, public_key, sueid, references, revoked, seq, epoch, boot_count, auditor, recent = row
    measured = tuple(Measured.from_map(values, version) for values, version in references)
    base = Gateway(_bytes(kid), _bytes(public_key), _bytes(sueid), measured, bool(revoked))
    return replace(
        base, seq=_int(seq), epoch=_int(epoch, -1), boot_count=_int(boot_count), auditor=_bytes(auditor),
        recent=tuple(Received(_int(a), _int(b), _bytes(c), _bytes(d)) for a, b, c, d in recent),
    )  # fmt: skip


def _int(value: Any, at_least: int = 0) -> int:
    if type(value) is not int or not at_least <= value < 2**63:
        raise EvidenceError("a number is missing or out of range")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise EvidenceError("a byte string is missing")
    return value
