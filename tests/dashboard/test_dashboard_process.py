from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner
from tests.dashboard.fake_gateway import FakeGateway

from bedside.core.errors import SetupError
from bedside.dashboard.access import address_file, store_token
from bedside.dashboard.api import VIEWERS_MAX
from bedside.dashboard.cli import sign_in
from bedside.dashboard.serve import Dashboard, check_host
from bedside.settings import Home

START_PATIENCE_S = 60


@contextmanager
def process(home: Home) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The dashboard as a process of its own, and its port."""
    command = [sys.executable, "-m", "bedside.dashboard.serve", "--home", str(home.path), "--port", "0"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        deadline_s = time.monotonic() + START_PATIENCE_S
        while not address_file(home).exists():
            assert running.poll() is None, running.communicate()[1]
            assert time.monotonic() < deadline_s, "the dashboard does not start"
            time.sleep(0.05)
        yield running, int(json.loads(address_file(home).read_text())["port"])
    finally:
        running.kill()
        running.communicate()


def cookie_for(home: Home, port: int) -> str:
    store_token(home, "token")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/sign-in", urlencode({"token": "token"}), form)
    answer = connection.getresponse()
    assert answer.status == 303
    cookie = (answer.getheader("Set-Cookie") or "").split(";")[0]
    connection.close()
    return cookie


def open_stream(port: int, cookie: str, after: str = "") -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/api/v1/stream", headers={"Cookie": cookie, "Last-Event-ID": after})
    return connection, connection.getresponse()


def read_event(answer: http.client.HTTPResponse, event: str) -> str:
    """The id of the next event of a kind."""
    event_id = ""
    while True:
        line = answer.readline().decode()
        assert line, "the stream ended"
        if line.startswith("id: "):
            event_id = line[4:].strip()
        if line.strip() == f"event: {event}":
            return event_id


def test_sigterm_ends_the_process_though_streams_are_open_and_one_does_not_read(
    home: Home, gateway: FakeGateway
) -> None:
    with process(home) as (running, port):
        cookie = cookie_for(home, port)
        streams = [open_stream(port, cookie) for _ in range(3)]
        for _, answer in streams[:2]:
            read_event(answer, "batch")
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=2.0 * slowness()) == 0
        assert not address_file(home).exists()
        for connection, answer in streams:
            answer.close()
            connection.close()


def slowness() -> float:
    """How much longer than on a free core things may take: the issue's 2 s hold on one that is not overrun."""
    return max(1.0, 2.0 * os.getloadavg()[0] / (os.cpu_count() or 1))


def test_a_stream_goes_on_where_the_last_one_ended(home: Home, dashboard: Dashboard) -> None:
    cookie = cookie_for(home, dashboard.port)
    connection, answer = open_stream(dashboard.port, cookie)
    last = read_event(answer, "batch")
    connection.close()
    answer.close()
    connection, answer = open_stream(dashboard.port, cookie, last)
    epoch, _, sequence = read_event(answer, "batch").partition("-")
    assert (epoch, int(sequence)) == (last.partition("-")[0], int(last.partition("-")[2]) + 1)
    connection.close()
    answer.close()


def test_more_screens_than_there_are_places_are_refused_and_the_pages_still_open(
    home: Home, dashboard: Dashboard
) -> None:
    cookie = cookie_for(home, dashboard.port)
    streams = [open_stream(dashboard.port, cookie) for _ in range(VIEWERS_MAX)]
    assert {answer.status for _, answer in streams} == {200}
    connection, refused = open_stream(dashboard.port, cookie)
    assert refused.status == 503
    page = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=20)
    page.request("GET", "/", headers={"Cookie": cookie})
    assert page.getresponse().status == 200
    for opened in (connection, page, *(stream for stream, _ in streams)):
        opened.close()
    for answer in (refused, *(answer for _, answer in streams)):
        answer.close()
    eventually(lambda: _opens(dashboard.port, cookie))


def _opens(port: int, cookie: str) -> bool:
    connection, answer = open_stream(port, cookie)
    status = answer.status
    answer.close()
    connection.close()
    return status == 200


def eventually(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline_s, "a place that was left is not given again"
        time.sleep(0.2)


def test_a_port_in_use_is_told_with_what_to_do(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "bedside.dashboard.serve", "--home", str(home.path), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=START_PATIENCE_S, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert f"port {port} on 127.0.0.1 is in use" in ended.stderr
    assert "--port" in ended.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.20", "::", "ward.example"])
def test_an_address_that_others_reach_is_refused_unless_wanted(host: str) -> None:
    with pytest.raises(SetupError) as refused:
        check_host(host, allow_remote=False)
    assert "--allow-remote" in refused.value.hint
    check_host(host, allow_remote=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_the_own_machine_is_fine(host: str) -> None:
    check_host(host, allow_remote=False)


def test_sign_in_prints_a_link_that_opens_the_running_dashboard(home: Home, dashboard: Dashboard) -> None:
    printed = CliRunner().invoke(sign_in, ["--home", str(home.path), "--json"])
    link = json.loads(printed.output)["link"]
    assert link.startswith(f"http://127.0.0.1:{dashboard.port}/sign-in?token=")
    session = dashboard.access.exchange(link.rpartition("=")[2], None)
    assert session is not None
    assert session.name == "bedside clinician"


@pytest.mark.parametrize("left_behind", [False, True])
def test_sign_in_says_that_no_dashboard_runs(home: Home, left_behind: bool) -> None:
    with socket.socket() as unused:  # bound, so that nobody else gets it; not listening, so that it refuses
        unused.bind(("127.0.0.1", 0))
        if left_behind:
            address = {"host": "127.0.0.1", "port": unused.getsockname()[1], "pid": 1}
            address_file(home).write_text(json.dumps(address))
        refused = CliRunner().invoke(sign_in, ["--home", str(home.path)])
    assert isinstance(refused.exception, SetupError)
    assert "bedside run" in refused.exception.hint
