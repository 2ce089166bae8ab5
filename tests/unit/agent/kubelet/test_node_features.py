"""What hangs on the kernel and the runtime of a node: sysctls, swap, users, nested mounts."""

import json
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.cri.runtime import Container, Handler, RuntimeStatus
from minikube_py.agent.kubelet.admit import Rules, admit
from minikube_py.agent.kubelet.container_status import Facts, container_statuses
from minikube_py.agent.kubelet.env_file import BYTES_MAX, EnvFileError, lookup
from minikube_py.agent.kubelet.node_object import with_runtime
from minikube_py.agent.kubelet.observed import Observed
from minikube_py.agent.kubelet.pod import Spec
from minikube_py.agent.kubelet.pod_mounts import ContainerFiles
from minikube_py.agent.kubelet.resources import container_resources
from minikube_py.agent.kubelet.security import apparmor
from minikube_py.agent.kubelet.swap import LIMITED, Swap, SwapError, check
from minikube_py.agent.kubelet.sysctls import allowed, forbidden, normal
from minikube_py.agent.kubelet.user_namespaces import (
    IDS,
    Range,
    UserNamespaceError,
    UserNamespaces,
    given_range,
)
from minikube_py.agent.kubelet.volumes.payload import VolumeError
from tests.unit.agent.kubelet.builders import container, pod

GIB = 1 << 30


def setting(name: str, **spec: Any) -> Any:
    return pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **spec)


# --- sysctls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "unsafe", "spec", "why"),
    [
        ("net.ipv4.tcp_syncookies", (), {}, None),
        ("kernel.msgmax", (), {}, 'forbidden sysctl: "kernel.msgmax" not allowlisted'),
        ("kernel/msgmax", ("kernel.msg*",), {}, None),
        ("net.core.somaxconn", ("net.core.somaxconn",), {}, None),
        ("net.core.other", ("net.core.somaxconn",), {}, '"net.core.other" not allowlisted'),
        (
            "kernel.shm_rmid_forced",
            (),
            {"hostIPC": True},
            '"kernel.shm_rmid_forced" not allowed with host IPC enabled',
        ),
        (
            "net.ipv4.tcp_syncookies",
            (),
            {"hostNetwork": True},
            '"net.ipv4.tcp_syncookies" not allowed with host Net enabled',
        ),
    ],
)
def test_a_pod_may_set_what_is_safe_or_allowed(name, unsafe, spec, why):
    found = forbidden(setting(name, **spec), allowed(unsafe))
    assert found is None if why is None else why in (found or "")


def test_a_name_may_have_slashes_where_others_have_dots():
    assert normal("net/ipv4/conf/eth0.1/rp_filter") == "net.ipv4.conf.eth0/1.rp_filter"
    assert normal("net.ipv4.conf.eth0/1.rp_filter") == "net.ipv4.conf.eth0/1.rp_filter"


def test_what_holds_for_the_whole_node_is_not_to_be_allowed():
    with pytest.raises(ValueError, match="not known to be namespaced"):
        allowed(["vm.swappiness"])


# --- AppArmor, groups ---------------------------------------------------------------------------


def test_a_profile_is_told_in_the_old_and_the_new_field():
    found = apparmor({"type": "Localhost", "localhostProfile": "web"})
    assert found["apparmor"] == {"profile_type": "Localhost", "localhost_ref": "web"}
    assert found["apparmor_profile"] == "localhost/web"
    assert apparmor({"type": "RuntimeDefault"})["apparmor_profile"] == "runtime/default"
    assert apparmor(None) == {}


def test_strict_groups_need_a_runtime_that_can_leave_groups_out():
    strict = pod(securityContext={"supplementalGroupsPolicy": "Strict"})
    room = {"cpu": "1", "memory": "1Gi", "pods": "9"}
    node: Any = {"metadata": {}}
    assert admit(strict, [], room, node) is None
    refused = admit(strict, [], room, node, Rules(strict_groups=False))
    assert refused is not None
    assert refused.reason == "SupplementalGroupsPolicyNotSupported"


def test_a_node_tells_what_its_runtime_can_do_as_far_as_it_knows():
    handlers = {"runc": Handler(recursive_read_only=True), "": Handler(user_namespaces=True)}
    told = with_runtime({}, RuntimeStatus(handlers=handlers, supplemental_groups_policy=True))
    assert [one["name"] for one in told["runtimeHandlers"]] == ["", "runc"]
    assert told["runtimeHandlers"][1]["features"] == {
        "recursiveReadOnlyMounts": True,
        "userNamespaces": False,
    }
    assert told["features"] == {"supplementalGroupsPolicy": True}
    assert with_runtime({"a": 1}, RuntimeStatus()) == {"a": 1}


# --- swap ---------------------------------------------------------------------------------------

ASKS = {"requests": {"memory": "512Mi"}}


@pytest.mark.parametrize(
    ("swap", "resources", "limit"),
    [
        (Swap(GIB, LIMITED, unified=True), ASKS, GIB // 2),
        (Swap(GIB, "", unified=True), ASKS, 0),
        (Swap(GIB, LIMITED, unified=True), {}, 0),
        (Swap(GIB, LIMITED, unified=True), {**ASKS, "limits": {"memory": "512Mi"}}, 0),
    ],
)
def test_a_container_has_the_part_of_the_swap_that_its_request_is_of_the_memory(
    swap, resources, limit
):
    one = container(resources=resources)
    found = container_resources(pod([one]), one, GIB, unified=True, swap=swap)
    assert found["unified"] == {"memory.oom.group": "1", "memory.swap.max": str(limit)}


def test_version_1_limits_memory_and_swap_together():
    one = container(resources={"limits": {"memory": "64Mi"}, "requests": {"memory": "1Mi"}})
    found = container_resources(pod([one]), one, GIB, unified=False, swap=Swap(GIB, LIMITED))
    assert found["memory_swap_limit_in_bytes"] == 64 << 20
    assert "memory_swap_limit_in_bytes" not in container_resources(
        pod([one]), one, GIB, unified=False, swap=Swap(0)
    )


def test_a_node_with_swap_is_refused_where_that_was_asked_for(tmp_path):
    swaps = tmp_path / "swaps"
    swaps.write_text("Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n")
    check(fail_on_swap=False, swaps=swaps)
    with pytest.raises(SwapError, match="running with swap on is not supported"):
        check(fail_on_swap=True, swaps=swaps)
    swaps.write_text("Filename Type Size Used Priority\n")
    check(fail_on_swap=True, swaps=swaps)


# --- user namespaces ----------------------------------------------------------------------------

ABLE = RuntimeStatus(handlers={"": Handler(user_namespaces=True)})


def isolated(uid: str) -> Any:
    return pod(hostUsers=False, metadata={"uid": uid})


def test_each_pod_has_ids_of_its_own_and_keeps_them(tmp_path):
    spaces = UserNamespaces(tmp_path)
    one, two = (spaces.of(isolated(uid), ABLE, "") for uid in ("a", "b"))
    assert one is not None
    assert one["uids"] == [{"host_id": IDS, "container_id": 0, "length": IDS}]
    assert two is not None
    assert two["gids"][0]["host_id"] == 2 * IDS
    # After a restart, when the first pod's folder is gone:
    (tmp_path / "a" / "userns").unlink()
    again = UserNamespaces(tmp_path)
    assert again.of(isolated("b"), ABLE, "") == two
    assert again.of(isolated("c"), ABLE, "") == one
    record = json.loads((tmp_path / "c" / "userns").read_text())
    assert record["uidMappings"] == [{"hostId": IDS, "containerId": 0, "length": IDS}]


def test_a_pod_with_the_users_of_the_node_has_no_namespace(tmp_path):
    assert UserNamespaces(tmp_path).of(pod(), ABLE, "") is None


def test_a_runtime_without_user_namespaces_is_not_asked_for_one(tmp_path):
    with pytest.raises(UserNamespaceError, match='handler "" does not support user namespaces'):
        UserNamespaces(tmp_path).of(isolated("a"), RuntimeStatus(), "")


def test_when_all_ids_are_taken_a_pod_waits(tmp_path):
    spaces = UserNamespaces(tmp_path, Range(IDS, IDS))
    spaces.of(isolated("a"), ABLE, "")
    with pytest.raises(UserNamespaceError, match="could not find an empty slot"):
        spaces.of(isolated("b"), ABLE, "")


def test_the_machine_may_give_another_range(tmp_path):
    files = tmp_path / "subuid", tmp_path / "subgid"
    assert given_range(2, files) == Range(IDS, 2 * IDS)
    for file in files:
        file.write_text(f"root:1:2\nkubelet:{4 * IDS}:{3 * IDS}\n")
    assert given_range(2, files) == Range(4 * IDS, 3 * IDS)
    with pytest.raises(UserNamespaceError, match="room for 9 pods"):
        given_range(9, files)
    files[1].write_text("kubelet:1:2\n")
    with pytest.raises(UserNamespaceError, match="one and the same range"):
        given_range(2, files)


# --- mounts below mounts ------------------------------------------------------------------------


def files(tmp_path: Path, mode: str, *, able: bool) -> ContainerFiles:
    mount = {
        "name": "v",
        "mountPath": "/v",
        "readOnly": True,
        "recursiveReadOnly": mode,
    }
    one = container(volumeMounts=[mount])
    return ContainerFiles(
        pod=pod([one], volumes=[{"name": "v", "emptyDir": {}}]),
        spec=Spec(one, "containers"),
        folder=tmp_path,
        volumes={"v": tmp_path},
        env={},
        ips=(),
        domain="cluster.local",
        attempt=0,
        recursive_read_only=able,
    )


def test_what_lies_below_a_mount_is_read_only_where_the_runtime_can(tmp_path):
    (mount,) = files(tmp_path, "IfPossible", able=True).mounts()
    assert mount.message()["recursive_read_only"]
    (mount,) = files(tmp_path, "IfPossible", able=False).mounts()
    assert not mount.message()["recursive_read_only"]
    with pytest.raises(VolumeError, match="not supported by the runtime"):
        files(tmp_path, "Enabled", able=False).mounts()


@pytest.mark.parametrize(("whole", "told"), [(("/v",), "Enabled"), ((), "Disabled")])
def test_the_status_tells_what_became_of_it(whole, told):
    mount = {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "IfPossible"}
    one = container(volumeMounts=[mount])
    seen = Container(
        id="1", name=one["name"], state="running", recursive_read_only=frozenset(whole)
    )
    facts = Facts(observed=Observed(containers=[seen]))
    (status,) = container_statuses(pod([one]), "containers", facts, {})
    assert status["volumeMounts"][0]["recursiveReadOnly"] == told


def test_a_huge_file_of_variables_is_not_read(tmp_path):
    (tmp_path / "vars").write_text("A='" + "x" * BYTES_MAX + "'")
    with pytest.raises(EnvFileError, match="larger than"):
        lookup(tmp_path, "vars", "A")
