"""Frames of bytes: whole, byte by byte, cut, and too long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.core.frames import FRAME_BYTES_MAX, FrameError, framed, read_framed, socket_address


async def read_all(parts: list[bytes]) -> list[bytes]:
    reader = asyncio.StreamReader()
    for part in parts:
        reader.feed_data(part)
    reader.feed_eof()
    found = []
    while (body := await read_framed(reader)) is not None:
        found.append(body)
    return found


@given(bodies=st.lists(st.binary(max_size=60), max_size=6), data=st.data())
def test_frames_come_back_however_the_stream_is_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(framed(body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert asyncio.run(read_all(parts)) == bodies


@given(body=st.binary(min_size=1, max_size=60), data=st.data())
def test_a_stream_that_ends_inside_a_frame_is_an_error(body: bytes, data: st.DataObject) -> None:
    stream = framed(body)
    cut = data.draw(st.integers(1, len(stream) - 1))
    with pytest.raises(FrameError, match="inside a frame"):
        asyncio.run(read_all([stream[:cut]]))


def test_a_frame_that_is_too_long_is_neither_made_nor_taken() -> None:
    with pytest.raises(ValueError, match="at most"):
        framed(bytes(FRAME_BYTES_MAX + 1))
    with pytest.raises(FrameError, match="at most"):
        asyncio.run(read_all([(FRAME_BYTES_MAX + 1).to_bytes(4, "big")]))


def test_an_address_is_short_enough_however_long_the_path_is(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with socket_address(tmp_path / "s") as address:
        assert address == str(tmp_path / "s")
    with socket_address(folder / "s") as address:
        assert len(address) < 108
        assert Path(address).parent.samefile(folder)
