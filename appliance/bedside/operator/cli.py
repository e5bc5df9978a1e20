"""`bedside operator`: the embedded operator of the network, and what it knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bedside.core.time import Clock
    from bedside.operator.sink import Sink

HOME = click.option("--home", type=click.Path(path_type=Path), default=None, help="Data folder (or BEDSIDE_HOME).")


@click.group()
def operator() -> None:
    """The network operator's side: another party, which learns nothing about patients."""


@operator.command()
@HOME
@click.option(
    "--epoch-s", type=click.FloatRange(min=1.0), default=3600.0, show_default=True, help="Length of an epoch."
)
@click.option(
    "--offer-token",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write a one-time enrolment token here, for the box's own gateway.",
)
@click.option(
    "--trust-auditor",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Take this care site's audits, for one bed.",
)
@click.option("--speed", type=click.FloatRange(min=0.01), default=1.0, hidden=True)
@click.option("--origin-us", type=int, default=0, hidden=True)
def run(
    home: Path | None,
    epoch_s: float,
    offer_token: Path | None,
    trust_auditor: Path | None,
    speed: float,
    origin_us: int,
) -> None:
    """Run the operator's service until SIGTERM or Ctrl-C."""
    import asyncio

    from bedside.core.time import ScaledClock, SystemClock
    from bedside.settings import home_from

    clock = SystemClock() if speed == 1.0 else ScaledClock(origin_us, speed)
    folder = home_from(home).operator
    if trust_auditor is not None:
        _trust(folder, trust_auditor, "", 1, clock.now_us())
    asyncio.run(_serve(folder, clock, epoch_s, offer_token))


@operator.command()
@HOME
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(home: Path | None, as_json: bool) -> None:
    """What the operator received. Exit 1 when a gateway is silent, or a statement was refused in the last day."""
    from bedside.core.time import SystemClock
    from bedside.operator.report import report
    from bedside.operator.sink import Sink
    from bedside.settings import home_in_use

    folder = home_in_use(home).operator
    sink = Sink.read(folder / "operator.db")
    try:
        view = report(sink, SystemClock().now_us())
    finally:
        sink.close()
    view["running"] = _is_running(folder)
    if not view["running"]:
        view["ok"] = False
        view["problems"].insert(0, "the operator's service is not running")
    click.echo(json.dumps(view, indent=2) if as_json else _text(view))
    if not view["ok"]:
        raise click.exceptions.Exit(1)


@operator.command()
@HOME
@click.option("--port", type=click.IntRange(0, 65535), default=8461, show_default=True, help="On this machine only.")
@click.option(
    "--epoch-s", type=click.FloatRange(min=1.0), default=3600.0, show_default=True, help="Length of an epoch."
)
@click.option("--speed", type=click.FloatRange(min=0.01), default=1.0, hidden=True)
@click.option("--origin-us", type=int, default=0, hidden=True)
def console(home: Path | None, port: int, epoch_s: float, speed: float, origin_us: int) -> None:
    """Show the operator's console in a browser on this machine, until SIGTERM or Ctrl-C."""
    import signal
    import threading

    from bedside.core.time import US_PER_S, ScaledClock, SystemClock
    from bedside.operator.console import ConsoleServer, create_console
    from bedside.settings import home_in_use

    clock = SystemClock() if speed == 1.0 else ScaledClock(origin_us, speed)
    app = create_console(home_in_use(home).operator, now_us=clock.now_us, epoch_us=round(epoch_s * US_PER_S))
    server = ConsoleServer(app, port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.stop).start())
    click.echo(f"The operator's console: {server.address}")
    server.serve()


@operator.command("enrol-token")
@HOME
@click.option("--hours", type=click.FloatRange(min=0.01), default=24.0, show_default=True, help="How long it is good.")
def enrol_token(home: Path | None, hours: float) -> None:
    """Print a token with which one gateway can enrol, once."""
    import secrets

    from bedside.core.time import US_PER_S, SystemClock
    from bedside.operator.sink import Sink
    from bedside.settings import home_from

    folder = home_from(home).operator
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sink = Sink.open(folder / "operator.db")
    try:
        token = secrets.token_urlsafe(24)
        now_us = SystemClock().now_us()
        sink.put_token(token, now_us + round(hours * 3600 * US_PER_S), now_us)
    finally:
        sink.close()
    click.echo(token)


@operator.command()
@HOME
@click.option("--epochs", default="", metavar="FIRST:LAST", help="Which epochs, both included.  [default: the last 24]")
@click.option("--pool", type=click.IntRange(min=0), default=1_000_000, show_default=True, help="Shared in each epoch.")
@click.option(
    "--epoch-s", type=click.FloatRange(min=1.0), default=3600.0, show_default=True, help="Length of an epoch."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=None, help="Write both files here.")
def rewards(home: Path | None, epochs: str, pool: int, epoch_s: float, out: Path | None) -> None:
    """Share the pool of some epochs, and write the rewards with the evidence that they follow from.

    Anybody holds the operator to them with `bedside attestation verify`.
    """
    from bedside.attestation.evidence import encode_evidence, judge, reward_file
    from bedside.core.errors import SetupError
    from bedside.core.time import US_PER_S
    from bedside.operator.accounts import evidence, newest_epoch
    from bedside.operator.sink import Sink
    from bedside.settings import home_in_use

    sink = Sink.read(home_in_use(home).operator / "operator.db")
    try:
        newest = newest_epoch(sink)
        if newest is None:
            raise SetupError("no statement was verified yet", hint="wait for the first full epoch")
        try:
            first, last = map(int, epochs.split(":")) if epochs else (max(0, newest - 23), newest)
        except ValueError as error:
            raise SetupError(f"epochs {epochs!r}", hint="write FIRST:LAST, two numbers") from error
        found = evidence(sink, operator="local", first=first, last=last, pool=pool, epoch_us=round(epoch_s * US_PER_S))
    finally:
        sink.close()
    outcome = judge(found)
    published = reward_file(found, outcome)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"evidence-{first}-{last}.cbor").write_bytes(encode_evidence(found))
        (out / f"rewards-{first}-{last}.json").write_text(json.dumps(published, indent=2) + "\n")
    click.echo(json.dumps(published, indent=2))


@operator.command("trust-auditor")
@click.argument("public", metavar="AUDITOR-PUBLIC.json", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--site", default="", help="What the operator calls this care site.")
@click.option("--beds", type=click.IntRange(min=1), default=1, show_default=True, help="Licensed beds: paid gateways.")
@HOME
def trust_auditor(public: Path, site: str, beds: int, home: Path | None) -> None:
    """Take this care site's audits: they open payment for as many of its gateways as it has licensed beds."""
    from bedside.core.time import SystemClock
    from bedside.settings import home_from

    kid = _trust(home_from(home).operator, public, site, beds, SystemClock().now_us())
    click.echo(f"auditor {kid.hex()} is taken for {beds} bed(s)")


@operator.command("revoke-auditor")
@click.argument("kid")
@HOME
def revoke_auditor(kid: str, home: Path | None) -> None:
    """Take a care site's auditor out of service, for good (KID as its public file names it)."""
    from bedside.core.time import SystemClock

    said = "auditors in service have a key id", "take the kid from the auditor's public file"
    with _one(home, kid, lambda sink: sink.auditors(), *said) as (sink, found):
        sink.revoke_auditor(found, SystemClock().now_us())
    click.echo(f"revoked {found.hex()}")


@operator.command()
@click.argument("kid")
@HOME
def revoke(kid: str, home: Path | None) -> None:
    """Take a gateway's key out of service, for good (KID as `status` shows it)."""
    from bedside.core.time import SystemClock

    with _gateway(home, kid) as (sink, found):
        sink.revoke(found, SystemClock().now_us())
    click.echo(f"revoked {found.hex()}")


@operator.command()
@click.argument("kid")
@HOME
def approve(kid: str, home: Path | None) -> None:
    """Accept what a gateway's newest statement says it runs (after an update) as a reference value."""
    from bedside.attestation.sign1 import decode, take_apart
    from bedside.attestation.verify import read
    from bedside.core.errors import SetupError

    with _gateway(home, kid) as (sink, found):
        rows = sink.rows("SELECT data FROM statement WHERE kid = ? ORDER BY number DESC LIMIT 1", (found,))
        statement = read(decode(take_apart(rows[0]["data"]).payload), "local") if rows else None
        if statement is None:
            raise SetupError("no readable statement of this gateway is kept", hint="wait for its next statement")
        sink.add_reference(found, statement.measured)
    click.echo(
        f"approved version {statement.measured.version}, models {', '.join(statement.measured.models) or 'none'}"
    )


def _trust(folder: Path, public: Path, site: str, beds: int, now_us: int) -> bytes:
    from bedside.attestation.sign1 import key_id
    from bedside.core.keyfiles import read_public_file
    from bedside.operator.sink import Sink

    key = read_public_file(public, "auditor", {"public_key": 32})["public_key"]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sink = Sink.open(folder / "operator.db")
    try:
        sink.trust_auditor(key_id(key), key, site, beds, now_us)
    finally:
        sink.close()
    return key_id(key)


async def _serve(folder: Path, clock: Clock, epoch_s: float, offer_token: Path | None) -> None:
    import asyncio
    import signal

    from bedside.core.time import ThreadWorker
    from bedside.operator.service import OperatorService

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    worker = ThreadWorker("operator-db")
    service = OperatorService(folder, clock=clock, worker=worker, epoch_s=epoch_s)
    try:
        await service.start()
        if offer_token is not None:
            await service.offer_token(offer_token)
        await stop.wait()
    finally:
        await service.close()
        worker.close()


def _gateway(home: Path | None, kid: str) -> AbstractContextManager[tuple[Sink, bytes]]:
    """The sink, and the one enrolled kid that begins with `kid`. Raises `SetupError` when it is none or many."""
    said = "enrolled gateways have a key id", "take the kid from `bedside operator status`"
    return _one(home, kid, lambda sink: sink.gateways(), *said)


@contextmanager
def _one(
    home: Path | None, kid: str, kids: Callable[[Sink], Iterable[bytes]], what: str, hint: str
) -> Iterator[tuple[Sink, bytes]]:
    """The sink, and the one of its `kids` that begins with `kid`. Raises `SetupError` when it is none or many."""
    from bedside.core.errors import SetupError
    from bedside.operator.sink import Sink
    from bedside.settings import home_from

    folder = home_from(home).operator
    Sink.read(folder / "operator.db").close()  # says so when no operator has run here
    sink = Sink.open(folder / "operator.db")
    try:
        found = [known for known in kids(sink) if kid and known.hex().startswith(kid.lower())]
        if len(found) != 1:
            raise SetupError(f"{len(found)} {what} that begins with {kid!r}", hint=hint)
        yield sink, found[0]
    finally:
        sink.close()


def _is_running(folder: Path) -> bool:
    """Whether a service holds the folder's lock."""
    import fcntl

    try:
        with (folder / "operator.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _text(view: dict[str, Any]) -> str:
    lines = [f"operator {'running' if view['running'] else 'NOT RUNNING'}, {len(view['gateways'])} gateway(s)"]
    for item in view["gateways"]:
        made, sealed, last = item["statements"], item["envelopes"], item["last_statement"]
        state = "revoked" if item["revoked"] else "SILENT" if item["silent"] else "in contact"
        lines += [
            f"gateway {item['pseudonym']}  {state}, last contact {item['last_contact']}  (kid {item['kid'][:8]})",
            f"  statements  {made['verified']} verified, {made['payable']} of them for a whole epoch,"
            f" {made['refused']} refused",
            "  epochs      " + (", ".join(f"{n} {tier}" for tier, n in item["paid_as"].items()) or "none yet"),
            f"  envelopes   {sealed['slots']} slots kept, {sealed['missing']} missing between first and last",
        ]
        if last is not None:
            verdict = "verified" if last["verified"] else f"REFUSED: {last['refusal']}: {last['meaning']}"
            lines.append(f"  newest      epoch {last['epoch']}, number {last['seq']}, {last['bytes']} bytes: {verdict}")
    lines += [
        f"refused: {row['reason']} x{row['count']}, last {row['last']}: {row['meaning']}" for row in view["refusals"]
    ]
    lines += [f"problem: {problem}" for problem in view["problems"]]
    return "\n".join(lines)
