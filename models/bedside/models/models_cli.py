"""`bedside models`: who signed the models, what they are, and which of them run."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bedside.core.errors import SetupError

if TYPE_CHECKING:
    from bedside.models.shelf import Keys, Shelf


@click.group()
def models() -> None:
    """Sign, check, install, compare and roll back the models."""


HOME = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder (default: BEDSIDE_HOME, or the user's)."
)
NEXT_START = "this takes effect when the gateway starts the next time"


def _shelf(home: Path | None) -> tuple[Shelf, Keys]:
    """The sets of a box, and the keys that its settings name."""
    from bedside.models.shelf import Shelf
    from bedside.settings import home_from, home_in_use, settings_from

    place = home_from(home) if home is not None else home_in_use()
    return Shelf(place.models), lambda: settings_from(place).signers


@models.command()
@click.argument("file", type=click.Path(path_type=Path))
def key(file: Path) -> None:
    """Make a private key in the new FILE, to sign models of your own with. Keep it off the box."""
    from bedside.models import signing

    public = signing.new_key(file)
    click.echo(f"{file}: private key {signing.fingerprint(public)}, readable by you alone")
    click.echo("to have it believed by a box, put into its bedside.toml:")
    click.echo(f'  signers = ["{public}"]')


@models.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--key", "key_file", type=click.Path(path_type=Path), required=True, help="File with the private key.")
def sign(folder: Path, key_file: Path) -> None:
    """Sign FOLDER's manifest.json: one signature for all files that it names."""
    from bedside.models import signing

    public = signing.sign(folder / "manifest.json", key_file)
    click.echo(f"{folder / 'manifest.sig'}: signed by {signing.fingerprint(public)}")
    if public not in signing.RELEASE_KEYS:
        click.echo(f'a box believes it with this line in its bedside.toml: signers = ["{public}"]')


@models.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify(folder: Path | None, as_json: bool) -> None:
    """Check FOLDER's models (default: the shipped ones): signature, bytes, shape, and what they answer here.

    Each runs over 10,000 fixed windows, and the digest of its outputs must be the signed one.
    """
    from bedside.models import checking, shipped, signing

    place = folder if folder is not None else shipped.folder()
    found = checking.check(place)
    if as_json:
        click.echo(json.dumps({"folder": str(place), **asdict(found)}, indent=1))
        return
    whose = signing.RELEASE_KEYS.get(found.signer, "a key of the setting `signers`")
    click.echo(f"{place}: signed by {signing.fingerprint(found.signer)} ({whose})")
    for one in found.models:
        answers = "answers as signed" if one.answers else "answers not promised for this kind of machine"
        click.echo(f"  {one.name:<8} SHA-256 {one.sha256}, {one.size_bytes:,} bytes, {answers}: {one.runtime}")


@models.command(name="list")
@HOME
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def listed(home: Path | None, as_json: bool) -> None:
    """The sets on this box: which judges, which only listens, which judged before."""
    from bedside.models import checking, signing
    from bedside.models.inference import Manifest

    shelf, keys = _shelf(home)
    state = shelf.state()
    rows = []
    for which in (None, *shelf.installed()):
        role = "judges" if which == state.live else "candidate" if which == state.candidate else ""
        row: dict[str, Any] = {"set": which or "shipped", "role": role, "judged_before": which in state.before}
        try:
            manifest = Manifest.load(shelf.place(which) / "manifest.json", keys)
            row["signer"] = signing.fingerprint(manifest.signer or "")
            row["models"] = {entry.name: entry.sha256 for entry in manifest.entries if entry.name in checking.NAMES}
        except SetupError as error:
            row["refused"] = str(error)
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo(f"{row['set']:<18}{row['role'] or ('judged before' if row['judged_before'] else ''):<15}", nl=False)
        if "refused" in row:
            click.echo(f"REFUSED: {row['refused']}")
        else:
            digests = ", ".join(f"{name} {digest[:12]}" for name, digest in row["models"].items())
            click.echo(f"{digests}, signed by {row['signer']}")


@models.command()
@click.argument("folder", type=click.Path(path_type=Path))
@HOME
def install(folder: Path, home: Path | None) -> None:
    """Check FOLDER's models, copy them onto this box, and let them listen beside those that judge.

    They judge nobody before `bedside models switch`.
    """
    shelf, keys = _shelf(home)
    which = shelf.install(folder, keys)
    click.echo(f"{which} is the candidate: {NEXT_START}")
    click.echo("then see `bedside models compare`, and `bedside models switch` when you are convinced")


@models.command()
@HOME
def switch(home: Path | None) -> None:
    """Let the candidate judge, after a look at `bedside models compare`."""
    shelf, keys = _shelf(home)
    click.echo(f"{shelf.switch(keys)} judges: {NEXT_START}; `bedside models rollback` goes back")


@models.command()
@HOME
def rollback(home: Path | None) -> None:
    """Let those models judge again that judged before."""
    shelf, _ = _shelf(home)
    click.echo(f"{shelf.rollback() or 'the shipped set'} judges: {NEXT_START}")


@models.command()
@HOME
def drop(home: Path | None) -> None:
    """No candidate any more."""
    shelf, _ = _shelf(home)
    click.echo(f"{shelf.drop()} listens no more: {NEXT_START}")


@models.command()
@HOME
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def compare(home: Path | None, as_json: bool) -> None:
    """What the candidate and the live models said of the same beats and half minutes.

    The gateway counts while it runs with a candidate and writes once a minute.
    """
    shelf, _ = _shelf(home)
    try:
        document = json.loads(shelf.comparison.read_text())
    except (OSError, ValueError) as error:
        raise SetupError(
            f"{shelf.comparison}: nothing was compared yet",
            hint="`bedside models install DIR`, start the gateway, and wait a minute",
        ) from error
    if as_json:
        click.echo(json.dumps(document, indent=1))
        return
    for line in compared(document):
        click.echo(line)


def compared(document: dict[str, Any]) -> list[str]:
    """A comparison for people."""
    hours = (document["until_us"] - document["since_us"]) / 3.6e9
    lines = [f"{_when(document['since_us'])} to {_when(document['until_us'])} ({hours:.1f} h)"]
    for name in sorted({*document["live"], *document["candidate"]}):
        live, candidate = (document[side].get(name, "none")[:16] for side in ("live", "candidate"))
        same = ", the same bytes" if live == candidate else ""
        lines.append(f"  {name}: live {live}, candidate {candidate}{same}")
    for kind, noun in (("beats", "beats"), ("rhythm", "half minutes")):
        cells = document["tables"][kind]
        total, agreed = sum(n for *_, n in cells), sum(n for a, b, n in cells if a == b)
        lines += ["", f"{total} {noun}" + (f", {100 * agreed / total:.2f} % judged alike" if total else "")]
        lines += [f"  live {a} -> candidate {b}: {n}" for a, b, n in sorted(cells, key=lambda one: -one[2]) if a != b]
        if document["failures"].get(kind):
            lines.append(
                f"  the candidate FAILED on {document['failures'][kind]} streams and was not asked again there"
            )
    lines += ["", f"newest disagreements ({len(document['kept'])} kept; - means: cannot judge):"]
    lines += [
        f"  {_when(one['at_us'])} {one['kind']}: live {one['live']} ({_share(one['live_probability'])}), "
        f"candidate {one['candidate']} ({_share(one['candidate_probability'])})"
        for one in document["kept"][-20:]
    ]
    return lines


def _when(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _share(probability: float | None) -> str:
    return "-" if probability is None else f"{probability:.2f}"
