"""`bedside models`: who signed the models, what they are, and which of them run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.group()
def models() -> None:
    """Sign, check, install, compare and roll back the models."""


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
