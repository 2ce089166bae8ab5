"""Pod Security: what labels of a namespace do to pods, workloads and the labels' writer."""

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.api.apps import DEPLOYMENTS
from minikube_py.api.batch import CRONJOBS
from minikube_py.api.core import CONFIGMAPS, NAMESPACES, PODS
from minikube_py.api.errors import ForbiddenError, InvalidError
from minikube_py.lib.errors import StartError
from minikube_py.server.admission import pod_security
from minikube_py.server.admission.pod_security import PodSecurity
from minikube_py.server.admission.pod_security_configuration import configuration_of
from minikube_py.server.attributes import User
from tests.unit.server.admission.acting import pod, refusal, run, write

Listing = Callable[..., Any]
PREFIX = "pod-security.kubernetes.io/"
HOST_NETWORK = "host namespaces (hostNetwork=true)"


def namespace(name: str = "a", **labels: str) -> dict[str, Any]:
    said = {f"{PREFIX}{key.replace('_', '-')}": value for key, value in labels.items()}
    return {"metadata": {"name": name, "labels": said}}


@pytest.fixture
def plugin(listing: Listing, clock: Any) -> Callable[..., PodSecurity]:
    """Make the plugin for a namespace, the pods in it and an administrator's configuration."""

    def make(owner: Any, *pods: Any, **configuration: Any) -> PodSecurity:
        config = configuration_of(configuration)
        return PodSecurity(listing(owner), listing(*pods), clock, config)

    return make


def deployment(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "d", "namespace": "a"}, "spec": {"template": pod(**spec)}}


async def test_a_pod_that_violates_the_enforced_level_is_refused(plugin: Any) -> None:
    acting = plugin(namespace(enforce="baseline", enforce_version="v1.30"))
    text = await refusal(acting, write(PODS, pod(hostNetwork=True)))
    assert text == f'pods "p" is forbidden: violates PodSecurity "baseline:v1.30": {HOST_NETWORK}'
    await run(acting, write(PODS, pod()))


async def test_what_is_only_warned_of_and_noted_goes_through(plugin: Any) -> None:
    acting = plugin(namespace(warn="baseline", audit="baseline"))
    admission = write(PODS, pod(hostNetwork=True))
    told = f'would violate PodSecurity "baseline:latest": {HOST_NETWORK}'
    assert await acting.validate(admission) == (told,)
    assert admission.annotations.at("Metadata") == {
        f"{PREFIX}audit-violations": told,
        f"{PREFIX}enforce-policy": "privileged:latest",
    }


async def test_who_is_refused_is_not_warned_too_but_it_is_noted(plugin: Any) -> None:
    acting = plugin(namespace(enforce="baseline", audit="restricted"))
    admission = write(PODS, pod(hostNetwork=True))
    with pytest.raises(ForbiddenError):
        await acting.validate(admission)
    noted = admission.annotations.at("Metadata")
    assert noted[f"{PREFIX}enforce-policy"] == "baseline:latest"
    assert noted[f"{PREFIX}audit-violations"].startswith('would violate PodSecurity "restricted')


@pytest.mark.parametrize(
    ("resource", "obj"),
    [
        (DEPLOYMENTS, deployment(hostNetwork=True)),
        (
            CRONJOBS,
            {
                "metadata": {"name": "d", "namespace": "a"},
                "spec": {"jobTemplate": {"spec": {"template": pod(hostNetwork=True)}}},
            },
        ),
    ],
)
async def test_templates_of_workloads_are_warned_of_and_never_refused(
    plugin: Any, resource: Any, obj: Any
) -> None:
    acting = plugin(namespace(enforce="baseline"))
    told = f'would violate PodSecurity "baseline:latest": {HOST_NETWORK}'
    assert await acting.validate(write(resource, obj)) == (told,)
    quiet = plugin(namespace(enforce="baseline", warn="privileged"))
    assert await quiet.validate(write(resource, obj)) == ()
    assert await acting.validate(write(resource, obj, "UPDATE", subresource="status")) == ()


async def test_labels_that_mean_nothing_enforce_the_strictest(plugin: Any) -> None:
    acting = plugin(namespace(enforce="strict"))
    admission = write(PODS, pod())
    with pytest.raises(ForbiddenError, match='violates PodSecurity "restricted:latest"'):
        await acting.validate(admission)
    assert "Failed to parse policy" in admission.annotations.at("Metadata")[f"{PREFIX}error"]


@pytest.mark.parametrize(
    ("exemption", "why", "write_of"),
    [
        ({"namespaces": ["a"]}, "namespace", {}),
        ({"usernames": ["eve"]}, "user", {"user": User("eve")}),
        ({"runtimeClasses": ["kata"]}, "runtimeClass", {}),
    ],
)
async def test_who_is_exempt_is_let_in_and_that_is_noted(
    plugin: Any, exemption: Any, why: str, write_of: Any
) -> None:
    acting = plugin(namespace(enforce="restricted"), exemptions=exemption)
    admission = write(PODS, pod(hostNetwork=True, runtimeClassName="kata"), **write_of)
    assert await acting.validate(admission) == ()
    assert admission.annotations.at("Metadata") == {f"{PREFIX}exempt": why}


async def test_an_update_counts_where_it_brings_images_or_containers(plugin: Any) -> None:
    acting = plugin(namespace(enforce="baseline"))
    old = pod(hostNetwork=True)
    labelled = {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}
    assert await acting.validate(write(PODS, labelled, "UPDATE", old=old)) == ()
    image = pod(hostNetwork=True, containers=[{"name": "c", "image": "j"}])
    with pytest.raises(ForbiddenError):
        await acting.validate(write(PODS, image, "UPDATE", old=old))
    debugged = pod(hostNetwork=True, ephemeralContainers=[{"name": "d", "image": "i"}])
    with pytest.raises(ForbiddenError):
        await acting.validate(
            write(PODS, debugged, "UPDATE", old=old, subresource="ephemeralcontainers")
        )
    assert await acting.validate(write(PODS, image, "UPDATE", old=old, subresource="status")) == ()


async def test_other_kinds_are_none_of_its_business(plugin: Any) -> None:
    acting = plugin(namespace(enforce="restricted"))
    assert await acting.validate(write(CONFIGMAPS, {"metadata": {"name": "x"}})) == ()
    assert await acting.validate(write(PODS, None, "DELETE", name="p")) == ()


# Namespaces


async def test_a_namespace_with_labels_that_mean_nothing_is_refused(plugin: Any) -> None:
    bad, acting = namespace(enforce="strict"), plugin(namespace())
    with pytest.raises(InvalidError) as caught:
        await acting.validate(write(NAMESPACES, bad))
    assert caught.value.message == (
        'Namespace "a" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: '
        'Invalid value: "strict": must be one of privileged, baseline, restricted'
    )
    with pytest.raises(InvalidError):
        await acting.validate(write(NAMESPACES, bad, "UPDATE", old=namespace()))
    assert await acting.validate(write(NAMESPACES, bad, "UPDATE", old=bad)) == ()


def running(name: str, owner: str = "", **spec: Any) -> dict[str, Any]:
    made = pod(**spec)
    made["metadata"]["name"] = name
    if owner:
        made["metadata"]["ownerReferences"] = [{"uid": owner, "controller": True}]
    return made


async def test_a_stricter_level_warns_of_pods_that_run_already(plugin: Any) -> None:
    pods = [
        running("web-2", hostNetwork=True),
        running("web-1", hostNetwork=True),
        running("web-3", hostNetwork=True),
        running("db", hostPID=True, hostNetwork=True, volumes=[{"name": "v", "hostPath": {}}]),
        running("fine"),
    ]
    acting = plugin(namespace(), *pods)
    admission = write(NAMESPACES, namespace(enforce="baseline"), "UPDATE", old=namespace())
    assert await acting.validate(admission) == [
        (
            'existing pods in namespace "a" violate the new PodSecurity enforce level '
            '"baseline:latest"'
        ),
        "db: host namespaces, hostPath volumes",
        "web-1 (and 2 other pods): host namespaces",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"enforce": "baseline"}, {"enforce": "baseline", "warn": "restricted"}),
        ({"enforce": "restricted"}, {"enforce": "baseline"}),
        ({"enforce": "restricted"}, {"enforce": "privileged", "enforce_version": "v1.1"}),
    ],
)
async def test_a_level_that_is_no_stricter_looks_at_no_pod(plugin: Any, old: Any, new: Any) -> None:
    acting = plugin(namespace(), running("web", hostNetwork=True))
    admission = write(NAMESPACES, namespace(**new), "UPDATE", old=namespace(**old))
    assert await acting.validate(admission) == ()


async def test_of_very_many_pods_one_of_each_controller_is_looked_at_first(
    plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_security, "PODS_CHECKED_MAX", 2)
    pods = [running(f"web-{n}", "rs", hostNetwork=True) for n in range(3)]
    acting = plugin(namespace(), *pods, running("alone", hostPID=True))
    admission = write(NAMESPACES, namespace(enforce="baseline"), "UPDATE", old=namespace())
    warnings = await acting.validate(admission)
    assert warnings[0] == (
        "new PodSecurity enforce level only checked against the first 2 of 4 existing pods"
    )
    assert warnings[2:] == ["alone (and 1 other pod): host namespaces"]


async def test_the_look_at_running_pods_ends_after_a_second(plugin: Any, clock: Any) -> None:
    acting = plugin(namespace(), *[running(f"web-{n}", hostNetwork=True) for n in range(3)])
    ticks = iter((0.0, 0.4, 1.2, 9.9))
    clock.monotonic = lambda: next(ticks)
    admission = write(NAMESPACES, namespace(enforce="baseline"), "UPDATE", old=namespace())
    warnings = await acting.validate(admission)
    assert warnings[0].endswith("only checked against the first 2 of 3 existing pods")


async def test_labels_that_an_exemption_makes_void_are_warned_of(plugin: Any) -> None:
    acting = plugin(namespace(), exemptions={"namespaces": ["a"]})
    text = 'namespace "a" is exempt from Pod Security, and the policy'
    assert await acting.validate(write(NAMESPACES, namespace(enforce="baseline"))) == (
        f"{text} (enforce=baseline:latest) will be ignored",
    )
    assert await acting.validate(write(NAMESPACES, namespace())) == ()


# Configuration


async def test_defaults_hold_where_a_namespace_says_nothing(plugin: Any) -> None:
    defaults = {"enforce": "baseline", "enforce-version": "v1.20"}
    acting = plugin(namespace(), defaults=defaults)
    assert await acting.validate(write(PODS, pod())) == ()
    text = await refusal(acting, write(PODS, pod(hostNetwork=True)))
    assert 'violates PodSecurity "baseline:v1.20"' in text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"defaults": {"enforce": "strict"}}, "defaults.enforce: Invalid value"),
        ({"defaults": {"enfroce": "baseline"}}, "unknown field 'defaults.enfroce'"),
        ({"exemption": {}}, "unknown field 'exemption'"),
        ({"exemptions": {"namespaces": "a"}}, "exemptions.namespaces must be a list"),
    ],
)
def test_a_mistake_in_the_configuration_keeps_the_server_from_starting(
    document: Any, text: str
) -> None:
    with pytest.raises(StartError, match=text):
        configuration_of(document)
