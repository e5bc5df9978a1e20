"""`bedside records erase`, `certificate` and `retain`: records that are to go, for good or after their time."""

from __future__ import annotations

from pathlib import Path

import click

_HOME = click.option("--home", "home_path", default=None, help="Data folder; default: BEDSIDE_HOME or the user's own.")


@click.command()
@_HOME
@click.argument("patient")
@click.option("--reason", required=True, help="Why; it stands in the certificate and the audit. No name in it.")
@click.option(
    "--backup", "backups", multiple=True, type=click.Path(path_type=Path), help="A backup to erase from, too; repeat."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(home_path: str | None, patient: str, reason: str, backups: tuple[Path, ...], yes: bool) -> None:
    """Erase PATIENT for good: her keys are destroyed, her rows removed, a signed certificate is kept.

    PATIENT is the surrogate id that `bedside records show` lists. Stop the gateway first. The log keeps a hash in the
    place of each entry, so that it still verifies. A backup that is not named here stays readable to who has
    it and its passphrase; when it is restored beside newer ones, the certificate erases her again.
    """
    import getpass

    from bedside.core.events import Audit
    from bedside.core.ids import IdSource
    from bedside.core.ports import Batch
    from bedside.core.time import SystemClock
    from bedside.records.backup import erase_from, read_manifest
    from bedside.records.erasure import FOLDER, fingerprint
    from bedside.records.keys import passphrase_from
    from bedside.records.store import open_reader, open_store
    from bedside.settings import home_in_use

    home, clock = home_in_use(home_path), SystemClock()
    open_reader(home).close()  # no store is made where none was
    for folder in backups:
        read_manifest(folder)
    if not yes:
        click.confirm(f"Erase all records of patient {patient}? This cannot be undone", abort=True)
    actor = f"user {getpass.getuser()}"
    store = open_store(home)
    try:
        certificate = store.erase_patient(patient, actor=actor, reason=reason)
        act = Audit(
            id=IdSource(clock.now_us).event(),
            patient=None,
            start_us=clock.now_us(),
            actor=actor,
            action="erased",
            detail={"patient": patient, "reason": reason, "entries": certificate.entries},
        )
        store.write(Batch(events=[act]))
    finally:
        store.close()
    click.echo(f"patient {patient}: {certificate.entries} entries erased, {len(certificate.keys)} keys destroyed")
    for folder in backups:
        erase_from(folder, certificate, passphrase=passphrase_from())
        click.echo(f"{folder}: erased there, too")
    click.echo(f"certificate: {home.keys / FOLDER / f'{patient}.json'}, key {fingerprint(certificate.public_key)}")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def certificate(path: Path) -> None:
    """Check the certificate of erasure in PATH, without the box. Exit code 1: it is altered."""
    from bedside.core.errors import SetupError, StoreError
    from bedside.core.time import iso_utc
    from bedside.records.erasure import certificate_from, fingerprint

    try:
        known = certificate_from(path.read_bytes())
        known.check()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror or error}", hint="name a certificate") from error
    except StoreError as error:
        click.echo(str(error))
        raise SystemExit(1) from error
    click.echo(f"patient {known.patient} was erased on box {known.box} at {iso_utc(known.erased_us)} by {known.actor}")
    click.echo(f"reason: {known.reason}; {known.entries} entries, {len(known.keys)} keys")
    click.echo(f"signed by key {fingerprint(known.public_key)}: compare it with what the box shows")


@click.command()
@_HOME
@click.option("--kind", default=None, help="ecg, pleth, acceleration, respiration, pressure, events, or make-room.")
@click.option("--days", default=None, type=int, help="Keep them so long; 0: for good.")
@click.option("--patient", default="", help="For this surrogate id alone; else for all that have no own rule.")
def retain(home_path: str | None, kind: str | None, days: int | None, patient: str) -> None:
    """Show how long records are kept, or set it with --kind and --days. Stop the gateway first.

    `events` are a patient's numbers, beats, alarms and audit. Without a rule everything is kept for good. The gateway
    deletes what is past its time a little every few minutes; each deletion is in the audit, and the log still verifies.
    `make-room`: on a disk that is nearly full the oldest samples go, but for those of so many last days.
    """
    import getpass

    from bedside.core.errors import SetupError
    from bedside.core.events import Audit
    from bedside.core.ids import IdSource
    from bedside.core.ports import Batch
    from bedside.core.time import SystemClock
    from bedside.records.retention import POLICY_FILE, load_policy, save_policy
    from bedside.records.store import open_reader, open_store
    from bedside.settings import home_in_use

    home, clock = home_in_use(home_path), SystemClock()
    reader = open_reader(home)
    policy, known = load_policy(home.path / POLICY_FILE, reader.keys), {one.id for one in reader.patients()}
    reader.close()
    if (kind is None) is not (days is None):
        raise SetupError("a rule needs a kind and a number of days", hint="--kind ecg --days 365")
    if patient and patient not in known:
        raise SetupError(f"no patient {patient} in the records", hint="`bedside records show` lists the ids")
    if kind is not None and days is not None:
        policy = policy.changed(patient, kind, days)
        store = open_store(home)
        try:
            act = Audit(
                id=IdSource(clock.now_us).event(),
                patient=None,
                start_us=clock.now_us(),
                actor=f"user {getpass.getuser()}",
                action="retention",
                detail={"patient": patient or "all", "kind": kind, "days": days},
            )
            store.write(Batch(events=[act]))
            save_policy(home.path / POLICY_FILE, store.keys, policy)
        finally:
            store.close()
    if policy.empty:
        click.echo("everything is kept for good")
    for who, rules in sorted(policy.rules.items()):
        for what, so_long in sorted(rules.items()):
            click.echo(f"{who or 'all patients'}: {what} {f'for {so_long} days' if so_long else 'for good'}")
