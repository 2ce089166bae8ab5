"""A KubeletConfiguration is options of a node; what a user told kpy itself goes first."""

import logging
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from minikube_py.agent.config import AgentConfig, NodeConfig
from minikube_py.agent.kubelet_configuration import FIELDS, KIND, VERSION, configured
from minikube_py.agent.policies import check_node, log_limits, pressure_policy, shutdown_policy
from minikube_py.agent.shares import reserved_of, topology_options
from minikube_py.lib.errors import StartError

FULL = {
    "maxPods": 40,
    "evictionHard": {"memory.available": "200Mi", "nodefs.available": "5%"},
    "evictionSoft": {"memory.available": "300Mi"},
    "evictionSoftGracePeriod": {"memory.available": "1m30s"},
    "evictionMinimumReclaim": {"nodefs.available": "1Gi"},
    "kubeReserved": {"cpu": "100m", "memory": "128Mi"},
    "systemReserved": {"memory": "64Mi"},
    "enforceNodeAllocatable": ["pods"],
    "containerLogMaxSize": "1Mi",
    "containerLogMaxFiles": 3,
    "shutdownGracePeriodByPodPriority": [{"priority": 100, "shutdownGracePeriodSeconds": 10}],
    "allowedUnsafeSysctls": ["net.core.somaxconn"],
    "registerWithTaints": [{"key": "edge", "value": "yes", "effect": "NoSchedule"}],
    "memorySwap": {"swapBehavior": "NoSwap"},
    "staticPodPath": "/etc/kubernetes/manifests",
    "serializeImagePulls": True,
    "failSwapOn": False,
}


def write(file: Path, **document: object) -> Path:
    file.write_text(yaml.safe_dump({"apiVersion": VERSION, "kind": KIND, **document}))
    return file


def test_every_field_is_an_option_that_there_is():
    known = {field.name for field in fields(NodeConfig)}
    assert {target.option for target in FIELDS.values()} <= known


def test_what_it_says_is_what_options_say(tmp_path):
    file = write(tmp_path / "kubelet.yaml", **FULL)
    config = configured(AgentConfig(kubelet_config=str(file)))
    check_node(config)
    assert (config.max_pods, config.max_parallel_image_pulls) == (40, 1)
    assert config.eviction_hard == "memory.available<200Mi,nodefs.available<5%"
    (soft,) = (t for t in pressure_policy(config).eviction.thresholds if t.grace_seconds)
    assert soft.grace_seconds == 90
    assert reserved_of(config).named("memory").value() == 192 << 20
    assert (log_limits(config).bytes_max, log_limits(config).files_max) == (1 << 20, 3)
    assert [group.priority for group in shutdown_policy(config).groups] == [100]
    assert config.node_taint == ("edge=yes:NoSchedule",)
    assert config.pod_manifest_path == "/etc/kubernetes/manifests"
    topology_options(config)


def test_what_kpy_was_told_goes_first_and_files_of_the_folder_follow_by_name(tmp_path):
    file = write(tmp_path / "first", maxPods=40, containerLogMaxFiles=3, kubeReserved={"cpu": "1"})
    folder = tmp_path / "more"
    folder.mkdir()
    write(folder / "20.conf", containerLogMaxFiles=7)
    write(folder / "10.conf", containerLogMaxFiles=6, kubeReserved={"memory": "1Gi"})
    (folder / "notes.txt").write_text("no configuration")
    told = NodeConfig(
        kubelet_config=str(file), kubelet_config_dir=str(folder), max_pods=50, node_name="n"
    )
    assert configured(told) == replace(
        told, container_log_max_files=7, kube_reserved="cpu=1,memory=1Gi"
    )
    assert configured(NodeConfig()) == NodeConfig()


def test_what_kpy_cannot_is_told_of(tmp_path, caplog):
    file = write(tmp_path / "f", rotateCertificates=True, maxPods=20)
    with caplog.at_level(logging.WARNING):
        assert configured(NodeConfig(kubelet_config=str(file))).max_pods == 20
    assert "rotateCertificates" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: Pod", "holds no KubeletConfiguration"),
        (f"kind: {KIND}\napiVersion: kubelet.config.k8s.io/v1", "is of"),
        (f"kind: {KIND}\napiVersion: {VERSION}\nmaxPods: many", "maxPods cannot be 'many'"),
        ("{", "cannot read"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, words):
    file = tmp_path / "kubelet.yaml"
    file.write_text(text)
    with pytest.raises(StartError, match=words):
        configured(NodeConfig(kubelet_config=str(file)))


def test_a_file_or_folder_that_is_not_there_is_named(tmp_path):
    for name in ("kubelet_config", "kubelet_config_dir"):
        with pytest.raises(StartError, match="absent"):
            configured(NodeConfig(**{name: str(tmp_path / "absent")}))


@pytest.mark.parametrize("wrong", [{"container_log_max_files": 1}, {"max_pods": 0}])
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(StartError, match=r"ha(ve|s) to be"):
        check_node(NodeConfig(**wrong))
