"""Proxies that speak for users: which certificates are theirs, and what their headers say."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from multidict import CIMultiDict

from minikube_py.lib import authority, pki
from minikube_py.server.attributes import Credentials, User
from minikube_py.server.authn.request_header import HeaderNames, RequestHeaders, user_of
from minikube_py.server.authn.trust import NOBODY, Authorities, Trust
from minikube_py.server.authn.x509 import ClientCertificates

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Material:
    """Authorities of users and of proxies, and a stranger."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.users, self.proxies, self.strangers = (
            authority.ensure_ca(folder, name, name, NOW) for name in ("users", "proxies", "others")
        )
        self.trust = Trust(Authorities(self.users.certificate_pem, self.proxies.certificate_pem))

    def der(self, ca: pki.Pair, name: str) -> bytes:
        subject = pki.Subject(name=name, organizations=("group",))
        pair = pki.ensure_leaf(
            self._folder, f"{name}-{ca.certificate_path.stem}", ca, subject, "client", now=NOW
        )
        return pair.certificate.public_bytes(Encoding.DER)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material(tmp_path)


def test_an_authority_of_proxies_makes_no_users(material: Material) -> None:
    of_users = material.trust.identity(material.der(material.users, "jane"))
    assert of_users.user is not None
    assert (of_users.user.name, of_users.proxy) == ("jane", None)
    assert material.trust.identity(material.der(material.proxies, "p")) == (None, "p")
    assert material.trust.identity(material.der(material.strangers, "x")) == NOBODY


def test_a_certificate_below_an_intermediate_is_known_by_its_root(material: Material) -> None:
    class Certificate:
        def public_bytes(self, _form: int) -> bytes:
            return material.users.certificate.public_bytes(Encoding.DER)

    class Verified:
        def get_verified_chain(self) -> list[Certificate]:
            return [Certificate()]

    class Connection:
        _sslobj = Verified()

    identity = material.trust.identity(material.der(material.strangers, "jane"), Connection())
    assert identity.user is not None


def test_other_authorities_judge_anew(material: Material) -> None:
    der = material.der(material.users, "jane")
    assert material.trust.identity(der).user is not None
    material.trust.replace(Authorities(material.strangers.certificate_pem))
    assert material.trust.identity(der) == NOBODY


@pytest.mark.parametrize(
    ("allowed", "name", "known"),
    [(("p",), "p", True), (("other",), "p", False), ((), "p", True)],
)
async def test_only_allowed_names_speak_for_users(
    material: Material, allowed: tuple[str, ...], name: str, *, known: bool
) -> None:
    method = RequestHeaders(material.trust, HeaderNames(), allowed)
    der = material.der(material.proxies, name)
    credentials = Credentials(peer_certificate=der, headers={"X-Remote-User": "jane"})
    assert (await method.authenticate(credentials) is not None) is known
    of_a_user = Credentials(
        peer_certificate=material.der(material.users, name), headers={"X-Remote-User": "jane"}
    )
    assert await method.authenticate(of_a_user) is None
    assert await ClientCertificates(material.trust).authenticate(credentials) is None


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        ([], None),
        ([("X-Remote-Group", "a")], None),
        ([("x-remote-user", "jane")], User("jane")),
        (
            [
                ("X-Remote-User", "jane"),
                ("X-Remote-Group", "a"),
                ("X-Remote-Group", "b"),
                ("X-Remote-Uid", "u"),
                ("X-Remote-Extra-Example.com%2fKey", "x"),
                ("X-Remote-Extra-Example.com%2FKey", "y"),
            ],
            User("jane", ("a", "b"), "u", {"example.com/key": ("x", "y")}),
        ),
    ],
)
def test_headers_name_a_user(headers: Any, user: User | None) -> None:
    names = HeaderNames(uid=("X-Remote-Uid",))
    assert user_of(CIMultiDict(headers), names) == user


def test_the_first_header_with_a_value_names_the_user() -> None:
    names = HeaderNames(user=("X-First", "X-Second"))
    assert user_of({"X-First": "", "X-Second": "jane"}, names) == User("jane")
