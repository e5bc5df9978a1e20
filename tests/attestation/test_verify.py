"""The verifier: each attack is refused by name, and passes once the check that stops it is taken out."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attestation.attest_world import EPOCH, MEASURED, OPERATOR, KeySigner, World, digest_of

from bedside.attestation import sign1
from bedside.attestation.statement import GENESIS, STATEMENT_BYTES, TYP, Claim, Status, make, statement_hash
from bedside.attestation.verify import RECENT_MAX, STRICT, Arrival, Gateway, Refusal, Tier

pytestmark = pytest.mark.requirement("ATT-001", "ATT-002")


@dataclass(frozen=True)
class Attack:
    """Bytes that must be refused, and the checks without which they would be taken."""

    data: bytes
    refusal: Refusal
    guards: tuple[str, ...]
    arrival_epoch: int = EPOCH
    find: Callable[[bytes], Gateway | None] | None = None
    lenient: Callable[[bytes], Gateway | None] | None = None  # the registry of the verifier without the check


def replay(world: World) -> Attack:
    return Attack(world.sent[-1], Refusal.REPLAY, ("uniqueness", "sequence", "epochs"))


def same_epoch_other_bytes(world: World) -> Attack:
    data = make(world.statement(epoch=EPOCH - 1, status=Status.OK), world.signer)
    return Attack(data, Refusal.EQUIVOCATION, ("uniqueness", "epochs"))


def same_number_other_bytes(world: World) -> Attack:
    data = world.make(seq=world.gateway.seq)
    return Attack(data, Refusal.EQUIVOCATION, ("uniqueness", "sequence"))


def skipped_number(world: World) -> Attack:
    return Attack(world.make(seq=world.gateway.seq + 2, status=Status.OK), Refusal.SEQUENCE_SKIPPED, ("sequence",))


def old_number_of_a_rolled_back_box(world: World) -> Attack:
    world.gateway = replace(world.gateway, recent=())  # so long ago that its hash is forgotten
    return Attack(world.make(seq=1, prev=GENESIS), Refusal.SEQUENCE_OLD, ("sequence",))


def wrong_previous_hash(world: World) -> Attack:
    return Attack(world.make(prev=digest_of("another")), Refusal.PREVIOUS_HASH, ("previous",))


def skipped_epoch(world: World) -> Attack:
    world.gateway = replace(world.gateway, epoch=EPOCH - 2, recent=())
    return Attack(world.make(prev=GENESIS, status=Status.OK), Refusal.EPOCH_SKIPPED, ("epochs",))


def earlier_epoch(world: World) -> Attack:
    world.gateway = replace(world.gateway, epoch=EPOCH + 3, recent=())
    return Attack(world.make(prev=GENESIS, status=Status.GAP), Refusal.EPOCH_ORDER, ("epochs",))


def stale_beacon(world: World) -> Attack:
    return Attack(world.make(beacon=world.beacons[EPOCH - 1]), Refusal.BEACON_STALE, ("beacon",))


def invented_beacon(world: World) -> Attack:
    return Attack(world.make(beacon=b"\x07" * 32), Refusal.BEACON_UNKNOWN, ("beacon",))


def future_epoch(world: World) -> Attack:
    return Attack(world.make(epoch=EPOCH + 1, status=Status.GAP), Refusal.EPOCH_FUTURE, ("beacon",))


def late_arrival(world: World) -> Attack:
    return Attack(world.make(), Refusal.ARRIVAL_LATE, ("window",), arrival_epoch=EPOCH + 2)


def unknown_key(world: World) -> Attack:
    stranger = KeySigner()
    kid = sign1.key_id(stranger.public_key)
    enrolled = replace(world.gateway, kid=kid, public_key=stranger.public_key)

    def takes_anyone(asked: bytes) -> Gateway | None:
        return enrolled if asked == kid else None

    return Attack(make(world.statement(), stranger), Refusal.UNKNOWN_KEY, (), lenient=takes_anyone)


def revoked_key(world: World) -> Attack:
    world.gateway = replace(world.gateway, revoked=True)
    return Attack(world.make(), Refusal.REVOKED_KEY, ("revocation",))


def signed_by_another_key(world: World) -> Attack:
    payload = sign1.take_apart(world.make()).payload
    protected = sign1.encode(sign1.header_of(world.signer.public_key, TYP))
    signature = sign1.take_apart(sign1.sign1(payload, KeySigner(), TYP)).signature
    return Attack(sign1.assemble(protected, payload, signature), Refusal.SIGNATURE, ("signature",))


def altered_claim(world: World) -> Attack:
    data = bytearray(world.make())
    at = bytes(data).index(sign1.decode(sign1.take_apart(bytes(data)).payload)[Claim.WORK][1])
    data[at] ^= 1
    return Attack(bytes(data), Refusal.SIGNATURE, ("signature",))


def too_long(world: World) -> Attack:
    data = world.signed_payload(sign1.encode(_claims(world, padding=900)))
    assert len(data) > STATEMENT_BYTES
    return Attack(data, Refusal.SIZE, ("size",))


def too_short(world: World) -> Attack:
    return Attack(world.signed_payload(sign1.encode(_claims(world, padding=0))), Refusal.SIZE, ("size",))


def indefinite_length(world: World) -> Attack:
    values = _claims(world, padding=0)
    body = b"".join(sign1.encode(key) + sign1.encode(value) for key, value in values.items() if key != Claim.PADDING)
    return Attack(_filled(world, lambda padding: b"\xbf" + body + padding + b"\xff"), Refusal.CBOR_FORM, ("form",))


def keys_out_of_order(world: World) -> Attack:
    values = _claims(world, padding=0)
    pairs = [sign1.encode(key) + sign1.encode(value) for key, value in values.items() if key != Claim.PADDING]
    head = bytes((0xA0 | len(pairs) + 1,))
    body = b"".join(reversed(pairs))
    return Attack(_filled(world, lambda padding: head + body + padding), Refusal.CBOR_FORM, ("form",))


def longer_number_than_needed(world: World) -> Attack:
    values = _claims(world, padding=0)
    pairs = [
        sign1.encode(key) + (b"\x1b" + value.to_bytes(8, "big") if key == Claim.BOOTCOUNT else sign1.encode(value))
        for key, value in values.items()
        if key != Claim.PADDING
    ]
    head = bytes((0xA0 | len(pairs) + 1,))
    return Attack(_filled(world, lambda padding: head + b"".join(pairs) + padding), Refusal.CBOR_FORM, ("form",))


def claim_twice(world: World) -> Attack:
    values = _claims(world, padding=0)
    pairs = [sign1.encode(key) + sign1.encode(value) for key, value in values.items() if key != Claim.PADDING]
    pairs.insert(0, sign1.encode(Claim.BOOTCOUNT) + sign1.encode(3))
    head = bytes((0xA0 | len(pairs) + 1,))
    assert len(pairs) + 1 < 24
    return Attack(_filled(world, lambda padding: head + b"".join(pairs) + padding), Refusal.CBOR_FORM, ("form",))


def unprotected_header(world: World) -> Attack:
    signed = sign1.take_apart(_filled(world, lambda padding: _map(world) + padding, less=2))
    data = cbor2.dumps(cbor2.CBORTag(18, [signed.protected, {1: 1}, signed.payload, signed.signature]))
    assert len(data) == STATEMENT_BYTES
    return Attack(data, Refusal.CBOR_FORM, ("form", "header"))


def another_type(world: World) -> Attack:
    payload = sign1.take_apart(world.make()).payload
    data = sign1.sign1(payload, world.signer, "application/eat_cwt")
    return Attack(data, Refusal.HEADER, ("header",))


def location(world: World) -> Attack:
    def locate(values: dict[Any, Any]) -> None:
        values[Claim.LOCATION] = {1: 52.5, 2: 13.25}

    return Attack(world.signed_claims(locate), Refusal.LOCATION, ("location",))


def a_count_of_patients(world: World) -> Attack:
    def count(values: dict[Any, Any]) -> None:
        values[-70099] = 4

    return Attack(world.signed_claims(count), Refusal.CLAIM_UNKNOWN, ("unknown",))


def another_profile(world: World) -> Attack:
    def profile(values: dict[Any, Any]) -> None:
        values[Claim.PROFILE] = "tag:another.example,2026:epoch/9"

    return Attack(world.signed_claims(profile), Refusal.PROFILE, ("profile",))


def anothers_pseudonym(world: World) -> Attack:
    return Attack(world.make(sueid=b"\x01" + bytes(32)), Refusal.IDENTITY, ("identity",))


def boot_count_back(world: World) -> Attack:
    return Attack(world.make(boot_count=6), Refusal.BOOT_COUNT, ("boot_count",))


def another_model(world: World) -> Attack:
    swapped = replace(MEASURED, models={"beats": digest_of("cheaper model")})
    return Attack(world.make(measured=swapped), Refusal.MODEL, ("measurements",))


def no_model(world: World) -> Attack:
    return Attack(world.make(measured=replace(MEASURED, models={})), Refusal.MODEL, ("measurements",))


def another_runtime(world: World) -> Attack:
    return Attack(
        world.make(measured=replace(MEASURED, runtime_digest=digest_of("x"))), Refusal.RUNTIME, ("measurements",)
    )


def other_kernels(world: World) -> Attack:
    return Attack(world.make(measured=replace(MEASURED, kernels="xnnpack")), Refusal.KERNELS, ("measurements",))


def another_version(world: World) -> Attack:
    return Attack(world.make(measured=replace(MEASURED, version="9.9")), Refusal.VERSION, ("measurements",))


def audit_by_a_stranger(world: World) -> Attack:
    """The owner audits himself with a key that no site gave."""
    return Attack(world.make(audit=world.audit(signer=KeySigner())), Refusal.AUDITOR, ("audit",))


def audit_by_another_site(world: World) -> Attack:
    world.gateway = replace(world.gateway, auditor=b"another site's !")
    return Attack(world.make(audit=world.audit()), Refusal.AUDITOR, ("audit",))


def audit_of_other_work(world: World) -> Attack:
    audit = world.audit(root=digest_of("an hour that was prepared"))
    return Attack(world.make(audit=audit), Refusal.AUDIT_SIGNATURE, ("audit",))


def audit_replayed(world: World) -> Attack:
    """A good hour's audit, carried again."""
    audit = world.audit(beacon=world.beacons[EPOCH - 1])
    return Attack(world.make(audit=audit), Refusal.AUDIT_SIGNATURE, ("audit",))


def audit_of_anothers_work(world: World) -> Attack:
    audit = world.audit(sueid=b"\x01" + bytes(32))
    return Attack(world.make(audit=audit), Refusal.AUDIT_SIGNATURE, ("audit",))


def failures_struck_out(world: World) -> Attack:
    audit = replace(world.audit(failed=3), failed=0)
    return Attack(world.make(audit=audit), Refusal.AUDIT_SIGNATURE, ("audit",))


def standby_made_in_service(world: World) -> Attack:
    audit = replace(world.audit(in_service=False), in_service=True)
    return Attack(world.make(audit=audit), Refusal.AUDIT_SIGNATURE, ("audit",))


def faked_windows(world: World) -> Attack:
    return Attack(world.make(audit=world.audit(failed=1)), Refusal.AUDIT_FAILED, ("audit_result",))


ATTACKS = [
    replay, same_epoch_other_bytes, same_number_other_bytes, skipped_number, old_number_of_a_rolled_back_box,
    wrong_previous_hash, skipped_epoch, earlier_epoch, stale_beacon, invented_beacon, future_epoch, late_arrival,
    unknown_key, revoked_key, signed_by_another_key, altered_claim, too_long, too_short, indefinite_length,
    keys_out_of_order, longer_number_than_needed, claim_twice, unprotected_header, another_type, location,
    a_count_of_patients, another_profile, anothers_pseudonym, boot_count_back, another_model, no_model,
    another_runtime, other_kernels, another_version, audit_by_a_stranger, audit_by_another_site,
    audit_of_other_work, audit_replayed, audit_of_anothers_work, failures_struck_out, standby_made_in_service,
    faked_windows,
]  # fmt: skip


@pytest.mark.parametrize("mount", ATTACKS)
def test_the_attack_is_refused_by_its_name_and_changes_no_state(mount: Callable[[World], Attack]) -> None:
    world = World()
    attack = mount(world)
    before = world.gateway
    verdict = world.judge(attack.data, arrival_epoch=attack.arrival_epoch, find=attack.find)
    assert verdict.refusal == attack.refusal
    assert not verdict.payable
    assert verdict.gateway in (None, before)


@pytest.mark.parametrize("mount", ATTACKS)
def test_without_the_check_that_stops_it_the_attack_is_taken(mount: Callable[[World], Attack]) -> None:
    """Negative control. Where several checks stop one attack, all of them are taken out."""
    world = World()
    attack = mount(world)
    verdict = world.judge(
        attack.data,
        verifier=STRICT.without(*attack.guards),
        arrival_epoch=attack.arrival_epoch,
        find=attack.lenient or attack.find,
    )
    assert verdict.refusal is None


def test_a_chain_of_honest_statements_is_verified_and_paid() -> None:
    world = World()
    for epoch in range(EPOCH, EPOCH + RECENT_MAX + 10):
        world.beacons[epoch] = digest_of(str(epoch))
        verdict = world.judge(world.make(epoch=epoch), arrival_epoch=epoch)
        assert verdict.refusal is None
        assert verdict.payable
        assert verdict.gateway is not None
        world.gateway = verdict.gateway
    assert world.gateway.seq == 3 + RECENT_MAX + 10
    assert len(world.gateway.recent) == RECENT_MAX


def test_the_sites_word_and_audit_decide_how_an_epoch_is_paid() -> None:
    world = World()
    assert world.judge(world.make()).tier is Tier.HOME
    assert world.judge(world.make(audit=world.audit())).tier is Tier.SITE
    assert world.judge(world.make(audit=world.audit(in_service=False))).tier is Tier.STANDBY
    assert world.judge(world.make(audit=world.audit(), status=Status.GAP)).tier is None


def test_a_gateway_of_a_site_that_leaves_its_audit_out_is_taken_and_not_paid() -> None:
    """Else a failed audit would only cost the difference to the home tier."""
    world = World()
    first = world.judge(world.make(audit=world.audit()))
    assert first.gateway is not None
    world.gateway = first.gateway
    world.beacons[EPOCH + 1] = digest_of("next")
    silent = world.judge(world.make(epoch=EPOCH + 1), arrival_epoch=EPOCH + 1)
    assert silent.refusal is None
    assert not silent.payable
    audited = world.judge(world.make(epoch=EPOCH + 1, audit=world.audit(EPOCH + 1)), arrival_epoch=EPOCH + 1)
    assert audited.tier is Tier.SITE


def test_a_statement_has_one_size_with_and_without_an_audit() -> None:
    world = World()
    assert {len(world.make()), len(world.make(audit=world.audit()))} == {STATEMENT_BYTES}


def test_after_statements_that_never_arrived_one_that_says_gap_goes_on_unpaid() -> None:
    world = World()
    verdict = world.judge(world.make(seq=world.gateway.seq + 3, prev=digest_of("lost"), status=Status.GAP))
    assert verdict.refusal is None
    assert not verdict.payable
    assert verdict.gateway is not None
    assert verdict.gateway.seq == world.gateway.seq + 3


def test_a_statement_may_come_one_epoch_late() -> None:
    world = World()
    data = world.make()
    world.beacons[EPOCH + 1] = bytes(32)
    assert world.judge(data, arrival_epoch=EPOCH + 1).refusal is None


def test_any_of_several_published_references_will_do() -> None:
    world = World()
    updated = replace(MEASURED, version="0.2.0", models={"beats": digest_of("model 2")})
    world.gateway = replace(world.gateway, references=(MEASURED, updated))
    assert world.judge(world.make()).refusal is None
    assert world.judge(world.make(measured=updated)).refusal is None
    mixed = replace(updated, version="0.1.0")  # parts of two references are no reference
    assert world.judge(world.make(measured=mixed)).refusal is Refusal.VERSION


def test_one_altered_byte_anywhere_is_refused() -> None:
    world = World()
    data = world.make()
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 1 << random.randrange(8)
        assert world.judge(bytes(altered)).refusal is not None, f"byte {at} altered and taken"


def test_without_the_signature_check_altered_bytes_are_taken() -> None:
    """Negative control of the test above: then only what other checks pin is refused."""
    world = World()
    data = world.make()
    lenient = STRICT.without("signature")
    taken = 0
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 1
        taken += world.judge(bytes(altered), verifier=lenient).refusal is None
    assert taken > 64  # at least the signature's own bytes


@given(data=st.binary(max_size=2 * STATEMENT_BYTES))
def test_no_bytes_make_the_verifier_raise(data: bytes) -> None:
    assert WORLD.judge(data).refusal is not None
    assert WORLD.judge(data, verifier=STRICT.without("size")).refusal is not None


CBOR_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(-70100, 300) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    values=st.dictionaries(
        st.sampled_from([6, 7, 10, 257, 258, 262, 263, 265, 267, 271, 273, -70001, -70002, -70003]),
        CBOR_VALUES,
        min_size=1,
    )
)
def test_no_signed_claims_of_an_enrolled_gateway_make_the_verifier_raise(values: dict[int, Any]) -> None:
    """A gateway's owner can sign anything: each claim of any type is refused by a name, or is the right one."""

    def change(found: dict[Any, Any]) -> None:
        found.update(values)

    try:
        data = WORLD.signed_claims(change)
    except ValueError:
        return  # does not fit the size
    verdict = WORLD.judge(data)
    assert verdict.refusal is not None or verdict.gateway is not None


@given(
    tag=st.sampled_from([0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799]),
    value=CBOR_VALUES,
)
def test_no_tag_makes_the_verifier_raise(tag: int, value: Any) -> None:
    world = WORLD
    payload = cbor2.dumps(cbor2.CBORTag(tag, value))
    data = sign1.sign1(payload.ljust(world.payload_bytes(), b"\x00"), world.signer, TYP)
    assert world.judge(data, verifier=STRICT.without("size")).refusal is not None


@pytest.mark.parametrize(
    "claim",
    [Claim.WORK, Claim.CHAIN, Claim.AUDIT, Claim.SUEIDS, Claim.MEASUREMENTS, Claim.SWVERSION],
)
@pytest.mark.parametrize("value", [[1, 2, 3], [1, 2, 3, 4], [], {}, [[]], [[60, b""]], [[60, b"\xa0"]], "op:local", 7])
def test_a_list_or_a_word_in_the_place_of_a_claims_map_is_refused(claim: int, value: object) -> None:
    def change(found: dict[Any, Any]) -> None:
        found[claim] = value

    assert WORLD.judge(WORLD.signed_claims(change)).refusal is Refusal.CLAIM_VALUE


def test_names_that_are_no_checks_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="no such check"):
        STRICT.without("signatures")


def test_every_check_stops_some_attack() -> None:
    """No check of the verifier is there without an attack that it stops."""
    guards = {name for mount in ATTACKS for name in mount(World()).guards}
    assert guards | {"enrolment", "mandatory"} == set(STRICT.outer) | set(STRICT.inner)


@pytest.mark.parametrize("claim", sorted({6, 7, 10, 257, 258, 259, 262, 263, 265, 267, 270, 271, 273, -70001, -70002}))
def test_a_missing_claim_is_refused(claim: int) -> None:
    def leave_out(values: dict[Any, Any]) -> None:
        del values[claim]

    expected = Refusal.PROFILE if claim == Claim.PROFILE else Refusal.CLAIM_MISSING
    world = World()
    assert world.judge(world.signed_claims(leave_out)).refusal == expected


def test_a_message_hidden_in_the_padding_is_refused() -> None:
    world = World()
    values = _claims(world, padding=0)
    size = len(_padding_of(world))
    hidden = {**values, Claim.PADDING: b"patient 4711".ljust(size, b"\x00")}
    assert world.judge(world.signed_payload(sign1.encode(hidden))).refusal is Refusal.CLAIM_VALUE


def test_state_in_is_not_changed_and_state_out_is_what_was_seen() -> None:
    world = World()
    data = world.make()
    before = world.gateway
    verdict = STRICT.verify(data, world.find, Arrival(EPOCH, world.beacons, OPERATOR))
    assert world.gateway == before
    assert verdict.gateway is not None
    assert verdict.gateway.head == statement_hash(data)
    assert (verdict.gateway.seq, verdict.gateway.epoch) == (before.seq + 1, EPOCH)


WORLD = World()


def _claims(world: World, padding: int) -> dict[Any, Any]:
    payload = sign1.take_apart(make(world.statement(), world.signer)).payload
    return {**sign1.decode(payload), Claim.PADDING: bytes(padding)}


def _padding_of(world: World) -> bytes:
    payload = sign1.take_apart(make(world.statement(), world.signer)).payload
    return bytes(sign1.decode(payload)[Claim.PADDING])


def _map(world: World) -> bytes:
    values = _claims(world, padding=0)
    pairs = [sign1.encode(key) + sign1.encode(value) for key, value in values.items() if key != Claim.PADDING]
    return bytes((0xA0 | len(pairs) + 1,)) + b"".join(pairs)


def _filled(world: World, build: Callable[[bytes], bytes], less: int = 0) -> bytes:
    """Signed claims whose padding is chosen so that the statement has its size, in a form that `build` spoils."""
    size = 256
    while True:
        padding = sign1.encode(Claim.PADDING) + sign1.encode(bytes(size))
        data = world.signed_payload(build(padding))
        if len(data) >= STATEMENT_BYTES - less:
            assert len(data) == STATEMENT_BYTES - less
            return data
        size += 1
