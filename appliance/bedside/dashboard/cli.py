"""`bedside dashboard` and `bedside sign-in`."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bedside.settings import Home

ROLES = ("clinician", "nurse", "administrator", "auditor", "patient")
HOME_OPTION = click.option(
    "--home",
    "home_path",
    type=click.Path(path_type=Path),
    help="Data folder (default: BEDSIDE_HOME, or the user's data folder).",
)


@click.command()
@HOME_OPTION
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8460, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--name", "names", multiple=True, help="Another name under which the pages are asked for.")
@click.option("--allow-remote", is_flag=True, help="Listen where others can reach it, encrypted.")
def dashboard(home_path: Path | None, host: str, port: int, names: tuple[str, ...], allow_remote: bool) -> None:
    """Serve the pages of a running gateway; Ctrl-C ends it."""
    from bedside.core.logs import set_up_logs
    from bedside.dashboard.serve import is_loopback, main
    from bedside.settings import home_from

    home = home_from(home_path)
    home.make()
    set_up_logs(home.logs, "dashboard")

    def ready(bound: int) -> None:
        click.echo(
            f"The dashboard listens on {host}:{bound}. `bedside sign-in --home {home.path}` prints a link to it."
        )
        if not is_loopback(host):
            _say_authority(home)

    main(home, host, port, allow_remote=allow_remote, names=names, on_ready=ready)


def _say_authority(home: Home) -> None:
    """Encrypted pages: what to install on the machines that look at them, and how to know that it is right."""
    from bedside.core.time import SystemClock
    from bedside.dashboard.tls import papers

    own = papers(home, (), SystemClock().now_us())
    click.echo(
        f"Connections are encrypted by this box's own authority: {own.authority}\n"
        f"Install it on the machines that look (also served at /authority.pem). Its fingerprint (SHA-256) is\n"
        f"  {own.fingerprint}"
    )


@click.command("sign-in")
@HOME_OPTION
@click.option("--demo", is_flag=True, help="The demonstration's dashboard.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: link, and how many seconds it serves.")
@click.option("--role", type=click.Choice(ROLES), default="clinician", show_default=True, help="What she may do.")
def sign_in(home_path: Path | None, demo: bool, as_json: bool, role: str) -> None:
    """Print a new one-time link to the running dashboard. An unused older link stops to serve."""
    from bedside.core.errors import SetupError
    from bedside.dashboard.access import TOKEN_S, new_link
    from bedside.dashboard.roles import Role

    places = _places(home_path, demo)
    for home in places:
        address = _address(home)
        if address is None:
            continue
        link = new_link(home, address[0], address[1], role=Role(role), tls=address[2])
        if as_json:
            click.echo(json.dumps({"link": link, "serves_s": TOKEN_S}))
        else:
            click.echo(f"Open within {TOKEN_S // 3600} hours; it serves once:\n  {link}")
        return
    raise SetupError(
        f"no dashboard runs on the data folder {places[0].path}",
        hint="start it with `bedside run`, or name its data folder with --home",
    )


@click.group()
def accounts() -> None:
    """Who may sign in with a password, and in which role."""


@accounts.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True)
@HOME_OPTION
def add_account(name: str, role: str, home_path: Path | None) -> None:
    """Add an account, or give one another role and password. The password is asked for, never an argument."""
    from bedside.dashboard.accounts import Accounts
    from bedside.dashboard.roles import Role
    from bedside.settings import home_from

    home = home_from(home_path)
    home.make()
    asked = sys.stdin.isatty()
    password = click.prompt("Password", hide_input=True, confirmation_prompt=True) if asked else sys.stdin.readline()
    Accounts(home).add(name, Role(role), password.rstrip("\n"))
    click.echo(f"{name} may sign in as {role}.")


@accounts.command("list")
@HOME_OPTION
def list_accounts(home_path: Path | None) -> None:
    """Name and role of each."""
    from bedside.dashboard.accounts import Accounts
    from bedside.settings import home_from

    found = Accounts(home_from(home_path)).all()
    for one in found:
        click.echo(f"{one.role:<14} {one.name}")
    if not found:
        click.echo("No account yet: `bedside accounts add NAME --role nurse` makes one.")


@accounts.command("remove")
@click.argument("name")
@HOME_OPTION
def remove_account(name: str, home_path: Path | None) -> None:
    """Remove an account. Its open sessions end at once."""
    from bedside.dashboard.accounts import Accounts
    from bedside.settings import home_from

    Accounts(home_from(home_path)).remove(name)
    click.echo(f"{name} can no longer sign in; open sessions of the account have ended.")


@click.command()
@click.argument("state", type=click.Choice(["on", "off"]))
@HOME_OPTION
def metrics(state: str, home_path: Path | None) -> None:
    """Turn the figures for Prometheus on (prints the token that reads them, once) or off. They name no patient."""
    from bedside.dashboard.metrics import turn_off, turn_on
    from bedside.settings import home_from

    home = home_from(home_path)
    home.make()
    if state == "on":
        click.echo(f"GET /metrics with the header\n  Authorization: Bearer {turn_on(home)}")
    else:
        click.echo("Off." if turn_off(home) else "It was off.")


def _places(home_path: Path | None, demo: bool) -> list[Home]:
    """Where a dashboard may run: the folder asked for, else the own one, else the demonstration's beside it."""
    from bedside.settings import demonstration_home, home_from

    if home_path is not None or "BEDSIDE_HOME" in os.environ:
        return [home_from(home_path)]
    return [demonstration_home()] if demo else [home_from(), demonstration_home()]


def _address(home: Home) -> tuple[str, int, bool] | None:
    """Host, port and whether it is encrypted, of the dashboard that runs on `home`; None when none answers there."""
    from bedside.dashboard.access import address_file

    try:
        written = json.loads(address_file(home).read_text(encoding="utf-8"))
        host, port = str(written["host"]), int(written["port"])
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        socket.create_connection((reached, port), timeout=2.0).close()
    except (OSError, ValueError, KeyError, TypeError):
        return None  # never started, or its process was killed and left the file
    return host, port, written.get("tls") is True
