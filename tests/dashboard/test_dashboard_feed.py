from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.dashboard.fake_gateway import FakeGateway

from bedside.dashboard import feed as feeds
from bedside.dashboard.feed import Feed
from bedside.dashboard.gateway_client import GatewayClient, GatewayDown, GatewayRefused
from bedside.settings import Home


@pytest.fixture
def feed(home: Home, gateway: FakeGateway) -> Iterator[Feed]:
    running = Feed(home.gateway_socket)
    running.start()
    yield running
    running.close()


def until(done: Callable[[], bool], patience_s: float = 20.0) -> None:
    """Wait for a state; fail loudly when it never comes."""
    deadline_s = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < deadline_s, "it never came"
        time.sleep(0.02)


def parse(chunk: bytes) -> list[tuple[str, str, Any]]:
    """(event, id, data) of each server-sent event in a chunk."""
    events = []
    for block in chunk.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            events.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return events


def take(viewer: Iterator[bytes], batches: int) -> list[tuple[str, int]]:
    """The ids and sequences of the next batches that a viewer gets."""
    got: list[tuple[str, int]] = []
    for chunk in viewer:
        got += [(event_id, data["sequence"]) for event, event_id, data in parse(chunk) if event == "batch"]
        if len(got) >= batches:
            return got
    raise AssertionError("the stream ended")


def test_a_viewer_that_was_away_gets_each_missed_batch_once_and_in_order(feed: Feed) -> None:
    first = take(feed.follow(None), 5)
    last_id, last_sequence = first[-1]
    until(lambda: feed.held[0] > len(first) + 15)
    later = [sequence for _, sequence in take(feed.follow(last_id), 10)]
    assert later == list(range(last_sequence + 1, last_sequence + 1 + len(later)))


def test_an_id_of_another_run_of_the_gateway_gives_the_recent_past_instead(feed: Feed) -> None:
    until(lambda: feed.held[0] > 5)
    got = take(feed.follow("0-3"), 3)
    assert all(event_id != "0-3" for event_id, _ in got)


def test_a_gateway_that_falls_silent_is_told_and_its_return_too(feed: Feed, gateway: FakeGateway) -> None:
    until(lambda: feed.state.answering)
    viewer = feed.follow(None)
    take(viewer, 2)
    gateway.freeze()
    states = (data for chunk in viewer for event, _, data in parse(chunk) if event == "state")
    told = next(data for data in states if not data["answering"])
    until(lambda: feed.gone)
    assert told["text"] == "Gateway not answering"
    gateway.thaw()
    assert any(data["answering"] for chunk in viewer for event, _, data in parse(chunk) if event == "state")


def test_a_gateway_that_starts_again_is_found_and_its_numbers_are_not_mixed_with_the_old(
    feed: Feed, gateway: FakeGateway, home: Home
) -> None:
    until(lambda: feed.held[0] > 10)
    (old_id, _), *_ = take(feed.follow(None), 1)
    gateway.close()
    until(lambda: not feed.state.answering)
    another = FakeGateway(home.gateway_socket)
    another.started_us = gateway.started_us + 5
    another.start()
    try:
        until(lambda: feed.state.answering)
        new_ids = {event_id.partition("-")[0] for event_id, _ in take(feed.follow(old_id), 2)}
        assert new_ids == {f"{another.started_us:x}"}
    finally:
        another.close()


def test_the_ring_stays_bounded(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "BATCHES_MAX", 6)
    numbers = [sequence for _, sequence in take(feed.follow(None), 20)]
    assert len(numbers) >= 20
    assert feed.held[0] <= 6
    monkeypatch.setattr(feeds, "RING_BYTES_MAX", 1)
    until(lambda: feed.held[0] == 1)


def test_closing_ends_every_viewer(feed: Feed) -> None:
    viewers = [feed.follow(None) for _ in range(3)]
    for viewer in viewers:
        take(viewer, 1)
    feed.close()
    feed.close()
    for viewer in viewers:
        assert sum(1 for _ in viewer) <= 1


def test_a_viewer_that_may_no_longer_look_is_let_go(feed: Feed) -> None:
    allowed = [True]
    viewer = feed.follow(None, lambda: allowed[0])
    take(viewer, 3)
    allowed[0] = False
    until_end = sum(1 for _ in viewer)
    assert until_end < 100


def test_a_gateway_of_another_version_does_not_end_the_feed(
    feed: Feed, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: feed.state.answering)
    good = gateway._batch
    monkeypatch.setattr(gateway, "_batch", lambda with_ward: {"push": "batch", "no": "sequence"})
    until(lambda: not feed.state.answering)
    monkeypatch.setattr(gateway, "_batch", good)
    until(lambda: feed.state.answering)


def test_questions_to_a_missing_frozen_or_refusing_gateway_are_told_apart(gateway: FakeGateway, home: Home) -> None:
    client = GatewayClient(home.gateway_socket, timeout_s=30.0)
    assert client.request("ward")["v"] == 1
    with pytest.raises(GatewayRefused) as refused:
        client.request("acknowledge", alarm="none", by="someone")
    assert refused.value.code == "unknown_alarm"
    gateway.freeze()
    with pytest.raises(GatewayDown):
        GatewayClient(home.gateway_socket, timeout_s=0.5).request("ward")
    gateway.close()
    with pytest.raises(GatewayDown):
        client.request("ward")
