"""`bedside pair` and `bedside labels`: what a nurse types where there is no screen, and the labels for wearables."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Any, cast

import click

from bedside.core.api import Ward
from bedside.core.errors import SetupError
from bedside.settings import Home, home_in_use

HOME_OPTION = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder (default: BEDSIDE_HOME, or the user's data folder)."
)
LISTEN_S = 5.0
PATIENCE_S = 240.0
SETTLE_S = 30.0
BOND_WORDS = {
    "authenticated": "secure bond, number compared",
    "unauthenticated": "secure bond, no number to compare",
    "none": "no bond: known by its address and serial number alone",
}


def _ask(home: Home, op: str, **arguments: Any) -> Any:
    from bedside.supervisor import ask

    return ask(home, {"op": op, **arguments})


def _who() -> str:
    return f"{getpass.getuser()} at the box"[:100]


def _listen(home: Home) -> list[dict[str, Any]]:
    _ask(home, "pair_heard")
    time.sleep(LISTEN_S)
    return cast("list[dict[str, Any]]", _ask(home, "pair_heard"))


def _spaced(label: str) -> str:
    return f"{label[:3]} {label[3:]}"


@click.group(invoke_without_command=True)
@HOME_OPTION
@click.option("--patient", help="Her name or bed, as the ward shows it.")
@click.option("--label", help="The six characters on the wearable; without it those near are listed.")
@click.option("--user", "user_index", type=click.IntRange(0, 254), help="Of a cuff or scale with several users: hers.")
@click.pass_context
def pair(ctx: click.Context, home: Path | None, patient: str | None, label: str | None, user_index: int | None) -> None:
    """Make a wearable a patient's, on the running gateway: it is monitored from then on, without a restart."""
    ctx.obj = home_in_use(home)
    if ctx.invoked_subcommand is not None:
        return
    place = cast("Home", ctx.obj)
    ward = cast("Ward", _ask(place, "ward"))
    who = _patient(ward, patient)
    chosen = label or _choose(place, ward)
    view = _ask(
        place, "pair_begin", patient=who["id"], label=chosen, by=_who(), staff=True, typed=label is not None,
        user_index=user_index,
    )  # fmt: skip
    view = _follow(place, view)
    if view["stage"] != "paired":
        raise SetupError(f"not paired: {view['reason']}", hint="hold the wearable near, and try again")
    click.echo(f"{view['name']} is {who['name']}'s ({BOND_WORDS[view['bond']]}).")
    _say_working(place, who["id"], view)


def _patient(ward: Ward, wanted: str | None) -> dict[str, Any]:
    patients = cast("list[dict[str, Any]]", ward["patients"])
    if not patients:
        raise SetupError("this box watches nobody", hint="name a patient in bedside.toml (appliance/README.md)")
    found = [one for one in patients if wanted is None or wanted.lower() in (one["name"].lower(), one["bed"].lower())]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{one['name']} ({one['bed']})" for one in patients)
    raise SetupError(f"for whom? there are: {names}", hint="say it with --patient NAME or --patient BED")


def _choose(home: Home, ward: Ward) -> str:
    click.echo("Switch the wearable on, wear it or hold it near ...")
    near = _listen(home)
    if not near:
        raise SetupError("no wearable is heard", hint="is it charged, switched on, worn and near?")
    beds = {one["id"]: one["bed"] or one["name"] for one in ward["patients"]}
    for number, one in enumerate(near, 1):
        owner = f"  (watches {beds.get(one['owner'], 'another')})" if one["owner"] else ""
        click.echo(f"  {number}  {one['name']:<24} {one['kind']:<12} label {_spaced(one['label'])}{owner}")
    number = click.prompt("Which one", type=click.IntRange(1, len(near)))
    return str(near[number - 1]["label"])


def _follow(home: Home, view: dict[str, Any]) -> dict[str, Any]:
    """Say what happens and ask what is asked, until the attempt is over."""
    said, deadline_s = "", time.monotonic() + PATIENCE_S
    words = {
        "bonding": "Making a bond ...",
        "dropping": "Ending the first link ...",
        "proving": "Reaching it again by its bond ...",
    }
    while view["stage"] not in ("paired", "refused", "undone"):
        if time.monotonic() > deadline_s:
            raise SetupError("pairing takes too long", hint="hold the wearable near, and try again")
        question = view["question"]
        if question is not None:
            answer: bool | int
            if question["ask"] == "passkey":
                answer = click.prompt(question["text"], type=click.IntRange(0, 999_999))
            else:
                answer = click.confirm(question["text"])
            view = _ask(home, "pair_answer", attempt=view["attempt"], answer=answer)
            continue
        told = view["type_on_wearable"] and f"Type {view['type_on_wearable']} on the wearable."
        told = told or words.get(view["stage"], "")
        if told and told != said:
            click.echo(told)
            said = told
        time.sleep(0.3)
        view = _ask(home, "pair_state", attempt=view["attempt"])
    return view


def _say_working(home: Home, patient: str, view: dict[str, Any]) -> None:
    """It is hers; whether it works is said only when its data arrive."""
    deadline_s = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline_s:
        ward = cast("Ward", _ask(home, "ward"))
        for one in ward["patients"]:
            for wearable in one["wearables"]:
                if (
                    one["id"] == patient
                    and wearable["id"] == view["wearable"]
                    and wearable["link"] in ("up", "resting")
                ):
                    battery = "" if view["battery_pct"] is None else f", {view['battery_pct']:.0f} % battery"
                    works = "working" if wearable["link"] == "up" else "rests until it measures"
                    click.echo(f"It is {works}{battery}.")
                    return
        time.sleep(0.5)
    click.echo("No data arrive from it yet: is it worn, and moist? The ward shows when they do.")
    raise click.exceptions.Exit(1)


@pair.command("list")
@click.pass_obj
def list_pairings(home: Home) -> None:
    """Who has which wearable."""
    ward = cast("Ward", _ask(home, "ward"))
    names = {one["id"]: f"{one['name']} ({one['bed']})" for one in ward["patients"]}
    for one in _ask(home, "pairings"):
        doubt = f"  NOT BELIEVED: {one['doubt']}" if one["doubt"] else "" if one["proven"] else "  not proven here yet"
        who = names.get(one["patient"], "not on this ward")
        click.echo(f"{_spaced(one['label'])}  {one['name']:<24} {who:<28} {BOND_WORDS[one['bond']]}{doubt}")


@pair.command("undo")
@click.argument("label")
@click.pass_obj
def undo(home: Home, label: str) -> None:
    """Take a wearable (by its label) from its patient; its records stay hers."""
    wanted = "".join(label.upper().split())
    for one in _ask(home, "pairings"):
        if one["label"] == wanted:
            _ask(home, "unpair", wearable=one["wearable"], by=_who())
            click.echo(f"{one['name']} is nobody's now.")
            return
    raise SetupError(f"no paired wearable has the label {label}", hint="`bedside pair list` shows all")


@pair.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--passphrase", prompt=True, hide_input=True, confirmation_prompt=True)
@click.pass_obj
def export(home: Home, file: Path, passphrase: str) -> None:
    """Write all pairings and bonds, sealed under a passphrase, for the box that replaces this one."""
    result = _ask(home, "pair_export", by=_who(), passphrase=passphrase)
    try:
        file.touch(0o600, exist_ok=False)
        file.write_bytes(bytes.fromhex(result["sealed"]))
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror or error}", hint="choose a new file in a folder of yours") from error
    click.echo(f"{result['pairings']} pairings are in {file}.")


@pair.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--passphrase", prompt=True, hide_input=True)
@click.pass_obj
def take(home: Home, file: Path, passphrase: str) -> None:
    """Take pairings of another box over. Patients must be known here (restore the records first)."""
    result = _ask(home, "pair_import", by=_who(), passphrase=passphrase, sealed=file.read_bytes().hex())
    click.echo(f"{result['taken']} pairings taken over, {result['left_out']} of patients that this box does not know.")
    if result["pair_anew"]:
        click.echo(f"{result['pair_anew']} bonds do not serve on this box's adapter: pair those wearables anew.")


@click.command()
@HOME_OPTION
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default="labels.pdf", show_default=True)
@click.option("--page", help="Address of the pairing page, so that a phone's camera opens it (https://box.local/pair).")
def labels(home: Path | None, out: Path, page: str | None) -> None:
    """A sheet of labels (PDF) for the wearables that are near or paired: a QR code and six characters, no name.

    Hold one wearable near at a time where they look alike: the list says which label is whose.
    """
    from bedside.printing.labels import labels_pdf

    place = home_in_use(home)
    found = {one["label"]: f"{one['name']} ({one['kind']}), near" for one in _listen(place)}
    for one in _ask(place, "pairings"):
        found.setdefault(one["label"], f"{one['name']}, paired")
    if not found:
        raise SetupError("no wearable is heard, and none is paired", hint="switch one on and hold it near")
    try:
        out.write_bytes(labels_pdf(list(found), page=page))
    except OSError as error:
        raise SetupError(f"{out}: {error.strerror or error}", hint="choose a file that you may write") from error
    for label, words in found.items():
        click.echo(f"  {_spaced(label)}  {words}")
    click.echo(f"{len(found)} labels are in {out}.")
