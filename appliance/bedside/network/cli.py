"""`bedside recipient`: the care team elsewhere, which opens the sealed alerts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bedside.network.recipient import Mailbox, Recipient

HOME = click.option("--home", type=click.Path(path_type=Path), default=None, help="Data folder (or BEDSIDE_HOME).")


@click.group()
def recipient() -> None:
    """The care team elsewhere: keys, and the sealed alerts that the box sent it."""


@recipient.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Make a recipient's key pair in DIR and print the public file for the sites' boxes."""
    from bedside.network import recipient as room

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    click.echo(room.init(folder))


@recipient.command()
@click.argument("public", metavar="GATEWAY-PUBLIC.json", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=None, help="The recipient's folder."
)
@HOME
def trust(public: Path, folder: Path | None, home: Path | None) -> None:
    """Believe the box that this public file is from."""
    from bedside.network import recipient as room
    from bedside.settings import home_from

    kid = room.trust(folder or home_from(home).recipient, public)
    click.echo(f"box {kid.hex()} is believed")


@recipient.command()
@click.argument("public", metavar="RECIPIENT-PUBLIC.json", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@HOME
def add(public: Path, home: Path | None) -> None:
    """Let this box seal its alerts to a recipient too, from its next start on."""
    from bedside.network import recipient as room
    from bedside.settings import home_from

    key = room.add(home_from(home).keys / "recipients", public)
    click.echo(f"recipient {key.id.hex()} added; restart the gateway to begin")


@recipient.command("open")
@HOME
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=None, help="The recipient's folder."
)
@click.option("--hours", type=click.FloatRange(min=0.0), default=24.0, show_default=True, help="How far back.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def open_alerts(home: Path | None, folder: Path | None, hours: float, as_json: bool) -> None:
    """Pick up the envelopes from the operator and show the alerts. Exit 1 when there is no contact with a box."""
    import asyncio

    from bedside.core.errors import LinkError, SetupError
    from bedside.core.time import US_PER_S, SystemClock
    from bedside.network.recipient import Recipient, view
    from bedside.settings import home_in_use

    chosen = home_in_use(home)
    who = Recipient.load(folder or chosen.recipient)
    now_us = SystemClock().now_us()
    try:
        mailbox = asyncio.run(_pick_up(chosen.operator / "operator.sock", who, now_us - round(hours * 3600 * US_PER_S)))
    except LinkError as error:
        raise SetupError(str(error), hint="is the operator running? `bedside operator status` says") from error
    found = view(mailbox, who.senders, now_us)
    click.echo(json.dumps(found, indent=2) if as_json else _text(found))
    if not found["ok"]:
        raise click.exceptions.Exit(1)


async def _pick_up(socket_path: Path, who: Recipient, since_us: int) -> Mailbox:
    from bedside.network.links import UnixLink
    from bedside.network.recipient import pick_up

    link = UnixLink(socket_path)
    try:
        return await pick_up(link, who, since_us)
    finally:
        await link.close()


def _text(found: dict[str, Any]) -> str:
    lines = []
    for box in found["boxes"]:
        if box["last_contact"] is None:
            lines.append(f"box {box['kid'][:8]}: never heard of")
        elif box["in_contact"]:
            lines.append(f"box {box['kid'][:8]}: in contact, last slot {box['last_contact']}")
        lines += [
            f"  no contact with the box since {silence['since']}"
            if silence["until"] is None
            else f"  no contact from {silence['since']} to {silence['until']} ({silence['slots']} slots)"
            for silence in box["silences"]
        ]
    if not found["boxes"]:
        lines.append("no box is believed yet: `bedside recipient trust GATEWAY-PUBLIC.json`")
    envelopes = found["envelopes"]
    lines.append(f"{envelopes['opened']} envelopes opened, {envelopes['dummies']} of them empty")
    lines += [f"  {count} not opened: {reason}" for reason, count in envelopes["refused"].items()]
    for alert in found["alerts"]:
        age = "sent live" if alert["live"] else f"history: {alert['age_s']:.0f} s old when it left"
        mark = " [simulated]" if alert["simulated"] else ""
        lines.append(
            f"{alert['raised']}  {alert['priority'].upper():6}  {alert['kind']}  {alert['state']}  ({age}){mark}"
            f"  patient {(alert['patient'] or 'none: of the box')[:8]}  {alert['text']}"
        )
    if found["waiting_at_the_box"]:
        lines.append(f"{found['waiting_at_the_box']} more wait at the box for the next slots")
    return "\n".join(lines)
