"""The dashboard's process: the Flask application under cheroot's threaded WSGI server.

`python -m bedside.dashboard.serve --home DIR [--host H] [--port N]`. It needs the gateway's socket, no key
to the records, and says nothing on standard output; `bedside sign-in` prints links to it.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import logging
import os
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server
from flask import Flask

from bedside.core.errors import SetupError
from bedside.core.logs import set_up_logs
from bedside.core.time import SystemClock
from bedside.dashboard.access import Access, Names, address_file, store_token, write_private
from bedside.dashboard.accounts import Accounts
from bedside.dashboard.api import VIEWERS_MAX
from bedside.dashboard.app import create_app
from bedside.dashboard.feed import Feed
from bedside.dashboard.gateway_client import GatewayClient
from bedside.dashboard.my_door import PatientDoor
from bedside.dashboard.tls import Papers, papers
from bedside.settings import Home, home_from

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PORT = 8460
REQUEST_THREADS = 12
"""Beside those that the event streams hold."""
REQUEST_BYTES_MAX = 64 * 1024
STOP_S = 1.5
"""The end of the process may not wait longer for a viewer that does not read."""


class _Server(Server):
    """cheroot, with its messages in our log instead of on standard error."""

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        log.log(min(level, logging.WARNING), "web server", extra={"text": str(msg)}, exc_info=traceback)


class Dashboard:
    """The running pages: `start` binds and serves in threads of its own, `close` ends them and is idempotent."""

    def __init__(
        self, home: Home, *, host: str = HOST, port: int = PORT, names: Iterable[str] = (), encrypted: bool = False
    ) -> None:
        """Raises `SetupError` when the data folder, the session key or the certificates cannot be used."""
        self._home = home
        self._host = host
        self.feed = Feed(home.gateway_socket)
        self.access = Access(home)
        self._client = GatewayClient(home.gateway_socket)
        names = list(names)
        self._names = Names(host, names)
        asked = [one for one in (host, *names) if one not in ("0.0.0.0", "::", "")]  # noqa: S104
        self.papers: Papers | None = papers(home, asked, SystemClock().now_us()) if encrypted else None
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.app: Flask = create_app(
            client=self._client,
            feed=self.feed,
            access=self.access,
            names=self._names,
            cookie_name=f"bedside-{port}",
            patients=PatientDoor(home),
            accounts=Accounts(home),
            home=home,
            authority=self.papers.authority if self.papers is not None else None,
        )

    @property
    def port(self) -> int:
        """The port that it listens on; known after `start` where 0 was asked for."""
        return self._port

    def start(self) -> None:
        """Raises `SetupError` when the address is taken or is not this machine's."""
        threads = VIEWERS_MAX + REQUEST_THREADS
        server = _Server((self._host, self._port), self.app, numthreads=threads, max=threads, server_name="bedside")
        server.shutdown_timeout = 1
        if self.papers is not None:
            adapter = BuiltinSSLAdapter(str(self.papers.certificate), str(self.papers.key))
            adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2
            server.ssl_adapter = adapter
        server.max_request_header_size = server.max_request_body_size = REQUEST_BYTES_MAX
        try:
            server.prepare()
        except OSError as error:
            raise _not_bound(self._host, self._port, error) from error
        self._port = int(server.bind_addr[1])
        self._server = server
        self.feed.start()
        write_private(
            address_file(self._home),
            json.dumps({"host": self._host, "port": self._port, "pid": os.getpid(), "tls": self.papers is not None}),
        )
        self._thread = threading.Thread(target=server.serve, name="web-server", daemon=True)
        self._thread.start()
        log.info("dashboard listens", extra={"host": self._host, "port": self._port})

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> bool:
        """End streams, then the server. False when a thread still hangs on a viewer after `STOP_S`."""
        self.feed.close()
        server, self._server = self._server, None
        if server is None:
            return True
        with contextlib.suppress(OSError):
            address_file(self._home).unlink(missing_ok=True)
        stopper = threading.Thread(target=server.stop, name="web-server-stop", daemon=True)
        stopper.start()
        stopper.join(STOP_S)
        return not stopper.is_alive()


def _not_bound(host: str, port: int, error: OSError) -> SetupError:
    text = str(error)
    if f"Errno {errno.EADDRINUSE}" in text or error.errno == errno.EADDRINUSE:
        return SetupError(
            f"port {port} on {host} is in use by another program",
            hint=f"stop that program (`ss -ltnp 'sport = :{port}'` names it), or choose another port with --port",
        )
    if f"Errno {errno.EACCES}" in text:
        return SetupError(f"port {port}: not allowed for this user", hint="choose a port above 1023 with --port")
    return SetupError(f"cannot listen on {host}:{port}: {text}", hint="choose an address of this machine with --host")


def is_loopback(host: str) -> bool:
    """Can only this machine itself reach what listens there?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_host(host: str, allow_remote: bool) -> None:
    """Raises `SetupError` for an address that others can reach, unless that is wanted."""
    if not is_loopback(host) and not allow_remote:
        raise SetupError(
            f"{host}: others than this box can reach the dashboard there",
            hint="say --allow-remote: connections are then encrypted, and each person needs an account",
        )


def main(
    home: Home,
    host: str = HOST,
    port: int = PORT,
    token: str | None = None,
    *,
    allow_remote: bool = False,
    names: Iterable[str] = (),
    on_ready: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve until SIGTERM or SIGINT; returns within 2 s of it. Call from the main thread.

    `token`: a one-time sign-in token to accept, where the caller prints the link itself. `on_ready` is told
    the port. Raises `SetupError`.
    """
    check_host(host, allow_remote)
    home.make()
    dashboard = Dashboard(home, host=host, port=port, names=names, encrypted=not is_loopback(host))
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    dashboard.start()
    if token is not None:
        store_token(home, token)
    on_ready(dashboard.port)
    while not stop.wait(1.0):
        if not dashboard.alive:
            log.error("web server ended by itself")
            break
    served = stop.is_set()
    if not dashboard.close():
        log.warning("a viewer does not read: leaving it")
        logging.shutdown()
        os._exit(0 if served else 1)
    if not served:
        sys.exit(1)


def _run(arguments: list[str] | None = None) -> Any:
    """The process's own command line, for a supervisor."""
    import click

    @click.command()
    @click.option("--home", "home_path", required=True, help="The data folder.")
    @click.option("--host", default=HOST, show_default=True)
    @click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65535))
    @click.option("--name", "names", multiple=True, help="Another name under which the pages are asked for.")
    @click.option("--allow-remote", is_flag=True, help="Listen where others can reach it, encrypted.")
    def serve(home_path: str, host: str, port: int, names: tuple[str, ...], allow_remote: bool) -> None:
        try:
            home = home_from(home_path)
            home.make()
            set_up_logs(home.logs, "dashboard")
            main(home, host, port, allow_remote=allow_remote, names=names)
        except SetupError as error:
            click.echo(f"bedside: {error}\n  {error.hint}", err=True)
            sys.exit(2)

    return serve(args=arguments, prog_name="bedside.dashboard.serve")


if __name__ == "__main__":
    _run()
