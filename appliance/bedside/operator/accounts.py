"""Evidence out of the operator's database: what anybody needs to judge its payments for some epochs again."""

from __future__ import annotations

from dataclasses import replace

from bedside.attestation.evidence import Evidence, Taken
from bedside.attestation.sign1 import decode, take_apart
from bedside.attestation.verify import RECENT_MAX, Gateway, Received, read
from bedside.core.errors import SetupError
from bedside.operator.sink import Sink


def newest_epoch(sink: Sink) -> int | None:
    """The newest epoch that a verified statement is of."""
    rows = sink.rows("SELECT max(epoch) AS epoch FROM statement WHERE refusal IS NULL")
    epoch = rows[0]["epoch"]
    return None if epoch is None else int(epoch)


def evidence(sink: Sink, *, operator: str, first: int, last: int, pool: int, epoch_us: int) -> Evidence:
    """The evidence of epochs `first` to `last`. Raises `SetupError` when there is nothing, or no longer all of it."""
    rows = sink.rows(
        "SELECT kid, received_us, data FROM statement WHERE refusal IS NULL AND epoch BETWEEN ? AND ? ORDER BY number",
        (first, last),
    )
    beacons = {row["epoch"]: row["value"] for row in sink.rows("SELECT * FROM beacon WHERE epoch <= ?", (last + 1,))}
    beacons = {epoch: value for epoch, value in beacons.items() if epoch >= first - 1}
    if not rows:
        raise SetupError(
            f"no verified statement of epochs {first} to {last} is kept",
            hint="`bedside operator status` names the newest",
        )
    statements = tuple(Taken(row["kid"], row["received_us"] // epoch_us, row["data"]) for row in rows)
    kids = sorted({one.kid for one in statements})
    auditors = sink.rows("SELECT kid, public_key, beds FROM auditor")
    return Evidence(
        operator=operator,
        first=first,
        last=last,
        pool=pool,
        beacons=beacons,
        gateways=tuple(_before(sink, kid, first, operator) for kid in kids),
        auditors={row["kid"]: (row["public_key"], row["beds"]) for row in auditors},
        statements=statements,
    )


def _before(sink: Sink, kid: bytes, first: int, operator: str) -> Gateway:
    """A gateway's chain as it stood before epoch `first`: read out of the statements before it."""
    known = sink.gateway(kid)
    assert known is not None
    rows = sink.rows(
        "SELECT hash, data FROM statement WHERE kid = ? AND refusal IS NULL AND epoch < ? ORDER BY number DESC LIMIT ?",
        (kid, first, RECENT_MAX),
    )
    fresh = replace(known, revoked=False, seq=0, epoch=-1, boot_count=0, auditor=b"", recent=())
    for row in reversed(rows):
        statement = read(decode(take_apart(row["data"]).payload), operator)
        assert statement is not None  # it was verified
        link = statement.link
        received = Received(link.epoch, link.seq, row["hash"], statement.work_root)
        fresh = replace(
            fresh,
            seq=link.seq,
            epoch=link.epoch,
            boot_count=statement.boot_count,
            auditor=statement.audit.auditor if statement.audit is not None else fresh.auditor,
            recent=(*fresh.recent, received),
        )
    return fresh
