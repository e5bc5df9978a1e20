"""The parts that Bedside takes from others: the list of SOUP, and a bill of materials in CycloneDX."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import yaml
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

_NAME = re.compile(r"^[A-Za-z0-9._-]+")
_EXTRAS = ("recordings", "demo")  # what a box may have; tests and training are not on it


@dataclass(frozen=True, slots=True)
class Part:
    """One distribution, as it is installed here."""

    name: str
    version: str | None  # None: not installed on this machine (another Python or platform)
    licence: str
    direct: bool
    why: str
    known: str


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_parts(root: Path) -> tuple[Part, ...]:
    """What the appliance needs, direct parts first, with why each was chosen (`compliance/soup.yaml`)."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    reasons = {
        normal(name): facts for name, facts in yaml.safe_load((root / "compliance/soup.yaml").read_text()).items()
    }
    wanted = [*project["dependencies"]]
    for extra in _EXTRAS:
        wanted += project["optional-dependencies"].get(extra, [])
    direct = dict.fromkeys(normal(found[0]) for found in map(_NAME.match, wanted) if found)
    parts, seen, queue = [], set(direct), deque((name, True, "") for name in direct)
    while queue:
        name, is_direct, by = queue.popleft()
        facts = reasons.get(name, {})
        why = facts.get("why", "" if is_direct else f"needed by {by}")
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if is_direct:
                parts.append(Part(name, None, "", is_direct, why, facts.get("known", "")))
            continue
        parts.append(Part(name, found.version, _licence(found), is_direct, why, facts.get("known", "")))
        for line in found.requires or ():
            needed = _NAME.match(line)
            if needed and "extra ==" not in line and normal(needed[0]) not in seen:
                seen.add(normal(needed[0]))
                queue.append((normal(needed[0]), False, name))
    return tuple(sorted(parts, key=lambda part: (not part.direct, part.name)))


def _licence(found: importlib.metadata.Distribution) -> str:
    fields = found.metadata.json
    if expression := fields.get("license_expression"):
        return str(expression)
    lines = [str(line) for line in fields.get("classifier") or () if "License ::" in line]
    stated = str(fields.get("license") or "").strip().splitlines()
    return "; ".join(line.rsplit("::", 1)[-1].strip() for line in lines) or (stated[0][:60] if stated else "not stated")


def bill_of_materials(parts: tuple[Part, ...], version: str) -> str:
    """CycloneDX 1.6 as JSON."""
    bom = Bom()
    box = Component(name="bedside", version=version, type=ComponentType.DEVICE, bom_ref=f"bedside@{version}")
    bom.metadata.component = box
    components = {
        part: Component(
            name=part.name,
            version=part.version,
            type=ComponentType.LIBRARY,
            description=part.why or None,
            licenses=[DisjunctiveLicense(name=part.licence)] if part.licence else [],
            purl=PackageURL("pypi", None, part.name, part.version),
            bom_ref=f"pkg:pypi/{part.name}@{part.version}",
        )
        for part in parts
        if part.version is not None
    }
    for component in components.values():
        bom.components.add(component)
    bom.register_dependency(box, [component for part, component in components.items() if part.direct])
    return str(JsonV1Dot6(bom).output_as_string(indent=2))
