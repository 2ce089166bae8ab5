"""Which requests of nodes are for their own certificates, and which reach for more."""

import base64
from typing import Any

import pytest

from minikube_py.lib import pki
from minikube_py.server.controllers.csr_approving import (
    KUBELET_CLIENT,
    KUBELET_SERVING,
    NODE,
    SELF_NODE,
    SERVING,
    recognize,
)
from tests.frozen import freeze

KEY = pki.new_key()
API_SERVER = frozenset({"kubernetes.default.svc", "192.0.2.10"})
ADDRESSES = ({"type": "InternalIP", "address": "10.0.0.7"}, {"type": "Hostname", "address": "w1"})
W1 = freeze({"metadata": {"name": "w1"}, "status": {"addresses": ADDRESSES}})
LIAR = freeze(
    {"metadata": {"name": "w1"}, "status": {"addresses": [{"address": "192.0.2.10"}]}},
)


def csr(*names: str, **more: Any) -> Any:
    subject = pki.Subject(
        name=more.get("name", "system:node:w1"),
        organizations=more.get("groups", ("system:nodes",)),
        alternatives=names,
    )
    signer = more.get("signer", KUBELET_SERVING)
    usage = "client auth" if signer == KUBELET_CLIENT else "server auth"
    spec = {
        "request": base64.b64encode(pki.request(subject, KEY)).decode(),
        "signerName": signer,
        "usages": more.get("usages", ["digital signature", usage]),
        "username": more.get("username", "system:node:w1"),
    }
    return freeze({"metadata": {"name": "c"}, "spec": spec})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (csr("w1", "10.0.0.7"), [SERVING]),
        (csr("10.0.0.7"), [SERVING]),
        (csr(signer=KUBELET_CLIENT), [SELF_NODE, NODE]),
        (csr(signer=KUBELET_CLIENT, username="system:bootstrap:abcdef"), [NODE]),
    ],
)
def test_a_node_asks_for_its_own(request_: Any, expected: list[Any]) -> None:
    assert list(recognize(request_, W1, API_SERVER)) == expected


@pytest.mark.parametrize(
    "request_",
    [
        csr("10.0.0.8"),
        csr("10.0.0.7", "kubernetes.default.svc"),
        csr(),
        csr("10.0.0.7", name="system:node:w2"),
        csr("10.0.0.7", groups=("system:masters",)),
        csr("10.0.0.7", groups=("system:nodes", "system:masters")),
        csr("10.0.0.7", username="anna"),
        csr("10.0.0.7", usages=["digital signature", "server auth", "client auth"]),
        csr("10.0.0.7", signer=KUBELET_CLIENT),
        csr(signer=KUBELET_CLIENT, name="admin"),
        csr("10.0.0.7", signer="kubernetes.io/legacy-unknown"),
    ],
)
def test_what_reaches_for_more_is_nobodys_to_approve(request_: Any) -> None:
    assert list(recognize(request_, W1, API_SERVER)) == []


def test_a_node_that_claims_the_api_servers_address_does_not_get_its_certificate() -> None:
    assert list(recognize(csr("192.0.2.10"), LIAR, API_SERVER)) == []
    assert list(recognize(csr("192.0.2.10"), LIAR, frozenset())) == [SERVING]


def test_a_node_that_is_not_there_has_no_names() -> None:
    assert list(recognize(csr("w1"), None, API_SERVER)) == []
