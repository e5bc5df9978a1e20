"""A data folder, a fake gateway and a running dashboard for the tests of this folder."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.dashboard.fake_gateway import FakeGateway

from bedside.dashboard.serve import Dashboard
from bedside.settings import Home


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
