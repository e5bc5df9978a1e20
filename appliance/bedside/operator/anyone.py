"""`bedside attestation`: what anybody can check without trusting the operator, offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bedside.attestation.evidence import Evidence, Outcome


@click.group()
def attestation() -> None:
    """Usage statements, for anybody: check an operator's evidence and payments again."""


@attestation.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
def verify(files: tuple[Path, ...]) -> None:
    """Judge evidence files again, and hold reward files beside them to what follows. Exit 1 when something is not so.

    Evidence (.cbor) and rewards (.json) come from `bedside operator rewards --out DIR`.
    """
    from bedside.attestation.evidence import EvidenceError, decode_evidence, judge
    from bedside.core.errors import SetupError

    good = True
    published = [path for path in files if path.suffix == ".json"]
    for path in (path for path in files if path.suffix != ".json"):
        try:
            evidence = decode_evidence(path.read_bytes())
        except OSError as error:
            raise SetupError(f"{path}: {error.strerror or error}", hint="name a file that can be read") from error
        except EvidenceError as error:
            raise SetupError(f"{path}: {error}", hint="take the file that the operator published, unaltered") from error
        outcome = judge(evidence)
        good &= _say(path, evidence, outcome)
        for other in published:
            good &= _compare(other, evidence, outcome)
    if not good:
        raise click.exceptions.Exit(1)


def _say(path: Path, evidence: Evidence, outcome: Outcome) -> bool:
    from collections import Counter

    from bedside.attestation.evidence import words
    from bedside.attestation.verify import MEANING, STRICT

    click.echo(f"{path.name}: operator {evidence.operator!r}, epochs {evidence.first} to {evidence.last}")
    click.echo(
        f"  {len(evidence.statements)} statements of {len(evidence.gateways)} gateway(s), each through"
        f" {len(STRICT.outer) + len(STRICT.inner)} checks"
    )
    for word, count in sorted(Counter(words(one.verdict) for one in outcome.judged).items()):
        click.echo(f"  {count:6} {word}")
    refused = [one.verdict.refusal for one in outcome.judged if one.verdict.refusal is not None]
    for refusal in sorted(set(refused)):
        click.echo(f"         {refusal}: {MEANING[refusal]}")
    totals = outcome.totals()
    for kid, amount in sorted(totals.items()):
        click.echo(f"  gateway {kid.hex()[:8]} earns {amount}")
    pool = evidence.pool * (evidence.last - evidence.first + 1)
    click.echo(f"  paid {sum(totals.values())} + unallocated {outcome.unallocated} = pool {pool}")
    return not refused


def _compare(path: Path, evidence: Evidence, outcome: Outcome) -> bool:
    from bedside.attestation.evidence import reward_file
    from bedside.core.errors import SetupError

    try:
        published = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SetupError(f"{path}: {error}", hint="name the operator's reward file") from error
    follows = reward_file(evidence, outcome)
    wrong = sorted(name for name in follows if not isinstance(published, dict) or published.get(name) != follows[name])
    if wrong:
        click.echo(f"  {path.name}: NOT what follows from the evidence: {', '.join(wrong)}")
    else:
        click.echo(f"  {path.name}: exactly what follows from the evidence")
    return not wrong
