"""Certificates for further names of the API server (`--tls-sni-cert-key`), chosen by TLS's SNI.

    example.crt,example.key                     for the names that stand in the certificate
    foo.crt,foo.key:*.foo.com,foo.com           for these names

The nearest name wins: whole ones before wildcards, those that were given before those that stand in
a certificate, earlier options before later ones. Whoever asks for no name gets the usual one.
"""

import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509.oid import NameOID

from minikube_py.api import names
from minikube_py.lib import pki
from minikube_py.lib.net import is_address


@dataclass(frozen=True)
class NamedPair:
    """One value of the option."""

    certificate: Path
    key: Path
    patterns: tuple[str, ...] = ()
    """Names, and `*.` with a domain behind; () where the certificate has them."""

    @property
    def files(self) -> tuple[Path, Path]:
        """The certificate's file and the key's."""
        return self.certificate, self.key


def parse(value: str) -> NamedPair:
    """Return what a value of the option says.

    Raises:
        ValueError: it is not in one of the two forms.

    """
    files, colon, listed = value.rpartition(":")
    if not colon:
        files, listed = value, ""
    certificate, comma, key = files.partition(",")
    patterns = tuple(part.strip().lower() for part in listed.split(",")) if colon else ()
    if not (comma and certificate and key) or "," in key:
        raise ValueError("a certificate and its key are two files")
    if not all(map(_is_pattern, patterns)):
        raise ValueError("behind the colon there are names")
    return NamedPair(Path(certificate.strip()), Path(key.strip()), patterns)


def is_good(value: str) -> bool:
    """Tell whether the option takes a value."""
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _is_pattern(pattern: str) -> bool:
    bare = pattern.removeprefix("*.")
    return not is_address(bare) and not list(names.dns1123_subdomain(bare))


def by_name(
    contexts: Iterable[tuple[NamedPair, ssl.SSLContext]],
) -> Mapping[str, ssl.SSLContext]:
    """Return the context of each pattern.

    Raises:
        StartError: a certificate's file holds none.

    """
    given: dict[str, ssl.SSLContext] = {}
    found: dict[str, ssl.SSLContext] = {}
    for pair, context in contexts:
        for name in pair.patterns:
            given.setdefault(name, context)
        certificate = None if pair.patterns else pki.load_certificate(pair.certificate)
        if certificate is not None:
            for name in _names_in(certificate):
                found.setdefault(name, context)
    return {**found, **given}


def _names_in(certificate: pki.Certificate) -> Iterator[str]:
    """Yield a certificate's names; TLS sends no addresses, so that these choose nothing."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    texts = [str(each.value).lower() for each in common]
    yield from (text for text in texts if text == "*" or _is_pattern(text))
    found = pki.alternatives_of(certificate)
    yield from (name.lower() for name in found if not is_address(name))


def chosen(known: Mapping[str, ssl.SSLContext], name: str) -> ssl.SSLContext | None:
    """Return the context for a name, None for the usual one.

    Wildcards stand for whole labels from the left, as Go's `crypto/tls` tries them.
    """
    name = name.lower().rstrip(".")
    if name in known:
        return known[name]
    labels = name.split(".")
    for index in range(len(labels)):
        labels[index] = "*"
        if (found := known.get(".".join(labels))) is not None:
            return found
    return None
