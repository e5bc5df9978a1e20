"""`bedside auditor`: the care site's own check that its boxes do the work that the network is told of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

HOME = click.option("--home", type=click.Path(path_type=Path), default=None, help="Data folder (or BEDSIDE_HOME).")
DIR = click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=None, help="The auditor's folder."
)


@click.group()
def auditor() -> None:
    """The care site's auditor: keys, gateways, and the audits of their work."""


@auditor.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Make an auditor's keys in DIR and print the public file for the gateways and the operator."""
    from bedside.auditor import site

    click.echo(site.init(folder))


@auditor.command()
@click.argument("public", metavar="GATEWAY-PUBLIC.json", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--socket", type=click.Path(path_type=Path), required=True, help="Where the gateway answers its auditor.")
@click.option("--standby", is_flag=True, help="The box is not in service: audited, and paid as standby only.")
@DIR
@HOME
def add(public: Path, socket: Path, standby: bool, folder: Path | None, home: Path | None) -> None:
    """Audit the box that this public file is from, from the next start on."""
    from bedside.auditor import site

    kid = site.add(_folder(folder, home), public, socket.absolute(), in_service=not standby)
    click.echo(f"box {kid.hex()} is audited, {'on standby' if standby else 'in service'}")


@auditor.command()
@click.argument("public", metavar="AUDITOR-PUBLIC.json", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@HOME
def accept(public: Path, home: Path | None) -> None:
    """On a gateway's box: let this site's auditor see and audit its work, from its next start on."""
    from bedside.auditor import site
    from bedside.settings import home_from

    site.accept(public, home_from(home).keys)
    click.echo("accepted; restart the gateway to begin")


@auditor.command()
@DIR
@HOME
@click.option("--round-s", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Between two rounds.")
@click.option("--speed", type=click.FloatRange(min=0.01), default=1.0, hidden=True)
@click.option("--origin-us", type=int, default=0, hidden=True)
def run(folder: Path | None, home: Path | None, round_s: float, speed: float, origin_us: int) -> None:
    """Audit the site's gateways until SIGTERM or Ctrl-C."""
    import asyncio

    from bedside.core.time import ScaledClock, SystemClock

    clock = SystemClock() if speed == 1.0 else ScaledClock(origin_us, speed)
    asyncio.run(_run(_folder(folder, home), clock, round_s))


@auditor.command()
@DIR
@HOME
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(folder: Path | None, home: Path | None, as_json: bool) -> None:
    """The newest audit of each gateway. Exit 1 when one failed."""
    from bedside.auditor.site import LEDGER_FILE, Ledger, gateways
    from bedside.core.errors import SetupError
    from bedside.core.time import iso_utc

    place = _folder(folder, home)
    if not (place / LEDGER_FILE).exists():
        raise SetupError(f"no auditor has run in {place}", hint="start it with `bedside auditor run`")
    ledger = Ledger.open(place / LEDGER_FILE)
    try:
        audits = {row["kid"]: row for row in ledger.newest()}
    finally:
        ledger.close()
    view: list[dict[str, Any]] = []
    for gateway in gateways(place):
        row = audits.get(gateway.kid)
        view.append(
            {
                "gateway": gateway.kid.hex(),
                "in_service": gateway.in_service,
                "audits": row["audits"] if row else 0,
                "with_failures": row["bad"] if row else 0,
                "newest": None
                if row is None
                else {
                    "epoch": row["epoch"],
                    "at": iso_utc(row["at_us"]),
                    "failed": row["failed"],
                    "with_work": row["real"],
                },
            }
        )
    click.echo(json.dumps({"v": 1, "gateways": view}, indent=2) if as_json else _text(view))
    if any(one["newest"] is not None and one["newest"]["failed"] for one in view):
        raise click.exceptions.Exit(1)


def _text(view: list[dict[str, Any]]) -> str:
    if not view:
        return "no gateway is audited yet: `bedside auditor add GATEWAY-PUBLIC.json --socket PATH`"
    lines = []
    for one in view:
        head = f"gateway {one['gateway'][:8]}  {'in service' if one['in_service'] else 'standby'}"
        newest = one["newest"]
        if newest is None:
            lines.append(f"{head}  not audited yet")
            continue
        word = "holds" if not newest["failed"] else f"{newest['failed']} OF 64 LEAVES DO NOT HOLD"
        lines.append(f"{head}  newest {newest['at']}, epoch {newest['epoch']}: {word}")
        lines.append(
            f"  {newest['with_work']} of 64 challenged leaves held work, the rest were open places;"
            f" {one['audits']} audits, {one['with_failures']} with failures"
        )
    return "\n".join(lines)


def _folder(folder: Path | None, home: Path | None) -> Path:
    from bedside.settings import home_in_use

    return folder or home_in_use(home).auditor


async def _run(folder: Path, clock: Any, round_s: float) -> None:
    import asyncio
    import signal

    from bedside.auditor.rerun import Rerun
    from bedside.auditor.service import Auditor
    from bedside.auditor.site import LEDGER_FILE, Keys, Ledger, gateways, init
    from bedside.core.time import ThreadWorker

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    init(folder)
    worker = ThreadWorker("auditor")
    ledger = await worker.run(lambda: Ledger.open(folder / LEDGER_FILE))
    try:
        service = Auditor(
            Keys.load_or_make(folder), gateways(folder), ledger, Rerun.of_this_version(), clock=clock, worker=worker,
            round_s=round_s,
        )  # fmt: skip
        await service.run(stop)
    finally:
        await worker.run(ledger.close)
        worker.close()
