"""The documents of the evidence folder, each made from the code, its data files or its figures.

Each function writes its page and gives what is missing in it, or nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from bedside.alarms.table import limits
from bedside.compliance import privacy as data_map_of
from bedside.compliance.architecture import drawing, read_architecture
from bedside.compliance.claims import Claim
from bedside.compliance.parts import bill_of_materials, read_parts


class Pages:
    """Writes the pages of one folder from templates."""

    def __init__(self, out: Path, facts: Mapping[str, str]) -> None:
        self.out, self.facts = out, dict(facts)
        place = Path(__file__).with_name("templates")
        self._templates = Environment(loader=FileSystemLoader(place), autoescape=True, trim_blocks=True)

    def write(self, name: str, **values: Any) -> None:
        """One page."""
        (self.out / name).write_text(self._templates.get_template(name).render(facts=self.facts, **values))

    def table(self, name: str, title: str, intro: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A page with one table."""
        text = self._templates.get_template("table.html").render(
            facts=self.facts, title=title, intro=intro, head=head, rows=rows
        )
        (self.out / name).write_text(text)


@dataclass(frozen=True, slots=True)
class Job:
    """What a document is made from."""

    root: Path  # the source tree
    pages: Pages
    claims: Sequence[Claim]  # of requirements and controls
    version: str


def read_yaml(root: Path, name: str) -> Any:
    """A data file of `compliance/`."""
    return yaml.safe_load((root / "compliance" / name).read_text())


def risk(job: Job) -> str:
    known = {claim.id: claim for claim in job.claims}
    rows = []
    for hazard in read_yaml(job.root, "risk/hazards.yaml")["hazards"]:
        controls = [
            f"{control['text']} [{control['requirement']}: {known[control['requirement']].state}]"
            for control in hazard["controls"]
            if control["requirement"] in known
        ]
        rows.append(
            (
                hazard["id"], hazard["hazard"], hazard["situation"], hazard["severity"], hazard["probability"],
                hazard["causes"], controls, hazard["residual"],
            )
        )  # fmt: skip
    head = ("id", "hazard", "situation", "severity", "probability", "causes", "controls and their tests", "residual")
    intro = "Severity 1 to 5 before any control; probability 1 to 5 with them, the developers' estimate. Drafted."
    job.pages.table("risk.html", "Risk file", intro, head, rows)
    return "" if rows else "no hazard is stated"


def threats(job: Job) -> str:
    rows = [
        (
            interface["name"], interface["crosses"], threat["stride"], threat["threat"],
            threat.get("control", f"OPEN: {threat.get('open', '')}"), threat.get("requirement", ""),
        )
        for interface in read_yaml(job.root, "risk/threats.yaml")["interfaces"]
        for threat in interface["threats"]
    ]  # fmt: skip
    head = ("interface", "crosses", "STRIDE", "threat", "control", "carried by")
    job.pages.table("threats.html", "Threat model", "By interface. Drafted; not reviewed by a third party.", head, rows)
    return "" if rows else "no threat is stated"


def architecture(job: Job) -> str:
    found = read_architecture(job.root)
    svg = drawing(found)
    (job.pages.out / "architecture.svg").write_text(svg)
    rows = [(a, b, n) for (a, b), n in sorted(found.imports.items())]
    job.pages.write("architecture.html", svg=Markup(svg), rows=rows)  # noqa: S704  (made above from escaped names)
    return f"{found.upward[0]} goes against the layers" if found.upward else ""


def alarms(job: Job) -> str:
    table = tomllib.loads((job.root / "appliance/bedside/alarms/conditions.toml").read_text())
    limits()  # the table that the box reads is one that it takes
    rows = [
        (
            kind, one["class"], one["priority"], "latched" if one.get("latching") else "", one.get("delay_s", ""),
            one.get("text", ""), ", ".join(f"{name} = {value}" for name, value in one.get("trigger", {}).items()),
            one.get("source", ""),
        )
        for kind, one in table.items()
        if isinstance(one, dict) and "priority" in one
    ]  # fmt: skip
    head = ("kind", "class", "priority", "latching", "delay s", "sentence", "trigger", "source")
    job.pages.table("alarms.html", "Alarm conditions", f"Table {table['version']}, as the box reads it.", head, rows)
    return "" if rows else "no condition is stated"


def figures(job: Job) -> str:
    place = job.root / "compliance" / "figures"
    rows = []
    for path in sorted(place.glob("*.md")):
        shutil.copy(path, job.pages.out / f"figures-{path.name}")
        lines = path.read_text().splitlines()
        rows.append(
            (path.stem, next((line for line in lines if line.startswith("Made by")), ""), f"figures-{path.name}")
        )
    head = ("figures", "made by", "file")
    job.pages.table(
        "figures.html", "Performance on recordings", "Made by the commands named; not by this one.", head, rows
    )
    return "" if rows else "no figures were written"


def cards(job: Job) -> str:
    manifest = json.loads((job.root / "models" / "manifest.json").read_text())["models"]
    rows, missing = [], []
    for name, facts in sorted(manifest.items()):
        card = job.root / "models" / "cards" / f"{name}.md"
        if not card.is_file():
            missing.append(f"model {name} has no card")
            continue
        shutil.copy(card, job.pages.out / f"card-{name}.md")
        digest = hashlib.sha256((job.root / "models" / f"{name}.tflite").read_bytes()).hexdigest()
        if digest != facts["sha256"]:
            missing.append(f"model {name} is not the one of its manifest")
        if digest not in card.read_text():
            missing.append(f"the card of {name} is of another model file")
        rows.append((name, facts["size_bytes"], digest, f"card-{name}.md"))
    job.pages.table("cards.html", "Models", "Each with its card.", ("model", "bytes", "SHA-256", "card"), rows)
    return "; ".join(missing)


def soup(job: Job) -> str:
    parts = read_parts(job.root)
    (job.pages.out / "sbom.cdx.json").write_text(bill_of_materials(parts, job.version))
    rows = [
        (
            one.name,
            one.version or "not on this machine",
            one.licence,
            "direct" if one.direct else "",
            one.why,
            one.known,
        )
        for one in parts
    ]
    intro = "As installed where this was built. Public advisories are not looked up here: the box has no internet."
    job.pages.table(
        "soup.html", "Parts of others (SOUP)", intro, ("part", "version", "licence", "", "why", "known here"), rows
    )
    return "; ".join(f"{one.name}: no reason is stated" for one in parts if one.direct and not one.why)


def privacy(job: Job) -> str:
    data_map = data_map_of.read_map(job.root)
    rows: list[tuple[Any, ...]] = []
    for name, database in data_map["databases"].items():
        for table, facts in database["tables"].items():
            sealed = "encrypted" if facts.get("sealed") else ""
            rows.append(
                (f"{database['file']}: {name}.{table}", facts["personal"], sealed, database["who"], facts["why"])
            )
    rows += [
        (
            f"event {kind}",
            facts["personal"],
            "encrypted, inside entries",
            data_map["databases"]["records"]["who"],
            facts["why"],
        )
        for kind, facts in data_map["events"].items()
    ]
    rows += [
        (
            f"network: {one['what']}",
            one["personal"],
            "encrypted" if one.get("sealed") else "",
            "the operator",
            one["tells"],
        )
        for one in data_map["network"]
    ]
    intro = f"Kept: {data_map['retention']}. Rights: {data_map['rights']}."
    job.pages.table("privacy.html", "Map of personal data", intro, ("what", "kind", "at rest", "who", "why"), rows)
    return "; ".join(data_map_of.missing(data_map))


def audit(job: Job) -> str:
    rows = [
        ("bedside records verify", "walks the Merkle log, names what was altered, removed or rolled back"),
        ("bedside records export", "writes a patient's records; each export is itself an entry of the log"),
        ("bedside attestation verify", "judges an operator's payments again, offline"),
        ("bedside compliance verify", "holds this folder to its signature"),
    ]
    job.pages.table(
        "audit.html", "Audit trail", "Commands that an auditor runs himself.", ("command", "what it does"), rows
    )
    return ""
