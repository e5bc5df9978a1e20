"""The `bedside` command: each room brings its own commands; they are loaded only when they are asked for.

Exit codes: 0 done; 2 bad input, bad usage, or something a person must set right; 1 what was asked about is not so.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version

import click

from bedside.core.errors import BedsideError, SetupError

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("bedside.commands:run", "Start the whole appliance: gateway, dashboard, annunciator, operator."),
    "status": ("bedside.commands:status", "The health of each part and the newest numbers, from a running gateway."),
    "usual": ("bedside.commands:usual", "What is held usual of each patient; forget it after an operation."),
    "sign-in": ("bedside.dashboard.cli:sign_in", "Print a new one-time link to the dashboard."),
    "metrics": ("bedside.dashboard.cli:metrics", "Figures of the box for Prometheus, on or off; none of a patient."),
    "accounts": ("bedside.dashboard.cli:accounts", "Who may sign in with a password, and in which role."),
    "pair": ("bedside.pair_commands:pair", "Make a wearable a patient's; list, undo, export, import."),
    "labels": ("bedside.pair_commands:labels", "A sheet of labels (PDF) for wearables, with opaque codes."),
    "analyze": ("bedside.evaluate.cli:analyze", "Run a recording through the live path; write beats and findings."),
    "evaluate": ("bedside.evaluate.cli:evaluate", "Score the live path on annotated recordings (EC57)."),
    "bench": ("bedside.commands:bench", "Measure cost and latency on this machine."),
    "decode": ("bedside.ble.cli:decode", "Decode one characteristic's bytes, as the gateway would."),
    "records": ("bedside.records.cli:records", "Look after the encrypted records."),
    "operator": ("bedside.operator.cli:operator", "The network operator's side: what it received and verified."),
    "attestation": ("bedside.operator.anyone:attestation", "For anybody: check an operator's payments again."),
    "auditor": ("bedside.auditor.cli:auditor", "The care site's own check of the work that the network is told of."),
    "recipient": ("bedside.network.cli:recipient", "The care team elsewhere: open sealed alerts."),
    "doctor": ("bedside.provisioning.doctor:doctor", "What is wrong with this box, and what to do."),
    "compliance": ("bedside.compliance.cli:compliance", "Evidence for an assessor, from the code and its tests."),
    "trace": ("bedside.compliance.trace:trace", "Which test proves which requirement."),
    "models": ("bedside.models.models_cli:models", "Sign, check, install, compare and roll back the models."),
    "train": ("bedside.models.cli:train", "Train the models anew (needs the `train` extra)."),
    "gateway": ("bedside.commands:gateway", "Only the gateway (the supervisor starts it)."),
    "dashboard": ("bedside.dashboard.cli:dashboard", "Only the dashboard (the supervisor starts it)."),
    "annunciator": ("bedside.commands:annunciator", "Only the annunciator (the supervisor starts it)."),
}

PARTS = ("gateway", "dashboard", "annunciator")


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        daily = [(name, help_text) for name, (_, help_text) in COMMANDS.items() if name not in PARTS]
        parts = [(name, COMMANDS[name][1]) for name in PARTS]
        with formatter.section("Commands"):
            formatter.write_dl(daily)
        with formatter.section("Parts of the appliance, each its own process"):
            formatter.write_dl(parts)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("bedside"), prog_name="bedside")
def bedside() -> None:
    """Remote patient monitoring on one box.

    `bedside run --demo` shows a live ward of virtual patients in the browser. Adjunct monitoring for adults: never the
    sole alarm, not for paced patients.
    """


def main() -> None:
    """Run the command; what a person must set right becomes one sentence, a hint, and exit code 2."""
    try:
        bedside(prog_name="bedside")
    except SetupError as error:
        click.echo(f"bedside: {error}\n  {error.hint}", err=True)
        sys.exit(2)
    except BedsideError as error:
        click.echo(f"bedside: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
