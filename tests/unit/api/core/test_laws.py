"""Laws of all pods: defaults are stable, nothing is assigned into, what was accepted stays."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import PODS
from minikube_py.api.core.pod_defaults import default_pod_template
from minikube_py.api.core.pod_prepare import prepare_for_create, prepare_for_update
from minikube_py.api.core.pod_resources import qos_class
from minikube_py.api.core.pod_validation import validate_pod_template
from minikube_py.api.fields import Field
from tests.frozen import freeze

NAMES = st.sampled_from(["a", "b", "c-1", "Bad_Name", ""])
AMOUNTS = st.sampled_from(["1", "500m", "1Gi", "0", "-1", "1.5"])
RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        key: st.dictionaries(st.sampled_from(["cpu", "memory", "a.b/c"]), AMOUNTS, max_size=2)
        for key in ("limits", "requests")
    },
)
ACTIONS = st.sampled_from(
    [
        {"exec": {"command": ["x"]}},
        {"httpGet": {"port": 80}},
        {"tcpSocket": {"port": "http"}},
        {"grpc": {"port": 9}},
        {},
    ]
)
PORTS = st.fixed_dictionaries(
    {"containerPort": st.sampled_from([0, 80, 70000])},
    optional={"name": NAMES, "hostPort": st.sampled_from([80, 81]), "protocol": NAMES},
)
VARIABLES = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "value": st.text(max_size=3),
        "valueFrom": st.sampled_from(
            [{"fieldRef": {"fieldPath": "metadata.name"}}, {"secretKeyRef": {"key": "k"}}, {}]
        ),
    },
)
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES, "image": st.sampled_from(["i", "i:latest", "r/i:1@bad", ""])},
    optional={
        "resources": RESOURCES,
        "livenessProbe": ACTIONS,
        "ports": st.lists(PORTS, max_size=2),
        "env": st.lists(VARIABLES, max_size=2),
        "volumeMounts": st.lists(st.just({"name": "a", "mountPath": "/a"}), max_size=2),
        "securityContext": st.sampled_from([{}, {"privileged": True}, {"runAsUser": -1}]),
    },
)
VOLUMES = st.sampled_from(
    [
        {"name": "a"},
        {"name": "a", "emptyDir": {}, "hostPath": {"path": ".."}},
        {"name": "b", "secret": {"secretName": "s"}},
        {"name": "c-1", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "", "iscsi": {"targetPortal": "p", "iqn": "iqn"}},
    ]
)
SPECS = st.fixed_dictionaries(
    {"containers": st.lists(CONTAINERS, min_size=1, max_size=2)},
    optional={
        "initContainers": st.lists(CONTAINERS, max_size=1),
        "volumes": st.lists(VOLUMES, max_size=2),
        "hostNetwork": st.booleans(),
        "restartPolicy": st.sampled_from(["Always", "Never", "Odd"]),
        "tolerations": st.lists(st.just({"operator": "Exists"}), max_size=1),
        "resources": RESOURCES,
        "terminationGracePeriodSeconds": st.integers(-1, 1),
    },
)


def pod(spec: dict[str, Any]) -> Any:
    return freeze({"metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"}} | {
        "spec": spec
    })  # fmt: skip


@given(SPECS)
def test_defaults_change_nothing_the_second_time(spec: dict[str, Any]) -> None:
    once = PODS.default(pod(spec))
    assert PODS.default(freeze(once)) == once
    template = default_pod_template(freeze({"spec": spec}))
    assert default_pod_template(freeze(template)) == template


@given(SPECS)
def test_defaults_keep_what_was_said(spec: dict[str, Any]) -> None:
    made = PODS.default(pod(spec))["spec"]
    assert [c["name"] for c in made["containers"]] == [c["name"] for c in spec["containers"]]
    for key in ("restartPolicy", "terminationGracePeriodSeconds", "tolerations"):
        assert made.get(key) == spec.get(key, made.get(key))


@given(SPECS)
def test_every_pod_can_be_checked_and_every_error_has_a_field(spec: dict[str, Any]) -> None:
    made = freeze(prepare_for_create(freeze(PODS.default(pod(spec)))))
    for error in PODS.validate(made, None):
        assert error.field.startswith("spec")
        assert error.text
    list(PODS.warn(made, None))
    for error in validate_pod_template({"spec": made["spec"]}, Field("t")):
        assert error.field.startswith("t.spec")


@given(SPECS)
def test_a_pod_that_was_accepted_may_be_written_again(spec: dict[str, Any]) -> None:
    made = freeze(prepare_for_create(freeze(PODS.default(pod(spec)))))
    if list(PODS.validate(made, None)):
        return
    again = freeze(prepare_for_update(made, made))
    assert again == made
    assert list(PODS.validate(again, made)) == []


@given(SPECS)
def test_a_row_has_a_cell_for_every_column(spec: dict[str, Any]) -> None:
    assert PODS.cells is not None
    assert len(PODS.cells(pod(spec))) == len(PODS.columns)


@given(RESOURCES)
def test_a_pod_that_asks_for_nothing_is_served_best_effort(resources: dict[str, Any]) -> None:
    asked = [
        amount
        for listed in resources.values()
        for name, amount in listed.items()
        if name in {"cpu", "memory"} and amount not in {"0", "-1"}
    ]
    spec = {"containers": [{"name": "c", "resources": resources}]}
    assert (qos_class(spec) == "BestEffort") is not bool(asked)
