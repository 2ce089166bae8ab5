"""Certificates, bootstrap tokens and impersonation: who a request is from."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minikube_py.api.errors import BadRequestError, ForbiddenError
from minikube_py.lib import authority, pki
from minikube_py.server.attributes import Attributes, Credentials, Decision, User
from minikube_py.server.authn.bootstrap_token import BootstrapTokens
from minikube_py.server.authn.chain import Chain
from minikube_py.server.authn.impersonation import impersonate
from minikube_py.server.authn.trust import Authorities, Trust
from minikube_py.server.authn.x509 import ClientCertificates

ADMIN = User("kubernetes-admin", ("system:masters",))


async def test_a_certificate_names_user_and_groups(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    ca = authority.ensure_ca(tmp_path, "ca", "ca", now)
    subject = pki.Subject(name="jane", organizations=("a", "b"))
    pair = pki.ensure_leaf(tmp_path, "jane", ca, subject, "client", now=now)
    der = pair.certificate.public_bytes(Encoding.DER)
    method = ClientCertificates(Trust(Authorities(ca.certificate_pem)))
    user = await Chain((method,)).authenticate(Credentials(peer_certificate=der))
    assert (user.name, user.groups) == ("jane", ("a", "b", "system:authenticated"))
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


def bootstrap_secret(**data: str) -> dict[str, Any]:
    fields = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        **data,
    }
    return {
        "metadata": {"namespace": "kube-system", "name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in fields.items()},
    }


@pytest.mark.parametrize(
    ("data", "groups"),
    [
        ({}, ("system:bootstrappers",)),
        (
            {"auth-extra-groups": "system:bootstrappers:x"},
            ("system:bootstrappers", "system:bootstrappers:x"),
        ),
        ({"auth-extra-groups": "system:masters"}, ("system:bootstrappers",)),
        ({"expiration": "2026-11-22T11:59:00Z"}, None),
        ({"expiration": "never"}, None),
        ({"usage-bootstrap-authentication": "false"}, None),
        ({"token-secret": "other"}, None),
    ],
)
async def test_a_bootstrap_token_is_as_good_as_its_secret(
    listing: Callable[..., Any], clock: Any, data: dict[str, str], groups: tuple[str, ...] | None
) -> None:
    method = BootstrapTokens(listing(bootstrap_secret(**data)), ("me",), clock)
    verified = await method.verify("abcdef.0123456789abcdef", ("me",))
    assert (verified.user.groups if verified else None) == groups


class Allows:
    """Allows what the test names, and remembers what it was asked."""

    def __init__(self, *resources: str) -> None:
        self.resources = resources
        self.asked: list[Attributes] = []

    def authorize(self, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        return Decision(allowed="*" in self.resources or attributes.resource in self.resources)


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        ([], ADMIN),
        ([("Impersonate-User", "")], ADMIN),
        ([("Impersonate-User", "jane")], User("jane", ("system:authenticated",))),
        (
            [("Impersonate-User", "jane"), ("Impersonate-Group", "a"), ("Impersonate-Uid", "u")],
            User("jane", ("a", "system:authenticated"), "u"),
        ),
        (
            [("Impersonate-User", "jane"), ("Impersonate-Group", "system:unauthenticated")],
            User("jane", ("system:unauthenticated",)),
        ),
        (
            [("Impersonate-User", "system:anonymous")],
            User("system:anonymous", ("system:unauthenticated",)),
        ),
        (
            [("Impersonate-User", "system:serviceaccount:default:x")],
            User(
                "system:serviceaccount:default:x",
                (
                    "system:serviceaccounts",
                    "system:serviceaccounts:default",
                    "system:authenticated",
                ),
            ),
        ),
        (
            [
                ("Impersonate-User", "jane"),
                ("Impersonate-Extra-Scopes", "x"),
                ("Impersonate-Extra-Scopes", "y"),
                ("Impersonate-Extra-example.com%2Fkey", "v"),
            ],
            User(
                "jane",
                ("system:authenticated",),
                extra={"scopes": ("x", "y"), "example.com/key": ("v",)},
            ),
        ),
    ],
)
def test_headers_make_another_user(headers: list[tuple[str, str]], user: User) -> None:
    assert impersonate(ADMIN, headers, Allows("*")) == user


def test_every_part_needs_to_be_allowed() -> None:
    headers = [("Impersonate-User", "jane"), ("Impersonate-Group", "system:masters")]
    with pytest.raises(ForbiddenError) as caught:
        impersonate(User("bob"), headers, Allows("users"))
    assert caught.value.message == (
        'groups "system:masters" is forbidden: User "bob" cannot impersonate resource "groups" '
        'in API group "" at the cluster scope'
    )


def test_an_account_is_asked_for_in_its_namespace() -> None:
    allows = Allows("*")
    headers = [("Impersonate-User", "system:serviceaccount:ns:x"), ("Impersonate-Extra-K", "v")]
    impersonate(User("bob"), headers, allows)
    account, extra = allows.asked
    assert (account.resource, account.namespace, account.name) == ("serviceaccounts", "ns", "x")
    assert (extra.resource, extra.subresource, extra.name, extra.group) == (
        "userextras",
        "k",
        "v",
        "authentication.k8s.io",
    )


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (
            ("Impersonate-Group", "a"),
            'UID:"", Groups:[]string{"a"}, Extra:map[string][]string(nil)',
        ),
        (("Impersonate-Uid", "x"), 'UID:"x", Groups:[]string(nil), Extra:map[string][]string(nil)'),
        (
            ("Impersonate-Extra-Foo", "x"),
            'UID:"", Groups:[]string(nil), Extra:map[string][]string{"foo":[]string{"x"}}',
        ),
    ],
)
def test_nobody_has_no_groups(header: tuple[str, str], shown: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        impersonate(ADMIN, [header], Allows("*"))
    assert caught.value.message == (
        f'requested &user.DefaultInfo{{Name:"", {shown}}} without impersonating a user name'
    )
