"""What the operator pays follows from evidence that anybody can judge again; what does not follow shows."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.attestation.attest_world import KeySigner
from tests.operator.operator_world import EPOCH_S, START_US, Box, an_enrolled_box, an_operator

from bedside.attestation.evidence import (
    Evidence,
    EvidenceError,
    Taken,
    decode_evidence,
    encode_evidence,
    judge,
    reward_file,
)
from bedside.attestation.exchange import Subject
from bedside.attestation.sign1 import key_id
from bedside.attestation.statement import Status
from bedside.attestation.verify import STRICT, Tier
from bedside.core.errors import SetupError
from bedside.operator.accounts import evidence, newest_epoch
from bedside.operator.anyone import attestation
from bedside.operator.cli import operator as operator_command

pytestmark = pytest.mark.requirement("NET-003")

EPOCHS, POOL = 6, 1_000_000
FIRST = START_US // 1_000_000 // EPOCH_S


async def _live(folder: Path) -> Evidence:
    """Six epochs of two gateways of a site and a home; the evidence of the last four."""
    service, clock = await an_operator(folder)
    site = KeySigner()
    service.sink.trust_auditor(key_id(site.public_key), site.public_key, "St. Elsewhere", 2, clock.now_us())
    boxes: list[tuple[Box, KeySigner | None]] = [
        (await an_enrolled_box(service), site), (await an_enrolled_box(service), site),
        (await an_enrolled_box(service), None),
    ]  # fmt: skip
    for epoch in range(EPOCHS):
        clock.us = START_US + epoch * EPOCH_S * 1_000_000 + 5_000_000
        for box, auditor in boxes:
            status, audits = (Status.OK, auditor) if epoch else (Status.GAP, None)
            ack = await box.ask(Subject.STATEMENT, await box.statement(status, site=audits))
            assert ack.ok, ack.reason
        bad = await boxes[0][0].ask(Subject.STATEMENT, b"nonsense")
        assert not bad.ok
    newest = newest_epoch(service.sink)
    assert newest == FIRST + EPOCHS - 1
    found = evidence(
        service.sink, operator="local", first=newest - 3, last=newest, pool=POOL, epoch_us=EPOCH_S * 1_000_000
    )
    await service.close()
    return found


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evidence]:
    folder = tmp_path_factory.mktemp("operator")
    return folder, asyncio.run(_live(folder))


def test_evidence_is_judged_as_the_operator_did(lived: tuple[Path, Evidence]) -> None:
    outcome = judge(lived[1])
    assert len(outcome.judged) == 12
    assert {one.verdict.tier for one in outcome.judged} == {Tier.SITE, Tier.HOME}
    assert sorted(outcome.totals().values()) == [4 * 10_000, 4 * 100_000, 4 * 100_000]
    assert sum(outcome.totals().values()) + outcome.unallocated == 4 * POOL


def test_evidence_comes_back_from_its_bytes(lived: tuple[Path, Evidence]) -> None:
    data = encode_evidence(lived[1])
    assert decode_evidence(data) == lived[1]
    with pytest.raises(EvidenceError):
        decode_evidence(data[:-1])
    with pytest.raises(EvidenceError, match="another form"):
        decode_evidence(encode_evidence(lived[1]).replace(b"bedside-evidence/1", b"bedside-evidence/9"))


def test_whatever_the_operator_alters_shows(lived: tuple[Path, Evidence]) -> None:
    """A statement left out, altered, invented, an auditor nobody enrolled, a beacon made up later."""
    found = lived[1]
    taken = found.statements
    stranger = KeySigner()
    forged = bytearray(taken[5].data)
    forged[-1] ^= 1
    altered = {
        "left out": replace(found, statements=taken[:3] + taken[4:]),
        "altered": replace(found, statements=(*taken[:5], Taken(taken[5].kid, taken[5].arrival_epoch, bytes(forged)))),
        "twice": replace(found, statements=(*taken, taken[-1])),
        "auditor": replace(found, auditors={key_id(stranger.public_key): (stranger.public_key, 5)}),
        "beacon": replace(found, beacons={**found.beacons, found.last: bytes(32)}),
    }
    for name, one in altered.items():
        assert any(judged.verdict.refusal is not None for judged in judge(one).judged), name
    lenient = STRICT.without("signature", "uniqueness", "sequence", "epochs", "previous", "audit", "beacon")
    for name, one in altered.items():  # negative control: these checks, and no others, see it
        assert all(judged.verdict.refusal is None for judged in judge(one, lenient).judged), name


def test_anybody_verifies_files_and_finds_a_payment_that_does_not_follow(
    lived: tuple[Path, Evidence], tmp_path: Path
) -> None:
    found = lived[1]
    (tmp_path / "evidence.cbor").write_bytes(encode_evidence(found))
    published = reward_file(found, judge(found))
    (tmp_path / "rewards.json").write_text(json.dumps(published))
    files = [str(tmp_path / "evidence.cbor"), str(tmp_path / "rewards.json")]
    result = CliRunner().invoke(attestation, ["verify", *files])
    assert result.exit_code == 0, result.output
    assert "8 paid as site" in result.output
    assert "exactly what follows" in result.output
    kid = next(iter(published["paid"]))
    published["paid"][kid] += 1
    (tmp_path / "rewards.json").write_text(json.dumps(published))
    result = CliRunner().invoke(attestation, ["verify", *files])
    assert result.exit_code == 1
    assert "NOT what follows from the evidence: paid" in result.output
    (tmp_path / "evidence.cbor").write_bytes(b"\x00")
    assert isinstance(CliRunner().invoke(attestation, ["verify", files[0]]).exception, SetupError)
    assert isinstance(CliRunner().invoke(attestation, ["verify", str(tmp_path / "none.cbor")]).exception, SetupError)


def test_the_operators_command_writes_both_files(lived: tuple[Path, Evidence], tmp_path: Path) -> None:
    arguments = ["rewards", "--home", str(lived[0]), "--out", str(tmp_path), "--epochs", f"{FIRST + 1}:{FIRST + 3}"]
    result = CliRunner().invoke(operator_command, arguments)
    assert result.exit_code == 0, result.output
    files = sorted(str(path) for path in tmp_path.iterdir())
    assert len(files) == 2
    assert CliRunner().invoke(attestation, ["verify", *files]).exit_code == 0
    wrong = CliRunner().invoke(operator_command, ["rewards", "--home", str(lived[0]), "--epochs", "soon"])
    assert isinstance(wrong.exception, SetupError)


@given(st.binary(max_size=400))
def test_no_bytes_make_the_decoder_raise_anything_else(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        decode_evidence(data)
