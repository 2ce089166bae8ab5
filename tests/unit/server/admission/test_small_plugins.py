"""The plugins of few rules: runtime classes, growth of claims, certificates, images, events."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.core import CONFIGMAPS, EVENTS, PERSISTENTVOLUMECLAIMS, PODS, SERVICES
from minikube_py.api.errors import InvalidError, TooManyRequestsError
from minikube_py.api.events import EVENTS_V1
from minikube_py.lib.errors import StartError
from minikube_py.server.admission.always_pull_images import AlwaysPullImages
from minikube_py.server.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from minikube_py.server.admission.deny_service_external_ips import DenyServiceExternalIPs
from minikube_py.server.admission.event_rate_limit import EventRateLimit, Limit, limits_of
from minikube_py.server.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from minikube_py.server.admission.pod_topology_labels import PodTopologyLabels
from minikube_py.server.admission.runtime_class import RuntimeClass, merged
from minikube_py.server.attributes import Attributes, Decision, User
from tests.unit.server.admission.acting import pod, refusal, run, write

Listing = Callable[..., Any]

# RuntimeClass

KATA: dict[str, Any] = {
    "metadata": {"name": "kata"},
    "handler": "kata",
    "overhead": {"podFixed": {"cpu": "250m"}},
    "scheduling": {
        "nodeSelector": {"kata": "yes"},
        "tolerations": [{"key": "kata", "operator": "Exists"}],
    },
}
PLAIN: dict[str, Any] = {"metadata": {"name": "plain"}, "handler": "runc"}


async def test_a_runtime_class_gives_overhead_and_place(listing: Listing) -> None:
    plugin = RuntimeClass(listing(KATA))
    given_pod = pod(
        runtimeClassName="kata",
        nodeSelector={"disk": "ssd"},
        tolerations=[{"key": "own", "operator": "Exists"}],
    )
    made = await plugin.admit(write(PODS, given_pod))
    assert made is not None
    spec = made["spec"]
    assert spec["overhead"] == {"cpu": "250m"}
    assert spec["nodeSelector"] == {"disk": "ssd", "kata": "yes"}
    assert [toleration["key"] for toleration in spec["tolerations"]] == ["own", "kata"]
    assert await plugin.validate(write(PODS, made)) == ()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"runtimeClassName": "gone"}, 'pod rejected: RuntimeClass "gone" not found'),
        (
            {"runtimeClassName": "kata", "overhead": {"cpu": "1"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"runtimeClassName": "plain", "overhead": {"cpu": "1"}},
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            {"overhead": {"cpu": "1"}},
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            {"runtimeClassName": "kata", "nodeSelector": {"kata": "no"}},
            (
                "conflict: runtimeClass.scheduling.nodeSelector[kata] = yes; "
                "pod.spec.nodeSelector[kata] = no"
            ),
        ),
    ],
)
async def test_a_pod_that_is_at_odds_with_its_class_is_refused(
    listing: Listing, spec: Any, text: str
) -> None:
    plugin = RuntimeClass(listing(KATA, PLAIN))
    assert await refusal(plugin, write(PODS, pod(**spec))) == f'pods "p" is forbidden: {text}'


async def test_pods_without_a_class_and_updates_are_left_alone(listing: Listing) -> None:
    plugin = RuntimeClass(listing())
    assert await run(plugin, write(PODS, pod())) == pod()
    late = write(PODS, pod(runtimeClassName="gone"), "UPDATE", old=pod(runtimeClassName="gone"))
    assert await run(plugin, late) == late.obj


TOLERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(["a", "b"]),
        "operator": st.sampled_from(["Exists", "Equal"]),
        "value": st.sampled_from(["x", "y"]),
        "effect": st.sampled_from(["NoExecute", "NoSchedule"]),
        "tolerationSeconds": st.sampled_from([0, 60]),
    },
)


@given(st.lists(TOLERATIONS, max_size=4), st.lists(TOLERATIONS, max_size=4))
def test_merged_tolerations_come_from_both_and_stay_merged(first: Any, second: Any) -> None:
    once = merged(first, second)
    assert all(toleration in [*first, *second] for toleration in once)
    assert merged(once, []) == once
    assert bool(once) == bool([*first, *second])


def test_a_toleration_that_another_includes_is_left_out() -> None:
    everything = {"operator": "Exists"}
    narrow = {"key": "a", "operator": "Equal", "value": "x", "effect": "NoSchedule"}
    assert merged([narrow], [everything]) == [everything]
    assert merged([everything], [narrow]) == [everything]
    assert merged([narrow], [narrow]) == [narrow]
    short = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    long = {**short, "tolerationSeconds": 9}
    assert merged([short], [long]) == [long]


# PersistentVolumeClaimResize


def claim(size: str, phase: str = "Bound", storage_class: str = "grows") -> dict[str, Any]:
    spec = {"storageClassName": storage_class, "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": "c"}, "spec": spec, "status": {"phase": phase}}


CLASSES = (
    {"metadata": {"name": "grows"}, "allowVolumeExpansion": True},
    {"metadata": {"name": "fixed"}},
)


@pytest.mark.parametrize(
    ("new", "old", "text"),
    [
        (
            claim("2Gi"),
            claim("1Gi", "Pending"),
            "Only bound persistent volume claims can be expanded",
        ),
        (claim("2Gi", storage_class="fixed"), claim("1Gi", storage_class="fixed"), "only dynamic"),
        (claim("2Gi", storage_class="gone"), claim("1Gi", storage_class="gone"), "only dynamic"),
        (claim("2Gi", storage_class=""), claim("1Gi", storage_class=""), "only dynamic"),
        (claim("2Gi"), claim("1Gi", storage_class="fixed"), "only dynamic"),
    ],
)
async def test_a_claim_grows_only_where_its_class_lets_it(
    listing: Listing, new: Any, old: Any, text: str
) -> None:
    plugin = PersistentVolumeClaimResize(listing(*CLASSES))
    assert text in await refusal(plugin, write(PERSISTENTVOLUMECLAIMS, new, "UPDATE", old=old))


async def test_other_changes_of_claims_go_through(listing: Listing) -> None:
    plugin = PersistentVolumeClaimResize(listing(*CLASSES))
    for new, old in (
        (claim("2Gi"), claim("1Gi")),
        (claim("1Gi", "Pending"), claim("1Gi", "Pending")),
        (claim("1Gi"), claim("2Gi")),
    ):
        await run(plugin, write(PERSISTENTVOLUMECLAIMS, new, "UPDATE", old=old))
    await run(plugin, write(PERSISTENTVOLUMECLAIMS, claim("9Gi", storage_class="fixed")))


# Certificates


class Allows:
    """An authoriser that allows a verb on one signer or domain."""

    def __init__(self, verb: str, name: str) -> None:
        self._asked = (verb, "signers", "certificates.k8s.io", name)

    def authorize(self, attributes: Attributes) -> Decision:
        asked = (attributes.verb, attributes.resource, attributes.group, attributes.name)
        return Decision(asked == self._asked)


SIGNER = "example.com/mine"
EVE = User("eve")


def signing(status: Any = None, signer: str = SIGNER, request: str = "") -> dict[str, Any]:
    spec = {"signerName": signer, "request": request}
    return {"metadata": {"name": "r"}, "spec": spec, "status": status or {}}


@pytest.mark.parametrize("allowed", [SIGNER, "example.com/*"])
async def test_approving_needs_a_right_on_the_signer(allowed: str) -> None:
    change = write(
        CERTIFICATESIGNINGREQUESTS,
        signing({"conditions": [{"type": "Approved"}]}, signer="other.com/stolen"),
        "UPDATE",
        old=signing(),
        subresource="approval",
        user=EVE,
    )
    await run(CertificateApproval(Allows("approve", allowed)), change)
    text = await refusal(CertificateApproval(Allows("sign", SIGNER)), change)
    assert text == (
        'certificatesigningrequests.certificates.k8s.io "r" is forbidden: '
        f'user not permitted to approve requests with signerName "{SIGNER}"'
    )


async def test_signing_needs_a_right_on_the_signer() -> None:
    def change(status: Any) -> Any:
        return write(
            CERTIFICATESIGNINGREQUESTS,
            signing(status),
            "UPDATE",
            old=signing(),
            subresource="status",
            user=EVE,
        )

    await run(CertificateSigning(Allows("sign", SIGNER)), change({"certificate": "eA=="}))
    for status in ({"certificate": "eA=="}, {"conditions": [{"type": "Failed"}]}):
        text = await refusal(CertificateSigning(Allows("approve", SIGNER)), change(status))
        assert text.endswith(f'user not permitted to sign requests with signerName "{SIGNER}"')
    await run(CertificateSigning(Allows("approve", SIGNER)), change({"conditions": []}))


def pem(organization: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "dev"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization),
        ]
    )
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


async def test_nobody_gets_a_certificate_of_the_masters() -> None:
    signer, plugin = "kubernetes.io/kube-apiserver-client", CertificateSubjectRestriction()
    mighty = signing(signer=signer, request=pem("system:masters"))
    text = await refusal(plugin, write(CERTIFICATESIGNINGREQUESTS, mighty))
    assert text.endswith(
        "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
    )
    await run(plugin, write(CERTIFICATESIGNINGREQUESTS, signing(request=pem("system:masters"))))
    fine = signing(signer=signer, request=pem("ops"))
    await run(plugin, write(CERTIFICATESIGNINGREQUESTS, fine))
    broken = signing(signer=signer, request="eA==")
    text = await refusal(plugin, write(CERTIFICATESIGNINGREQUESTS, broken))
    assert "failed to parse CSR" in text


# AlwaysPullImages


async def test_every_image_is_pulled() -> None:
    given_pod = pod(
        initContainers=[{"name": "i", "image": "a"}],
        containers=[{"name": "c", "image": "b", "imagePullPolicy": "Never"}],
    )
    made = await AlwaysPullImages().admit(write(PODS, given_pod))
    assert made is not None
    policies = {
        c["imagePullPolicy"] for g in ("initContainers", "containers") for c in made["spec"][g]
    }
    assert policies == {"Always"}
    assert await AlwaysPullImages().validate(write(PODS, made)) == ()
    with pytest.raises(InvalidError, match="imagePullPolicy: Unsupported value"):
        await AlwaysPullImages().validate(write(PODS, given_pod))


async def test_an_update_that_brings_no_image_is_left_alone() -> None:
    old = pod()
    labelled = {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}
    assert await run(AlwaysPullImages(), write(PODS, labelled, "UPDATE", old=old)) == labelled
    image = pod(containers=[{"name": "c", "image": "new"}])
    made = await AlwaysPullImages().admit(write(PODS, image, "UPDATE", old=old))
    assert made is not None
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"


# PodTopologyLabels

ZONE = {"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "x": "y"}
NODE = {"metadata": {"name": "n1", "labels": ZONE}}


async def test_a_binding_carries_zone_and_region_to_the_pod(listing: Listing) -> None:
    plugin = PodTopologyLabels(listing(NODE))
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    made = await run(plugin, write(PODS, binding, subresource="binding"))
    assert made["metadata"]["labels"] == {key: ZONE[key] for key in list(ZONE)[:2]}
    placed = pod(nodeName="n1")
    placed["metadata"]["labels"] = {"topology.kubernetes.io/zone": "own"}
    made = await run(plugin, write(PODS, placed))
    assert made["metadata"]["labels"]["topology.kubernetes.io/zone"] == "own"
    assert made["metadata"]["labels"]["topology.kubernetes.io/region"] == "r1"


async def test_pods_that_are_nowhere_yet_get_no_zone(listing: Listing) -> None:
    plugin = PodTopologyLabels(listing(NODE))
    for admission in (
        write(PODS, pod()),
        write(PODS, pod(nodeName="gone")),
        write(PODS, pod(nodeName="n1"), "UPDATE", old=pod(nodeName="n1")),
    ):
        assert await run(plugin, admission) == admission.obj


# EventRateLimit


def event(name: str = "e", about: str = "pod-1") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "name": about},
        "source": {"component": "kubelet"},
    }


async def test_events_beyond_the_burst_wait_for_tokens(clock: Any) -> None:
    plugin = EventRateLimit([Limit("Server", qps=2, burst=3)], clock)
    for _ in range(3):
        await run(plugin, write(EVENTS, event()))
    with pytest.raises(TooManyRequestsError) as caught:
        await run(plugin, write(EVENTS, event()))
    assert caught.value.message == "limit reached on type Server for key "
    clock.seconds += 0.5
    await run(plugin, write(EVENTS, event()))
    assert (await refusal(plugin, write(EVENTS, event()))).startswith("limit reached")
    await run(plugin, write(CONFIGMAPS, {"metadata": {"name": "x"}}))


@pytest.mark.parametrize(
    ("kind", "key", "other"),
    [
        ("Namespace", "a", {"namespace": "b"}),
        ("User", "admin", {"user": EVE}),
        ("SourceAndObject", "kubeletPodpod-1", {"obj": event(about="pod-2")}),
    ],
)
async def test_everyone_has_a_bucket_of_their_own(
    clock: Any, kind: str, key: str, other: Any
) -> None:
    plugin = EventRateLimit([Limit(kind, qps=1, burst=1)], clock)
    await run(plugin, write(EVENTS, event()))
    text = await refusal(plugin, write(EVENTS, event()))
    assert text == f"limit reached on type {kind} for key {key}"
    await run(plugin, write(EVENTS, **{"obj": event(), **other}))


async def test_both_versions_of_events_share_a_bucket(clock: Any) -> None:
    plugin = EventRateLimit([Limit("SourceAndObject", qps=1, burst=1)], clock)
    new = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "pod-1"},
        "deprecatedSource": {"component": "kubelet"},
    }
    await run(plugin, write(EVENTS, event()))
    assert "limit reached" in await refusal(plugin, write(EVENTS_V1, new))


async def test_buckets_are_bounded_and_the_least_used_goes(clock: Any) -> None:
    plugin = EventRateLimit([Limit("Namespace", qps=1, burst=1, cache_size=2)], clock)
    for namespace in ("a", "b", "c"):
        await run(plugin, write(EVENTS, event(), namespace=namespace))
    await run(plugin, write(EVENTS, event(), namespace="a"))
    assert "limit reached" in await refusal(plugin, write(EVENTS, event(), namespace="c"))


@pytest.mark.parametrize(
    "document",
    [
        None,
        {"limits": []},
        {"limits": [{"type": "Planet", "qps": 1, "burst": 1}]},
        {"limits": [{"type": "Server", "qps": 0, "burst": 1}]},
        {"limits": [{"type": "User", "qps": 1, "burst": 1, "cacheSize": -1}]},
    ],
)
def test_limits_that_mean_nothing_keep_the_server_from_starting(document: Any) -> None:
    with pytest.raises(StartError):
        limits_of(document)


def test_limits_are_read() -> None:
    document = {"limits": [{"type": "User", "qps": 5, "burst": 9, "cacheSize": 7}]}
    assert limits_of(document) == (Limit("User", 5, 9, 7),)


# DenyServiceExternalIPs


def service(*addresses: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "a", "name": "s"}, "spec": {"externalIPs": list(addresses)}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, service()),
        (service("192.0.2.1", "192.0.2.2"), service("192.0.2.2")),
        (service("192.0.2.1"), service("192.0.2.1")),
    ],
)
async def test_external_addresses_may_stay_and_go(old: Any, new: Any) -> None:
    operation = "UPDATE" if old else "CREATE"
    await run(DenyServiceExternalIPs(), write(SERVICES, new, operation, old=old))


@pytest.mark.parametrize("old", [None, service(), service("192.0.2.2")])
async def test_external_addresses_are_not_added(old: Any) -> None:
    operation = "UPDATE" if old else "CREATE"
    change = write(SERVICES, service("192.0.2.1", "192.0.2.2"), operation, old=old)
    assert await refusal(DenyServiceExternalIPs(), change) == (
        'services "s" is forbidden: Use of external IPs is denied by admission control'
    )
