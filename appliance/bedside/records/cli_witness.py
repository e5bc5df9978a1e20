"""`bedside records witness`: another machine of the site that keeps the heads of boxes' logs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8470, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: any.")
def witness(folder: Path, host: str, port: int) -> None:
    """Keep the heads of boxes' logs in FOLDER, for as long as this runs. Run it on another machine than the boxes.

    Set `witness` to this address on each box; `bedside records verify --witness ADDRESS` compares. Heads hold no
    patient data, but sizes and times: keep them on the site's own network.
    """
    from cheroot.wsgi import Server

    from bedside.core.errors import SetupError
    from bedside.records.witness import FolderWitness
    from bedside.records.witness_server import make_app

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = Server((host, port), make_app(FolderWitness(folder)), numthreads=4)
        server.prepare()
    except OSError as error:
        raise SetupError(
            f"{folder} or {host}:{port} cannot be used: {error.strerror or error}", hint="name others"
        ) from error
    click.echo(f"keeping heads in {folder}, listening on http://{host}:{server.bind_addr[1]}")
    try:
        server.serve()
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        server.stop()
