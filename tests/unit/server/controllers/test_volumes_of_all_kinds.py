"""Whatever validation lets through, plans about volumes are made without complaint."""

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.volume_matching import best_match, facts_of, mismatch, suitability
from minikube_py.api.local_storage import OFFER, PROVISIONER, UNWANTED, offer_of, unwanted_of
from minikube_py.api.storage import STORAGECLASSES
from minikube_py.server.controllers import local_volumes, volume_expand
from minikube_py.server.controllers.volume_claims import ClaimView, plan_claim
from minikube_py.server.controllers.volume_reclaim import plan_volume
from tests.frozen import freeze

names = st.sampled_from(["a", "b", "c.d"])
modes = st.lists(
    st.sampled_from(["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]),
    min_size=1,
    max_size=3,
    unique=True,
)
sizes = st.sampled_from(["1", "1k", "1Gi", "1.5Gi", "1e3", "100Ti", "1500m"])
notes = st.dictionaries(
    st.sampled_from(
        [
            "pv.kubernetes.io/bind-completed",
            "pv.kubernetes.io/bound-by-controller",
            "pv.kubernetes.io/provisioned-by",
            "volume.kubernetes.io/selected-node",
            "volume.kubernetes.io/storage-provisioner",
            "volume.beta.kubernetes.io/storage-class",
            "kpy.dev/node",
        ]
    ),
    st.sampled_from(["", "yes", "a", PROVISIONER, "kubernetes.io/aws-ebs"]),
)
phases = st.sampled_from(["", "Pending", "Available", "Bound", "Released", "Failed", "Lost"])
moments = st.sampled_from([None, "2026-01-01T00:00:00Z"])
expressions = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "key": names,
                "operator": st.sampled_from(["In", "NotIn"]),
                "values": st.lists(names, min_size=1),
            }
        ),
        st.fixed_dictionaries(
            {"key": names, "operator": st.sampled_from(["Exists", "DoesNotExist"])}
        ),
    ),
    max_size=2,
)
selectors = st.fixed_dictionaries(
    {}, optional={"matchLabels": st.dictionaries(names, names), "matchExpressions": expressions}
)
sources = st.sampled_from(
    [
        {"hostPath": {"path": "/x"}},
        {"csi": {"driver": "d.example.com", "volumeHandle": "h"}},
        {"nfs": {"server": "s", "path": "/"}},
        {"awsElasticBlockStore": {"volumeID": "v"}},
        {"local": {"path": "/x"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{}]}}},
    ]
)
refs = st.fixed_dictionaries(
    {"name": names, "namespace": names}, optional={"uid": st.sampled_from(["u", "w"])}
)


def metadata(**more: Any) -> Any:
    optional = {
        "annotations": notes,
        "labels": st.dictionaries(names, names),
        "deletionTimestamp": moments,
        "finalizers": st.lists(
            st.sampled_from(["kubernetes.io/pv-protection", local_volumes.FINALIZER])
        ),
    }
    return st.fixed_dictionaries({"name": names, **more}, optional=optional)


claims = st.fixed_dictionaries(
    {
        "metadata": metadata(namespace=names, uid=st.sampled_from(["u", "w"])),
        "spec": st.fixed_dictionaries(
            {
                "accessModes": modes,
                "resources": st.fixed_dictionaries(
                    {"requests": st.fixed_dictionaries({"storage": sizes})}
                ),
            },
            optional={
                "storageClassName": st.sampled_from(["", "a", "b"]),
                "volumeName": names,
                "selector": selectors,
                "volumeMode": st.sampled_from(["Block", "Filesystem"]),
                "volumeAttributesClassName": names,
            },
        ),
        "status": st.fixed_dictionaries(
            {"phase": phases}, optional={"capacity": st.fixed_dictionaries({"storage": sizes})}
        ),
    }
)
volumes = st.fixed_dictionaries(
    {
        "metadata": metadata(uid=st.just("x")),
        "source": sources,
        "spec": st.fixed_dictionaries(
            {"accessModes": modes, "capacity": st.fixed_dictionaries({"storage": sizes})},
            optional={
                "claimRef": refs,
                "storageClassName": st.sampled_from(["", "a", "b"]),
                "persistentVolumeReclaimPolicy": st.sampled_from(["Retain", "Delete", "Recycle"]),
                "volumeMode": st.sampled_from(["Block", "Filesystem"]),
            },
        ),
        "status": st.fixed_dictionaries({"phase": phases}),
    }
)
classes = st.fixed_dictionaries(
    {
        "metadata": metadata(),
        "provisioner": st.sampled_from([PROVISIONER, "kubernetes.io/aws-ebs", "x.y/z"]),
    },
    optional={
        "volumeBindingMode": st.sampled_from(["Immediate", "WaitForFirstConsumer"]),
        "reclaimPolicy": st.sampled_from(["Retain", "Delete"]),
        "allowedTopologies": st.just([]),
    },
)
offers = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            '{"path": "/s", "total": 10000000000, "available": 9000000000, "removed": ["a"]}',
            '{"path": "/s", "total": -5, "available": 1e300, "removed": []}',
            '{"path": [], "total": null, "available": 0, "removed": 7}',
            '{"path": "/s", "total": 0, "available": 0, "removed": [[], 1]}',
            "[]",
            "7",
        ]
    ),
)
nodes = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": names},
            optional={
                "annotations": st.fixed_dictionaries(
                    {}, optional={OFFER: offers, UNWANTED: st.text(max_size=20)}
                ),
                "labels": st.dictionaries(st.just("kubernetes.io/hostname"), names),
            },
        )
    }
)


def whole(resource: Any, obj: Any) -> Any:
    """Return the object as a server would have it; give up on one that it would refuse."""
    source = obj.pop("source", None)
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    spec = {"spec": {**obj["spec"], **source}} if source else {}
    made = resource.default({**kind, **obj, **spec})
    assume(not list(resource.validate(made, None)))
    return freeze(made)


def made(resource: Any, strategy: Any) -> Any:
    return strategy.map(lambda obj: whole(resource, dict(obj)))


a_claim = made(PERSISTENTVOLUMECLAIMS, claims)
a_volume = made(PERSISTENTVOLUMES, volumes)
a_class = made(STORAGECLASSES, classes)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    claim=a_claim,
    found=st.lists(a_volume, max_size=3),
    storage_class=st.none() | a_class,
    default=st.sampled_from(["", "a"]),
)
def test_claims_and_volumes_of_every_shape_have_plans(
    claim: Any, found: Any, storage_class: Any, default: str
) -> None:
    view = ClaimView(
        volume=found[0] if found else None,
        candidates=found,
        storage_class=storage_class,
        default_class=default,
    )
    list(plan_claim(claim, view))
    best_match(claim, found, reaches=lambda _: True)
    suits = suitability(claim)
    for volume in found:
        suits(facts_of(volume))
        mismatch(volume, claim)
        list(plan_volume(volume, claim))
        list(plan_volume(volume, None))
        list(volume_expand.plan(claim, volume))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    wanted=st.lists(a_claim, max_size=2),
    found=st.lists(a_volume, max_size=2),
    known=st.lists(a_class, max_size=2),
    node=st.none() | nodes,
)
def test_whatever_a_node_says_its_volumes_are_seen_to(
    wanted: Any, found: Any, known: Any, node: Any
) -> None:
    view = local_volumes.NodeView(
        name="a",
        node=node,
        claims=wanted,
        volumes=found,
        classes={one["metadata"]["name"]: one for one in known},
        capacities={},
    )
    list(local_volumes.plan(view))
    list(local_volumes.plan_placing(wanted, view.classes, {"a": 5}))
    if node is not None:
        offer_of(node)
        assert "" not in unwanted_of(node)
