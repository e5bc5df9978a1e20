"""Pairing over a real Security Manager on both sides: each way, the wrong number, and what looks alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.ble.ble_bodies import ReplayedBody
from tests.ble.ble_scenes import on_virtual_time

from bedside.ble.air import Air
from bedside.ble.bonding import Nobody, OutOfBand
from bedside.ble.pair_run import PairRun
from bedside.ble.pairing import Ask, Attempt, BondLevel, Identity, Stage
from bedside.ble.radio import BumbleRadio
from bedside.ble.virtual import VirtualWearable
from bedside.ble.virtual.security import Security, Way
from bedside.core.errors import WearableError

pytestmark = pytest.mark.requirement("BLE-007")

ADDRESS = "C0:00:00:00:01:01"
Answers = Callable[[Ask, str], bool | int]


@dataclass
class Trial:
    """One attempt with one wearable, and what was asked and shown."""

    stages: list[Stage] = field(default_factory=list)
    asked: list[Ask] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    end: Attempt | None = None

    @property
    def level(self) -> BondLevel:
        assert self.end is not None
        return self.end.level


async def try_to_pair(radio: BumbleRadio, answers: Answers, trial: Trial, oob: OutOfBand | None = None) -> None:
    chosen = Identity(address=ADDRESS, name="Strap 1")
    told: set[int] = set()

    def changed(attempt: Attempt) -> None:
        trial.stages.append(attempt.stage)
        question = run.question
        if question is not None and id(question) not in told:
            told.add(id(question))
            trial.asked.append(question.ask)
            asyncio.get_running_loop().call_later(
                1.0, lambda: run.answer(answers(question.ask, trial.shown[-1] if trial.shown else ""))
            )

    async def free() -> None:
        return

    run = PairRun(Attempt(id="1", patient="p", chosen=chosen), radio, radio.bonding, changed)
    await run.run((), free, oob)
    trial.end = run.attempt


def tried(way: Way, answers: Answers = lambda ask, shown: True, *, use_oob: bool = True) -> Trial:
    async def work() -> Trial:
        trial, air = Trial(), Air()
        radio = BumbleRadio(air)
        strap = VirtualWearable(ReplayedBody(), air, name="Strap 1", address=ADDRESS)
        security = Security(strap.device, way, shows=trial.shown.append)
        await strap.start()
        oob = security.out_of_band() if way is Way.OOB and use_oob else None
        await try_to_pair(radio, answers, trial, oob)
        await strap.close()
        await radio.close()
        air.close()
        return trial

    return on_virtual_time(work)


def right_number(ask: Ask, shown: str) -> bool | int:
    return int(shown) if ask is Ask.PASSKEY else True


def wrong_number(ask: Ask, shown: str) -> bool | int:
    return (int(shown) + 1) % 1_000_000 if ask is Ask.PASSKEY else False


@pytest.mark.parametrize(
    ("way", "asked", "level"),
    [
        (Way.JUST_WORKS, [], BondLevel.UNAUTHENTICATED),
        (Way.NUMBERS, [Ask.NUMBERS], BondLevel.AUTHENTICATED),
        (Way.PASSKEY, [Ask.PASSKEY], BondLevel.AUTHENTICATED),
        (Way.OOB, [], BondLevel.AUTHENTICATED),
        (Way.NONE, [Ask.UNSECURED], BondLevel.NONE),
    ],
)
def test_each_way_ends_in_a_wearable_that_was_reached_again(way: Way, asked: list[Ask], level: BondLevel) -> None:
    trial = tried(way, right_number)
    assert trial.end is not None and trial.end.stage is Stage.PAIRED, trial.end
    assert trial.asked == asked
    assert trial.level is level
    assert [stage for stage in trial.stages if stage in (Stage.DROPPING, Stage.PROVING)] == [
        Stage.DROPPING,
        Stage.PROVING,
    ]
    facts = trial.end.facts
    assert facts is not None and facts.battery_pct == 88.0 and "ECG" in facts.signals
    assert facts.identity.serial == ADDRESS.replace(":", "")


@pytest.mark.parametrize("way", [Way.NUMBERS, Way.PASSKEY])
def test_a_wrong_number_makes_no_bond(way: Way) -> None:
    trial = tried(way, wrong_number)
    assert trial.end is not None and trial.end.stage is Stage.REFUSED
    assert "the number was wrong" in trial.end.reason


def test_nobody_answers_and_a_no_to_an_unsecured_wearable_end_the_attempt() -> None:
    trial = tried(Way.NONE, lambda ask, shown: False)
    assert trial.end is not None and (trial.end.stage, trial.end.reason) == (Stage.REFUSED, "not wanted")


def test_a_bond_is_asked_for_anew_and_neither_a_reset_wearable_nor_a_copy_passes() -> None:
    async def work() -> list[str]:
        trial, air, said = Trial(), Air(), []
        radio = BumbleRadio(air)
        strap = VirtualWearable(ReplayedBody(), air, name="Strap 1", address=ADDRESS)
        security = Security(strap.device, Way.JUST_WORKS)
        await strap.start()
        await try_to_pair(radio, right_number, trial)
        assert trial.end is not None and trial.end.stage is Stage.PAIRED

        async def link() -> str:
            heard: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            scanner = radio.scanner(lambda device, _: None if heard.done() else heard.set_result(device))
            await scanner.start()
            device = await heard
            await scanner.stop()
            client = radio.client(device, lambda _: None)  # type: ignore[arg-type]
            await client.connect()
            try:
                return str(await radio.bonding.prove(client))
            except WearableError as error:
                return str(error)
            finally:
                await client.disconnect()

        said.append(await link())
        security.reset()
        said.append(await link())
        await strap.close()
        copy = VirtualWearable(ReplayedBody(), air, name="Strap 1", address=ADDRESS)
        Security(copy.device, Way.JUST_WORKS)
        await copy.start()
        said.append(await link())
        await copy.close()
        await radio.close()
        air.close()
        return said

    proven, reset, copy = on_virtual_time(work)
    assert proven == "unauthenticated"
    assert "does not hold the bond" in reset
    assert "does not hold the bond" in copy


def test_a_stack_that_asks_while_nobody_pairs_meets_nobody() -> None:
    async def work() -> None:
        nobody = Nobody()
        assert await nobody.numbers("123456") is False
        assert await nobody.passkey() is None

    on_virtual_time(work)
