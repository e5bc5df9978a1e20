"""The embedded link: answered, or a `LinkError` in time, and never an answer to another question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bedside.attestation.exchange import decode_request
from bedside.core.errors import LinkError
from bedside.core.frames import FRAME_BYTES_MAX, framed, read_framed, socket_address
from bedside.network.links import UnixLink

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ID = "0" * 32


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while (body := await read_framed(reader)) is not None:
        writer.write(framed(decode_request(body).message))
    writer.close()


async def with_server(
    path: Path, handler: Handler, use: Callable[[UnixLink], Awaitable[None]], timeout_s: float
) -> None:
    with socket_address(path) as address:
        server = await asyncio.start_unix_server(handler, address)
    link = UnixLink(path, timeout_s)
    try:
        await use(link)
    finally:
        await link.close()
        server.close()
        await asyncio.sleep(0.01)


def test_each_question_gets_its_own_answer_also_when_many_ask_at_once(tmp_path: Path) -> None:
    async def use(link: UnixLink) -> None:
        answers = await asyncio.gather(*(link.send("beacon", bytes((n,)) * n, ID) for n in range(50)))
        assert answers == [bytes((n,)) * n for n in range(50)]

    asyncio.run(with_server(tmp_path / "s", echo, use, 5))


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    assert len(str(folder)) > 108

    async def use(link: UnixLink) -> None:
        assert await link.send("beacon", b"x", ID) == b"x"

    asyncio.run(with_server(folder / "operator.sock", echo, use, 5))


def test_silence_ends_in_a_link_error_and_a_late_answer_is_not_given_to_the_next_question(tmp_path: Path) -> None:
    first = True

    async def slow_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        body = await read_framed(reader)
        if first:
            first = False
            await asyncio.sleep(0.15)
        assert body is not None
        writer.write(framed(decode_request(body).message))
        writer.close()

    async def use(link: UnixLink) -> None:
        with pytest.raises(LinkError, match=r"no answer .* within 0.05 s"):
            await link.send("beacon", b"first", ID)
        await asyncio.sleep(0.15)
        assert await link.send("beacon", b"second", ID) == b"second"

    asyncio.run(with_server(tmp_path / "s", slow_once, use, 0.05))


@pytest.mark.parametrize(
    "answer", [b"", b"\x00\x00", b"\x00\x00\x00\x09abc", (FRAME_BYTES_MAX + 1).to_bytes(4, "big") + b"x"]
)
def test_an_answer_that_is_cut_or_too_long_is_a_link_error(tmp_path: Path, answer: bytes) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_framed(reader)
        writer.write(answer)
        writer.close()

    async def use(link: UnixLink) -> None:
        with pytest.raises(LinkError):
            await link.send("beacon", b"", ID)

    asyncio.run(with_server(tmp_path / "s", cut, use, 5))


def test_nobody_listening_is_a_link_error_and_the_link_heals(tmp_path: Path) -> None:
    async def main() -> None:
        link = UnixLink(tmp_path / "s", 5)
        with pytest.raises(LinkError, match="No such file"):
            await link.send("beacon", b"", ID)

        async def use(_: UnixLink) -> None:
            assert await link.send("beacon", b"x", ID) == b"x"
            await link.close()

        await with_server(tmp_path / "s", echo, use, 5)
        await link.close()
        with pytest.raises(LinkError, match="closed"):
            await link.send("beacon", b"", ID)

    asyncio.run(main())


def test_a_cancelled_question_leaves_no_answer_behind(tmp_path: Path) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (body := await read_framed(reader)) is not None:
            await asyncio.sleep(0.05)
            writer.write(framed(decode_request(body).message))
        writer.close()

    async def use(link: UnixLink) -> None:
        task = asyncio.create_task(link.send("beacon", b"first", ID))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await link.send("beacon", b"second", ID) == b"second"

    asyncio.run(with_server(tmp_path / "s", slow, use, 5))
