"""A machine becomes a node by bootstrap token, and renews its certificates as a kubelet does."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent import certificates
from minikube_py.agent.join import Membership, join
from minikube_py.api.core import NODES, SECRETS
from minikube_py.api.errors import ForbiddenError
from minikube_py.cli.token import secret_of
from minikube_py.client.config import ClientConfig
from minikube_py.client.http import HttpClient
from minikube_py.lib import pki
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.server import bootstrap
from minikube_py.server.config import ServerConfig
from minikube_py.server.join import Join
from minikube_py.server.join_tokens import JOIN_GROUP
from tests.integration.conftest import Server, running
from tests.model_cluster import ModelCluster

TOKEN = "abcdef.0123456789abcdef"
ADDRESS = "10.0.0.7"
ADVERTISED = "192.0.2.10"


class LaterClock:
    """The machine's time, some days ahead."""

    def __init__(self, days: float = 0.0) -> None:
        self.ahead = timedelta(days=days)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody is to wait {seconds} seconds")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path / "server", disable_controller_manager=False) as made:
        yield made


async def make_token(cluster: Server, token: str = TOKEN, **more: Any) -> None:
    wanted = {"usages": ("signing", "authentication"), "groups": (JOIN_GROUP,), **more}
    end = datetime.now(UTC) + timedelta(hours=1)
    await cluster.client.create(SECRETS, secret_of(token, description="", expires=end, **wanted))


async def joined(cluster: Server, folder: Path, clock: Any = None, **more: str) -> Membership:
    given = {"token": TOKEN, "node_name": "w1", **more}
    address = given.pop("address", ADDRESS)
    return await join(
        server=cluster.url,
        addresses=(address,),
        folder=folder,
        clock=clock or LaterClock(),
        **given,
    )


@asynccontextmanager
async def kubelet(member: Membership) -> AsyncIterator[HttpClient]:
    certificate, key = member.kubelet
    client = HttpClient(
        ClientConfig(
            server=member.server,
            ca_file=member.cluster_ca,
            certificate_file=certificate,
            key_file=key,
        )
    )
    try:
        yield client
    finally:
        await client.close()


async def register(client: HttpClient, *addresses: str) -> None:
    shown = [{"type": "InternalIP", "address": address} for address in addresses]
    await client.create(NODES, {"metadata": {"name": "w1"}})
    await client.patch(NODES, "w1", {"status": {"addresses": shown}}, subresource="status")


def shown(member: Membership) -> dict[str, pki.Certificate | None]:
    names = ("kubelet-client", "kubelet-serving", "proxy-client")
    return {name: pki.load_certificate(member.pair(name)[0]) for name in names}


async def test_a_bootstrap_token_makes_a_node_and_proves_who_the_server_is(
    cluster: Server, tmp_path: Path
) -> None:
    await make_token(cluster)
    member = await joined(cluster, tmp_path / "w1")
    ca = cluster.app.bootstrap.cluster_ca
    assert member.cluster_ca.read_bytes() == ca.bundle_pem
    async with kubelet(member) as client:
        await register(client, ADDRESS)
    whole = f"K10{ca.fingerprint}::{TOKEN}"
    await joined(cluster, tmp_path / "w2", token=whole, node_name="w2")


async def test_a_token_that_is_not_for_nodes_makes_none(cluster: Server, tmp_path: Path) -> None:
    secret = "0123456789abcdef"
    unknown, wrong = "does not know the bootstrap token", "the token is wrong"
    cases: tuple[tuple[str, Any, str, str], ...] = (
        ("aaaaaa", {}, "0000000000000000", unknown),
        ("bbbbbb", None, secret, unknown),
        ("cccccc", {"usages": ("authentication",)}, secret, unknown),
        ("dddddd", {"usages": ("signing",)}, secret, wrong),
        ("eeeeee", {"groups": ("system:bootstrappers:readers",)}, secret, wrong),
    )
    for name, made, given, message in cases:
        if made is not None:
            await make_token(cluster, f"{name}.{secret}", **made)
        with pytest.raises(StartError, match=message):
            await joined(cluster, tmp_path / name, token=f"{name}.{given}")


@pytest.mark.parametrize(
    ("given", "is_here", "refused"),
    [
        ({"addresses": [ADDRESS]}, False, False),
        ({"addresses": [ADVERTISED]}, False, True),
        ({"addresses": [ADVERTISED]}, True, False),  # a node on the server's own machine
        ({"addresses": ["10.43.0.1"]}, True, True),
        ({"nodeName": "kubernetes.default.svc"}, True, True),
    ],
)
async def test_nobody_joins_under_what_the_api_server_is_known_by(
    tmp_path: Path,
    given: Any,
    is_here: bool,  # noqa: FBT001
    refused: bool,  # noqa: FBT001
) -> None:
    options = {"data_dir": tmp_path, "write_kubeconfig": tmp_path / "k"}
    config = ServerConfig(advertise_address=ADVERTISED, **options)
    material = bootstrap.prepare(config, now=datetime.now(UTC))
    client: Any = ModelCluster(SystemClock()).client()
    joining = Join(config, material, lambda: client, SystemClock())
    key = pki.request(pki.Subject(name="w1"), pki.new_key()).decode()
    wanted = {"nodeName": "w1", "addresses": [], "nodePassword": "p", **given}
    asked = {**wanted, "requests": {"kubelet-serving": key}}
    if refused:
        with pytest.raises(ForbiddenError, match="is the API server's own; pass another"):
            await joining.join(asked, is_here=is_here)
    else:
        answer = await joining.join(asked, is_here=is_here)
        assert list(answer["certificates"]) == ["kubelet-serving"]


async def test_a_kubelet_renews_its_certificates_by_request(
    cluster: Server, tmp_path: Path
) -> None:
    await make_token(cluster)
    member = await joined(cluster, tmp_path / "w1")
    before = shown(member)
    async with kubelet(member) as client:
        await register(client, ADDRESS)
        await certificates.renew(member, client, LaterClock())
        assert shown(member) == before  # nothing is due
        await certificates.renew(member, client, LaterClock(days=300))
    after = shown(member)
    assert after["proxy-client"] == before["proxy-client"]
    for leaf in ("kubelet-client", "kubelet-serving"):
        old, new = before[leaf], after[leaf]
        assert old is not None
        assert new is not None
        assert new.serial_number != old.serial_number
        assert new.subject == old.subject
        assert member.is_good(leaf, datetime.now(UTC))
    async with kubelet(member) as client:
        assert (await client.get(NODES, "w1"))["metadata"]["name"] == "w1"


async def test_who_has_joined_needs_no_token_any_more(cluster: Server, tmp_path: Path) -> None:
    await make_token(cluster)
    member = await joined(cluster, tmp_path / "w1")
    before = shown(member)
    await cluster.client.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
    with pytest.raises(StartError):
        await joined(cluster, tmp_path / "w2", node_name="w2")
    token = cluster.app.bootstrap.token.rpartition("::")[0] + f"::{TOKEN}"
    await joined(cluster, tmp_path / "w1", LaterClock(days=300), token=token)
    after = shown(member)
    assert all(before[leaf] != after[leaf] for leaf in before)


async def test_the_certificate_of_one_node_is_no_token_for_another(
    cluster: Server, tmp_path: Path
) -> None:
    await make_token(cluster)
    await joined(cluster, tmp_path / "w1")
    token = cluster.app.bootstrap.token
    await joined(cluster, tmp_path / "w2", token=token, node_name="w2", address="10.0.0.8")
    await cluster.client.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
    impostor = tmp_path / "impostor"
    shutil.copytree(tmp_path / "w1", impostor)
    whole = f"{token.rpartition('::')[0]}::{TOKEN}"
    with pytest.raises(StartError, match="the token is wrong"):
        await joined(cluster, impostor, LaterClock(days=300), token=whole, node_name="w2")
