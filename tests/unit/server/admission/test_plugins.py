"""Admission: what each plugin fills in, and what it refuses in upstream's words."""

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.api.core import (
    CONFIGMAPS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
)
from minikube_py.api.errors import ForbiddenError, NotFoundError
from minikube_py.api.scheduling import PRIORITYCLASSES
from minikube_py.server.admission.default_classes import (
    DefaultStorageClass,
    StorageObjectInUseProtection,
)
from minikube_py.server.admission.default_tolerations import DefaultTolerationSeconds
from minikube_py.server.admission.limit_ranger import LimitRanger
from minikube_py.server.admission.namespace_lifecycle import NamespaceLifecycle
from minikube_py.server.admission.node_taints import TaintNodesByCondition
from minikube_py.server.admission.priority import Priority
from minikube_py.server.admission.service_account import MOUNT_PATH, ServiceAccount
from tests.unit.server.admission.acting import pod, refusal, run, write
from tests.unit.server.conftest import FakeClock, FakeLister

Listing = Callable[..., Any]
CLOCK = FakeClock()


# NamespaceLifecycle


def namespace(name: str, phase: str = "Active") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": phase}}


async def test_nothing_is_made_in_a_namespace_that_is_not_there(listing: Listing) -> None:
    with pytest.raises(NotFoundError, match='namespaces "a" not found'):
        await run(NamespaceLifecycle(listing()), write(CONFIGMAPS, {"metadata": {"name": "x"}}))


async def test_nothing_is_made_in_a_namespace_that_ends(listing: Listing) -> None:
    plugin = NamespaceLifecycle(listing(namespace("a", "Terminating")))
    obj = {"metadata": {"name": "x"}}
    with pytest.raises(ForbiddenError, match="because it is being terminated") as caught:
        await run(plugin, write(CONFIGMAPS, obj))
    assert caught.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    assert await run(plugin, write(CONFIGMAPS, obj, "UPDATE")) == obj
    await run(plugin, write(CONFIGMAPS, None, "DELETE", name="x"))


async def test_four_namespaces_never_end(listing: Listing) -> None:
    plugin = NamespaceLifecycle(listing())
    text = await refusal(plugin, write(NAMESPACES, None, "DELETE", name="default"))
    assert text == 'namespaces "default" is forbidden: this namespace may not be deleted'
    await run(plugin, write(NAMESPACES, None, "DELETE", name="mine"))


# ServiceAccount


def account(**more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "a", "name": "default"}, **more}


async def test_a_pod_gets_its_account_and_token(listing: Listing) -> None:
    made = await run(ServiceAccount(listing(account()), CLOCK), write(PODS, pod()))
    spec = made["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert len(volume["name"]) == len("kube-api-access-") + 5
    token, ca, info = volume["projected"]["sources"]
    assert token == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert ca["configMap"]["name"] == "kube-root-ca.crt"
    assert info["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"] == "metadata.namespace"
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount == {"name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH}


@pytest.mark.parametrize(
    ("on_account", "on_pod", "mounted"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
async def test_the_pods_word_on_tokens_counts_before_the_accounts(
    listing: Listing, on_account: Any, on_pod: Any, *, mounted: bool
) -> None:
    plugin = ServiceAccount(listing(account(automountServiceAccountToken=on_account)), CLOCK)
    made = await run(plugin, write(PODS, pod(automountServiceAccountToken=on_pod)))
    assert ("volumes" in made["spec"]) is mounted


async def test_a_mount_at_the_same_place_is_left_alone(listing: Listing) -> None:
    own = {"name": "own", "mountPath": MOUNT_PATH}
    containers = [{"name": "c", "image": "i", "volumeMounts": [own]}]
    made = await run(
        ServiceAccount(listing(account()), CLOCK), write(PODS, pod(containers=containers))
    )
    assert made["spec"]["containers"] == containers
    assert "volumes" not in made["spec"]


async def test_pull_secrets_come_from_the_account_unless_given(listing: Listing) -> None:
    plugin = ServiceAccount(listing(account(imagePullSecrets=[{"name": "pull"}])), CLOCK)
    made = await run(plugin, write(PODS, pod()))
    assert made["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    own = [{"name": "own"}]
    made = await run(plugin, write(PODS, pod(imagePullSecrets=own)))
    assert made["spec"]["imagePullSecrets"] == own


async def test_an_account_that_is_missing_is_named(listing: Listing) -> None:
    text = await refusal(ServiceAccount(listing(), CLOCK), write(PODS, pod()))
    assert text == (
        'pods "p" is forbidden: error looking up service account a/default: '
        'serviceaccount "default" not found'
    )


class Later(FakeClock):
    """Time in which the account of the namespace is made."""

    def __init__(self, accounts: FakeLister) -> None:
        super().__init__()
        self.accounts = accounts

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self.seconds > 1:
            self.accounts.put(account())


async def test_the_account_of_a_new_namespace_is_waited_for() -> None:
    accounts = FakeLister()
    clock = Later(accounts)
    made = await run(ServiceAccount(accounts, clock), write(PODS, pod()))
    assert made["spec"]["serviceAccountName"] == "default"
    assert 1 < clock.seconds < 2


async def test_no_other_account_is_waited_for(listing: Listing) -> None:
    clock = FakeClock()
    await refusal(ServiceAccount(listing(), clock), write(PODS, pod(serviceAccountName="bot")))
    assert not clock.seconds


ENFORCING = {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}


def using(**container: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c", "image": "i", **container}])


@pytest.mark.parametrize(
    ("wanting", "text"),
    [
        (
            pod(volumes=[{"name": "v", "secret": {"secretName": "x"}}]),
            'volume with secret.secretName="x"',
        ),
        (
            using(env=[{"name": "E", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]),
            'container c with envVar E referencing secret.secretName="x"',
        ),
        (
            using(envFrom=[{"secretRef": {"name": "x"}}]),
            'container c with envFrom referencing secret.secretName="x"',
        ),
        (pod(imagePullSecrets=[{"name": "x"}]), 'imagePullSecrets[0].name="x"'),
    ],
)
async def test_an_account_may_hold_its_pods_to_the_secrets_that_it_lists(
    listing: Listing, wanting: Any, text: str
) -> None:
    strict = account(secrets=[{"name": "mine"}])
    strict["metadata"] |= ENFORCING
    plugin = ServiceAccount(listing(strict), CLOCK)
    admitted = await plugin.admit(write(PODS, wanting))
    found = await refusal(plugin, write(PODS, wanting))
    assert text in found
    assert "is not allowed because service account default does not reference that" in found
    strict["secrets"] = [{"name": "x"}]
    strict["imagePullSecrets"] = [{"name": "x"}]
    await run(ServiceAccount(listing(strict), CLOCK), write(PODS, wanting))
    lax = ServiceAccount(listing(account()), CLOCK)
    assert await lax.validate(write(PODS, admitted)) == ()


async def test_a_debugger_is_held_to_the_secrets_of_the_account_too(listing: Listing) -> None:
    strict = account()
    strict["metadata"] |= ENFORCING
    debugged = pod(
        serviceAccountName="default",
        ephemeralContainers=[{"name": "d", "envFrom": [{"secretRef": {"name": "x"}}]}],
    )
    change = write(PODS, debugged, "UPDATE", old=pod(), subresource="ephemeralcontainers")
    text = await refusal(ServiceAccount(listing(strict), CLOCK), change)
    assert "ephemeral container d with envFrom referencing" in text


async def test_a_mirror_pod_does_without_the_api(listing: Listing) -> None:
    mirror = pod(serviceAccountName="default")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    text = await refusal(ServiceAccount(listing(account()), CLOCK), write(PODS, mirror))
    assert text.endswith("a mirror pod may not reference service accounts")


# DefaultTolerationSeconds

NOT_READY = {
    "key": "node.kubernetes.io/not-ready",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 300,
}
UNREACHABLE = {**NOT_READY, "key": "node.kubernetes.io/unreachable"}


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ([], [NOT_READY, UNREACHABLE]),
        ([{"operator": "Exists"}], [{"operator": "Exists"}]),
        (
            [{**NOT_READY, "tolerationSeconds": 1}],
            [{**NOT_READY, "tolerationSeconds": 1}, UNREACHABLE],
        ),
        (
            [{"key": "x", "effect": "NoSchedule"}],
            [{"key": "x", "effect": "NoSchedule"}, NOT_READY, UNREACHABLE],
        ),
    ],
)
async def test_pods_tolerate_a_lost_node_for_five_minutes(given: Any, result: Any) -> None:
    made = await run(DefaultTolerationSeconds(), write(PODS, pod(tolerations=given)))
    assert made["spec"]["tolerations"] == result


# Priority


def priority_class(name: str, value: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "value": value, **more}


@pytest.mark.parametrize(
    ("spec", "result"),
    [
        ({}, {"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}),
        (
            {"priorityClassName": "hi"},
            {"priority": 777, "preemptionPolicy": "Never", "priorityClassName": "hi"},
        ),
        (
            {"priorityClassName": "hi", "priority": 777},
            {"priority": 777, "preemptionPolicy": "Never", "priorityClassName": "hi"},
        ),
    ],
)
async def test_a_priority_class_gives_number_and_policy(
    listing: Listing, spec: Any, result: Any
) -> None:
    plugin = Priority(listing(priority_class("hi", 777, preemptionPolicy="Never")))
    made = await run(plugin, write(PODS, pod(**spec)))
    assert {key: made["spec"].get(key) for key in result} == result


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"priorityClassName": "nope"}, "no PriorityClass with name nope was found"),
        (
            {"priority": 5},
            (
                "the integer value of priority (5) must not be provided in pod spec; priority "
                "admission controller computed 0 from the given PriorityClass name"
            ),
        ),
        (
            {"preemptionPolicy": "Never"},
            (
                "the string value of PreemptionPolicy (Never) must not be provided in pod spec; "
                "priority admission controller computed PreemptLowerPriority from the given "
                "PriorityClass name"
            ),
        ),
    ],
)
async def test_a_priority_of_ones_own_is_refused(listing: Listing, spec: Any, text: str) -> None:
    found = await refusal(Priority(listing()), write(PODS, pod(**spec)))
    assert found == f'pods "p" is forbidden: {text}'


async def test_the_lowest_default_class_counts_and_a_second_is_refused(listing: Listing) -> None:
    first = priority_class("d", 5, globalDefault=True)
    plugin = Priority(listing(first, priority_class("e", 9, globalDefault=True)))
    made = await run(plugin, write(PODS, pod()))
    assert (made["spec"]["priority"], made["spec"]["priorityClassName"]) == (5, "d")
    await run(plugin, write(PRIORITYCLASSES, first, "UPDATE"))
    text = await refusal(plugin, write(PRIORITYCLASSES, {**first, "metadata": {"name": "f"}}))
    assert text.endswith("PriorityClass d is already marked as default. Only one default can exist")


async def test_an_update_keeps_what_the_client_left_out(listing: Listing) -> None:
    old = pod(priority=7, preemptionPolicy="Never")
    made = await run(Priority(listing()), write(PODS, pod(), "UPDATE", old=old))
    assert made["spec"]["priority"] == 7


# LimitRanger

LIMITS = {
    "metadata": {"namespace": "a", "name": "l"},
    "spec": {
        "limits": [
            {
                "type": "Container",
                "max": {"cpu": "1"},
                "min": {"cpu": "100m"},
                "maxLimitRequestRatio": {"cpu": "4"},
                "default": {"cpu": "1"},
                "defaultRequest": {"cpu": "1"},
            },
            {"type": "Pod", "max": {"memory": "1Gi"}},
            {
                "type": "PersistentVolumeClaim",
                "max": {"storage": "2Gi"},
                "min": {"storage": "1Gi"},
            },
        ]
    },
}


def sized(requests: dict[str, str], limits: dict[str, str]) -> dict[str, Any]:
    resources = {"requests": requests, "limits": limits}
    return pod(containers=[{"name": "c", "resources": resources}])


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (
            sized({"cpu": "2"}, {"cpu": "2", "memory": "1Mi"}),
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            sized({"cpu": "50m"}, {"cpu": "50m", "memory": "1Mi"}),
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            sized({"cpu": "100m"}, {"cpu": "900m", "memory": "2Gi"}),
            (
                "[cpu max limit to request ratio per Container is 4, but provided ratio is "
                "9.000000, maximum memory usage per Pod is 1Gi, but limit is 2Gi]"
            ),
        ),
        (
            sized({"cpu": "1"}, {"cpu": "1"}),
            "maximum memory usage per Pod is 1Gi.  No limit is specified",
        ),
    ],
)
async def test_what_is_out_of_bounds_is_refused(listing: Listing, obj: Any, text: str) -> None:
    found = await refusal(LimitRanger(listing(LIMITS)), write(PODS, obj))
    assert found == f'pods "p" is forbidden: {text}'


@pytest.mark.parametrize(
    ("storage", "text"),
    [
        ("5Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"),
        ("1Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"),
    ],
)
async def test_claims_have_bounds_too(listing: Listing, storage: str, text: str) -> None:
    claim = {"metadata": {"name": "x"}, "spec": {"resources": {"requests": {"storage": storage}}}}
    found = await refusal(LimitRanger(listing(LIMITS)), write(PERSISTENTVOLUMECLAIMS, claim))
    assert found.endswith(text)


async def test_a_resize_has_bounds_too_and_other_updates_have_none(listing: Listing) -> None:
    plugin = LimitRanger(listing(LIMITS))
    big = sized({"cpu": "2"}, {"cpu": "2", "memory": "1Mi"})
    old = sized({"cpu": "1"}, {"cpu": "1", "memory": "1Mi"})
    resize = write(PODS, big, "UPDATE", old=old, subresource="resize")
    assert "but limit is 2" in await refusal(plugin, resize)
    await run(plugin, write(PODS, big, "UPDATE", old=old))
    ending = {**old, "metadata": {**old["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    await run(plugin, write(PODS, big, "UPDATE", old=ending, subresource="resize"))


async def test_what_stands_at_pod_level_is_what_the_pod_asks_for(listing: Listing) -> None:
    made = sized({"cpu": "1"}, {"cpu": "1"})
    made["spec"]["resources"] = {"limits": {"memory": "2Gi"}}
    text = await refusal(LimitRanger(listing(LIMITS)), write(PODS, made))
    assert text.endswith("maximum memory usage per Pod is 1Gi, but limit is 2Gi")


async def test_containers_get_defaults_and_the_pod_a_note(listing: Listing) -> None:
    made = await LimitRanger(listing(LIMITS)).admit(write(PODS, pod()))
    assert made is not None
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "1"},
        "limits": {"cpu": "1"},
    }
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    )


# Nodes


async def test_a_new_node_is_tainted_once(listing: Listing) -> None:
    node = {"metadata": {"name": "n1"}}
    made = await run(TaintNodesByCondition(), write(NODES, node))
    assert made["spec"]["taints"] == [
        {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    ]
    assert await run(TaintNodesByCondition(), write(NODES, made)) == made


# Storage


async def test_a_claim_without_a_class_gets_the_newest_default(listing: Listing) -> None:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    classes = [
        {"metadata": {"name": name, "annotations": default, "creationTimestamp": f"2026-0{n}"}}
        for n, name in ((1, "old"), (2, "new-b"), (2, "new-a"))
    ]
    plugin = DefaultStorageClass(listing(*classes))
    claim = {"metadata": {"name": "x"}, "spec": {}}
    made = await run(plugin, write(PERSISTENTVOLUMECLAIMS, claim))
    assert made["spec"]["storageClassName"] == "new-a"
    none = {"metadata": {"name": "x"}, "spec": {"storageClassName": ""}}
    assert await run(plugin, write(PERSISTENTVOLUMECLAIMS, none)) == none


@pytest.mark.parametrize("resource", [PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES])
async def test_volumes_and_claims_are_protected(resource: Any) -> None:
    plugin = StorageObjectInUseProtection()
    made = await run(plugin, write(resource, {"metadata": {"name": "x"}}))
    assert len(made["metadata"]["finalizers"]) == 1
    assert await run(plugin, write(resource, made)) == made
