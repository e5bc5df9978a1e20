"""`bedside dashboard` and `bedside sign-in`."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bedside.settings import Home

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
@click.option("--allow-remote", is_flag=True, help="Listen where others can reach it, without encryption.")
def dashboard(home_path: Path | None, host: str, port: int, names: tuple[str, ...], allow_remote: bool) -> None:
    """Serve the pages of a running gateway; Ctrl-C ends it."""
    from bedside.core.logs import set_up_logs
    from bedside.dashboard.serve import main
    from bedside.settings import home_from

    home = home_from(home_path)
    home.make()
    set_up_logs(home.logs, "dashboard")

    def ready(bound: int) -> None:
        click.echo(
            f"The dashboard listens on {host}:{bound}. `bedside sign-in --home {home.path}` prints a link to it."
        )

    main(home, host, port, allow_remote=allow_remote, names=names, on_ready=ready)


@click.command("sign-in")
@HOME_OPTION
@click.option("--demo", is_flag=True, help="The demonstration's dashboard.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: link, and how many seconds it serves.")
def sign_in(home_path: Path | None, demo: bool, as_json: bool) -> None:
    """Print a new one-time link to the running dashboard. An unused older link stops to serve."""
    from bedside.core.errors import SetupError
    from bedside.dashboard.access import TOKEN_S, new_link

    places = _places(home_path, demo)
    for home in places:
        address = _address(home)
        if address is None:
            continue
        link = new_link(home, *address)
        if as_json:
            click.echo(json.dumps({"link": link, "serves_s": TOKEN_S}))
        else:
            click.echo(f"Open within {TOKEN_S // 3600} hours; it serves once:\n  {link}")
        return
    raise SetupError(
        f"no dashboard runs on the data folder {places[0].path}",
        hint="start it with `bedside run`, or name its data folder with --home",
    )


def _places(home_path: Path | None, demo: bool) -> list[Home]:
    """Where a dashboard may run: the folder asked for, else the own one, else the demonstration's beside it."""
    from bedside.settings import demonstration_home, home_from

    if home_path is not None or "BEDSIDE_HOME" in os.environ:
        return [home_from(home_path)]
    return [demonstration_home()] if demo else [home_from(), demonstration_home()]


def _address(home: Home) -> tuple[str, int] | None:
    """The host and port of the dashboard that runs on `home`; None when none answers there."""
    from bedside.dashboard.access import address_file

    try:
        written = json.loads(address_file(home).read_text(encoding="utf-8"))
        host, port = str(written["host"]), int(written["port"])
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        socket.create_connection((reached, port), timeout=2.0).close()
    except (OSError, ValueError, KeyError, TypeError):
        return None  # never started, or its process was killed and left the file
    return host, port
