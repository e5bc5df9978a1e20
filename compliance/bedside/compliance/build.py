"""`bedside compliance build`: a dated, signed folder in which every claim names what carries it.

    index.html, evidence.pdf     all claims with their state
    trace.csv, risk.html …       the documents, made from the code, its tests and its data files
    sbom.cdx.json                the bill of materials
    manifest.json, manifest.sig  what is in the folder (SHA-256), and the signature over it

The same tree and results give the same documents, apart from dates and the bill's serial number.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bedside.compliance import documents
from bedside.compliance.claims import (
    Claim,
    State,
    control_claims,
    count,
    document_claims,
    requirement_claims,
)
from bedside.compliance.paper import paper
from bedside.compliance.results import Results
from bedside.compliance.trace import as_csv, make_trace
from bedside.core.errors import SetupError
from bedside.core.keyfiles import load_or_make

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Built:
    """What was built: the claims, and how they stand."""

    claims: tuple[Claim, ...]

    @property
    def broken(self) -> tuple[Claim, ...]:
        """Claims that this tree promises to carry and does not."""
        return tuple(claim for claim in self.claims if claim.broken)

    def counts(self) -> Mapping[State, int]:
        """How many claims stand how."""
        return count(self.claims)


def build(root: Path, out: Path, *, results: Results | None, version: str, when: str, key: Path) -> Built:
    """Write the folder `out`, which is emptied first. `when`: the date that it carries; `key`: made when missing.

    Raises `SetupError` when a source file is missing or `out` holds something else than such a folder.
    """
    _empty(out)
    trace = make_trace(root)
    requirements = requirement_claims(trace, results)
    claims = [*requirements.values(), *control_claims(root, requirements)]
    pages = documents.Pages(
        out, {"version": version, "when": when, "tested": results.when if results is not None else "never"}
    )
    (out / "trace.csv").write_text(as_csv(trace))
    job, made = documents.Job(root, pages, tuple(claims), version), {"trace": ""}
    for section, make in (
        ("risk", documents.risk), ("threats", documents.threats), ("architecture", documents.architecture),
        ("alarms", documents.alarms), ("figures", documents.figures), ("cards", documents.cards),
        ("soup", documents.soup), ("privacy", documents.privacy), ("audit", documents.audit),
    ):  # fmt: skip
        made[section] = make(job)
    claims += document_claims(root, made)
    for drafted in sorted((root / "compliance").glob("*.md")):
        if drafted.name != "README.md":
            shutil.copy(drafted, out / drafted.name)
    (out / "claims.csv").write_text(claims_csv(claims))
    (out / "claims.json").write_text(json.dumps([asdict(claim) for claim in claims], indent=1) + "\n")
    pages.write("index.html", claims=claims, counts=count(claims), states=list(State))
    (out / "evidence.pdf").write_bytes(paper(claims, pages.facts))
    _sign(out, pages.facts, key)
    return Built(tuple(claims))


def verify(out: Path) -> str:
    """Who signed the folder (hex of the public key), when every file is as it was signed.

    Raises `SetupError` naming the first file that is not.
    """
    try:
        manifest = (out / MANIFEST).read_bytes()
        signature = json.loads((out / SIGNATURE).read_text())
        public = bytes.fromhex(signature["public_key"])
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature["signature"]), manifest)
        stated = json.loads(manifest)["files"]
    except InvalidSignature as error:
        raise SetupError(f"{out / MANIFEST}: the signature does not match", hint="build the folder anew") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{out}: no signed evidence ({error})", hint="name a folder of `compliance build`") from error
    found = _digests(out)
    for name in sorted(set(stated) | set(found)):
        if stated.get(name) != found.get(name):
            fault = "is missing" if name not in found else "was added" if name not in stated else "was altered"
            raise SetupError(f"{out / name} {fault}", hint="build the folder anew")
    return public.hex()


# Files


def _empty(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).exists():
        raise SetupError(f"{out} is not empty, and no evidence folder", hint="name another folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def _digests(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, SIGNATURE)
    }


def _sign(out: Path, facts: Mapping[str, str], key: Path) -> None:
    seed = load_or_make(key, lambda: Ed25519PrivateKey.generate().private_bytes_raw())
    if len(seed) != _KEY_BYTES:
        raise SetupError(f"key file {key} has {len(seed)} bytes, expected {_KEY_BYTES}", hint="name another with --key")
    signer = Ed25519PrivateKey.from_private_bytes(seed)
    manifest = json.dumps({"bedside": "evidence", **facts, "files": _digests(out)}, indent=1).encode()
    (out / MANIFEST).write_bytes(manifest)
    signature = {"public_key": signer.public_key().public_bytes_raw().hex(), "signature": signer.sign(manifest).hex()}
    (out / SIGNATURE).write_text(json.dumps(signature, indent=1) + "\n")


def claims_csv(claims: Sequence[Claim]) -> str:
    """For a spreadsheet: id, section, state, claim, what carries it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "section", "state", "claim", "carried by"])
    writer.writerows([one.id, one.section, str(one.state), one.text, one.why] for one in claims)
    return out.getvalue()
