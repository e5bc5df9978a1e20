"""The local socket's frames: whole, byte by byte, cut, too long, and no JSON."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.core import wire

MESSAGES = st.dictionaries(st.text(max_size=8), st.one_of(st.integers(), st.text(max_size=8), st.none()), max_size=5)


def read_all(data: bytes) -> list[dict[str, Any]]:
    async def main() -> list[dict[str, Any]]:
        reader = asyncio.StreamReader()
        for index in range(len(data)):  # byte by byte
            reader.feed_data(data[index : index + 1])
        reader.feed_eof()
        messages = []
        while (message := await wire.read_frame(reader)) is not None:
            messages.append(message)
        return messages

    return asyncio.run(main())


@given(messages=st.lists(MESSAGES, max_size=4))
def test_frames_come_back_as_they_were_sent(messages: list[dict[str, Any]]) -> None:
    assert read_all(b"".join(wire.frame(message) for message in messages)) == messages


@given(message=MESSAGES, cut=st.integers(1, 200))
def test_a_cut_frame_is_an_error_never_a_shorter_message(message: dict[str, Any], cut: int) -> None:
    data = wire.frame(message)
    if cut >= len(data):
        return
    with pytest.raises(wire.WireError, match="hung up"):
        read_all(data[:-cut])


def test_a_length_beyond_the_bound_is_refused_before_a_byte_of_it_is_kept() -> None:
    with pytest.raises(wire.WireError, match="announces"):
        read_all((wire.FRAME_BYTES_MAX + 1).to_bytes(4, "big"))


@pytest.mark.parametrize("body", [b"[]", b"1", b"nonsense", b"\xff\xfe"])
def test_a_frame_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        read_all(len(body).to_bytes(4, "big") + body)


def test_not_a_number_never_goes_out() -> None:
    with pytest.raises(ValueError, match="JSON"):
        wire.frame({"value": float("nan")})


def test_a_blocking_socket_reads_the_same_frames() -> None:
    left, right = socket.socketpair()
    with left, right:

        def send() -> None:
            left.sendall(wire.frame({"op": "ward"}))
            left.close()

        sender = threading.Thread(target=send)
        sender.start()
        assert wire.receive_frame(right) == {"op": "ward"}
        assert wire.receive_frame(right) is None
        sender.join()
