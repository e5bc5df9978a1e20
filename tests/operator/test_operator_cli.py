"""`bedside operator` and `bedside recipient` as processes, and a gateway's way to both; exit codes mean something."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bedside.attestation.statement import Measured
from bedside.core.errors import SetupError
from bedside.core.events import Alarm, AlarmClass, AlarmState, Priority
from bedside.core.time import SystemClock, ThreadWorker
from bedside.network.cli import recipient
from bedside.network.embedded import prepare
from bedside.network.sender import open_sender
from bedside.operator.cli import operator
from bedside.settings import Home

pytestmark = pytest.mark.requirement("OPR-001")

MEASURED = Measured({"beats": b"\x11" * 32}, "tflite-runtime 2.14.0", b"\x22" * 32, "builtin", "0.1.0")
COMMAND = "from bedside.operator.cli import operator; operator()"


def invoke(group: object, *words: str) -> Result:
    return CliRunner().invoke(group, words)  # type: ignore[arg-type]


@contextmanager
def running_operator(home: Home, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    words = ["run", "--home", str(home.path), "--offer-token", str(home.operator_token), *options]
    child = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stderr=subprocess.PIPE)
    assert child.stderr is not None
    try:
        until = time.monotonic() + 60
        while not (home.operator_token).exists():
            assert child.poll() is None, child.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.02)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)
        child.stderr.close()


def an_alarm(now_us: int) -> Alarm:
    return Alarm(
        id="a",
        patient="ab" * 16,
        start_us=now_us,
        alarm="cd" * 16,
        kind="asystole",
        alarm_class=AlarmClass.PHYSIOLOGICAL,
        priority=Priority.HIGH,
        state=AlarmState.ACTIVE,
        condition=True,
        latching=True,
        raised_us=now_us,
        changed_us=now_us,
        text="No beat for 4 s",
    )


async def a_short_life(home: Home) -> None:
    """A real sender against a real operator's process; its slots take half a second."""
    clock, worker = SystemClock(), ThreadWorker("outbox")
    sender = await worker.run(
        lambda: open_sender(home, measured=MEASURED, clock=clock, worker=worker, epoch_s=3600.0, slot_s=0.5)
    )
    task = asyncio.create_task(sender.run())
    sender.offer(an_alarm(clock.now_us()))
    try:
        until = clock.now_us() + 60_000_000
        while "statement verified; no alert waits" not in sender.status()["detail"]:
            assert clock.now_us() < until, sender.status()
            await asyncio.sleep(0.05)
    finally:
        await sender.close()
        await task
        worker.close()


def test_a_gateway_an_operators_process_and_a_recipient_meet(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    prepare(home)
    where = ("--home", str(home.path))
    with running_operator(home) as child:
        empty = invoke(operator, "status", *where)
        assert empty.exit_code == 1
        assert "no gateway has enrolled yet" in empty.output
        asyncio.run(a_short_life(home))

        status = invoke(operator, "status", *where, "--json")
        view = json.loads(status.output)
        assert status.exit_code == 0, status.output
        assert view["running"]
        assert view["ok"]
        (gateway,) = view["gateways"]
        assert gateway["last_statement"]["verified"]
        assert gateway["envelopes"]["kept"] >= 1
        assert "verified" in invoke(operator, "status", *where).output

        opened = invoke(recipient, "open", *where, "--json")
        (alert,) = json.loads(opened.output)["alerts"]
        assert (alert["kind"], alert["priority"], alert["live"]) == ("asystole", "high", True)
        text = invoke(recipient, "open", *where).output
        assert "asystole" in text
        time.sleep(1.6)
        silent = invoke(recipient, "open", *where)  # the box is stopped: slots are missing
        assert silent.exit_code == 1
        assert "no contact with the box since" in silent.output

        approved = invoke(operator, "approve", gateway["kid"][:8], *where)
        assert approved.exit_code == 0, approved.output
        assert invoke(operator, "revoke", gateway["kid"], *where).exit_code == 0
        assert "revoked" in invoke(operator, "status", *where).output
        assert child.poll() is None
    assert child.returncode == 0
    assert not (home.operator / "operator.sock").exists()
    stopped = invoke(operator, "status", *where)
    assert stopped.exit_code == 1
    assert "not running" in stopped.output


def test_a_second_operator_process_is_refused_with_a_hint(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    with running_operator(home):
        second = invoke(operator, "run", "--home", str(home.path))
        assert isinstance(second.exception, SetupError)
        assert "already running" in str(second.exception)


def test_a_killed_operator_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    with running_operator(home) as child:
        child.kill()
        child.wait()
    (home.operator_token).unlink()
    with running_operator(home) as child:
        assert child.poll() is None
    assert child.returncode == 0


def test_an_enrolment_token_can_be_printed_and_is_new_each_time(tmp_path: Path) -> None:
    first, second = (invoke(operator, "enrol-token", "--home", str(tmp_path)).output.strip() for _ in range(2))
    assert len(first) == len(second) == 32
    assert first != second


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("status",), "no operator has run here"),
        (("revoke", "abcd"), "no operator has run here"),
        (("approve", "abcd"), "no operator has run here"),
    ],
)
def test_without_an_operator_each_command_says_what_to_do(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    result = invoke(operator, *words, "--home", str(tmp_path))
    assert isinstance(result.exception, SetupError)
    assert says in str(result.exception)
    assert result.exception.hint


def test_recipients_are_made_added_and_told_whom_to_believe(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    folder = tmp_path / "team"
    made = invoke(recipient, "init", str(folder))
    assert made.exit_code == 0
    public = Path(made.output.strip())
    before = (folder / "recipient.key").read_bytes()
    assert invoke(recipient, "init", str(folder)).exit_code == 0
    assert (folder / "recipient.key").read_bytes() == before  # never overwritten
    assert (folder / "recipient.key").stat().st_mode & 0o777 == 0o600
    assert before.hex() not in public.read_text()

    assert invoke(recipient, "add", str(public), "--home", str(home.path)).exit_code == 0
    wrong = invoke(recipient, "trust", str(public), "--dir", str(folder))
    assert isinstance(wrong.exception, SetupError)
    missing = invoke(recipient, "open", "--home", str(home.path), "--dir", str(tmp_path / "nobody"))
    assert isinstance(missing.exception, SetupError)
    no_operator = invoke(recipient, "open", "--home", str(home.path), "--dir", str(folder))
    assert isinstance(no_operator.exception, SetupError)
    assert os.fspath(home.path) not in str(no_operator.exception)
