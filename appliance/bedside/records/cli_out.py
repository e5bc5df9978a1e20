"""`bedside records audit`, `recipient-key` and `open-export`: who did what, and exports that only one reader opens."""

from __future__ import annotations

import json
from pathlib import Path

import click

_HOME = click.option("--home", "home_path", default=None, help="Data folder; default: BEDSIDE_HOME or the user's own.")


def time_us(text: str, option: str) -> int:
    """Microseconds UTC. Raises `SetupError`."""
    from datetime import UTC, datetime

    from bedside.core.errors import SetupError

    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise SetupError(f"{option} {text!r} is no time", hint="write it as 2026-01-31T14:02:10, UTC") from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return round(when.timestamp() * 1e6)


@click.command()
@_HOME
@click.option("--from", "start", default=None, help="UTC, as 2026-01-31T14:02:10; default: 30 days before the end.")
@click.option("--to", "end", default=None, help="UTC; default: now.")
@click.option("--patient", default=None, help='Surrogate id, or "box"; default: all.')
@click.option("--actor", default=None, help="Only what this one did.")
@click.option("--action", default=None, help="Only this action.")
@click.option("--csv", "as_csv", is_flag=True, help="For a spreadsheet.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def audit(
    home_path: str | None,
    start: str | None,
    end: str | None,
    patient: str | None,
    actor: str | None,
    action: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Who saw, changed, acknowledged, exported or erased what, and when. The gateway may go on meanwhile.

    It is read from the log that `bedside records verify` checks.
    """
    from dataclasses import asdict

    from bedside.core.time import SystemClock
    from bedside.records import trail
    from bedside.records.store import open_reader
    from bedside.settings import home_in_use

    end_us = time_us(end, "--to") if end is not None else SystemClock().now_us()
    start_us = time_us(start, "--from") if start is not None else end_us - 30 * 86_400_000_000
    reader = open_reader(home_in_use(home_path))
    try:
        acts = trail.trail(reader, start_us, end_us, patient=patient, actor=actor, action=action)
    finally:
        reader.close()
    if as_csv:
        click.echo(trail.as_csv(acts), nl=False)
        return
    for act in acts:
        click.echo(json.dumps(asdict(act)) if as_json else "  ".join(act.row()))
    if not acts and not as_json:
        click.echo("nothing in this time")


@click.command("recipient-key")
@click.argument("path", type=click.Path(path_type=Path))
def recipient_key(path: Path) -> None:
    """Make a key pair on the recipient's own machine: keep PATH secret, give PATH.pub to who exports."""
    from bedside.records.parcel import make_key

    click.echo(f"keep {path} secret; give away {make_key(path)}")


@click.command("open-export")
@click.argument("parcel", type=click.Path(path_type=Path))
@click.option("--key", "key", required=True, type=click.Path(path_type=Path), help="The recipient's secret key file.")
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path), help="A new folder.")
def open_export(parcel: Path, key: Path, folder: Path) -> None:
    """Open an export that was sealed to a recipient's key, on the recipient's machine."""
    from bedside.records.parcel import open_parcel, secret_key

    for path in open_parcel(parcel, secret_key(key), folder):
        click.echo(str(path))
