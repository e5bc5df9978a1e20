"""The supervisor of `bedside run`: starts the appliance's processes, keeps them alive, ends them in order.

Processes: operator, annunciator, gateway, dashboard. A dead one is started again with back-off and the
gateway is told (a technical alarm); a gateway that has not answered for `FROZEN_S` is killed and started
anew (the annunciator has said so by then). On a box systemd does this work.

Children end with their parent: they watch a pipe whose other end the supervisor holds. Only the
annunciator does not: it has to say that monitoring stopped even when all else was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bedside.core import wire
from bedside.core.errors import BedsideError, SetupError
from bedside.settings import Home

BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
FROZEN_S = 20.0
POLL_S = 1.0
START_S = 60.0
STOP_S = 4.0  # then SIGKILL: Ctrl-C ends everything within 5 s

SETUP_EXIT = 2  # a child that ends so needs a person, not another start


@dataclass(slots=True)
class Child:
    """One process of the appliance. `ready` tells whether it can be used; it must return within a second or so."""

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    leashed: bool = True  # ends when the supervisor does
    process: asyncio.subprocess.Process | None = None
    failures: int = 0
    started_s: float = 0.0
    due_s: float = 0.0  # when to start it (again)
    detail: str = "starting"
    was_ready: bool = field(default=False)


class Supervisor:
    """Runs `children`, in the order given, until `stop` is set; ends them in the opposite order."""

    def __init__(self, home: Home, children: Sequence[Child], say: Callable[[str], None]) -> None:
        self.home = home
        self.children = list(children)
        self.stop = asyncio.Event()
        self._say = say
        self._heard_s = time.monotonic()

    async def start(self) -> None:
        """Start all children one after the other. Raises `SetupError` when one cannot start."""
        for child in self.children:
            await self._start(child)
            await self._until_ready(child)
            self._say(f"  {child.name:<12} ready")

    async def _start(self, child: Child) -> None:
        if child.name == "annunciator":
            errors: int | None = None  # it speaks to the terminal itself
        else:
            errors = os.open(self._errors(child), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        module = "bedside.leash" if child.leashed else "bedside.cli"
        try:
            child.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *child.argv,
                stdin=asyncio.subprocess.PIPE if child.leashed else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL, stderr=errors, start_new_session=True,
            )  # fmt: skip
        finally:
            if errors is not None:
                os.close(errors)
        child.started_s = time.monotonic()

    def _errors(self, child: Child) -> Path:
        return self.home.logs / f"{child.name}.err"

    async def _until_ready(self, child: Child) -> None:
        deadline_s = time.monotonic() + START_S
        while not await asyncio.to_thread(child.ready):
            if child.process is not None and child.process.returncode is not None:
                raise self._refused(child)
            if self.stop.is_set():
                return
            if time.monotonic() > deadline_s:
                raise SetupError(
                    f"{child.name}: not ready after {START_S:g} s",
                    hint=f"look into {self.home.logs / child.name}.log",
                )
            await asyncio.sleep(0.1)
        child.was_ready, child.detail = True, "running"

    def _refused(self, child: Child) -> SetupError:
        text = self._errors(child).read_text(errors="replace").strip() if child.name != "annunciator" else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        code = child.process.returncode if child.process is not None else None
        if code == SETUP_EXIT and lines:
            first = lines[0].removeprefix("bedside: ")
            return SetupError(f"{child.name}: {first}", hint=lines[1] if len(lines) > 1 else "see above")
        tail = lines[-1] if lines else f"exit code {code}"
        return SetupError(f"{child.name} does not start: {tail}", hint=f"look into {self.home.logs / child.name}.log")

    async def watch(self) -> None:
        """Keep the children alive until `stop`. Raises `SetupError` when one needs a person."""
        self._heard_s = time.monotonic()
        while not self.stop.is_set():
            for child in self.children:
                await self._look_after(child)
            await self._tell_gateway()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self.stop.wait()

    async def _look_after(self, child: Child) -> None:
        now_s = time.monotonic()
        assert child.process is not None
        if child.process.returncode is None:
            if child.failures and now_s - child.started_s > 60.0:
                child.failures = 0
            if not child.was_ready and await asyncio.to_thread(child.ready):
                child.was_ready, child.detail = True, "running"
                self._say(f"  {child.name:<12} runs again")
            return
        if child.due_s <= child.started_s:  # it has just ended
            if child.process.returncode == SETUP_EXIT and not child.was_ready:
                raise self._refused(child)
            pause_s = BACK_OFF_S[min(child.failures, len(BACK_OFF_S) - 1)]
            child.due_s = max(now_s + pause_s, child.started_s + 1e-3)
            child.failures += 1
            child.was_ready = False
            child.detail = f"ended with code {child.process.returncode}; started again in {pause_s:g} s"
            self._say(f"  {child.name:<12} {child.detail}")
        if now_s >= child.due_s:
            await self._start(child)

    async def _tell_gateway(self) -> None:
        """Tell the gateway how the other processes do; kill it when it has been deaf for too long."""
        reports: list[dict[str, object]] = [
            {"op": "part", "part": child.name, "state": "ok" if child.was_ready else "failed", "detail": child.detail}
            for child in self.children
            if child.name != "gateway"
        ]
        try:
            async with asyncio.timeout(2.0):
                await ask_all(self.home.gateway_socket, reports)
            self._heard_s = time.monotonic()
        except (OSError, BedsideError, TimeoutError):
            gateway = next(child for child in self.children if child.name == "gateway")
            if not gateway.was_ready:
                self._heard_s = time.monotonic()
            elif time.monotonic() - self._heard_s > FROZEN_S and gateway.process is not None:
                self._say(f"  gateway      has not answered for {FROZEN_S:g} s: it is started anew")
                with contextlib.suppress(ProcessLookupError):
                    gateway.process.kill()
                self._heard_s = time.monotonic()

    async def end(self) -> None:
        """End all children, the last started first, each cleanly if it can. Safe to call twice."""
        deadline_s = time.monotonic() + STOP_S
        for child in reversed(self.children):
            if child.process is None or child.process.returncode is not None:
                continue
            if child.name == "annunciator":
                continue
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
        for child in reversed(self.children):
            if child.name != "annunciator":
                await self._wait(child, deadline_s)
        for child in self.children:  # the annunciator last: it has to hear the gateway's farewell
            if child.name == "annunciator" and child.process is not None and child.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.process.terminate()
                await self._wait(child, max(deadline_s, time.monotonic() + 0.8))

    async def _wait(self, child: Child, deadline_s: float) -> None:
        process = child.process
        if process is None or process.returncode is not None:
            return
        try:
            async with asyncio.timeout(max(0.05, deadline_s - time.monotonic())):
                await process.wait()
        except TimeoutError:
            self._say(f"  {child.name:<12} did not end in {STOP_S:g} s: killed")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def ask_all(path: Path, requests: Sequence[dict[str, object]]) -> list[object]:
    """Ask a gateway several things over one connection. Raises `OSError`, `WireError`, `BedsideError`."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
    results: list[object] = []
    try:
        for number, request in enumerate(requests, 1):
            writer.write(wire.frame({"v": wire.VERSION, "id": number, **request}))
            await writer.drain()
            reply = await wire.read_frame(reader)
            if reply is None:
                raise wire.WireError("the gateway hung up")
            if not reply.get("ok"):
                raise BedsideError(str(reply.get("error", {}).get("message", reply)))
            results.append(reply["result"])
    finally:
        writer.close()
    return results


def gateway_answers(home: Home) -> bool:
    """Does a gateway answer on this home's socket?"""
    try:
        ask(home, {"op": "ward"}, timeout_s=2.0)
    except SetupError:
        return False
    return True


def ask(home: Home, request: dict[str, object], timeout_s: float = 5.0) -> object:
    """Ask the running gateway one thing. Raises `SetupError` when none answers."""

    async def once() -> object:
        async with asyncio.timeout(timeout_s):
            return (await ask_all(home.gateway_socket, [request]))[0]

    try:
        return asyncio.run(once())
    except TimeoutError as error:
        raise SetupError(
            f"the gateway does not answer within {timeout_s:g} s", hint="see its log, or start it anew"
        ) from error
    except (OSError, wire.WireError) as error:
        raise SetupError(
            f"no gateway answers on {home.gateway_socket}", hint="start one with `bedside run`, or name its --home"
        ) from error


def leash() -> None:
    """End this process (SIGTERM) when its standard input is closed: its supervisor has died."""

    def wait() -> None:
        with contextlib.suppress(OSError):  # the descriptor itself: a lock on `sys.stdin` would abort a normal exit
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="leash", daemon=True).start()


def show_json(value: object) -> str:
    """JSON for people and programs alike."""
    return json.dumps(value, indent=2, ensure_ascii=False)
