"""What leaves the box: the same sizes at the same times, whoever is monitored and whatever happens to them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from tests.network.net_world import (
    CANARY_KIND,
    CANARY_PATIENT,
    CANARY_TEXT,
    START_US,
    NetWorld,
    S,
    Seen,
    alarm,
    in_virtual_time,
    net_world,
)

from bedside.attestation import alert as alert_room
from bedside.attestation.alert import INFO, Envelope
from bedside.attestation.sign1 import Signer
from bedside.core.events import AlarmState, Priority
from bedside.core.sealing import SealingKey
from bedside.network import sender as sender_room
from bedside.network.sender import NetworkSender
from bedside.network.slots import Moment

pytestmark = pytest.mark.requirement("NET-001")

HOUR_AND_A_BIT_S = 3705.0
SHORT_S = 605.0  # enough for a broken build to show


async def an_hour(
    path: Path, patients: int, patch: object = None, lasts_s: float = HOUR_AND_A_BIT_S
) -> tuple[list[Seen], bytes]:
    """What passed the socket; each patient raises, acknowledges and ends alarms at random times."""
    async with net_world(path, patch=patch) as world:  # type: ignore[arg-type]
        done = asyncio.create_task(live(world, patients, lasts_s - 100))
        await asyncio.sleep(lasts_s)
        await done
        seen, content = list(world.tap.seen), bytes(world.tap.content)
    return seen, content


async def live(world: NetWorld, patients: int, until_s: float) -> None:
    dice = random.Random(patients)
    times_s = sorted(dice.uniform(1, until_s) for _ in range(25 * patients))
    for number, at_s in enumerate(times_s):
        await asyncio.sleep(max(0.0, at_s - (world.clock.now_us() - START_US) / S))
        priority = dice.choice(list(Priority))
        raised_us = world.clock.now_us()
        world.sender.offer(alarm(number, raised_us, priority))
        world.sender.offer(alarm(number, raised_us + 1, priority, AlarmState.ENDED, raised_us))


def shortened(seen: list[Seen]) -> list[Seen]:
    """What the control runs are compared with."""
    return [item for item in seen if item.at_us < START_US + SHORT_S * S]


@pytest.fixture(scope="module")
def empty_ward(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    path = tmp_path_factory.mktemp("empty")
    return in_virtual_time(lambda: an_hour(path, 0))[0]


def test_sizes_times_and_subjects_are_the_same_with_no_patient_and_with_four(
    tmp_path: Path, empty_ward: list[Seen]
) -> None:
    seen, _ = in_virtual_time(lambda: an_hour(tmp_path, 4))
    assert seen == empty_ward
    assert len(seen) > 2 * 360


def test_a_short_run_of_the_whole_build_is_the_same_too(tmp_path: Path, empty_ward: list[Seen]) -> None:
    """So the controls below differ by what was broken in them, not by their length."""
    seen, _ = in_virtual_time(lambda: an_hour(tmp_path, 4, None, SHORT_S))
    assert seen == shortened(empty_ward)


def test_every_slot_carries_one_envelope_at_its_start_and_all_have_one_size(empty_ward: list[Seen]) -> None:
    envelopes = [item for item in empty_ward if item.subject == "envelope"]
    assert [item.at_us for item in envelopes] == [START_US + n * 10 * S for n in range(1, 371)]
    assert len({item.size for item in envelopes}) == 1
    assert len({item.size for item in empty_ward if item.source == "operator"}) == 1


def test_each_epoch_has_one_beacon_and_one_statement_at_fixed_times(empty_ward: list[Seen]) -> None:
    errands = [
        (item.subject, (item.at_us - START_US) / S) for item in empty_ward if item.subject not in ("", "envelope")
    ]
    assert errands == [
        ("enrol", 5.0), ("beacon", 15.0), ("statement", 25.0), ("beacon", 3605.0), ("statement", 3615.0),
    ]  # fmt: skip


def test_a_sender_without_dummies_is_told_by_its_rhythm(tmp_path: Path, empty_ward: list[Seen]) -> None:
    """Negative control: the comparison above sees a build that sends only when it has something to say."""

    def only_when_needed(sender: NetworkSender) -> None:
        send = sender._send_envelope

        async def send_some(envelope: Envelope, message: bytes) -> None:
            if envelope.alerts:
                await send(envelope, message)

        sender._send_envelope = send_some  # type: ignore[method-assign]

    seen, _ = in_virtual_time(lambda: an_hour(tmp_path, 4, only_when_needed, SHORT_S))
    assert [item.at_us for item in seen] != [item.at_us for item in shortened(empty_ward)]


def test_a_sender_without_padding_is_told_by_its_sizes(
    tmp_path: Path, empty_ward: list[Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the comparison above sees a build that does not pad."""

    def unpadded(envelope: Envelope, signer: Signer, recipient: SealingKey) -> bytes:
        return recipient.seal(alert_room._signed(envelope, signer), INFO)

    monkeypatch.setattr(sender_room, "seal", unpadded)
    seen, _ = in_virtual_time(lambda: an_hour(tmp_path, 4, None, SHORT_S))
    assert [item.size for item in seen] != [item.size for item in shortened(empty_ward)]


def test_a_sender_that_sends_at_once_is_told_by_its_times(tmp_path: Path, empty_ward: list[Seen]) -> None:
    """Negative control: an alert that does not wait for its slot shows."""

    def at_once(sender: NetworkSender) -> None:
        keep = sender._flush

        async def keep_and_send() -> bool:
            kept = await keep()
            envelope, message = await sender._prepare(Moment(sender._clock.now_us(), 1, False))
            await sender._send_envelope(envelope, message)
            return kept

        sender._flush = keep_and_send  # type: ignore[method-assign]

    seen, _ = in_virtual_time(lambda: an_hour(tmp_path, 1, at_once, SHORT_S))
    assert [item.at_us for item in seen] != [item.at_us for item in shortened(empty_ward)]


def canaries_in(data: bytes) -> list[str]:
    """Which planted words are found, as text or as the bytes that they are packed to."""
    words = {
        "kind": CANARY_KIND.encode(),
        "text": CANARY_TEXT.encode(),
        "patient": CANARY_PATIENT.encode(),
        "patient packed": bytes.fromhex(CANARY_PATIENT),
    }
    return [name for name, word in words.items() if word in data]


def test_no_planted_word_is_on_the_wire_or_on_either_disk(tmp_path: Path) -> None:
    async def main() -> tuple[bytes, int]:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(40)
            for number in range(30):
                world.sender.offer(alarm(number, world.clock.now_us()))
            await asyncio.sleep(15)  # some were told, some still wait on disk
            waiting = world.sender._outbox.waiting_count
            files = [*world.home.path.glob("outbox.db*"), *world.home.operator.glob("operator.db*")]
            assert {path.suffix for path in files} >= {".db", ".db-wal"}
            return bytes(world.tap.content) + b"".join(path.read_bytes() for path in files), waiting

    found, waiting = in_virtual_time(main)
    assert 0 < waiting < 30
    assert canaries_in(found) == []


def test_the_search_for_planted_words_finds_them_where_nothing_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""

    def unsealed(envelope: Envelope, signer: Signer, recipient: SealingKey) -> bytes:
        return alert_room._signed(envelope, signer).ljust(alert_room.SEALED_BYTES, b"\x00")

    monkeypatch.setattr(sender_room, "seal", unsealed)

    async def main() -> bytes:
        async with net_world(tmp_path) as world:
            await asyncio.sleep(8)
            world.sender.offer(alarm(1, world.clock.now_us()))
            await asyncio.sleep(10)
            return bytes(world.tap.content)

    assert canaries_in(in_virtual_time(main)) == ["kind", "text", "patient packed"]
