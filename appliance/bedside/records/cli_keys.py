"""`bedside records protect`, `codes`, `recover`, `rotate`: who can open the records, and the drill for a lost key."""

from __future__ import annotations

import click

_HOME = click.option("--home", "home_path", default=None, help="Data folder; default: BEDSIDE_HOME or the user's own.")


@click.command()
@_HOME
@click.option("--tpm", "by_tpm", is_flag=True, help="Seal to this machine's TPM 2.0 and the state that it booted into.")
def protect(home_path: str | None, by_tpm: bool) -> None:
    """Protect the box key by the best that is there: a TPM 2.0, else a passphrase. Stop the gateway first.

    A TPM gives the key back to nobody when the machine breaks or its firmware changes: make recovery codes
    first (`bedside records codes`).
    """
    from bedside.core.errors import SetupError
    from bedside.records import tpm
    from bedside.records.boxkey import ByPassphrase, ByTpm, Protection
    from bedside.records.keys import passphrase_from
    from bedside.records.store import open_keys
    from bedside.settings import home_from

    known = passphrase_from()
    with open_keys(home_from(home_path), passphrase=known) as keys:
        if by_tpm or tpm.available():
            if not keys.recoverable:
                raise SetupError(
                    "there are no recovery codes: a dead TPM would take the records with it",
                    hint="make and print them first: `bedside records codes`",
                )
            best: Protection = ByTpm()
        else:
            phrase = known or click.prompt("New passphrase", hide_input=True, confirmation_prompt=True)
            best = ByPassphrase.of(phrase, None)
        keys.protect(best)
        click.echo(keys.describe())


@click.command()
@_HOME
@click.option("--shares", default=5, show_default=True, type=click.IntRange(2, 16), help="Codes to make.")
@click.option("--threshold", default=3, show_default=True, type=click.IntRange(2, 16), help="Codes that are needed.")
def codes(home_path: str | None, shares: int, threshold: int) -> None:
    """Make recovery codes and show them once. Print them and give them to different people. Stop the gateway first.

    Any THRESHOLD of them open the records without passphrase or TPM, also from a backup. Codes that were made
    before are void for this folder, but still open backups that were made with them.
    """
    from bedside.core.errors import SetupError
    from bedside.records.keys import passphrase_from
    from bedside.records.store import open_keys
    from bedside.settings import home_from

    if threshold > shares:
        raise SetupError(f"{threshold} of {shares} codes can never come together", hint="lower --threshold")
    with open_keys(home_from(home_path), passphrase=passphrase_from()) as keys:
        made = keys.new_recovery_codes(threshold, shares)
        click.echo(f"Recovery codes of box {keys.box_id[:8]}: {threshold} of these {shares} open its records.")
    for number, code in enumerate(made, 1):
        click.echo(f"\n{number}: {code}")


@click.command()
@_HOME
def recover(home_path: str | None) -> None:
    """Open a box whose passphrase is lost or whose TPM is dead, by recovery codes, and set a new passphrase.

    Codes are asked for one by one; an empty line ends them. Afterwards `bedside records protect --tpm` seals to a
    new TPM.
    """
    from bedside.core.errors import SetupError
    from bedside.records.keys import passphrase_from
    from bedside.records.store import open_keys
    from bedside.settings import home_from

    given: list[str] = []
    while code := click.prompt(f"Code {len(given) + 1} (empty: no more)", default="", show_default=False):
        given.append(code)
    if not given:
        raise SetupError("no code was given", hint="type the printed codes, with or without dashes")
    with open_keys(home_from(home_path), passphrase=None, codes=given) as keys:
        phrase = passphrase_from() or click.prompt("New passphrase", hide_input=True, confirmation_prompt=True)
        keys.change_passphrase(phrase)
        click.echo(keys.describe())


@click.command()
@_HOME
def rotate(home_path: str | None) -> None:
    """Change the box key: every data key is wrapped anew. Records stay as they are. Stop the gateway first.

    It may be cut short at any point: the next start goes on with it. Recovery codes stay good.
    """
    from bedside.records.keys import passphrase_from
    from bedside.records.store import open_keys
    from bedside.settings import home_from

    with open_keys(home_from(home_path), passphrase=passphrase_from()) as keys:
        keys.rotate()
        click.echo(f"the box key is new; {keys.describe()}")
