"""`bedside compliance`: evidence from the running system and its tests."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def compliance() -> None:
    """Evidence for an assessor, made from the code, its tests and its figures."""


@compliance.command()
@click.option("--root", type=click.Path(path_type=Path, exists=True), default=".", help="The source tree.")
@click.option("--results", type=click.Path(path_type=Path), default=None, help="JUnit file of the test run.")
@click.option("--out", type=click.Path(path_type=Path), default="build/compliance", show_default=True)
@click.option("--key", type=click.Path(path_type=Path), default=None, help="Signing key; made when missing.")
def build(root: Path, results: Path | None, out: Path, key: Path | None) -> None:
    """Write the dated, signed folder of evidence. Exit 1 when a claim that tests should carry is open."""
    from datetime import UTC, datetime
    from importlib.metadata import version

    from bedside.compliance.build import build as build_folder
    from bedside.compliance.results import Results
    from bedside.settings import home_from

    tested = Results.read(results) if results is not None else None
    made = build_folder(
        root, out, results=tested, version=version("bedside"), when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        key=key or home_from().keys / "compliance.key",
    )  # fmt: skip
    counts = ", ".join(f"{n} {state}" for state, n in made.counts().items())
    click.echo(f"{len(made.claims)} claims: {counts}")
    for claim in made.broken:
        click.echo(f"open  {claim.id}: {claim.text} ({claim.why})")
    click.echo(f"evidence in {out}/index.html")
    if made.broken:
        raise click.exceptions.Exit(1)


@compliance.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def verify(folder: Path) -> None:
    """Hold a folder of evidence to its signature."""
    from bedside.compliance.build import verify as verify_folder

    click.echo(f"whole and unaltered; signed by {verify_folder(folder)}")
