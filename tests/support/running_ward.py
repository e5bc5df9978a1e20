"""A whole appliance as real processes: `bedside run --demo`, as a newcomer starts it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE_S = 90.0  # a slow machine is no failure


def bedside(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "bedside.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def until(what: Callable[[], T | None], why: str, patience_s: float = PATIENCE_S) -> T:
    """The first answer of `what` that is not None or False; fails with `why` after `patience_s`."""
    deadline_s = time.monotonic() + patience_s
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline_s, why
        time.sleep(0.1)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class RunningWard:
    """The appliance's processes and what they say."""

    home: Path
    port: int
    process: subprocess.Popen[str]
    output: Path

    def text(self) -> str:
        return self.output.read_text()

    def link(self) -> str:
        """The one-time sign-in link, once it is printed."""

        def find() -> str | None:
            assert self.process.poll() is None, f"the appliance ended: {self.text()}"
            return next((word for word in self.text().split() if "/sign-in?token=" in word), None)

        return until(find, f"no link was printed: {self.text()}")

    def status(self) -> dict[str, Any]:
        """`bedside status --json`."""
        done = bedside("status", "--json", "--home", str(self.home))
        assert done.returncode in (0, 1), done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def pid(self, part: str) -> int | None:
        """The process id of a part."""
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                if str(self.home) in words and part in words[:5] and "run" not in words[3:4]:
                    return int(folder.name)
        return None

    def heard(self) -> list[str]:
        """What the annunciator has logged."""
        log = self.home / "annunciator.log"
        return [json.loads(line)["state"] for line in log.read_text().splitlines()] if log.exists() else []

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running_ward(home: Path, *options: str) -> Iterator[RunningWard]:
    """`bedside run --demo` on `home`, killed at the end if it still runs."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    output = home.parent / f"{home.name}.out"
    command = [sys.executable, "-m", "bedside.cli", "run", "--demo", "--home", str(home), "--port", str(port)]
    with output.open("w") as file:
        process = subprocess.Popen(
            [*command, "--no-browser", *options],
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    ward = RunningWard(home, port, process, output)
    try:
        yield ward
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
        if process.poll() is None:
            process.kill()
        for part in ("gateway", "dashboard", "operator", "annunciator"):
            pid = ward.pid(part)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
