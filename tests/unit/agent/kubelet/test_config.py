"""What the runtime is told of sandboxes and containers; all of it fits the messages of CRI."""

from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.cri.images import Image
from minikube_py.agent.cri.messages import codec
from minikube_py.agent.kubelet.config import (
    Machine,
    Mount,
    Start,
    container_config,
    sandbox_config,
)
from minikube_py.agent.kubelet.dns import Resolver
from minikube_py.agent.kubelet.security import (
    Confinement,
    SecurityError,
    container_context,
    sandbox_context,
)
from tests.unit.agent.kubelet.builders import container, pod

IMAGE = Image(id="sha256:1", uid=0)
MACHINE = Machine(memory_bytes=1 << 30, unified=False, seccomp_folder=Path("/sc"))


def sandbox_of(a_pod: Any, attempt: int = 0) -> dict[str, Any]:
    resolver = Resolver(("1.1.1.1",), ("x.y",), ("ndots:5",))
    config = sandbox_config(a_pod, attempt, "host", resolver, Path("/logs"))
    data = codec().encode("PodSandboxConfig", config)
    return codec().decode("PodSandboxConfig", data)


def container_of(a_pod: Any, one: Any, **start: Any) -> dict[str, Any]:
    begun = Start(**({"restart_count": 2, "image": IMAGE, "env": {"A": "1"}} | start))
    data = codec().encode("ContainerConfig", container_config(a_pod, one, begun, MACHINE))
    return codec().decode("ContainerConfig", data)


def test_a_sandbox_is_known_by_labels():
    labelled = pod(metadata={"labels": {"app": "web"}, "annotations": {"n": "1"}})
    config = sandbox_of(labelled, 3)
    assert config["metadata"] == {"name": "a", "namespace": "default", "uid": "u", "attempt": 3}
    assert config["labels"] == {
        "app": "web",
        "io.kubernetes.pod.name": "a",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": "u",
    }
    assert config["annotations"] == {"n": "1"}
    assert config["log_directory"] == "/logs/default_a_u"
    assert config["linux"]["cgroup_parent"] == "/kubepods/besteffort/podu"
    assert config["dns_config"]["servers"] == ["1.1.1.1"]


def test_host_ports_are_mapped_and_others_are_not():
    ports = [
        {"containerPort": 80, "hostPort": 8080},
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "127.0.0.1"},
        {"containerPort": 90},
    ]
    assert sandbox_of(pod([container(ports=ports)]))["port_mappings"] == [
        {"container_port": 80, "host_port": 8080},
        {"protocol": "UDP", "container_port": 53, "host_port": 53, "host_ip": "127.0.0.1"},
    ]


def test_sysctls_are_known_by_dots():
    sysctls = [{"name": "net/ipv4/tcp_syncookies", "value": "1"}]
    config = sandbox_of(pod(securityContext={"sysctls": sysctls}))
    assert config["linux"]["sysctls"] == {"net.ipv4.tcp_syncookies": "1"}


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ({}, {"pid": "CONTAINER"}),
        ({"hostNetwork": True}, {"network": "NODE", "pid": "CONTAINER"}),
        ({"hostPID": True}, {"pid": "NODE"}),
        ({"hostIPC": True}, {"pid": "CONTAINER", "ipc": "NODE"}),
        ({"shareProcessNamespace": True}, {}),
    ],
)
def test_namespaces_are_as_the_pod_wants_them(spec, options):
    found = sandbox_of(pod(**spec))["linux"]["security_context"]
    assert found.get("namespace_options", {}) == options


def test_a_sandbox_is_privileged_where_a_container_is():
    one = container(securityContext={"privileged": True})
    assert sandbox_context(pod([one]))["privileged"]
    assert not sandbox_context(pod())["privileged"]


def test_a_container_carries_what_must_outlive_kpy():
    one = container(terminationMessagePath="/dev/termination-log", ports=[{"containerPort": 80}])
    config = container_of(pod([one], terminationGracePeriodSeconds=7), one)
    assert config["metadata"] == {"name": "c", "attempt": 2}
    assert config["labels"]["io.kubernetes.container.name"] == "c"
    annotations = config["annotations"]
    assert annotations["io.kubernetes.container.restartCount"] == "2"
    assert annotations["io.kubernetes.container.terminationMessagePath"] == "/dev/termination-log"
    assert annotations["io.kubernetes.pod.terminationGracePeriod"] == "7"
    assert config["log_path"] == "c/2.log"
    assert config["image"]["image"] == "sha256:1"


def test_commands_are_expanded_and_streams_opened():
    one = container(
        command=["sh", "-c"], args=["echo $(A) $$(A)"], stdin=True, stdinOnce=True, tty=True
    )
    config = container_of(pod([one]), one)
    assert config["command"] == ["sh", "-c"]
    assert config["args"] == ["echo 1 $(A)"]
    assert config["envs"] == [{"key": "A", "value": b"1"}]
    assert (config["stdin"], config["stdin_once"], config["tty"]) == (True, True, True)


def test_mounts_say_how_they_spread():
    mounts = [
        Mount(container_path="/v", host_path=Path("/h"), read_only=True),
        Mount(container_path="/w", host_path=Path("/x"), propagation="Bidirectional"),
    ]
    assert container_of(pod(), container(), mounts=mounts)["mounts"] == [
        {"container_path": "/v", "host_path": "/h", "readonly": True},
        {
            "container_path": "/w",
            "host_path": "/x",
            "propagation": "PROPAGATION_BIDIRECTIONAL",
        },
    ]


def context_of(own: Any = None, shared: Any = None, image: Image = IMAGE) -> dict[str, Any]:
    one = container(securityContext=own or {})
    context = container_context(
        pod([one], securityContext=shared or {}), one, image, Confinement(Path("/sc"))
    )
    data = codec().encode("LinuxContainerSecurityContext", context)
    return codec().decode("LinuxContainerSecurityContext", data)


def test_a_container_has_what_its_pod_says_unless_it_says_otherwise():
    shared = {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4]}
    found = context_of({"runAsUser": 7}, shared)
    assert found["run_as_user"] == {"value": 7}
    assert found["run_as_group"] == {"value": 2000}
    assert found["supplemental_groups"] == [4, 3000]


@pytest.mark.parametrize(
    ("image", "user"),
    [
        (Image(id="x", uid=0), {"run_as_user": {}}),
        (Image(id="x", uid=65535), {"run_as_user": {"value": 65535}}),
        (Image(id="x", username="web"), {"run_as_username": "web"}),
        (Image(id="x"), {"run_as_user": {}}),
    ],
)
def test_else_the_image_says_who_it_runs_as(image, user):
    found = context_of(image=image)
    assert {key: found[key] for key in found if key.startswith("run_as_user")} == user


@pytest.mark.parametrize(
    ("own", "image", "message"),
    [
        ({"runAsUser": 0}, IMAGE, "container's runAsUser breaks non-root policy"),
        ({}, IMAGE, "container has runAsNonRoot and image will run as root"),
        ({}, Image(id="x"), "container has runAsNonRoot and image will run as root"),
        (
            {},
            Image(id="x", username="web"),
            r"image has non-numeric user \(web\), cannot verify user is non-root",
        ),
    ],
)
def test_who_must_not_be_root_is_not(own, image, message):
    with pytest.raises(SecurityError, match=message):
        context_of({"runAsNonRoot": True} | own, image=image)


def test_who_must_not_be_root_may_run_as_another():
    shared = {"runAsNonRoot": True}
    assert context_of({"runAsUser": 5}, shared)["run_as_user"] == {"value": 5}
    assert context_of(shared=shared, image=Image(id="x", uid=5))["run_as_user"] == {"value": 5}


def test_rights_are_passed_on():
    own = {
        "privileged": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
    }
    found = context_of(own)
    assert (found["privileged"], found["readonly_rootfs"], found["no_new_privs"]) == (
        True,
        True,
        True,
    )
    assert found["capabilities"] == {
        "add_capabilities": ["NET_ADMIN"],
        "drop_capabilities": ["ALL"],
    }
    assert "no_new_privs" not in context_of()


def test_what_the_kernel_shows_is_masked_unless_wanted():
    assert "/proc/kcore" in context_of()["masked_paths"]
    assert "masked_paths" not in context_of({"procMount": "Unmasked"})


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (None, {"profile_type": "Unconfined"}),
        ({"type": "RuntimeDefault"}, {}),
        (
            {"type": "Localhost", "localhostProfile": "p/web.json"},
            {"profile_type": "Localhost", "localhost_ref": "/sc/p/web.json"},
        ),
    ],
)
def test_seccomp_profiles_are_found(profile, expected):
    own = {"seccompProfile": profile} if profile else {}
    assert context_of(own)["seccomp"] == expected
    assert context_of(shared=own)["seccomp"] == expected


def test_an_ephemeral_container_sees_the_processes_of_its_target():
    found = container_context(pod(), container(), IMAGE, Confinement(Path("/sc")), target="id-1")
    assert found["namespace_options"]["pid"] == "TARGET"
    assert found["namespace_options"]["target_id"] == "id-1"
