"""Inside the virtual machine: Bedside's own gateway over bleak, BlueZ and the kernel; scene after scene, with seconds.

Everything goes over the gateway's socket, as the pages and `bedside pair` do. A scene that fails is said and counted;
the exit code is the number of those.
"""

# ruff: noqa: ASYNC110, ASYNC221, BLE001  one process that plays and watches: it may stand still for a moment

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bedside.core.time import SystemClock
from bedside.gateway import Edges, Gateway, open_gateway
from bedside.settings import Home, PatientSetting, Settings
from bedside.supervisor import ask_all

PATIENTS = ("Anna", "Bert", "Cora", "Dora")
PATIENCE_S = 90.0


class Stage:
    """The gateway, the straps, and the table of scenes."""

    def __init__(self) -> None:
        self.home = Home(Path("/tmp/bedside"))
        self.rows: list[tuple[str, float, str]] = []
        self.shows: dict[int, str] = {}
        self.counts: dict[str, int] = {}  # ECG samples by patient
        self._straps: asyncio.subprocess.Process | None = None
        self._up = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self.gateway: Gateway | None = None

    async def scene(self, name: str, work: Callable[[], Awaitable[str]]) -> None:
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(150):
                said = await work()
        except Exception as error:
            traceback.print_exc()
            said = f"FAILED: {type(error).__name__}: {error}"
        self.rows.append((name, time.monotonic() - begun_s, said))
        print(f"[{uptime_s():6.1f}] {name}: {self.rows[-1][1]:.1f} s  {said}", flush=True)

    # ------------------------------------------------------------------ what is there

    async def straps(self) -> str:
        here = Path(__file__).with_name("straps.py")
        self._straps = await asyncio.create_subprocess_exec(
            sys.executable, str(here), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._tasks.append(asyncio.create_task(self._hear()))
        await self._up.wait()
        await power_on()
        return "four straps, adapter powered"

    async def _hear(self) -> None:
        assert self._straps is not None and self._straps.stdout is not None
        while line := await self._straps.stdout.readline():
            told = json.loads(line)
            if "shows" in told:
                self.shows[told["strap"]] = told["shows"]
            if told.get("up"):
                self._up.set()

    async def order(self, **what: Any) -> None:
        assert self._straps is not None and self._straps.stdin is not None
        self._straps.stdin.write(json.dumps(what).encode() + b"\n")
        await self._straps.stdin.drain()

    async def open(self) -> str:
        self.home.make()
        patients = tuple(PatientSetting(name=name, bed=name[0]) for name in PATIENTS)
        edges = Edges.of_the_box(SystemClock())
        self.gateway = await open_gateway(self.home, Settings(patients=patients, muted=True), edges)
        block = self.gateway.ward.block

        def counted(one: Any) -> None:
            self.counts[one.stream.patient] = self.counts.get(one.stream.patient, 0) + one.counts.size
            block(one)

        self.gateway.ward.block = counted  # type: ignore[method-assign, assignment]
        self._tasks.append(asyncio.create_task(self.gateway.run()))
        while not self.home.gateway_socket.exists():
            await asyncio.sleep(0.1)
        return f"{len(PATIENTS)} patients, no wearable"

    async def close(self) -> None:
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._straps is not None and self._straps.returncode is None:
            self._straps.terminate()

    @property
    def samples(self) -> int:
        """Of the first patient."""
        assert self.gateway is not None
        return self.counts.get(self.gateway.ward.patients()[0], 0)

    # ------------------------------------------------------------------ questions

    async def ask(self, op: str, **arguments: Any) -> Any:
        (answer,) = await ask_all(self.home.gateway_socket, [{"op": op, **arguments}])
        return answer

    async def until(self, what: Callable[[], Awaitable[bool]], why: str, patience_s: float = PATIENCE_S) -> None:
        deadline_s = time.monotonic() + patience_s
        while not await what():
            if time.monotonic() > deadline_s:
                raise TimeoutError(why)
            await asyncio.sleep(0.3)

    async def patient(self, number: int) -> Any:
        return (await self.ask("ward"))["patients"][number]

    async def link(self, number: int) -> str:
        wearables = (await self.patient(number))["wearables"]
        return str(wearables[0]["link"]) if wearables else "none"

    async def heard(self) -> str:
        found: list[Any] = []

        async def all_four() -> bool:
            found[:] = await self.ask("pair_heard")
            return len(found) >= 4

        await self.until(all_four, "not all straps are heard")
        return ", ".join(f"{one['name']} {one['label']}" for one in found)

    async def label(self, strap: int) -> str:
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            for one in await self.ask("pair_heard"):
                if one["name"] == f"Strap {strap}":
                    return str(one["label"])
            await asyncio.sleep(0.5)
        raise TimeoutError(f"strap {strap} is not heard")

    async def pair(self, strap: int, patient: int, *, wrong: bool = False) -> Any:
        """Pair as a nurse would: answer what is asked, by what the strap shows."""
        hers = (await self.patient(patient))["id"]
        label = await self.label(strap)
        view = await self.ask("pair_begin", patient=hers, label=label, typed=True, by="Nurse", staff=True)
        self.shows.pop(strap, None)
        while view["stage"] not in ("paired", "refused", "undone"):
            question = view["question"]
            if question is None or (question["ask"] in ("passkey", "numbers") and strap not in self.shows):
                await asyncio.sleep(0.2)
                view = await self.ask("pair_state", attempt=view["attempt"])
                continue
            answer: bool | int = True
            if question["ask"] == "numbers":
                assert question["number"] == self.shows[strap], "the strap and the box show two numbers"
                answer = not wrong
            if question["ask"] == "passkey":
                answer = (int(self.shows[strap]) + wrong) % 1_000_000
            view = await self.ask("pair_answer", attempt=view["attempt"], answer=answer)
        return view

    async def paired(self, strap: int, patient: int, bond: str) -> str:
        view = await self.pair(strap, patient)
        assert view["stage"] == "paired", view["reason"]
        assert view["bond"] == bond, view["bond"]

        async def up() -> bool:
            return await self.link(patient) == "up"

        await self.until(up, "paired, but no data")
        return f"{view['bond']}, {view['battery_pct']:.0f} % battery"

    async def refused(self, strap: int, patient: int) -> str:
        view = await self.pair(strap, patient, wrong=True)
        assert view["stage"] == "refused" and "number was wrong" in view["reason"], view["reason"]
        assert not self.bonded(strap), "BlueZ keeps a bond all the same"
        return str(view["reason"])

    # ------------------------------------------------------------------ faults

    async def streams(self) -> str:
        await asyncio.sleep(5)  # the first frames after a start come late
        before, begun_s = self.samples, time.monotonic()
        await asyncio.sleep(15)
        rate = (self.samples - before) / (time.monotonic() - begun_s)
        assert rate > 100, f"{rate:.0f} samples a second"
        return f"{rate:.0f} ECG samples a second of 130"

    async def link_loss(self) -> str:
        await self.order(reach=0, on=False)
        begun_s = time.monotonic()

        async def down() -> bool:
            return await self.link(0) != "up"

        async def up() -> bool:
            return await self.link(0) == "up"

        await self.until(down, "the loss was never told")
        told_s = time.monotonic() - begun_s
        await asyncio.sleep(3)
        await self.order(reach=0, on=True)
        begun_s = time.monotonic()
        await self.until(up, "the link was not made anew")
        return f"told after {told_s:.1f} s, back {time.monotonic() - begun_s:.1f} s after the strap was"

    async def daemon_restart(self) -> str:
        subprocess.run(["busybox", "killall", "bluetoothd"], check=True)
        await asyncio.sleep(4)  # it is started anew, as systemd does
        begun_s, before = time.monotonic(), self.samples
        await power_on()

        async def flows() -> bool:
            return await self.link(0) == "up" and self.samples > before + 200

        await self.until(flows, "no data after bluetoothd came back", 140)
        return f"data again {time.monotonic() - begun_s:.1f} s after bluetoothd"

    async def bond_loss(self) -> str:
        await self.order(reset=0)
        await self.order(leave=0)

        async def down() -> bool:
            return await self.link(0) != "up"

        await self.until(down, "the loss was never told")
        before = self.samples
        await asyncio.sleep(25)
        assert await self.link(0) != "up" and self.samples == before, "a strap without the bond was believed"
        return "no sample was believed for 25 s"

    async def again(self) -> str:
        return await self.paired(0, 0, "unauthenticated")

    async def unpaired(self) -> str:
        (one,) = await self.ask("pairings", patient=(await self.patient(1))["id"])
        await self.ask("unpair", wearable=one["wearable"], by="Nurse")
        assert (await self.patient(1))["wearables"] == []
        assert not self.bonded(1), "BlueZ keeps the bond"
        return "strap 1 is nobody's, its bond is gone from BlueZ"

    @staticmethod
    def bonded(strap: int) -> bool:
        """Does BlueZ hold a key of this strap?"""
        files = Path("/var/lib/bluetooth").glob(f"*/F0:F1:F2:F3:F4:{strap:02X}/info")
        return any("LongTermKey" in one.read_text() for one in files)


def uptime_s() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


async def power_on() -> None:
    """Wait for the adapter, and switch it on."""
    for _ in range(200):
        done = await asyncio.create_subprocess_exec(
            "busctl", "--system", "set-property", "org.bluez", "/org/bluez/hci0", "org.bluez.Adapter1", "Powered",
            "b", "true", stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if await done.wait() == 0:
            return
        await asyncio.sleep(0.2)
    raise TimeoutError("no adapter")


class Words(logging.Formatter):
    """What failed, with the word for why."""

    def format(self, record: logging.LogRecord) -> str:
        why = getattr(record, "reason", "")
        return f"[{uptime_s():6.1f}]   {record.name}: {record.getMessage()} {why}"


async def main() -> int:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Words())
    logging.getLogger("bedside.ble").addHandler(handler)
    logging.getLogger("bedside.ble").setLevel(logging.INFO)
    stage = Stage()
    stage.rows.append(("boot, BlueZ and Bedside loaded", uptime_s(), "Linux, BlueZ, bleak, bumble"))
    scenes: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("straps on the air", stage.straps),
        ("gateway opened", stage.open),
        ("scan: all straps heard", stage.heard),
        ("pair: just works", lambda: stage.paired(0, 0, "unauthenticated")),
        ("ECG streams", stage.streams),
        ("pair: numeric comparison", lambda: stage.paired(1, 1, "authenticated")),
        ("pair: wrong passkey", lambda: stage.refused(2, 2)),
        ("pair: passkey", lambda: stage.paired(2, 2, "authenticated")),
        ("pair: no bond, agreed to", lambda: stage.paired(3, 3, "none")),
        ("link loss and recovery", stage.link_loss),
        ("bluetoothd restart", stage.daemon_restart),
        ("taken back", stage.unpaired),
        ("strap lost its bond", stage.bond_loss),
        ("paired again", stage.again),
    ]
    for name, work in scenes:
        await stage.scene(name, work)
    await stage.close()
    print("\n| scene | seconds | |\n| --- | --- | --- |")
    for name, seconds, said in stage.rows:
        print(f"| {name} | {seconds:.1f} | {said} |")
    return sum(said.startswith("FAILED") for _, _, said in stage.rows)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
