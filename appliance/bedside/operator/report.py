"""What an operator can know, and so what `operator status` shows: liveness, statements, refusals. Nothing else."""

from __future__ import annotations

from typing import Any, Final

from bedside.attestation.sign1 import decode
from bedside.attestation.statement import Measured
from bedside.attestation.verify import MEANING, Refusal
from bedside.core.time import US_PER_S, iso_utc
from bedside.operator.sink import Sink, measured_view

SILENT_S: Final = 60.0  # six slots without an envelope
REFUSED_RECENTLY_S: Final = 24 * 3600.0


def report(sink: Sink, now_us: int, silent_s: float = SILENT_S) -> dict[str, Any]:
    """The operator's view as plain JSON values. `ok` is false when a gateway is silent or was refused lately."""
    gateways = [
        _gateway(sink, row, now_us, silent_s) for row in sink.rows("SELECT * FROM gateway ORDER BY enrolled_us")
    ]
    since_us = now_us - round(REFUSED_RECENTLY_S * US_PER_S)
    refused = sink.rows(
        "SELECT refusal, count(*) AS n, max(received_us) AS last_us FROM statement WHERE refusal IS NOT NULL"
        " GROUP BY refusal ORDER BY refusal"
    )
    recently = sum(1 for row in refused if row["last_us"] >= since_us)
    problems = [f"gateway {item['pseudonym']}: {item['problem']}" for item in gateways if item["problem"]]
    if not gateways:
        problems.append("no gateway has enrolled yet")
    return {
        "v": 1,
        "time": iso_utc(now_us),
        "ok": not problems and not recently,
        "problems": problems,
        "gateways": gateways,
        "refusals": [
            {
                "reason": row["refusal"],
                "meaning": _meaning(row["refusal"]),
                "count": row["n"],
                "last": iso_utc(row["last_us"]),
            }
            for row in refused
        ],
        "counters": {row["name"]: row["value"] for row in sink.rows("SELECT name, value FROM counter ORDER BY name")},
    }


def _gateway(sink: Sink, row: dict[str, Any], now_us: int, silent_s: float) -> dict[str, Any]:
    kid = row["kid"]
    (statements,) = sink.rows(
        "SELECT count(*) AS received, coalesce(sum(refusal IS NULL), 0) AS verified,"
        " coalesce(sum(payable), 0) AS payable FROM statement WHERE kid = ?",
        (kid,),
    )
    newest = sink.rows("SELECT * FROM statement WHERE kid = ? ORDER BY number DESC LIMIT 1", (kid,))
    (envelopes,) = sink.rows(
        "SELECT count(DISTINCT slot) AS slots, min(slot) AS first_slot, max(slot) AS last_slot,"
        " count(*) AS kept FROM envelope WHERE kid = ?",
        (kid,),
    )
    age_s = max(0.0, (now_us - row["contact_us"]) / US_PER_S)
    seq, epoch, boot_count, *_ = decode(row["chain"])
    view: dict[str, Any] = {
        "pseudonym": row["sueid"].hex()[2:18],
        "kid": kid.hex(),
        "enrolled": iso_utc(row["enrolled_us"]),
        "revoked": iso_utc(row["revoked_us"]) if row["revoked_us"] is not None else None,
        "last_contact": iso_utc(row["contact_us"]),
        "last_contact_age_s": round(age_s, 1),
        "silent": age_s > silent_s,
        "tier": "software key",
        "paid_as": _tiers(sink, kid),
        "chain": {"seq": seq, "epoch": epoch, "boot_count": boot_count},
        "statements": {**statements, "refused": statements["received"] - statements["verified"]},
        "last_statement": _statement(newest[0]) if newest else None,
        "envelopes": {**envelopes, "missing": _missing(envelopes)},
        "references": [measured_view(Measured.from_map(values, version)) for values, version in decode(row["refs"])],
    }
    view["problem"] = _problem(view)
    return view


def _tiers(sink: Sink, kid: bytes) -> dict[str, int]:
    """How many of a gateway's epochs are paid, or not, and as what."""
    rows = sink.rows(
        "SELECT coalesce(tier, 'unpaid') AS tier, count(*) AS n FROM statement"
        " WHERE kid = ? AND refusal IS NULL GROUP BY 1 ORDER BY 1",
        (kid,),
    )
    return {row["tier"]: row["n"] for row in rows}


def _statement(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "epoch": row["epoch"],
        "seq": row["seq"],
        "received": iso_utc(row["received_us"]),
        "verified": row["refusal"] is None,
        "refusal": row["refusal"],
        "meaning": _meaning(row["refusal"]) if row["refusal"] else None,
        "payable": bool(row["payable"]),
        "tier": row["tier"],
        "bytes": len(row["data"]),
        "sha256": row["hash"].hex(),
    }


def _problem(view: dict[str, Any]) -> str | None:
    if view["revoked"]:
        return None  # it is out of service on purpose
    if view["silent"]:
        return f"silent since {view['last_contact']}"
    last = view["last_statement"]
    if last is not None and not last["verified"]:
        return f"its newest statement was refused: {last['refusal']}"
    return None


def _missing(envelopes: dict[str, Any]) -> int:
    if envelopes["first_slot"] is None:
        return 0
    return int(envelopes["last_slot"] - envelopes["first_slot"] + 1 - envelopes["slots"])


def _meaning(refusal: str) -> str:
    return MEANING.get(Refusal(refusal), refusal)
