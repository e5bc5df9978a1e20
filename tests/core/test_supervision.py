"""The service manager is told that the gateway lives, and nothing depends on it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bedside.core.supervision import ALIVE, READY, tell

pytestmark = pytest.mark.requirement("PRV-002")


def test_each_state_is_one_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert tell(READY)
        assert tell(ALIVE)
        assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


def test_an_abstract_address_is_taken_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0bedside-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@bedside-test-notify")
        assert tell(READY)
        assert manager.recv(100) == b"READY=1"


def test_without_a_manager_or_with_a_dead_one_nothing_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not tell(READY)
    for address in ("relative", str(tmp_path / "nobody")):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not tell(ALIVE)
