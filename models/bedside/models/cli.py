"""`bedside train`: makes the models that Bedside ships. Needs the extras `train` and `recordings`.

Whoever trains signs what was made, with `--sign-with` or the variable BEDSIDE_SIGN_WITH; unsigned models are made and
written too, but nothing runs them before `bedside models sign` (`bedside.models.models_cli`).
"""

from __future__ import annotations

import json
from pathlib import Path

import click

SIGN_WITH = click.option(
    "--sign-with",
    type=click.Path(path_type=Path),
    envvar="BEDSIDE_SIGN_WITH",
    help="Private key that signs the manifest (or BEDSIDE_SIGN_WITH); without it the models are not signed.",
)


@click.group()
def train() -> None:
    """Train the models on annotated recordings (not on the appliance)."""


@train.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of annotated WFDB records.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where model, manifest and card go.")
@click.option("--json", "as_json", is_flag=True, help="Print the card's facts as JSON.")
@SIGN_WITH
def beats(data: Path, out: Path, as_json: bool, sign_with: Path | None) -> None:
    """Beat classes N, S, V: cross-validate by patient, train on all, write beats.tflite and its card.

    About ten minutes on one core for the half-hour records of the MIT-BIH Arrhythmia Database.
    """
    from bedside.core.errors import SetupError
    from bedside.models.train import train_beats

    if not data.is_dir():
        raise SetupError(
            f"{data}: no such folder", hint="point --data at a folder with WFDB records (.hea, .dat, .atr)"
        )
    facts = train_beats(data, out, lambda line: click.echo(line, err=True))
    _signed(out, sign_with)
    if as_json:
        click.echo(json.dumps(facts, sort_keys=True))
        return
    for name in ("veb", "sveb"):
        one = facts["gross"][name]
        click.echo(f"{name}: Se {one['sensitivity']}, +P {one['precision']}, F1 {one['f1']} ({one['f1_interval_95']})")
    click.echo(f"wrote {out / 'beats.tflite'} ({facts['size_bytes']} bytes, SHA-256 {facts['sha256']})")


@train.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the Challenge 2017's strips.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where model, manifest and card go.")
@click.option("--json", "as_json", is_flag=True, help="Print the card's facts as JSON.")
@SIGN_WITH
def rhythm(data: Path, out: Path, as_json: bool, sign_with: Path | None) -> None:
    """Rhythm of half a minute, N, A, O, ~: cross-validate by ranges of strips, train on all, write rhythm.tflite.

    The strips go through the live path, the beat classes come from the shipped beat model: train that one first.
    """
    from bedside.core.errors import SetupError
    from bedside.models.rhythm_train import train_rhythm

    if not data.is_dir():
        raise SetupError(f"{data}: no such folder", hint="point --data at strips with a REFERENCE.csv beside them")
    facts = train_rhythm(data, out, lambda line: click.echo(line, err=True))
    _signed(out, sign_with)
    if as_json:
        click.echo(json.dumps(facts, sort_keys=True))
        return
    click.echo(f"wrote {out / 'rhythm.tflite'} ({facts['size_bytes']} bytes, SHA-256 {facts['sha256']})")


def _signed(out: Path, key: Path | None) -> None:
    """Sign what was made, or take away the signature of what was there before and say so."""
    from bedside.models import signing

    manifest = out / "manifest.json"
    if key is not None:
        click.echo(f"signed by {signing.fingerprint(signing.sign(manifest, key))}", err=True)
        return
    signing.signature_path(manifest).unlink(missing_ok=True)
    click.echo(f"not signed, so nothing runs it yet: bedside models sign {out} --key FILE", err=True)
