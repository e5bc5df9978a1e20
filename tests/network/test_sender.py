"""The sender with a real operator, outbox and recipient: what arrives, in which order, and what is said if not."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from tests.network.net_world import MEASURED, START_US, NetWorld, S, alarm, in_virtual_time, net_world

from bedside.attestation.alert import Alert
from bedside.core.events import AlarmState, Priority
from bedside.core.time import InlineWorker
from bedside.network.recipient import Recipient, view
from bedside.network.sender import open_sender
from bedside.operator.report import report

pytestmark = pytest.mark.requirement("NET-002")


def test_an_alarm_reaches_the_recipient_with_the_next_slot_and_its_change_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(32)
            raised_us = world.clock.now_us()
            world.sender.offer(alarm(7, raised_us))
            await asyncio.sleep(10)
            (told,) = (await world.open_mail()).alerts()
            assert told.live
            assert told.age_s == 8.0
            assert told.alert.state is AlarmState.ACTIVE
            world.sender.offer(alarm(7, raised_us + S, state=AlarmState.ACKNOWLEDGED, raised_us=raised_us))
            await asyncio.sleep(10)
            (told,) = (await world.open_mail()).alerts()
            assert told.alert.state is AlarmState.ACKNOWLEDGED
            assert told.alert.raised_us == raised_us
            assert world.sender.status()["state"] == "ok"

    in_virtual_time(main)


def test_the_same_change_offered_many_times_is_told_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(32)
            again = alarm(7, world.clock.now_us())
            for _ in range(3):
                world.sender.offer(again)
                await asyncio.sleep(12)
            mailbox = await world.open_mail()
            assert len(mailbox.alerts()) == 1
            assert mailbox.opened - mailbox.dummies == 1

    in_virtual_time(main)


def test_hourly_statements_are_verified_and_full_epochs_are_payable(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path, epoch_s=200) as world:
            await asyncio.sleep(1030)
            (gateway,) = report(world.operator.sink, world.clock.now_us())["gateways"]
            assert gateway["statements"] == {
                "received": 6,
                "verified": 6,
                "payable": 4,
                "refused": 0,
            }  # the first epoch had begun
            assert gateway["envelopes"]["missing"] == 0
            assert gateway["last_statement"]["seq"] == 6
            assert gateway["problem"] is None

    in_virtual_time(main)


async def an_offline_spell(world: NetWorld, hours: int) -> list[int]:
    """The link is down for so many hours, with an alarm every half hour; the numbers of the alarms."""
    await world.stop_operator()
    numbers = []
    for number in range(2 * hours):
        await asyncio.sleep(1800)
        world.sender.offer(alarm(number, world.clock.now_us(), list(Priority)[number % 3]))
        numbers.append(number)
    return numbers


def test_after_two_days_offline_every_alarm_arrives_most_urgent_first_and_the_rhythm_is_the_same(
    tmp_path: Path,
) -> None:
    slot_s = 300.0

    async def main() -> None:
        async with net_world(tmp_path, slot_s=slot_s) as world:
            await asyncio.sleep(1510)
            numbers = await an_offline_spell(world, 48)
            await asyncio.sleep(10)
            status = world.sender.status()
            assert status["state"] == "degraded"
            assert "96 alert(s) wait" in status["detail"]
            before = len(world.envelopes())
            await world.start_operator()
            back_us = world.clock.now_us()
            await asyncio.sleep(40 * slot_s)
            mailbox = await world.open_mail()
            told = mailbox.alerts()
            assert sorted(int(item.alert.alarm, 16) for item in told) == numbers  # nothing lost, nothing twice
            assert sum(not item.live for item in told) == 96  # history, never live

            arrived = sorted(told, key=lambda item: item.received_us)
            ranks = [item.alert.urgency[0] for item in arrived]
            assert ranks == sorted(ranks)  # all high ones came before the first medium one
            for rank in (0, 1, 2):
                raised = [item.alert.raised_us for item in arrived if item.alert.urgency[0] == rank]
                by_slot = [min(r for r in raised[: n + 1]) for n in range(len(raised))]
                assert by_slot == sorted(by_slot, reverse=True)  # … and within them the newest first

            after = [item.at_us for item in world.envelopes()[before:]]
            assert len(after) == 40  # no burst: still one a slot
            assert {b - a for a, b in pairwise(after)} == {round(slot_s * S)}
            assert after[0] - back_us <= slot_s * S
            recipient = Recipient.load(world.home.recipient)
            (silence,) = mailbox.silences(next(iter(recipient.senders)), world.clock.now_us())
            assert silence.slots == 48 * 3600 / slot_s

    in_virtual_time(main)


def test_statements_go_on_after_an_outage_with_a_gap_that_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path, epoch_s=200) as world:
            await asyncio.sleep(450)
            await world.stop_operator()
            await asyncio.sleep(1000)
            await world.start_operator()
            await asyncio.sleep(600)
            (gateway,) = report(world.operator.sink, world.clock.now_us())["gateways"]
            made = gateway["statements"]
            assert made["refused"] == 0
            assert made["verified"] == made["received"] == 7
            assert made["payable"] == 4  # all but the first two ever and the first after the outage
            assert gateway["chain"]["epoch"] == (world.clock.now_us() // S) // 200

    in_virtual_time(main)


def test_the_recipient_is_told_since_when_there_is_no_contact(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(65)
            recipient = Recipient.load(world.home.recipient)
            mailbox = await world.open_mail()
            assert view(mailbox, recipient.senders, world.clock.now_us())["ok"]
            found = view(mailbox, recipient.senders, START_US + 89 * S)  # slot 7 is missing, slot 8 may still come
            assert found["ok"]
            found = view(mailbox, recipient.senders, START_US + 91 * S)
            assert not found["ok"]
            assert found["boxes"][0]["silences"][0]["since"] == "2027-01-15T08:01:10.000Z"

    in_virtual_time(main)


def test_without_a_recipient_the_rhythm_is_kept_and_alerts_wait(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path, patch=lambda sender: setattr(sender, "_tells", False)) as world:
            await asyncio.sleep(32)
            world.sender.offer(alarm(1, world.clock.now_us()))
            await asyncio.sleep(30)
            assert len(world.envelopes()) == 6
            assert "no recipient is set up" in world.sender.status()["detail"]
            assert "1 alert(s) wait" in world.sender.status()["detail"]

    in_virtual_time(main)


def test_an_operator_that_forgot_the_box_is_enrolled_with_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path, epoch_s=200) as world:
            await asyncio.sleep(450)
            await world.stop_operator()
            for path in world.home.operator.glob("operator.db*"):
                path.unlink()
            await world.start_operator()
            await asyncio.sleep(60)
            assert world.sender.status()["state"] == "degraded"
            assert "token" in world.sender.status()["detail"]
            await world.operator.offer_token(world.home.operator_token)
            await asyncio.sleep(400)
            assert world.sender.status()["state"] == "ok"
            (gateway,) = report(world.operator.sink, world.clock.now_us())["gateways"]
            assert gateway["statements"]["verified"] >= 1
            assert gateway["statements"]["refused"] == 0

    in_virtual_time(main)


def test_an_operator_whose_clock_went_back_gets_no_second_statement_and_it_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path, epoch_s=200) as world:
            await asyncio.sleep(450)
            world.operator._clock = Late(world)  # type: ignore[assignment]
            await asyncio.sleep(400)
            assert "clock went back" in world.sender.status()["detail"]
            assert len(world.envelopes()) == 84  # the rhythm goes on
            rows = world.operator.sink.rows("SELECT epoch, refusal FROM statement")
            assert len({row["epoch"] for row in rows}) == len(rows) == 3
            assert {row["refusal"] for row in rows} == {None}

    in_virtual_time(main)


class Late:
    """A clock that is an hour behind."""

    def __init__(self, world: NetWorld) -> None:
        self._world = world

    def now_us(self) -> int:
        return self._world.clock.now_us() - 3600 * S


def test_a_box_rolled_back_to_an_old_copy_is_refused_and_told_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path, epoch_s=200) as world:
            await asyncio.sleep(450)
            outbox = world.home.outbox_db
            world.sender._outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            old = outbox.read_bytes()
            await asyncio.sleep(400)
            await world.sender.close()
            await world.task
            for path in outbox.parent.glob("outbox.db*"):
                path.unlink()
            outbox.write_bytes(old)
            world.sender = open_sender(
                world.home, measured=MEASURED, clock=world.clock, worker=InlineWorker(), epoch_s=200
            )
            world.task = asyncio.create_task(world.sender.run())
            await asyncio.sleep(200)
            refused = {row["refusal"] for row in world.operator.sink.rows("SELECT refusal FROM statement")} - {None}
            assert refused == {"equivocation"}
            assert world.sender.status()["state"] == "degraded"
            assert "equivocation" in world.sender.status()["detail"]

    in_virtual_time(main)


def test_a_frozen_operator_delays_no_later_slot(tmp_path: Path) -> None:
    """An operator that takes messages and never answers costs its own slots only."""

    async def main() -> None:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(60)
            answer = world.operator.answer
            hold = asyncio.Event()

            async def frozen(body: bytes) -> bytes:
                await hold.wait()
                return await answer(body)

            world.operator.answer = frozen  # type: ignore[method-assign]
            before = len(world.envelopes())
            await asyncio.sleep(100)
            times = [item.at_us for item in world.envelopes()[before:]]
            assert {b - a for a, b in pairwise(times)} == {10 * S}
            assert "no answer in time" in world.sender.status()["detail"]
            hold.set()

    in_virtual_time(main)


def test_without_a_token_it_is_said_steadily_and_a_token_mends_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path) as world:
            token = world.home.operator_token.read_text()
            world.home.operator_token.unlink()
            await asyncio.sleep(6)
            for _ in range(60):
                await asyncio.sleep(1)
                assert world.sender.status()["state"] == "degraded"
                assert "no token" in world.sender.status()["detail"]
            assert len(world.envelopes()) == 6
            world.home.operator_token.write_text("a wrong one")
            await asyncio.sleep(10)
            assert "token_unknown" in world.sender.status()["detail"]
            world.home.operator_token.write_text(token)
            await asyncio.sleep(35)
            assert world.sender.status()["state"] == "ok"
            rows = world.operator.sink.rows("SELECT refusal FROM statement")
            assert [row["refusal"] for row in rows] == [None]

    in_virtual_time(main)


def test_a_bug_ends_the_run_loudly_and_it_can_be_run_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(32)
            waiting = world.sender._outbox.waiting

            def broken() -> list[Alert]:
                raise RuntimeError("a bug")

            world.sender._outbox.waiting = broken  # type: ignore[method-assign]
            with pytest.raises(RuntimeError, match="a bug"):
                await world.task
            world.sender._outbox.waiting = waiting  # type: ignore[method-assign]
            world.sender.offer(alarm(5, world.clock.now_us()))
            world.task = asyncio.create_task(world.sender.run())
            await asyncio.sleep(12)
            assert [int(item.alert.alarm, 16) for item in (await world.open_mail()).alerts()] == [5]

    in_virtual_time(main)


def test_a_full_disk_is_said_and_alerts_go_out_once_there_is_room(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(32)
            database = world.sender._outbox._db
            pages = database.execute("PRAGMA page_count").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {pages}")
            numbers = list(range(200))
            for number in numbers:
                world.sender.offer(alarm(number, world.clock.now_us()))
            before = len(world.envelopes())
            await asyncio.sleep(2)
            for _ in range(118):  # said steadily, not from time to time
                await asyncio.sleep(1)
                assert "held in memory only" in world.sender.status()["detail"]
            assert len(world.envelopes()) - before == 12
            database.execute("PRAGMA max_page_count = 1000000")
            await asyncio.sleep(700)
            told = [int(item.alert.alarm, 16) for item in (await world.open_mail()).alerts()]
            assert sorted(told) == numbers
            assert world.sender.status()["state"] == "ok"

    in_virtual_time(main)


def test_close_is_idempotent_and_brings_what_was_offered_to_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(1)
            world.sender.offer(alarm(3, world.clock.now_us()))
            await world.sender.close()
            await world.sender.close()
            await world.task

    in_virtual_time(main)
    from bedside.network.outbox import Outbox

    outbox = Outbox.open(tmp_path / "home" / "outbox.db", (tmp_path / "home" / "keys" / "outbox.key").read_bytes())
    assert [int(item.alarm, 16) for item in outbox.waiting()] == [3]
    assert outbox.number("boot_count") == 2
    outbox.close()
