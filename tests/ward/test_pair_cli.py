"""`bedside pair` and `bedside labels` before a real gateway with virtual wearables, in real time."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bedside.core.errors import SetupError
from bedside.core.time import SystemClock
from bedside.gateway import Edges, Gateway, open_gateway
from bedside.pair_commands import labels, pair
from bedside.settings import Home, Settings
from bedside.stage import bodies_for

pytestmark = pytest.mark.requirement("BLE-007", "BLE-008")


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """The data folder of a gateway that runs in a thread: two patients, two straps that are nobody's."""
    loop, ready = asyncio.new_event_loop(), Future[tuple[Gateway, "asyncio.Task[None]"]]()
    with tempfile.TemporaryDirectory(prefix="bd") as folder:
        made = Home(Path(folder))
        made.make()

        async def serve() -> None:
            bodies = [dataclasses.replace(one, paired=False) for one in bodies_for(demo=True, replays=())[2:4]]
            gateway = await open_gateway(made, Settings(), Edges.of_the_box(SystemClock()), bodies=bodies)
            task = asyncio.create_task(gateway.run())
            while not made.gateway_socket.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            ready.set_result((gateway, task))
            await asyncio.gather(task, return_exceptions=True)

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        _, task = ready.result(60)
        yield made
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)


def asked(home: Home, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(pair, ["--home", str(home.path), *words], input=typed, catch_exceptions=True)


def test_a_nurse_pairs_lists_exports_and_undoes_at_the_box(home: Home, tmp_path: Path) -> None:
    sheet = tmp_path / "labels.pdf"
    printed = CliRunner().invoke(labels, ["--home", str(home.path), "--out", str(sheet)])
    assert printed.exit_code == 0 and sheet.read_bytes().startswith(b"%PDF")
    near = dict(re.findall(r"([0-9A-Z]{3} [0-9A-Z]{3})  (Bedside Virtual \d)", printed.output))
    label = next(one for one, name in near.items() if name.endswith("1"))

    whose = asked(home)
    assert isinstance(whose.exception, SetupError) and "for whom" in str(whose.exception)
    done = asked(home, "--patient", "bed 3", "--label", label)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Reaching it again by its bond" in done.output
    assert re.search(r"It is working, \d+ % battery", done.output)

    listed = asked(home, "list")
    assert label in listed.output and "secure bond" in listed.output and "NOT BELIEVED" not in listed.output
    kept = tmp_path / "pairings"
    words = "five quite ordinary words here\n"
    assert asked(home, "export", str(kept), typed=words * 2).exit_code == 0
    assert kept.stat().st_mode & 0o077 == 0
    taken = asked(home, "import", str(kept), typed=words)
    assert "1 pairings taken over" in taken.output
    assert asked(home, "undo", label).exit_code == 0
    assert asked(home, "list").output.strip() == ""
    again = asked(home, "undo", label)
    assert isinstance(again.exception, SetupError)
