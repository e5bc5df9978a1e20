"""`bedside dashboard` and `bedside sign-in`."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--home", "home_path", default=None, help="Data folder; default: BEDSIDE_HOME or the user's own.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8460, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--name", "names", multiple=True, help="Another name under which the pages are asked for.")
@click.option("--allow-remote", is_flag=True, help="Listen where others can reach it, without encryption.")
def dashboard(home_path: str | None, host: str, port: int, names: tuple[str, ...], allow_remote: bool) -> None:
    """Serve the pages of a running gateway; Ctrl-C ends it."""
    from bedside.dashboard.serve import main
    from bedside.settings import home_from

    main(home_from(home_path), host, port, allow_remote=allow_remote, names=names)


@click.command("sign-in")
@click.option("--home", "home_path", default=None, help="Data folder; default: BEDSIDE_HOME or the user's own.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def sign_in(home_path: str | None, as_json: bool) -> None:
    """Print a new one-time link to the dashboard. The last one stops to serve."""
    from bedside.core.errors import SetupError
    from bedside.dashboard.access import TOKEN_S, address_file, new_link
    from bedside.settings import home_from

    home = home_from(home_path)
    try:
        address = json.loads(address_file(home).read_text(encoding="utf-8"))
        host, port = str(address["host"]), int(address["port"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"no dashboard runs on the data folder {home.path}",
            hint="start it with `bedside run`, or name its data folder with --home",
        ) from error
    link = new_link(home, host, port)
    if as_json:
        click.echo(json.dumps({"link": link, "serves_s": TOKEN_S}))
    else:
        click.echo(f"Open within {TOKEN_S // 3600} hours; it serves once:\n  {link}")
