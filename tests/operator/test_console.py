"""The operator's console: what it shows, and that it shows nothing else."""

from __future__ import annotations

import asyncio
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.attestation.attest_world import KeySigner
from tests.operator.operator_world import CHEAPER, EPOCH_S, START_US, Box, an_enrolled_box, an_operator

from bedside.attestation.exchange import Subject
from bedside.attestation.sign1 import key_id
from bedside.attestation.statement import Status
from bedside.operator.console import ConsoleServer, create_console

pytestmark = pytest.mark.requirement("OPR-001")

EPOCH_US = EPOCH_S * 1_000_000


async def _live(folder: Path) -> Box:
    service, clock = await an_operator(folder)
    site = KeySigner()
    service.sink.trust_auditor(key_id(site.public_key), site.public_key, "St. <b>Elsewhere</b>", 2, clock.now_us())
    box = await an_enrolled_box(service)
    for epoch in range(3):
        clock.us = START_US + epoch * EPOCH_US + 5_000_000
        made = await box.statement(Status.OK if epoch else Status.GAP, site=site if epoch else None)
        assert (await box.ask(Subject.STATEMENT, made)).ok
    clock.us += EPOCH_US
    bad = await box.ask(Subject.STATEMENT, await box.statement(Status.OK, measured=CHEAPER))
    assert bad.reason == "model"
    await box.ask(Subject.ENVELOPE, box.envelope(7))
    await service.close()
    return box


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Box]:
    folder = tmp_path_factory.mktemp("operator")
    return folder / "operator", asyncio.run(_live(folder))


def test_the_page_shows_fleet_payments_sites_and_refusals(lived: tuple[Path, Box]) -> None:
    folder, box = lived
    client = create_console(folder, now_us=lambda: START_US + 3 * EPOCH_US + 9_000_000, epoch_us=EPOCH_US).test_client()
    page = client.get("/").text
    assert box.sueid.hex()[2:18] in page
    assert "2 site" in page  # epochs
    assert "200,000" in page  # earned
    assert "its models are none of the published reference values" in page
    assert "St. &lt;b&gt;Elsewhere&lt;/b&gt;" in page  # a name is text
    assert "refused: model" in page  # needs attention
    found = client.get("/api/v1/console").json
    assert found is not None
    assert found["payments"]["paid"] == {key_id(box.signer.public_key).hex(): 200_000}


def test_before_the_operators_first_start_it_says_so(tmp_path: Path) -> None:
    client = create_console(tmp_path, now_us=lambda: START_US, epoch_us=EPOCH_US).test_client()
    assert "Not running yet" in client.get("/").text
    assert client.get("/api/v1/console").status_code == 503


def test_only_loopback_names_are_answered_and_nothing_runs_in_the_page(lived: tuple[Path, Box]) -> None:
    client = create_console(lived[0], now_us=lambda: START_US, epoch_us=EPOCH_US).test_client()
    for host in ("evil.example", "evil.example:8461", "192.168.0.9"):
        assert client.get("/", headers={"Host": host}).status_code == 403, host
    answer = client.get("/", headers={"Host": "127.0.0.1:8461"})
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script|\son\w+=|style=", answer.text)
    assert client.post("/").status_code == 405


def test_it_serves_on_its_port_until_it_is_stopped(lived: tuple[Path, Box]) -> None:
    server = ConsoleServer(create_console(lived[0], now_us=lambda: START_US, epoch_us=EPOCH_US), port=0)
    thread = threading.Thread(target=server.serve)
    thread.start()
    with urllib.request.urlopen(server.address, timeout=10) as answer:
        assert b"Operator console" in answer.read()
    server.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.address, timeout=2)
