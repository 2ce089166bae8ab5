"""Certificate authorities that live on: renewed under their key, replaced without a gap.

A CA is kept as `name.key`, `name.crt` (the certificate that signs, then those that are still
trusted) and, after a replacement, `name-chain.crt`: the new key's certificate as the old CA signed
it. Leaves carry that chain, so whoever knows the old CA alone trusts new leaves, and whoever got
the whole bundle trusts old ones: a replacement needs no moment at which everybody changes.

- *Renewed*: a new certificate for the same key, which verifies all that the old one did.
- *Rotated*: a new key. All of it is written to one file first (`name.next`); a process that dies
  between the files after that finds it and goes on.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from minikube_py.lib import pki
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there, write_atomic
from minikube_py.lib.pki import Certificate, Pair, PrivateKey

LIFE = timedelta(days=3650)
RENEW_BEFORE = timedelta(days=2 * 365)
"""Longer than a leaf lives: every leaf's life ends within that of the CA that signed it."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""A CA is valid from here, so that a machine that lost its clock trusts it too."""
GENERATIONS_MAX = 4
"""Certificates kept in a bundle or a chain."""


def ensure_ca(folder: Path, name: str, common_name: str, now: datetime) -> Pair:
    """Return the CA; make what is missing, renew what ends soon, finish what was begun.

    Raises:
        StartError: the certificate is there without its key, or they do not belong together.

    """
    _finish_rotation(folder, name)
    certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    certificate = pki.load_certificate(certificate_path)
    if certificate is not None and not key_path.exists():
        raise StartError(f"{key_path} is missing beside its certificate; restore it")
    key = pki.ensure_key(key_path)
    if certificate is None:
        certificate = _self_signed(_named(common_name), key, now)
        write_atomic(certificate_path, pem(certificate))
    if certificate.public_key() != key.public_key():
        raise StartError(f"{certificate_path} does not belong to {key_path}; restore one of them")
    if certificate.not_valid_after_utc - pki.trusted_time(now) < RENEW_BEFORE:
        others = load_all(certificate_path.read_bytes())
        certificate = _self_signed(certificate.subject, key, now)
        write_atomic(certificate_path, _bundle([certificate, *others], now))
    return Pair(
        certificate,
        key,
        certificate_path,
        key_path,
        chain_pem=read_if_there(folder / f"{name}-chain.crt") or b"",
    )


def rotate_ca(folder: Path, name: str, common_name: str, now: datetime) -> Pair:
    """Replace the CA's key; the old certificate stays trusted, and vouches for the new one."""
    old = ensure_ca(folder, name, common_name, now)
    key = pki.new_key()
    subject = _named(f"{common_name}@{int(now.timestamp())}")
    new = _self_signed(subject, key, now)
    cross = _signed(subject, key, old, now)
    files = (
        pki.key_to_pem(key),
        _bundle([new, *load_all(old.certificate_path.read_bytes())], now),
        _bundle([cross, *load_all(old.chain_pem)], now),
    )
    write_atomic(folder / f"{name}.next", SEPARATOR.join(files))
    return ensure_ca(folder, name, common_name, now)


SEPARATOR = b"# next file\n"


def _finish_rotation(folder: Path, name: str) -> None:
    path = folder / f"{name}.next"
    data = read_if_there(path)
    if data is None:
        return
    endings = (".key", ".crt", "-chain.crt")
    for ending, content in zip(endings, data.split(SEPARATOR), strict=True):
        write_atomic(folder / f"{name}{ending}", content)
    path.unlink()


def forget_old(folder: Path, name: str) -> bool:
    """Trust the CA's newest certificate alone; tell whether there was another."""
    path, chain = folder / f"{name}.crt", folder / f"{name}-chain.crt"
    first, *others = load_all(path.read_bytes())
    if others:
        write_atomic(path, pem(first))
    chain.unlink(missing_ok=True)
    return bool(others)


def vouched(bundle: bytes, chain: bytes, fingerprint: str) -> bytes:
    """Return the certificates of a bundle that the one with this fingerprint vouches for.

    Those are itself, those of the same key, and those whose key it signed, in one step or more.
    Nothing is returned where the bundle does not hold it.
    """
    offered, crosses = load_all(bundle), load_all(chain)
    trusted = [cert for cert in offered if pki.fingerprint(cert) == fingerprint]
    grown = True
    while grown:
        more = [
            cert for cert in offered if cert not in trusted and _follows(cert, trusted, crosses)
        ]
        trusted += more
        grown = bool(more)
    return b"".join(pem(cert) for cert in offered if cert in trusted)


def _follows(
    cert: Certificate, trusted: Sequence[Certificate], crosses: Iterable[Certificate]
) -> bool:
    keys = [known.public_key() for known in trusted]
    if cert.public_key() in keys:
        return True
    return any(
        cross.public_key() == cert.public_key() and any(_is_signed(cross, by) for by in trusted)
        for cross in crosses
    )


def _is_signed(cert: Certificate, by: Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def load_all(data: bytes) -> list[Certificate]:
    """Return the certificates of a text; raises ValueError."""
    return x509.load_pem_x509_certificates(data) if data.strip() else []


def pem(certificate: Certificate) -> bytes:
    """Return a certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _bundle(certificates: Sequence[Certificate], now: datetime) -> bytes:
    """Return the newest of these, without those that have ended."""
    living = [cert for cert in certificates if cert.not_valid_after_utc > now]
    return b"".join(pem(cert) for cert in living[:GENERATIONS_MAX])


def _named(common_name: str) -> x509.Name:
    return pki.subject_name(pki.Subject(name=common_name))


def _self_signed(name: x509.Name, key: PrivateKey, now: datetime) -> Certificate:
    end = pki.trusted_time(now) + LIFE
    builder = pki.builder(name, name, key.public_key(), (BEGINNING, end))
    return _as_ca(builder, key).sign(key, hashes.SHA256())


def _signed(name: x509.Name, key: PrivateKey, old: Pair, now: datetime) -> Certificate:
    end = min(pki.trusted_time(now) + LIFE, old.certificate.not_valid_after_utc)
    life = (BEGINNING, end)
    builder = pki.builder(name, old.certificate.subject, key.public_key(), life)
    builder = builder.add_extension(pki.authority_of(old), critical=False)
    return _as_ca(builder, key).sign(old.key, hashes.SHA256())


def _as_ca(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(pki.key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
