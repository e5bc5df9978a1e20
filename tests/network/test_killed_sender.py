"""`kill -9` of the sending process: no number is signed twice, no gap goes unexplained."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.network.net_child import EPOCH_S, beacon_of
from tests.network.net_world import MEASURED, START_US, S

from bedside.attestation.statement import Status
from bedside.attestation.verify import STRICT, Arrival, Gateway, Refusal, Verdict
from bedside.network.identity import Identity
from bedside.settings import Home

pytestmark = pytest.mark.requirement("NET-002")

ROOT = Path(__file__).resolve().parents[2]
KILLS = 5


def live_and_die(home: Home, start_us: int, sent: Path, lasts_s: float) -> None:
    before = sent.stat().st_size if sent.exists() else 0
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/network/net_child.py"), str(home.path), str(start_us), str(sent)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    while not sent.exists() or sent.stat().st_size == before:
        assert child.poll() is None, "the sender ended by itself"
        time.sleep(0.01)
    time.sleep(lasts_s)
    child.send_signal(signal.SIGKILL)
    child.wait()


def judged(home: Home, lines: list[str]) -> list[Verdict]:
    """Every statement that arrived, by the strict verifier, in the order of arrival."""
    identity = Identity.load_or_make(home.keys)
    gateway = Gateway(identity.kid, identity.public_key, identity.sueid, (MEASURED,))
    verdicts = []
    for line in lines:
        epoch = int(line.split()[0])
        beacons = {known: beacon_of(known) for known in range(epoch - 3, epoch + 1)}
        verdict = STRICT.verify(
            bytes.fromhex(line.split()[1]),
            lambda kid, known=gateway: known if kid == known.kid else None,  # type: ignore[misc]
            Arrival(epoch, beacons, "local"),
        )
        gateway = verdict.gateway if verdict.refusal is None and verdict.gateway is not None else gateway
        verdicts.append(verdict)
    return verdicts


def test_a_sender_killed_at_random_points_makes_one_unbroken_chain(tmp_path: Path) -> None:
    seed = random.randrange(10_000)
    dice = random.Random(seed)
    home, sent = Home(tmp_path / "home"), tmp_path / "sent"
    home.make()
    start_us = START_US
    for _ in range(KILLS):
        live_and_die(home, start_us, sent, dice.uniform(0.01, 0.4))
        lines = sent.read_text().splitlines()
        last_epoch = int(lines[-1].split()[0])
        # The next life begins in the same epoch, in the next one, or after an outage.
        start_us = round(last_epoch * EPOCH_S * S) + dice.choice([0, 25, 41, 400]) * S
    verdicts = judged(home, sent.read_text().splitlines())
    refused = {verdict.refusal for verdict in verdicts} - {None, Refusal.REPLAY}
    assert not refused, f"seed {seed}"
    links = [verdict.statement.link for verdict in verdicts if verdict.refusal is None and verdict.statement]
    assert len({link.seq for link in links}) == len({link.epoch for link in links}) == len(links) > KILLS
    for before, after in pairwise(links):
        unbroken = after.seq == before.seq + 1 and after.epoch == before.epoch + 1
        assert unbroken or after.status is Status.GAP, f"seed {seed}: a gap that does not say so"
