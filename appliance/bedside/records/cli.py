"""`bedside records`: look after the encrypted records."""

from __future__ import annotations

import json

import click

_HOME = click.option("--home", "home_path", default=None, help="Data folder; default: BEDSIDE_HOME or the user's own.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")


@click.group()
def records() -> None:
    """Look after the encrypted records.

    A passphrase is taken from the file that BEDSIDE_PASSPHRASE_FILE names, or from systemd's credential
    `bedside-passphrase`.
    """


@records.command()
@_HOME
@_JSON
def show(home_path: str | None, as_json: bool) -> None:
    """Count what is stored: sizes and times for each patient's surrogate id. Shows no value and needs no key."""
    from bedside.core.errors import SetupError
    from bedside.core.time import iso_utc
    from bedside.records.summary import summarize
    from bedside.settings import home_from

    home = home_from(home_path)
    if not home.store_db.exists():
        raise SetupError(f"no records in {home.path}", hint="name the data folder with --home DIR or BEDSIDE_HOME")
    summary = summarize(home.store_db)
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
        return
    click.echo(f"{home.store_db}: {summary.entries} entries, {summary.file_bytes / 1e6:.1f} MB")
    for owner in summary.owners:
        between = "nothing yet"
        if owner.start_us is not None and owner.end_us is not None:
            between = f"{iso_utc(owner.start_us)} to {iso_utc(owner.end_us)}"
        click.echo(
            f"  {owner.id}: {owner.streams} streams, {owner.samples} samples, {owner.events} events, "
            f"{owner.sealed_bytes / 1e6:.2f} MB, {between}"
        )


@records.command()
@_HOME
@_JSON
def verify(home_path: str | None, as_json: bool) -> None:
    """Open every entry and work the log out anew. Exit code 1: something is not as it was written.

    Keep the printed head somewhere else: only against it does an older copy of the whole store show.
    """
    from bedside.core.errors import StoreError
    from bedside.records.store import open_reader
    from bedside.records.verify import Finding, VerifyReport
    from bedside.records.verify import verify as check
    from bedside.settings import home_from

    try:
        reader = open_reader(home_from(home_path))
        try:
            report = check(reader)
        finally:
            reader.close()
    except StoreError as error:
        report = VerifyReport(findings=[Finding(str(error))])
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        for finding in report.findings:
            click.echo(finding.sentence())
        state = "all as written" if report.ok else f"{len(report.findings)} findings"
        click.echo(f"{report.entries} entries, {report.heads} heads: {state}")
        if report.root:
            click.echo(f"head: {report.entries} {report.root}")
    if not report.ok:
        raise SystemExit(1)


@records.command()
@_HOME
@click.option("--remove", is_flag=True, help="Leave the box key in a file that only its file mode protects.")
def passphrase(home_path: str | None, remove: bool) -> None:
    """Set, change or remove the passphrase that protects the box key. Stop the gateway first."""
    from bedside.core.errors import SetupError
    from bedside.records.keys import passphrase_from
    from bedside.records.store import open_keys
    from bedside.settings import home_from

    home = home_from(home_path)
    if not (home.keys / "box.key").exists():
        raise SetupError(f"no keys in {home.keys}", hint="name the data folder with --home DIR or BEDSIDE_HOME")
    old = passphrase_from() or click.prompt(
        "Passphrase now (empty: none)", default="", show_default=False, hide_input=True
    )
    with open_keys(home, passphrase=old or None) as keys:
        if remove:
            keys.change_passphrase(None)
        else:
            keys.change_passphrase(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True))
        click.echo(keys.describe())


@records.command()
@click.option("--streams", default=4, show_default=True, type=click.IntRange(1, 1000), help="ECG streams of 130 Hz.")
@click.option("--seconds", default=300, show_default=True, type=click.IntRange(60, 86_400), help="Of ward time.")
@click.option("--events/--no-events", default=True, show_default=True, help="A beat and two numerics a second, too.")
@_JSON
def bench(streams: int, seconds: int, events: bool, as_json: bool) -> None:
    """Measure what storing costs here: real ECG, batches of one second, each on disk before the next."""
    from bedside.records.bench import measure

    figures = measure(streams, seconds, events=events).to_dict()
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        click.echo(f"{name:32} {value:.4g}" if isinstance(value, float) else f"{name:32} {value}")
