"""The environment of a container, and what a pod may learn of itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.kubelet.env import (
    EnvError,
    EnvSources,
    environment,
    service_variables,
    visible_services,
)
from minikube_py.agent.kubelet.env_file import EnvFileError, lookup
from minikube_py.agent.kubelet.expansion import expand, unknown_names
from minikube_py.agent.kubelet.field_ref import (
    FieldRefError,
    field_value,
    format_map,
    resource_value,
)
from tests.unit.agent.kubelet.builders import container, pod

MAPS = {"conf": {"data": {"mode": "fast", "a b": "odd", "x=y": "never"}}}
SECRETS = {"keys": {"token": b"s3cret"}}


def sources(**services: str) -> EnvSources:
    return EnvSources(
        config_map=MAPS.get,
        secret=SECRETS.get,
        fields={"status.podIP": "10.0.0.2", "status.hostIPs": ["1.1.1.1", "2.2.2.2"]},
        allocatable={"cpu": "2", "memory": "1Gi"},
        services=services,
    )


def env_of(*entries: Any, from_: Any = (), services: Any = None) -> dict[str, str]:
    one = container(
        env=list(entries),
        envFrom=list(from_),
        resources={"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}},
    )
    a_pod = pod([one], metadata={"labels": {"app": "web"}, "annotations": {"note": "n"}})
    return environment(a_pod, one, sources(**(services or {})))


def ref(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {kind: fields}}


def test_values_are_taken_as_they_are():
    assert env_of({"name": "A", "value": "1"}, {"name": "B"}) == {"A": "1", "B": ""}


def test_a_value_may_use_those_before_it():
    entries = ({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)"}, {"name": "C"})
    assert env_of(*entries)["B"] == "1-$(C)"


def test_later_entries_win_and_own_ones_win_over_whole_maps():
    from_ = [{"configMapRef": {"name": "conf"}}]
    entry = {"name": "mode", "value": "slow"}
    assert env_of(entry, from_=from_) == {"mode": "slow", "a b": "odd"}


def test_a_whole_map_may_have_a_prefix_and_a_value_may_use_it():
    from_ = [{"prefix": "P_", "secretRef": {"name": "keys"}}]
    assert env_of({"name": "A", "value": "<$(P_token)>"}, from_=from_)["A"] == "<s3cret>"


def test_keys_that_are_no_names_are_left_out():
    assert "x=y" not in env_of(from_=[{"configMapRef": {"name": "conf"}}])


def test_services_come_last_and_give_way():
    services = {"WEB_SERVICE_HOST": "10.0.0.1", "A": "service"}
    found = env_of(
        {"name": "A", "value": "own"},
        {"name": "URL", "value": "http://$(WEB_SERVICE_HOST)"},
        services=services,
    )
    assert found == {"A": "own", "URL": "http://10.0.0.1", "WEB_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (ref("fieldRef", fieldPath="metadata.name"), "a"),
        (ref("fieldRef", fieldPath="metadata.namespace"), "default"),
        (ref("fieldRef", fieldPath="metadata.uid"), "u"),
        (ref("fieldRef", fieldPath="metadata.labels['app']"), "web"),
        (ref("fieldRef", fieldPath="metadata.annotations['none']"), ""),
        (ref("fieldRef", fieldPath="status.podIP"), "10.0.0.2"),
        (ref("fieldRef", fieldPath="status.hostIPs"), "1.1.1.1,2.2.2.2"),
        (ref("resourceFieldRef", resource="limits.memory"), str(64 << 20)),
        (ref("resourceFieldRef", resource="limits.memory", divisor="1Mi"), "64"),
        (ref("resourceFieldRef", resource="requests.cpu"), "1"),
        (ref("resourceFieldRef", resource="requests.cpu", divisor="1m"), "250"),
        (ref("resourceFieldRef", resource="limits.cpu"), "2"),
        (ref("resourceFieldRef", resource="requests.memory"), "0"),
        (ref("configMapKeyRef", name="conf", key="mode"), "fast"),
        (ref("secretKeyRef", name="keys", key="token"), "s3cret"),
    ],
)
def test_references_are_followed(entry, value):
    assert env_of(entry)["X"] == value


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (ref("configMapKeyRef", name="no", key="k"), 'configmap "no" not found'),
        (
            ref("configMapKeyRef", name="conf", key="no"),
            "couldn't find key no in ConfigMap default/conf",
        ),
        (ref("secretKeyRef", name="no", key="k"), 'secret "no" not found'),
        (ref("secretKeyRef", name="keys", key="no"), "couldn't find key no in Secret default/keys"),
        (ref("fieldRef", fieldPath="spec.hostname"), "unsupported fieldPath: spec.hostname"),
        (
            ref("resourceFieldRef", resource="limits.cpu", containerName="no"),
            "container no not found",
        ),
        (ref("otherRef", name="v"), "variable X has a source that this kubelet"),
    ],
)
def test_references_that_lead_nowhere_are_errors(entry, message):
    with pytest.raises(EnvError, match=message.replace("'", ".")):
        env_of(entry)


@pytest.mark.parametrize("kind", ["configMapKeyRef", "secretKeyRef"])
def test_optional_references_that_lead_nowhere_are_left_out(kind):
    assert env_of(ref(kind, name="no", key="k", optional=True)) == {}


@pytest.mark.parametrize(
    ("kind", "message"), [("configMapRef", 'configmap "no"'), ("secretRef", 'secret "no"')]
)
def test_whole_maps_must_exist_unless_they_are_optional(kind, message):
    assert env_of(from_=[{kind: {"name": "no", "optional": True}}]) == {}
    with pytest.raises(EnvError, match=message):
        env_of(from_=[{kind: {"name": "no"}}])


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE) $(A", "$(NONE) $(A"),
        ("cost: $5", "cost: $5"),
        ("$()", "$()"),
    ],
)
def test_references_in_text_are_expanded(text, result):
    assert expand(text, {"A": "1"}) == result


def test_unknown_references_are_named():
    assert unknown_names("$(A)/$(B)/$$(C)", {"A": ""}) == ["B"]


def test_maps_are_written_sorted_and_quoted():
    assert format_map({"b": 'say "x"\n', "a": "ü"}) == 'a="ü"\nb="say \\"x\\"\\n"'


def test_only_limits_and_requests_are_resources():
    with pytest.raises(FieldRefError, match="unsupported container resource"):
        resource_value(pod(), "c", {"resource": "uses.cpu"}, {})


def test_all_labels_are_a_field():
    labelled = pod(metadata={"labels": {"b": "2", "a": "1"}})
    assert field_value(labelled, "metadata.labels", {}) == 'a="1"\nb="2"'


# --- services -----------------------------------------------------------------------------------


def service(name: str, namespace: str = "default", ip: str = "10.0.0.1", **more: Any) -> Any:
    ports = [{"name": "http-x", "port": 80}, {"name": "", "port": 53, "protocol": "UDP"}]
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": ip, "ports": ports} | more,
    }


def test_a_service_is_told_in_both_ways():
    assert service_variables([service("my-web")]) == {
        "MY_WEB_SERVICE_HOST": "10.0.0.1",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP_X": "80",
        "MY_WEB_PORT": "tcp://10.0.0.1:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.0.0.1:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.0.0.1",
        "MY_WEB_PORT_53_UDP": "udp://10.0.0.1:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.0.0.1",
    }


def names(found: list[Any]) -> list[str]:
    return [f"{s['metadata']['namespace']}/{s['metadata']['name']}" for s in found]


ALL = [
    service("kubernetes"),
    service("web", "mine"),
    service("other", "theirs"),
    service("headless", "mine", ip="None"),
    service("external", "mine", ip=""),
]


@pytest.mark.parametrize(
    ("namespace", "links", "expected"),
    [
        ("mine", True, ["default/kubernetes", "mine/web"]),
        ("mine", False, ["default/kubernetes"]),
        ("default", True, ["default/kubernetes"]),
    ],
)
def test_a_pod_sees_the_services_of_its_namespace_and_the_api(namespace, links, expected):
    assert names(visible_services(ALL, namespace, links=links)) == expected


def test_a_service_of_the_namespace_hides_the_one_of_the_api():
    own = [*ALL, service("kubernetes", "mine")]
    assert names(visible_services(own, "mine", links=True)) == ["mine/kubernetes", "mine/web"]


# --- files of volumes ---------------------------------------------------------------------------


def from_file(tmp_path: Path, text: str, **more: Any) -> dict[str, str]:
    (tmp_path / "vars").write_text(text)
    one = container(env=[ref("fileKeyRef", volumeName="v", path="vars", key="K", **more)])
    return environment(pod([one]), one, replace(sources(), volumes={"v": tmp_path}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("K='one'\n", "one"),
        ("# note\n\n  A='2'\n  K='a # b'  # note\n", "a # b"),
        ("K='two\nlines'\n", "two\nlines"),
        ("K='$(A) \\n \"'\n", '$(A) \\n "'),
    ],
)
def test_a_value_may_come_from_a_file_of_a_volume(tmp_path, text, value):
    assert from_file(tmp_path, text) == {"X": value}


@pytest.mark.parametrize("text", ["K=bare\n", "K = 'a'\n", "='a'\n", "K\n", "K='a' b\n", "K='a\n"])
def test_a_file_that_is_no_shell_is_refused(tmp_path, text):
    with pytest.raises(EnvError, match="couldn't parse env file"):
        from_file(tmp_path, text, optional=True)


def test_a_key_that_a_file_has_not_is_an_error_unless_it_is_optional(tmp_path):
    assert from_file(tmp_path, "A='1'\nK= 'b'\n", optional=True) == {}
    with pytest.raises(EnvError, match='environment variable key "K" not found in file "vars"'):
        from_file(tmp_path, "A='1'\n")


def test_a_link_out_of_the_volume_is_not_followed(tmp_path):
    inside = tmp_path / "volume"
    inside.mkdir()
    (tmp_path / "secret").write_text("K='1'")
    (inside / "link").symlink_to("../secret")
    with pytest.raises(EnvFileError, match="not within the volume"):
        lookup(inside, "link", "K")
