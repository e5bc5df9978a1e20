"""The statement: one size whatever it says, deterministic bytes, and a form that other libraries read."""

from __future__ import annotations

import hashlib
import re
import string
from pathlib import Path

import cbor2
import cwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attestation.attest_world import MEASURED, OPERATOR, KeySigner, World

from bedside.attestation import sign1
from bedside.attestation import statement as statement_room
from bedside.attestation.statement import (
    HARDWARE_MODEL,
    MODELS_MAX,
    NAME_CHARS_MAX,
    OEM_ID,
    PROFILE,
    STATEMENT_BYTES,
    TYP,
    UINT_MAX,
    Claim,
    Link,
    Measured,
    Statement,
    Status,
    claims,
    make,
)
from bedside.attestation.verify import MANDATORY, read
from bedside.attestation.work import WORK_DEPTH, WORK_SLOTS

pytestmark = pytest.mark.requirement("ATT-001")

SIGNER = KeySigner()
NAMES = st.text(string.ascii_letters + string.digits + " .-+", min_size=1, max_size=NAME_CHARS_MAX)
HASHES = st.binary(min_size=32, max_size=32)
UINTS = st.integers(0, UINT_MAX)
MEASUREMENTS = st.builds(
    Measured,
    st.dictionaries(NAMES, HASHES, max_size=MODELS_MAX),
    NAMES,
    HASHES,
    st.sampled_from(["builtin", "xnnpack"]),
    NAMES,
)
STATEMENTS = st.builds(
    Statement,
    beacon=HASHES,
    cti=st.binary(min_size=16, max_size=16),
    issued_s=UINTS,
    operator=st.text(string.ascii_lowercase, min_size=1, max_size=20),
    sueid=st.binary(min_size=33, max_size=33),
    boot_count=UINTS,
    measured=MEASUREMENTS,
    work_root=HASHES,
    link=st.builds(Link, UINTS, HASHES, UINTS, st.sampled_from(Status)),
    oem_boot=st.booleans(),
    debug_status=st.integers(0, 4),
)


@given(statement=STATEMENTS)
def test_every_statement_has_the_same_size_and_reads_back_as_it_was(statement: Statement) -> None:
    data = make(statement, SIGNER)
    signed = sign1.take_apart(data)
    assert len(data) == STATEMENT_BYTES
    assert sign1.is_deterministic(data, signed)
    assert signed.verified_by(SIGNER.public_key)
    assert read(sign1.decode(signed.payload), statement.operator) == statement


def test_without_their_padding_statements_have_different_sizes() -> None:
    """Negative control: it is the padding that holds the size."""
    world = World()
    small, large = world.statement(boot_count=1), world.statement(boot_count=70_000)
    assert len(sign1.encode(claims(small))) != len(sign1.encode(claims(large)))


def test_another_cose_library_reads_and_verifies_a_statement() -> None:
    world = World()
    data = world.make()
    key = cwt.COSEKey.new(
        {1: 1, -1: 6, 3: -8, -2: world.signer.public_key, 2: world.gateway.kid, 4: [2]}  # OKP, Ed25519, EdDSA, verify
    )
    payload = cwt.COSE.new().decode(data, key)
    found = cbor2.loads(payload)
    assert found[Claim.PROFILE] == PROFILE
    assert found[Claim.NONCE] == world.beacons[max(world.beacons)]


def test_a_statement_signed_by_another_cose_library_has_our_bytes() -> None:
    world = World()
    payload = sign1.take_apart(world.make()).payload
    theirs = cwt.COSE.new(deterministic_header=True).encode_and_sign(
        payload,
        cwt.COSEKey.new(
            {1: 1, -1: 6, 3: -8, -4: world.signer._key.private_bytes_raw(), -2: world.signer.public_key, 4: [1]}
        ),
        protected=sign1.header_of(world.signer.public_key, "application/eat+cwt"),
    )
    assert theirs == world.signed_payload(payload)


def test_nothing_in_a_statement_counts_patients_or_places_the_box() -> None:
    found = claims(World().statement())
    assert set(found) == {6, 7, 10, 257, 258, 259, 262, 263, 265, 267, 270, 271, 273, -70001, -70002}
    assert Claim.LOCATION not in found
    assert found[Claim.WORK] == {1: found[Claim.WORK][1], 2: 10, 3: 1024}


def test_the_model_digest_is_that_of_the_bytes() -> None:
    assert MEASURED.models == {"beats": hashlib.sha256(b"model").digest()}
    assert Measured.from_map(MEASURED.to_map(), MEASURED.version) == MEASURED
    assert OPERATOR == "local"


@pytest.mark.parametrize(
    "broken",
    [
        {"models": {"x" * 25: bytes(32)}},
        {"models": {str(n): bytes(32) for n in range(MODELS_MAX + 1)}},
        {"models": {"beats": bytes(31)}},
        {"runtime_digest": b""},
        {"version": ""},
    ],
)
def test_what_does_not_fit_the_constant_size_is_refused_before_signing(broken: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "models": {},
        "runtime": "r",
        "runtime_digest": bytes(32),
        "kernels": "builtin",
        "version": "1",
    }
    with pytest.raises(ValueError, match="measured"):
        Measured(**{**fields, **broken})  # type: ignore[arg-type]


CDDL = (Path(statement_room.__file__).parent / "statement.cddl").read_text()


def test_the_published_cddl_has_the_claims_and_constants_of_the_code() -> None:
    """A whole statement is held against the CDDL by `zcbor validate`; this keeps the two from drifting apart."""
    block = CDDL[CDDL.index("claims = {") :].split("\n}")[0]
    keys = {int(found) for found in re.findall(r"^  (-?\d+) => ", block, re.MULTILINE)}
    assert keys == set(MANDATORY)
    for word in (
        str(STATEMENT_BYTES),
        PROFILE,
        TYP,
        f"1 => {sign1.ALG_EDDSA}",
        f"3 => {WORK_SLOTS}",
        f"2 => {WORK_DEPTH}",
    ):
        assert word in CDDL, word
    assert f"0*{MODELS_MAX} name" in CDDL
    assert f"(1..{NAME_CHARS_MAX})" in CDDL
    assert OEM_ID.hex() in CDDL.replace(" ", "")
    assert f'"{HARDWARE_MODEL.decode()}"' in CDDL
