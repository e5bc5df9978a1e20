"""Commands of the whole appliance: `run`, `status`, and the parts that the supervisor starts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bedside.core.api import NumericView, PatientView, Ward
from bedside.core.errors import SetupError
from bedside.core.time import iso_utc
from bedside.settings import Home, Settings, demonstration_home, home_from, home_in_use, settings_from

if TYPE_CHECKING:
    from bedside.supervisor import Child

HOME_OPTION = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder (default: BEDSIDE_HOME, or the user's data folder)."
)
PORTS_TRIED = 20
CONSOLE_PORT = 8461  # of the demonstration's operator


def _place(home: Path | None, demonstration: bool) -> Home:
    """The data folder: as named, else the demonstration's own, else the user's."""
    return demonstration_home() if demonstration and home is None else home_from(home)


def _free_port(host: str, wanted: int, given: bool) -> int:
    """`wanted` if it is free; else, unless it was asked for, the next free one. Raises `SetupError`."""
    for port in range(wanted, wanted + (1 if given else PORTS_TRIED)):
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OverflowError:
            break
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno not in (98, 13):
                raise SetupError(f"address {host}: {error.strerror}", hint="choose another with --host") from error
            continue
        return port
    raise SetupError(
        f"port {wanted} on {host} is in use by another program",
        hint="choose another with --port, or end the program that holds it",
    )


@click.command()
@HOME_OPTION
@click.option("--demo", is_flag=True, help="Four virtual patients, each with a virtual wearable; sound is muted.")
@click.option(
    "--replay", "replays", multiple=True, type=click.Path(path_type=Path),
    help="A WFDB record (FILE.hea) played through a virtual wearable; may be given several times.",
)  # fmt: skip
@click.option(
    "--speed", type=float, default=1.0, show_default=True, help="Run virtual wearables this many times as fast."
)
@click.option("--host", help="Address of the dashboard (default 127.0.0.1).")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port of the dashboard (default 8460, or the next free one)."
)
@click.option("--no-browser", is_flag=True, help="Do not open the dashboard in a browser.")
def run(
    home: Path | None,
    demo: bool,
    replays: tuple[Path, ...],
    speed: float,
    host: str | None,
    port: int | None,
    no_browser: bool,
) -> None:
    """Start the whole appliance: gateway, dashboard, annunciator and an embedded operator. Ctrl-C ends it.

    Without --demo or --replay it monitors the patients of `bedside.toml` in the data folder with real wearables.
    """
    virtual = demo or bool(replays)
    if not 0 < speed <= 100:
        raise SetupError(f"speed {speed:g}", hint="choose a number above 0 and at most 100")
    if speed != 1.0 and not virtual:
        raise SetupError("--speed needs virtual wearables", hint="add --demo or --replay FILE.hea")
    place = _place(home, virtual)
    place.make()
    settings = settings_from(place, host=host, port=port)
    if not virtual and not settings.patients:
        raise SetupError(
            f"{place.path / 'bedside.toml'} names no patient",
            hint="see the demonstration with `bedside run --demo`, or add a patient: appliance/README.md shows how",
        )
    if replays:
        from bedside.evaluate.recordings import open_recording

        for replay in replays:
            open_recording(replay).primary()  # a bad one is said here, before anything is started
    chosen = _free_port(settings.host, settings.port, given=port is not None or "BEDSIDE_PORT" in os.environ)
    console = _free_port("127.0.0.1", CONSOLE_PORT, given=False) if virtual else None
    asyncio.run(_run(place, settings, virtual, demo, replays, speed, chosen, console, no_browser))


async def _run(
    home: Home,
    settings: Settings,
    virtual: bool,
    demo: bool,
    replays: tuple[Path, ...],
    speed: float,
    port: int,
    console: int | None,
    no_browser: bool,
) -> None:
    from bedside.dashboard.access import new_link
    from bedside.supervisor import Supervisor

    kind = "a demonstration ward: virtual patients, sound muted" if virtual else f"{len(settings.patients)} patients"
    click.echo(f"Bedside monitors {kind}.")
    click.echo("Adjunct monitoring for adults: never the sole alarm, not for paced patients.\n")
    if virtual:
        _audit_itself(home)
    supervisor = Supervisor(home, _children(home, settings, virtual, demo, replays, speed, port, console), click.echo)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop.set)
    try:
        await supervisor.start()
        if not supervisor.stop.is_set():
            link = new_link(home, settings.host, port)
            click.echo(f"\n  Open   {click.style(link, bold=True)}")
            click.echo("         (the link works once; `bedside sign-in` prints another)")
            if console is not None:
                click.echo(f"  Network operator's console   http://127.0.0.1:{console}/")
            click.echo(f"  Data   {home.path}")
            click.echo("  Stop   Ctrl-C\n")
            if (
                not no_browser
                and sys.stdout.isatty()
                and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
            ):
                webbrowser.open(link)
            await supervisor.watch()
        click.echo("\nEnding ...")
    finally:
        await supervisor.end()
    click.echo(f"Ended. The records are in {home.path}.")


def _children(
    home: Home,
    settings: Settings,
    virtual: bool,
    demo: bool,
    replays: tuple[Path, ...],
    speed: float,
    port: int,
    console: int | None,
) -> list[Child]:
    from bedside.supervisor import Child, gateway_answers

    at = ["--home", str(home.path)]
    time_options = ["--speed", str(speed), "--origin-us", str(time.time_ns() // 1000)] if speed != 1.0 else []
    muted = ["--muted"] if virtual or settings.muted else []
    gateway = ["gateway", *at, *(["--demo"] if demo else []), *time_options]
    for replay in replays:
        gateway += ["--replay", str(replay)]
    operator_socket = home.operator / "operator.sock"
    operator = ["operator", "run", *at, "--epoch-s", str(settings.epoch_s), "--offer-token", str(home.operator_token)]
    others = []
    if virtual:
        operator += ["--trust-auditor", str(home.auditor / "auditor-public.json")]
        others.append(Child("auditor", ["auditor", "run", *at, *time_options], (home.auditor / "audits.db").exists))
    if console is not None:
        show = ["operator", "console", *at, "--port", str(console), "--epoch-s", str(settings.epoch_s), *time_options]
        others.append(Child("console", show, lambda: _listens("127.0.0.1", console)))
    return [
        Child("operator", [*operator, *time_options], operator_socket.exists),
        Child("annunciator", ["annunciator", *at, *muted], home.annunciator_socket.exists, leashed=False),
        Child("gateway", gateway, lambda: gateway_answers(home)),
        Child(
            "dashboard",
            ["dashboard", *at, "--host", settings.host, "--port", str(port)],
            lambda: _listens(settings.host, port),
        ),
        *others,
    ]


def _audit_itself(home: Home) -> None:
    """The demonstration plays a care site too: an auditor that its gateway and its operator know."""
    from bedside.auditor import site
    from bedside.network import embedded
    from bedside.network.identity import PUBLIC_FILE

    embedded.prepare(home)
    public = site.init(home.auditor)
    site.add(home.auditor, home.keys / PUBLIC_FILE, home.audit_socket, in_service=True)
    site.accept(public, home.keys)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


@click.command()
@HOME_OPTION
@click.option("--demo", is_flag=True, help="Look at the demonstration's data folder.")
@click.option("--json", "as_json", is_flag=True, help="For programs: the shapes of `bedside.core.api.Ward`.")
def status(home: Path | None, demo: bool, as_json: bool) -> None:
    """The health of each part, and the newest numbers and alarms of each patient, from a running gateway.

    Exit 0 when every part is ok; 1 when one is not; 2 when no gateway answers.
    """
    from bedside.supervisor import ask, gateway_answers, show_json

    place = _place(home, True) if demo else home_in_use(home)
    if home is None and not demo and not gateway_answers(place):
        place = demonstration_home()  # both have been run here, and only the demonstration runs now
    ward = cast("Ward", ask(place, {"op": "ward"}))
    if as_json:
        click.echo(show_json(ward))
    else:
        _show_ward(ward)
    if any(part["state"] in ("failed", "degraded") for part in ward["parts"]):
        raise click.exceptions.Exit(1)


@click.command()
@HOME_OPTION
@click.option("--demo", is_flag=True, help="Ask the demonstration's gateway.")
@click.option("--patient", "wanted", help="Name or bed; default: everybody.")
@click.option("--forget", help="Learn this quantity anew (`all`: every one), after an operation or a new drug.")
@click.option("--by", help="Who lets it be forgotten.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def usual(home: Path | None, demo: bool, wanted: str | None, forget: str | None, by: str | None, as_json: bool) -> None:
    """What is held usual of each patient, and what differs from it now; --forget lets it be learned anew."""
    from bedside.supervisor import ask, show_json

    place = _place(home, True) if demo else home_in_use(home)
    patients = cast("Ward", ask(place, {"op": "ward"}))["patients"]
    chosen = [one for one in patients if wanted is None or wanted in (one["name"], one["bed"], one["id"])]
    if not chosen:
        raise SetupError(f"no patient is called {wanted}", hint="see `bedside status`")
    if forget is not None and (len(chosen) != 1 or by is None):
        raise SetupError("--forget needs one patient and a name", hint="add --patient NAME --by YOUR-NAME")
    for one in chosen:
        request: dict[str, object] = {"op": "usual", "patient": one["id"]}
        if forget is not None:
            request |= {"op": "forget_usual", "quantity": None if forget == "all" else forget, "by": by}
        view = cast("dict[str, Any]", ask(place, request))
        click.echo(show_json({"patient": one["id"], **view}) if as_json else "\n".join(_usual_lines(one["name"], view)))


def _usual_lines(name: str, view: dict[str, Any]) -> list[str]:
    """One patient's usual, for people."""
    learning = "" if view["learning"] else "  (nothing is learned while an alarm or a dangerous rhythm stands)"
    lines = [click.style(name, bold=True) + learning]
    for key, one in view["quantities"].items():
        known = f"{one['hours_known']:g} of {one['hours_wanted']:g} h known"
        if one["usual"] is None:
            lines.append(f"  {key:<18} {known}: not judged yet")
        else:
            changed = click.style("  NOT AS USUAL", fg="yellow") if one["changed"] else ""
            lines.append(
                f"  {key:<18} now {one['now']:g}, usual {one['usual']:g} +- {one['spread']:g} {one['unit']}, "
                f"said from {one['limit']:g} on, {one['hours_known']:g} h known{changed}"
            )
    return lines if view["quantities"] else [*lines, "  nothing was measured well enough yet"]


_COLOURS = {"high": "red", "medium": "yellow", "low": "cyan"}


def _show_ward(ward: Ward) -> None:
    kind = "demonstration ward" if ward["demonstration"] else "ward"
    click.echo(f"Bedside {ward['version']}, {kind}, {iso_utc(ward['time_us'])}; sound: {ward['audio']}")
    for part in ward["parts"]:
        mark = click.style(part["state"], fg="green" if part["state"] == "ok" else "red")
        click.echo(f"  {part['name']:<14} {mark}  {part['detail']}")
    for alarm in ward["alarms"]:
        click.echo("  " + _alarm_line(cast("dict[str, Any]", alarm)))
    for patient in ward["patients"]:
        _show_patient(patient)


def _show_patient(patient: PatientView) -> None:
    simulated = " SIMULATED" if patient["simulated"] else ""
    click.echo(f"\n{click.style(patient['name'], bold=True)}  {patient['bed']}{simulated}")
    numbers = [f"{one['label']} {_number(one)}" for one in patient["numerics"]]
    click.echo("  " + "   ".join(numbers))
    for signal_view in patient["signals"]:
        if not signal_view["usable"]:
            click.echo(f"  {signal_view['label']}: {signal_view['reason_text'] or 'not usable'}")
    for alarm in patient["alarms"]:
        click.echo("  " + _alarm_line(cast("dict[str, Any]", alarm)))


def _number(numeric: NumericView) -> str:
    return "---" if numeric["value"] is None else f"{numeric['value']:.{numeric['decimals']}f}"


def _alarm_line(alarm: dict[str, Any]) -> str:
    stars = {"high": "***", "medium": "** ", "low": "*  "}[alarm["priority"]]
    return click.style(f"{stars} {alarm['text']} ({alarm['state']})", fg=_COLOURS[alarm["priority"]])


@click.command()
@HOME_OPTION
@click.option("--demo", is_flag=True)
@click.option("--replay", "replays", multiple=True, type=click.Path(path_type=Path))
@click.option("--speed", type=float, default=1.0)
@click.option("--origin-us", type=int, default=None, hidden=True)
def gateway(home: Path | None, demo: bool, replays: tuple[Path, ...], speed: float, origin_us: int | None) -> None:
    """Run only the gateway: wearables, monitoring, alarms, records. SIGTERM or Ctrl-C ends it cleanly."""
    from bedside.core.logs import set_up_logs
    from bedside.core.time import ScaledClock, ScaledTimeLoop, SystemClock
    from bedside.gateway import serve
    from bedside.stage import bodies_for

    place = _place(home, demo or bool(replays))
    place.make()
    set_up_logs(place.logs, "gateway")
    settings = settings_from(place)
    if speed == 1.0:
        clock: SystemClock | ScaledClock = SystemClock()
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    else:
        clock = ScaledClock(origin_us if origin_us is not None else time.time_ns() // 1000, speed)
        loop_factory = lambda: ScaledTimeLoop(speed)  # noqa: E731
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(place, settings, clock, bodies_for(demo=demo, replays=replays)))


@click.command()
@HOME_OPTION
@click.option("--muted", is_flag=True, help="No sound, only words (the demonstration).")
def annunciator(home: Path | None, muted: bool) -> None:
    """Run only the annunciator: says "monitoring stopped" within 10 s when the gateway ends or freezes."""
    from bedside.annunciator import main
    from bedside.core.logs import set_up_logs

    place = home_from(home)
    place.make()
    set_up_logs(place.logs, "annunciator")
    main(place.path, muted=muted)


@click.command()
@click.option("--hours", type=click.FloatRange(0.01, 24), default=1.0, show_default=True, help="ECG for the pipeline.")
@click.option("--wearables", type=click.IntRange(0, 200), default=8, show_default=True, help="Virtual ones; 0: none.")
@click.option("--seconds", type=click.FloatRange(45, 3600), default=60.0, show_default=True, help="How long they run.")
@click.option("--ble", is_flag=True, help="Only the wearables: load, loss and recovery, an hour's ledger.")
@click.option("--records", "storing", is_flag=True, help="Only storing: 500 streams of ECG beside plain SQLite.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def bench(hours: float, wearables: int, seconds: float, ble: bool, storing: bool, as_json: bool) -> None:
    """Measure cost and latency on this machine: the pipeline beside two peers, then a live ward in real time.

    Machines are noisy: compare ratios of one run, not figures of two.
    """
    import tempfile

    if storing:
        from bedside.records.bench import figures_as_text
        from bedside.records.bench import measure as measure_storing
        from bedside.supervisor import show_json

        stored = measure_storing(500, max(60, round(seconds)), events=False).to_dict()
        click.echo(show_json(stored) if as_json else figures_as_text(stored))
        return

    if ble:
        from bedside.evaluate.bench_ble import ble_text, measure_ble
        from bedside.supervisor import show_json

        figures = measure_ble(wearables, seconds)
        click.echo(show_json(figures) if as_json else ble_text(figures))
        return

    from bedside.evaluate.bench import as_text, measure
    from bedside.live_bench import live_text, measure_live
    from bedside.records.store import open_store
    from bedside.supervisor import show_json

    with tempfile.TemporaryDirectory(prefix="bedside-bench-") as folder:
        store = open_store(Home(Path(folder)))
        try:
            pipeline = measure(hours, store)
        finally:
            store.close()
    if not as_json:
        click.echo(as_text(pipeline))
    live = measure_live(wearables, seconds) if wearables else None
    if as_json:
        click.echo(show_json({"pipeline": pipeline, "live": live}))
    elif live is not None:
        click.echo(live_text(live))
