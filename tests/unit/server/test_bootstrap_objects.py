"""What a fresh server makes itself is what upstream's makes, and a second start changes nothing."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from minikube_py.api.errors import NotFoundError
from minikube_py.api.object import Key, Obj, evolve, key_of
from minikube_py.api.resource import Resource
from minikube_py.server import bootstrap, bootstrap_objects, bootstrap_rbac
from minikube_py.server.bootstrap_objects import Wanted, ensure
from minikube_py.server.config import ServerConfig

FACTS = Path(__file__).parents[4] / "shared" / "reference" / "facts" / "bootstrap-objects.json"
EXTRA = {
    ("services", "kube-dns"),
    ("clusterroles", "kpy:cluster-dns"),
    *(
        (plural, f"kpy:{name}")
        for plural in ("clusterroles", "clusterrolebindings")
        for name in ("node-certificate-renewal", "kubelet-serving-approver")
    ),
    ("clusterrolebindings", "kpy:cluster-dns"),
    *(
        (plural, name)
        for plural in ("clusterroles", "clusterrolebindings")
        for name in ("kpy:ingress", "kpy:ingress-controller")
    ),
    ("ingressclasses", "kpy"),
    ("clusterroles", "kpy:network-policies"),
    ("clusterrolebindings", "kpy:network-policies"),
    ("clusterroles", "kpy:local-storage"),
    ("clusterrolebindings", "kpy:local-storage"),
    ("csidrivers", "local-path.kpy.dev"),
    ("storageclasses", "local-path"),
    ("clusterroles", "system:cloud-controller-manager"),
    ("clusterrolebindings", "system:cloud-controller-manager"),
}
"""What kpy makes and kube-apiserver leaves to an add-on."""
LEFT = {"ipaddresses", "leases"}
"""Kinds that others make: the allocator, and each server for itself."""
STAMPED = ("uid", "resourceVersion", "creationTimestamp", "generation")


class ModelClient:
    """A cluster in a dictionary; counts its writes."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, Key], Obj] = {}
        self.writes = 0

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        try:
            return self.objects[resource.plural, Key(namespace, name)]
        except KeyError:
            raise NotFoundError(name) from None

    async def create(self, resource: Resource, obj: Obj) -> Obj:
        namespace = key_of(obj).namespace
        if namespace and ("namespaces", Key("", namespace)) not in self.objects:
            raise NotFoundError(f"namespace {namespace}")
        return self._put(resource, obj)

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        assert subresource in ("", "status")
        return self._put(resource, obj)

    async def delete(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        self.writes += 1
        return self.objects.pop((resource.plural, Key(namespace, name)))

    def _put(self, resource: Resource, obj: Obj) -> Obj:
        self.writes += 1
        self.objects[resource.plural, key_of(obj)] = obj
        return obj


@pytest.fixture
def wanted(tmp_path: Path, clock: Any) -> list[Wanted]:
    config = ServerConfig(
        data_dir=tmp_path,
        write_kubeconfig=tmp_path / "kubeconfig",
        service_cidr="10.96.0.0/12",
        advertise_address="198.18.0.1",
        https_listen_port=26444,
        disable=("metrics-server",),
    )
    material = bootstrap.prepare(config, now=datetime(2026, 11, 22, tzinfo=UTC))
    addresses = (material.advertise_address,)
    return [
        *bootstrap_objects.wanted(config, material, clock),
        *bootstrap_objects.kubernetes_endpoints(config, addresses),
    ]


def facts() -> dict[tuple[str, str, str], Obj]:
    """Return what a fresh kube-apiserver holds, by plural, namespace and name."""
    found = {}
    for path, objects in json.loads(FACTS.read_text()).items():
        plural = path.rpartition("/")[2]
        for obj in objects if plural not in LEFT else ():
            key = key_of(obj)
            found[plural, key.namespace, key.name] = obj
    return found


def differences(ours: Any, theirs: Any, at: str = "") -> list[str]:
    """List where ours says something else; what the API server fills in may be missing."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return [
            text
            for name, value in ours.items()
            for text in differences(value, theirs.get(name), f"{at}.{name}")
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [text for n, pair in pairs for text in differences(*pair, f"{at}[{n}]")]
    made_up = str(theirs).strip("[']").startswith("<")
    return [] if made_up or ours == theirs else [f"{at}: {ours} is not {theirs}"]


def test_a_fresh_server_makes_what_upstreams_makes(wanted: list[Wanted]) -> None:
    theirs = facts()
    ours = {(w.resource.plural, *key_of(w.obj)): w for w in wanted}
    extra = {(plural, name) for plural, _, name in ours.keys() - theirs.keys()}
    assert extra == EXTRA
    assert not theirs.keys() - ours.keys()
    for key, fact in theirs.items():
        made = ours[key].obj
        if ours[key].status is not None:
            made = {**made, "status": ours[key].status}
        if key[0] == "configmaps":
            made = {**made, "data": dict.fromkeys(made["data"], "<pem>")}
            fact = {**fact, "data": dict.fromkeys(fact["data"], "<pem>")}  # noqa: PLW2901
        assert differences(made, fact) == [], key


def test_roles_and_bindings_are_upstreams_to_the_letter() -> None:
    theirs = facts()
    for plural, objects in (
        ("clusterroles", bootstrap_rbac.cluster_roles()),
        ("clusterrolebindings", bootstrap_rbac.cluster_role_bindings()),
        ("roles", bootstrap_rbac.roles()),
        ("rolebindings", bootstrap_rbac.role_bindings()),
    ):
        for obj in objects:
            fact = theirs[plural, *key_of(obj)]
            stamped = fact["metadata"]
            metadata = {name: stamped[name] for name in stamped if name not in STAMPED}
            assert obj == {**fact, "metadata": metadata}


async def test_a_second_start_writes_nothing(wanted: list[Wanted]) -> None:
    client: Any = ModelClient()
    await ensure(client, wanted)
    made = client.writes
    assert len(client.objects) == len(wanted)
    await ensure(client, wanted)
    assert client.writes == made


async def test_what_rbac_lost_comes_back_and_what_it_gained_stays(wanted: list[Wanted]) -> None:
    client: Any = ModelClient()
    await ensure(client, wanted)
    key = ("clusterroles", Key("", "system:node-proxier"))
    mine = {"apiGroups": ["x"], "resources": ["y"], "verbs": ["get"]}
    kept = client.objects[key]["rules"][1:]
    client.objects[key] = {**client.objects[key], "rules": [mine, *kept]}
    await ensure(client, wanted)
    rules = client.objects[key]["rules"]
    assert mine in rules
    assert {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]} in rules


async def test_a_binding_to_another_role_is_replaced(wanted: list[Wanted]) -> None:
    client: Any = ModelClient()
    await ensure(client, wanted)
    key = ("clusterrolebindings", Key("", "cluster-admin"))
    before = client.objects[key]
    client.objects[key] = evolve(before, "roleRef.name", "view")
    await ensure(client, wanted)
    assert client.objects[key] == before


async def test_an_operator_may_opt_out(wanted: list[Wanted]) -> None:
    client: Any = ModelClient()
    await ensure(client, wanted)
    key = ("clusterroles", Key("", "system:discovery"))
    own = evolve({**client.objects[key], "rules": []}, "metadata.annotations", {})
    client.objects[key] = own
    await ensure(client, wanted)
    assert client.objects[key] == own


async def test_the_endpoint_follows_the_servers_address(
    wanted: list[Wanted], tmp_path: Path, clock: Any
) -> None:
    client: Any = ModelClient()
    await ensure(client, wanted)
    config = ServerConfig(
        data_dir=tmp_path, write_kubeconfig=tmp_path / "k", advertise_address="10.9.9.9"
    )
    material = bootstrap.prepare(config, now=datetime(2026, 11, 22, tzinfo=UTC))
    await ensure(client, bootstrap_objects.wanted(config, material, clock))
    addresses = (material.advertise_address,)
    await ensure(client, tuple(bootstrap_objects.kubernetes_endpoints(config, addresses)))
    endpoints = client.objects["endpoints", Key("default", "kubernetes")]
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "10.9.9.9"}]
