"""TLS with the box's own authority, for a dashboard that others than the box itself can reach.

`home.keys/tls/`: the authority's key and certificate (made once, ten years), and the server's (made anew when it
nears its end, or when the box is asked for under another name). Who installs `authority.pem` on a phone or a PC is
warned of nothing again; its fingerprint is printed at the start, to be compared. P-256 and SHA-256 throughout.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bedside.core.errors import SetupError
from bedside.core.time import US_PER_S
from bedside.dashboard.access import write_private
from bedside.settings import Home

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397  # browsers take no longer ones
RENEW_DAYS = 30
BACKDATED = timedelta(days=1)  # a client whose clock is a little behind


@dataclass(frozen=True, slots=True)
class Papers:
    """Where the files lie, and the authority's fingerprint (SHA-256, hex in pairs)."""

    certificate: Path
    key: Path
    authority: Path
    fingerprint: str


def papers(home: Home, names: Iterable[str], now_us: int) -> Papers:
    """The certificate for a box that is asked for under `names`, made where it is missing. Raises `SetupError`."""
    folder = home.keys / "tls"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = datetime.fromtimestamp(now_us / US_PER_S, UTC)
        authority_key, authority = _authority(folder, now)
        wanted = sorted({*names, *own_names()})
        _server(folder, wanted, authority_key, authority, now)
    except (OSError, ValueError) as error:
        raise SetupError(
            f"{folder}: the certificates cannot be read or made", hint="remove this folder; new ones are then made"
        ) from error
    der = authority.public_bytes(serialization.Encoding.DER)
    digest = hashlib.sha256(der).hexdigest().upper()
    pairs = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    return Papers(folder / "server.pem", folder / "server.key", folder / "authority.pem", pairs)


def own_names() -> set[str]:
    """The names and addresses under which this machine is likely to be asked for."""
    host = socket.gethostname().lower()
    names = {"localhost", "127.0.0.1", "::1", host, f"{host}.local"}
    try:
        names |= {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return names  # a box without any resolver still has its other names
    return names


def _authority(folder: Path, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key_file, file = folder / "authority.key", folder / "authority.pem"
    if key_file.exists() and file.exists():
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("authority.key is of another kind")
        return key, x509.load_pem_x509_certificate(file.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Bedside authority of {socket.gethostname()}"[:64])])
    made = (
        _draft(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _keep(key_file, key)
    write_private(file, made.public_bytes(serialization.Encoding.PEM).decode())
    return key, made


def _server(
    folder: Path, names: list[str], signer: ec.EllipticCurvePrivateKey, authority: x509.Certificate, now: datetime
) -> None:
    file, key_file = folder / "server.pem", folder / "server.key"
    if file.exists() and key_file.exists() and _serves(file, names, authority, now):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bedside")])
    made = (
        _draft(subject, authority.subject, key, now, SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _keep(key_file, key)
    write_private(file, made.public_bytes(serialization.Encoding.PEM).decode())


def _serves(file: Path, names: list[str], authority: x509.Certificate, now: datetime) -> bool:
    kept = x509.load_pem_x509_certificate(file.read_bytes())
    try:
        kept.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001  whatever does not verify is made anew
        return False
    alternatives = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(map(_general, names)) <= set(alternatives) and kept.not_valid_after_utc - now > timedelta(
        days=RENEW_DAYS
    )


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - BACKDATED).not_valid_after(now + timedelta(days=days))


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.split("%")[0]))
    except ValueError:
        return x509.DNSName(name)


def _keep(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    write_private(path, pem.decode())
