"""Commands over recordings: `bedside analyze` and what `bedside evaluate` scores."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bedside.core.events import Json

FIGURES = Path("compliance/figures")


@click.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--lead", help="Analyse this lead alone (default: MLII or II, else the first ECG).")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where to write.")
@click.option(
    "--block-s", type=float, default=0.5, show_default=True, help="Length of the blocks; 0: single samples; inf: one."
)
@click.option("--all-channels", is_flag=True, help="Feed the other leads, pulse wave and pressure of the patient too.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON document too.")
def analyze(record: Path, lead: str | None, out: Path, block_s: float, all_channels: bool, as_json: bool) -> None:
    """Run RECORD (WFDB, or an EDF file) through the live path.

    Writes NAME.bedside (WFDB annotations) and NAME.json (alarms, numerics, findings) into the folder --out.
    """
    from bedside.core.errors import SetupError
    from bedside.evaluate import analyze as analysis

    done = analysis.analyze(record, lead=lead, block_s=block_s, all_channels=all_channels)
    annotations, document = analysis.write(done, out)
    if as_json:
        click.echo(document.read_text(), nl=False)
    else:
        cpu_s = sum(done.cpu_s.values())
        click.echo(f"{done.recording.name} lead {done.channel.name}: {done.duration_s:.1f} s in {cpu_s:.2f} CPU s")
        click.echo(f"  {len(done.beats())} beats, {len(done.rhythm())} rhythm episodes -> {annotations}")
        click.echo(f"  {len(analysis.report(done)['alarms'] or [])} alarms -> {document}")  # type: ignore[arg-type]
        if done.model_fault is not None:
            click.echo(f"  beats are not judged: {done.model_fault}", err=True)
    if not done.complete:
        raise SetupError(
            f"{done.recording.path}: {done.fault}",
            hint=f"what was read until then is in {document}, marked as not complete; get the recording again",
        )


@click.group()
def evaluate() -> None:
    """Score the live path on annotated recordings (EC57, IEC 60601-2-47)."""


@evaluate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--reference", default="atr", show_default=True, help="Extension of the experts' annotations.")
@click.option("--ann", "given", help="Score annotations with this extension instead of running the live path.")
@click.option("--ann-dir", type=click.Path(path_type=Path), help="Where those are (default: FOLDER).")
@click.option("--lead", help="Use this lead of every record.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep what the analysis writes.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def beats(
    folder: Path,
    reference: str,
    given: str | None,
    ann_dir: Path | None,
    lead: str | None,
    out: Path | None,
    processes: int,
    as_json: bool,
    keep: bool,
) -> None:
    """Beats and their classes against the experts' of every record in FOLDER: the EC57 table."""
    from bedside.evaluate.beat_table import as_table, evaluate_folder, summary, write_figures

    scores, skipped = evaluate_folder(
        folder, reference=reference, given=given, given_dir=ann_dir, lead=lead, out=out, processes=processes
    )
    document = summary(scores, skipped)
    if keep:
        who = f" --ann {given}" if given else ""
        write_figures(document, FIGURES, f"beats-{given}" if given else "beats", f"bedside evaluate beats DIR{who}")
    click.echo(json.dumps(document, indent=1) if as_json else as_table(document))


@evaluate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--lead", "leads", multiple=True, help="Score this lead only (may be given again).")
@click.option("--peer/--no-peer", default=True, show_default=True, help="NeuroKit2's delineator in the same run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def delineation(folder: Path, leads: tuple[str, ...], peer: bool, as_json: bool, keep: bool) -> None:
    """P, QRS and T against cardiologists' marks of every record in FOLDER (laid out as LUDB)."""
    from bedside.evaluate.delineation import as_table, score_folder, summary, write_figures

    document = summary(score_folder(folder, leads, peer=peer))
    if keep:
        write_figures(document, FIGURES, "bedside evaluate delineation DIR")
    click.echo(json.dumps(document, indent=1) if as_json else as_table(document))


@evaluate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--noise", "noise_folder", type=click.Path(path_type=Path), required=True, help="Where em, ma, bw are.")
@click.option("--records", help="Names with commas (default: all).")
@click.option("--kinds", default="em,ma,bw", show_default=True, help="Noise recordings, with commas.")
@click.option("--snr", default="24,18,12,6,0,-6", show_default=True, help="Ratios in dB, with commas.")
@click.option("--minutes", type=click.FloatRange(7, 60), default=15.0, show_default=True, help="Of each record.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def noise(
    folder: Path,
    noise_folder: Path,
    records: str | None,
    kinds: str,
    snr: str,
    minutes: float,
    processes: int,
    as_json: bool,
    keep: bool,
) -> None:
    """Beats of the clean records in FOLDER with real noise added, beside wfdb's xqrs and sleepecg: a table by SNR."""
    from bedside.core.errors import SetupError
    from bedside.evaluate import noise as stress

    try:
        snrs_db = [float(one) for one in snr.split(",")]
    except ValueError as error:
        raise SetupError(f"--snr {snr}: not numbers with commas", hint="give decibels, as in 24,12,0") from error
    strips = stress.records_of(folder, records.split(",") if records else None, minutes)
    results = stress.stress(strips, stress.noises_of(noise_folder, kinds.split(",")), snrs_db, processes)
    document = stress.summary(results)
    if keep:
        stress.write_figures(document, FIGURES)
    click.echo(json.dumps(document, indent=1) if as_json else stress.as_table(document))


@evaluate.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep_them", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def quality(folders: tuple[Path, ...], as_json: bool, keep_them: bool) -> None:
    """The quality index against people's verdicts on strips, and on clean and noisy records, as FOLDERS hold them."""
    from bedside.evaluate import quality as scoring
    from bedside.evaluate.keeping import keep

    document = scoring.evaluate_folders(folders, lambda text: click.echo(text, err=True))
    table = scoring.as_table(document)
    if keep_them:
        keep(document, table, FIGURES, "quality", "bedside evaluate quality DIR...")
    click.echo(json.dumps(document, indent=1) if as_json else table)


@evaluate.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep_them", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def rate(as_json: bool, keep_them: bool) -> None:
    """The heart rate bench of IEC 60601-2-27: its generated signals through the live path, asked beside given."""
    from bedside.evaluate import bench_signals
    from bedside.evaluate.keeping import keep

    rows = bench_signals.run()
    document = {"rows": [row.document() for row in rows]}
    table = bench_signals.as_table(rows)
    if keep_them:
        keep(document, table, FIGURES, "rate", "bedside evaluate rate")
    click.echo(json.dumps(document, indent=1) if as_json else table)


@evaluate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def pulse(folder: Path, as_json: bool, keep: bool) -> None:
    """Pulse waves against the ECG beside them in FOLDER (PhysioNet/CinC Challenge 2015)."""
    from bedside.evaluate import pulse_table

    document = pulse_table.evaluate_pulses(folder)
    table = pulse_table.as_table(document)
    _told(document, table, "pulse", as_json, keep)


@evaluate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def respiration(folder: Path, as_json: bool, keep: bool) -> None:
    """Respiration rates from ECG and pulse wave against the waveform RESP beside them in FOLDER."""
    from bedside.evaluate import respiration_table

    document = respiration_table.evaluate_respiration(folder)
    table = respiration_table.as_table(document)
    _told(document, table, "respiration", as_json, keep)


def _told(document: dict[str, Json], table: str, name: str, as_json: bool, keep_them: bool) -> None:
    """Print what was measured, and keep it where that was asked for."""
    from bedside.evaluate.keeping import keep

    if keep_them:
        keep(document, table, FIGURES, name, f"bedside evaluate {name} DIR")
    click.echo(json.dumps(document, indent=1) if as_json else table)


@evaluate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--simulated", type=click.IntRange(0, 1000), default=24, show_default=True, help="Simulated hearts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def rhythm(folder: Path, processes: int, simulated: int, as_json: bool, keep: bool) -> None:
    """Rhythm episodes against the experts' of everything in FOLDER: fibrillation by duration, VT, VF, asystole.

    Beside it, marked as such, simulated hearts in rhythms that recordings hardly have.
    """
    from bedside.evaluate.rhythm_table import as_table, evaluate_folder, write_figures

    document = evaluate_folder(folder, processes, lambda line: click.echo(line, err=True), simulated)
    if keep:
        write_figures(document, FIGURES, "bedside evaluate rhythm DIR")
    click.echo(json.dumps(document, indent=1) if as_json else as_table(document))


@evaluate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--lead", help="Use this lead of every record alone (default: all channels of each).")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", "keep", is_flag=True, help=f"Keep the figures in {FIGURES}/.")
def alarms(folder: Path, lead: str | None, processes: int, as_json: bool, keep: bool) -> None:
    """True and false alarms of the live path, by condition and patient-day, over the records in FOLDER.

    Records whose header says a monitor's alarm and whether it was true (PhysioNet Challenge 2015) give the
    Challenge's score; annotated ones (.atr) give our own alarms against the experts' beats and rhythms.
    """
    from bedside.evaluate.alarm_table import as_table, evaluate_alarms, write_figures

    document = evaluate_alarms(folder, lead=lead, processes=processes)
    if keep:
        write_figures(document, FIGURES)
    click.echo(json.dumps(document, indent=1) if as_json else as_table(document))
