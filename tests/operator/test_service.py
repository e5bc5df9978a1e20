"""The operator's service: enrolment, statements and envelopes, each once, each answered in the same size."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.operator_world import (
    CHEAPER,
    EPOCH_S,
    START_US,
    Box,
    SetClock,
    an_enrolled_box,
    an_operator,
)

from bedside.attestation.exchange import (
    REPLY_BYTES,
    Request,
    Subject,
    decode_ack,
    decode_picked_up,
    encode_pickup,
    encode_request,
)
from bedside.attestation.statement import Status
from bedside.core.errors import SetupError
from bedside.core.frames import FRAME_BYTES_MAX, framed, read_framed, socket_address
from bedside.operator.report import report
from bedside.operator.service import CONNECTIONS_MAX, OperatorService

pytestmark = pytest.mark.requirement("OPR-001")

S = 1_000_000


def with_operator(path: Path, use: Callable[[OperatorService, SetClock], Awaitable[None]]) -> None:
    async def main() -> None:
        service, clock = await an_operator(path)
        try:
            await use(service, clock)
        finally:
            await service.close()
            await service.close()

    asyncio.run(main())


def gateway_view(service: OperatorService, clock: SetClock) -> dict[str, Any]:
    (found,) = report(service.sink, clock.now_us())["gateways"]
    assert isinstance(found, dict)
    return found


def test_a_token_enrols_one_gateway_once_and_the_same_again_is_no_change(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        token = await service.new_token()
        box = Box(service)
        assert (await box.enrol("guess")).reason == "token_unknown"
        assert (await box.enrol(token)).ok
        assert (await box.enrol(token)).ok  # its answer was lost
        assert (await Box(service).enrol(token)).reason == "token_used"
        late = await service.new_token(lasts_s=10)
        clock.us += 11 * S
        assert (await Box(service).enrol(late)).reason == "token_expired"
        assert len(service.sink.gateways()) == 1

    with_operator(tmp_path, use)


def test_tokens_are_not_kept_in_clear(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        token = await service.new_token()
        data = b"".join(path.read_bytes() for path in service.folder.glob("operator.db*"))
        assert token.encode() not in data
        target = tmp_path / "run" / "token"
        await service.offer_token(target)
        assert target.stat().st_mode & 0o777 == 0o600
        assert (await Box(service).enrol(target.read_text().strip())).ok

    with_operator(tmp_path, use)


def test_a_statement_sent_twice_is_answered_alike_and_kept_once(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        data = await box.statement()
        first = await box.ask(Subject.STATEMENT, data)
        assert first.ok
        assert await box.ask(Subject.STATEMENT, data) == first
        view = gateway_view(service, clock)
        assert view["statements"] == {"received": 1, "verified": 1, "payable": 0, "refused": 0}
        assert view["chain"]["seq"] == 1

    with_operator(tmp_path, use)


def test_equivocation_is_refused_and_both_statements_are_kept_as_evidence(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        first = await box.statement()
        box.seq -= 1
        second = await box.statement()
        assert (await box.ask(Subject.STATEMENT, first)).ok
        assert (await box.ask(Subject.STATEMENT, second)).reason == "equivocation"
        kept = {bytes(row["data"]) for row in service.sink.rows("SELECT data FROM statement")}
        assert kept == {first, second}

    with_operator(tmp_path, use)


def test_a_refused_model_shows_and_is_taken_once_it_is_approved(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        assert (await box.ask(Subject.STATEMENT, await box.statement(measured=CHEAPER))).reason == "model"
        found = report(service.sink, clock.now_us())
        assert not found["ok"]
        assert found["refusals"][0]["reason"] == "model"
        assert "newest statement was refused: model" in found["problems"][0]
        service.sink.add_reference(service.sink.gateways()[0], CHEAPER)
        clock.us += EPOCH_S * S
        assert (await box.ask(Subject.STATEMENT, await box.statement(measured=CHEAPER))).ok

    with_operator(tmp_path, use)


def test_a_revoked_key_is_refused_everything_for_good(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        kid = service.sink.gateways()[0]
        assert (await box.ask(Subject.ENVELOPE, box.envelope(1))).ok
        assert service.sink.revoke(kid, clock.now_us())
        assert (await box.ask(Subject.ENVELOPE, box.envelope(2))).reason == "revoked_key"
        assert (await box.ask(Subject.STATEMENT, await box.statement())).reason == "revoked_key"
        assert (await box.enrol(await service.new_token())).reason == "key_enrolled_before"
        assert (await box.ask(Subject.ENVELOPE, box.envelope(3))).reason == "revoked_key"

    with_operator(tmp_path, use)


def test_strangers_are_counted_and_nothing_of_theirs_is_kept(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        await an_enrolled_box(service)
        stranger = Box(service)
        assert (await stranger.ask(Subject.STATEMENT, await stranger.statement())).reason == "unknown_key"
        assert (await stranger.ask(Subject.STATEMENT, b"x" * 5000)).reason == "size"
        assert (await stranger.ask(Subject.ENVELOPE, stranger.envelope(1))).reason == "unknown_key"
        found = report(service.sink, clock.now_us())
        assert found["counters"] == {"statement_unknown_key": 1, "statement_size": 1, "envelope_unknown_key": 1}
        assert found["gateways"][0]["statements"]["received"] == 0
        assert found["ok"]

    with_operator(tmp_path, use)


def test_nobody_can_speak_for_another_gateway(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        clock.us += 3600 * S
        before = gateway_view(service, clock)
        data = bytearray(await box.statement())
        data[-1] ^= 1
        assert (await box.ask(Subject.STATEMENT, bytes(data))).reason == "signature"
        message = bytearray(box.envelope(1))
        message[-1] ^= 1
        assert (await box.ask(Subject.ENVELOPE, bytes(message))).reason == "malformed"
        assert gateway_view(service, clock)["last_contact"] == before["last_contact"]

    with_operator(tmp_path, use)


def test_an_envelope_sent_twice_is_kept_once_and_waits_for_its_recipient_only(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box, other = await an_enrolled_box(service), await an_enrolled_box(service)
        message = box.envelope(1)
        for _ in range(2):
            assert (await box.ask(Subject.ENVELOPE, message, "a" * 32)).ok
        assert (await other.ask(Subject.ENVELOPE, other.envelope(1))).ok

        async def mail(recipient: bytes, after: int = 0) -> int:
            request = encode_request(Request(Subject.PICKUP, "b" * 32, encode_pickup(recipient, after)))
            return len(decode_picked_up(await service.answer(request)))

        assert await mail(box.key.public.id) == 1
        assert await mail(other.key.public.id) == 1
        assert await mail(box.key.public.id, after=5) == 0
        assert await mail(bytes(16)) == 0

    with_operator(tmp_path, use)


def test_envelopes_are_forgotten_after_three_days(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        for day in range(5):
            clock.us = START_US + day * 86_400 * S
            assert (await box.ask(Subject.ENVELOPE, box.envelope(day))).ok
        (row,) = service.sink.rows("SELECT min(slot) AS first, count(*) AS n FROM envelope")
        assert row == {"first": 1, "n": 4}

    with_operator(tmp_path, use)


def test_one_epoch_has_one_beacon_and_only_the_running_one_is_told(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = Box(service)
        first = await box.ask(Subject.BEACON, b"")
        clock.us += 3599 * S
        assert await box.ask(Subject.BEACON, b"") == first
        clock.us += S
        second = await box.ask(Subject.BEACON, b"")
        assert second.epoch == first.epoch + 1
        assert second.beacon != first.beacon

    with_operator(tmp_path, use)


def test_state_and_beacons_survive_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        service, clock = await an_operator(tmp_path)
        box = await an_enrolled_box(service)
        assert (await box.ask(Subject.STATEMENT, await box.statement())).ok
        beacon = (await box.ask(Subject.BEACON, b"")).beacon
        await service.close()
        again, clock_again = await an_operator(tmp_path)
        clock_again.us = clock.us
        box.service = again
        assert (await box.ask(Subject.BEACON, b"")).beacon == beacon
        clock_again.us += EPOCH_S * S
        assert (await box.ask(Subject.STATEMENT, await box.statement(Status.OK))).ok
        assert gateway_view(again, clock_again)["statements"]["payable"] == 1
        await again.close()

    asyncio.run(main())


def test_a_silent_gateway_is_a_problem_and_so_is_none(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        assert report(service.sink, clock.now_us())["problems"] == ["no gateway has enrolled yet"]
        box = await an_enrolled_box(service)
        await box.ask(Subject.ENVELOPE, box.envelope(1))
        assert report(service.sink, clock.now_us())["ok"]
        clock.us += 61 * S
        (problem,) = report(service.sink, clock.now_us())["problems"]
        assert "silent since" in problem

    with_operator(tmp_path, use)


def test_what_the_operator_shows_holds_no_field_about_patients_or_alerts(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        await box.ask(Subject.STATEMENT, await box.statement())
        shown = re.sub(r"[0-9a-f]{8,}", "", str(report(service.sink, clock.now_us())).lower())  # digests spell words
        assert not [
            word for word in ("patient", "alert", "alarm", "priority", "bed") if word in shown.replace("bedside", "")
        ]

    with_operator(tmp_path, use)


def test_a_second_operator_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        with pytest.raises(SetupError, match="already running") as caught:
            await an_operator(tmp_path)
        assert caught.value.hint
        assert await Box(service).ask(Subject.BEACON, b"")  # and the first goes on

    with_operator(tmp_path, use)


def test_socket_database_and_folder_are_the_owners_alone(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        modes = {path.name: path.stat().st_mode & 0o077 for path in (service.folder, *service.folder.iterdir())}
        assert not any(modes.values()), modes

    with_operator(tmp_path, use)


def test_a_stale_socket_of_a_killed_operator_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "operator.sock").write_bytes(b"")

    async def use(service: OperatorService, clock: SetClock) -> None:
        with socket_address(service.socket_path) as address:
            _, writer = await asyncio.open_unix_connection(address)
        writer.close()
        await writer.wait_closed()

    with_operator(tmp_path, use)


@pytest.mark.parametrize(
    "sent", [b"\xff\xff\xff\xff", b"\x00\x00", (FRAME_BYTES_MAX + 1).to_bytes(4, "big") + b"x", b"\x00\x00\x00\x09abc"]
)
def test_a_peer_that_breaks_the_framing_ends_its_own_connection_only(tmp_path: Path, sent: bytes) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        with socket_address(service.socket_path) as address:
            reader, writer = await asyncio.open_unix_connection(address)
            good_reader, good_writer = await asyncio.open_unix_connection(address)
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == b""
        good_writer.write(framed(encode_request(Request(Subject.BEACON, "0" * 32, b""))))
        answer = await read_framed(good_reader)
        assert answer is not None
        assert decode_ack(answer).ok
        for each in (writer, good_writer):
            each.close()
            with contextlib.suppress(OSError):
                await each.wait_closed()

    with_operator(tmp_path, use)


def test_more_connections_than_are_served_are_turned_away(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        opened = []
        with socket_address(service.socket_path) as address:
            for _ in range(CONNECTIONS_MAX + 1):
                opened.append(await asyncio.open_unix_connection(address))
                await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert await opened[-1][0].read() == b""
        for _, writer in opened:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    with_operator(tmp_path, use)


@given(body=st.binary(max_size=400), subject=st.sampled_from(Subject), message=st.binary(max_size=400))
def test_whatever_is_sent_is_answered_in_the_same_size(body: bytes, subject: Subject, message: bytes) -> None:
    async def main() -> list[bytes]:
        return [
            await SERVICE.answer(body),
            await SERVICE.answer(encode_request(Request(subject, "0" * 32, message))),
        ]

    answers = asyncio.run(main())
    assert len(answers[0]) == REPLY_BYTES
    assert len(answers[1]) == REPLY_BYTES or subject is Subject.PICKUP


class _Unkept:
    """A worker whose disk always fails."""

    async def run(self, work: Callable[[], Any]) -> Any:
        from bedside.core.errors import StoreError

        raise StoreError("disk full")

    def close(self) -> None:
        return


SERVICE = OperatorService(Path(os.devnull), clock=SetClock(), worker=_Unkept())


def test_what_cannot_be_kept_is_never_acknowledged(tmp_path: Path) -> None:
    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        pages = service.sink._db.execute("PRAGMA page_count").fetchone()[0]
        service.sink._db.execute(f"PRAGMA max_page_count = {pages}")
        acks = [await box.ask(Subject.ENVELOPE, box.envelope(slot)) for slot in range(40)]
        assert acks[-1].reason == "try_again"
        kept = service.sink.rows("SELECT count(*) AS n FROM envelope")[0]["n"]
        assert kept == sum(ack.ok for ack in acks)
        service.sink._db.execute("PRAGMA max_page_count = 1000000")
        assert (await box.ask(Subject.ENVELOPE, box.envelope(99))).ok

    with_operator(tmp_path, use)


def test_a_statement_is_never_half_kept(tmp_path: Path) -> None:
    """The statement's row and the chain's head are one transaction: when the disk is full, neither is there."""

    async def use(service: OperatorService, clock: SetClock) -> None:
        box = await an_enrolled_box(service)
        pages = service.sink._db.execute("PRAGMA page_count").fetchone()[0]
        service.sink._db.execute(f"PRAGMA max_page_count = {pages}")
        data = await box.statement()
        while (ack := await box.ask(Subject.STATEMENT, data)).ok:
            clock.us += EPOCH_S * S
            data = await box.statement()
        assert ack.reason == "try_again"
        view = gateway_view(service, clock)
        assert view["chain"]["seq"] == view["statements"]["verified"] == box.seq - 1
        service.sink._db.execute("PRAGMA max_page_count = 1000000")
        assert (await box.ask(Subject.STATEMENT, data)).ok

    with_operator(tmp_path, use)
