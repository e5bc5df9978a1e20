"""A data folder, a fake gateway and a running dashboard for the tests of this folder."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.dashboard.fake_gateway import FakeGateway

from bedside.dashboard.serve import Dashboard
from bedside.settings import Home

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium for one module: while playwright runs, no other event loop can in its thread."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def box() -> Iterator[tuple[Home, FakeGateway, Dashboard]]:
    """One gateway and one dashboard for the tests that break neither."""
    with tempfile.TemporaryDirectory(prefix="bd") as folder:
        home = Home(Path(folder))
        home.make()
        gateway = FakeGateway(home.gateway_socket).start()
        dashboard = Dashboard(home, port=0)
        dashboard.start()
        yield home, gateway, dashboard
        dashboard.close()
        gateway.close()


@pytest.fixture
def home() -> Iterator[Home]:
    """A data folder whose path is short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="bd") as folder:
        made = Home(Path(folder) / "h")
        made.make()
        yield made


@pytest.fixture
def gateway(home: Home) -> Iterator[FakeGateway]:
    running = FakeGateway(home.gateway_socket).start()
    yield running
    running.close()


@pytest.fixture
def dashboard(home: Home, gateway: FakeGateway) -> Iterator[Dashboard]:
    running = Dashboard(home, port=0)
    running.start()
    yield running
    running.close()
