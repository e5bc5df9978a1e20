"""`bedside records`: look after the encrypted records."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bedside.records import cli_keys, cli_life, cli_out, cli_witness
from bedside.records.cli_out import time_us

_FORMATS = ("wfdb", "edf", "fhir", "csv", "pdf")
_HOME = click.option("--home", "home_path", default=None, help="Data folder; default: BEDSIDE_HOME or the user's own.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")


@click.group()
def records() -> None:
    """Look after the encrypted records.

    A passphrase is taken from the file that BEDSIDE_PASSPHRASE_FILE names, or from systemd's credential
    `bedside-passphrase`.
    """


_KEYS = (cli_keys.protect, cli_keys.codes, cli_keys.recover, cli_keys.rotate)
_OUT = (cli_out.audit, cli_out.recipient_key, cli_out.open_export, cli_witness.witness)
for _more in (*_KEYS, *_OUT, cli_life.erase, cli_life.certificate, cli_life.retain):
    records.add_command(_more)


@records.command()
@_HOME
@_JSON
def show(home_path: str | None, as_json: bool) -> None:
    """Count what is stored: sizes and times for each patient's surrogate id. Shows no value and needs no key."""
    from bedside.core.errors import SetupError
    from bedside.core.time import iso_utc
    from bedside.records.summary import summarize
    from bedside.settings import home_in_use

    home = home_in_use(home_path)
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
@click.option("--witness", "place", default=None, help="Folder or http://HOST:PORT where heads of this box are kept.")
@_JSON
def verify(home_path: str | None, place: str | None, as_json: bool) -> None:
    """Open every entry and work the log out anew. Exit code 1: something is not as it was written.

    Only against heads that were kept elsewhere does an older copy of the whole store show: use --witness, or keep the
    printed head somewhere else.
    """
    from bedside.core.errors import StoreError
    from bedside.records.store import open_reader
    from bedside.records.verify import Finding, VerifyReport
    from bedside.records.verify import verify as check
    from bedside.records.witness import witness_at
    from bedside.settings import home_in_use

    try:
        reader = open_reader(home_in_use(home_path))
        try:
            witnessed = witness_at(place).heads(reader.keys.box_id) if place is not None else None
            report = check(reader, witnessed)
            if place is not None and not witnessed:
                report.add(Finding("the witness has no head of this box: nothing was compared with it"))
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
        compared = f", {report.witnessed} witnessed" if place is not None else ""
        click.echo(f"{report.entries} entries, {report.heads} heads{compared}: {state}")
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
@_HOME
@click.argument("patient")
@click.option("--from", "start", required=True, help="UTC, such as 2026-01-31T14:02:10.")
@click.option("--to", "end", required=True, help="UTC; at most 48 h later.")
@click.option(
    "--format", "form", type=click.Choice(["wfdb", "edf", "fhir", "csv", "pdf"]), default="wfdb", show_default=True
)
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option("--named", is_flag=True, help="PDF: print the patient's name and bed, too.")
@click.option("--paper", type=click.Choice(["A4", "LETTER"]), default="A4", show_default=True, help="PDF: the sheet.")
@click.option("--seal-to", "seal_to", default=None, type=click.Path(path_type=Path), help="The recipient's .pub file.")
@_JSON
def export(
    home_path: str | None,
    patient: str,
    start: str,
    end: str,
    form: str,
    folder: Path,
    named: bool,
    paper: str,
    seal_to: Path | None,
    as_json: bool,
) -> None:
    """Write a patient's samples and what was found in them, for other programs. It is put into the audit first.

    PATIENT is the surrogate id that `bedside records show` lists. Stop the gateway first: only who can write the audit
    can export. The files are not encrypted, unless --seal-to names whose key opens them (`open-export`).
    """
    import getpass

    from bedside.core.ids import IdSource
    from bedside.core.ports import Batch
    from bedside.core.time import SystemClock, iso_utc
    from bedside.records.export import export as write
    from bedside.records.parcel import public_key
    from bedside.records.store import open_reader, open_store
    from bedside.settings import home_in_use

    home = home_in_use(home_path)
    between = time_us(start, "--from"), time_us(end, "--to")
    recipient = public_key(seal_to) if seal_to is not None else None
    open_reader(home).close()  # no store is made where none was
    clock = SystemClock()
    store = open_store(home)
    try:
        done = write(
            store,
            lambda act: store.write(Batch(events=[act])),
            IdSource(clock.now_us),
            patient=patient,
            start_us=between[0],
            end_us=between[1],
            form=form,
            folder=folder,
            actor=f"user {getpass.getuser()}",
            now_us=clock.now_us(),
            named=named,
            paper=paper,
            recipient=recipient,
        )
    finally:
        store.close()
    if as_json:
        files = [str(path) for path in done.files]
        click.echo(json.dumps({"files": files, "samples": done.samples, "events": done.events}))
        return
    for path in done.files:
        click.echo(str(path))
    span = f"{iso_utc(between[0])} to {iso_utc(between[1])}"
    click.echo(f"{done.samples} samples, {done.events} events, {span}")


@records.command()
@_HOME
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--open-key", is_flag=True, help="Also when no passphrase seals the key: the backup can then be read.")
def backup(home_path: str | None, folder: Path, open_key: bool) -> None:
    """Copy the records to the new FOLDER and verify the copy. The gateway may go on meanwhile."""
    from bedside.core.time import SystemClock
    from bedside.records.backup import backup as copy
    from bedside.records.store import open_reader
    from bedside.settings import home_in_use

    reader = open_reader(home_in_use(home_path))
    try:
        made = copy(reader, folder, now_us=SystemClock().now_us(), open_key=open_key)
    finally:
        reader.close()
    click.echo(f"{folder}: {made.entries} entries, verified\nhead: {made.entries} {made.root}")


@records.command()
@_HOME
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Of a patient who was erased since; those in backups beside FOLDER are found without it.",
)
def restore(home_path: str | None, folder: Path, certificates: tuple[Path, ...]) -> None:
    """Put the backup in FOLDER into a data folder that holds no records, and verify it there.

    Patients who were erased since the backup was made are erased again.
    """
    import getpass

    from bedside.core.events import Audit
    from bedside.core.ids import IdSource
    from bedside.core.ports import Batch
    from bedside.core.time import SystemClock, iso_utc
    from bedside.records.backup import restore as put_back
    from bedside.records.keys import passphrase_from
    from bedside.records.store import open_store
    from bedside.settings import home_from

    home, clock = home_from(home_path), SystemClock()
    made = put_back(folder, home, passphrase=passphrase_from(), certificates=certificates)
    store = open_store(home)
    try:
        act = Audit(
            id=IdSource(clock.now_us).event(),
            patient=None,
            start_us=clock.now_us(),
            actor=f"user {getpass.getuser()}",
            action="restored",
            detail={"made": iso_utc(made.made_us), "root": made.root},
        )
        store.write(Batch(events=[act]))
    finally:
        store.close()
    click.echo(f"{home.path}: {made.entries} entries as of {iso_utc(made.made_us)}, verified")
    for sentence in store.opening_report.damage:
        click.echo(sentence)


@records.command()
@click.option("--streams", default=4, show_default=True, type=click.IntRange(1, 1000), help="ECG streams of 130 Hz.")
@click.option("--seconds", default=300, show_default=True, type=click.IntRange(60, 86_400), help="Of ward time.")
@click.option("--events/--no-events", default=True, show_default=True, help="A beat and two numerics a second, too.")
@_JSON
def bench(streams: int, seconds: int, events: bool, as_json: bool) -> None:
    """Measure what storing costs here: real ECG, batches of one second, each on disk before the next."""
    from bedside.records.bench import figures_as_text, measure

    figures = measure(streams, seconds, events=events).to_dict()
    click.echo(json.dumps(figures) if as_json else figures_as_text(figures))
