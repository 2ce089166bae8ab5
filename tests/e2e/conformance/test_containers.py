"""Containers as the conformance suite looks at them: command, environment, user, rights."""

from typing import Any

import pytest

from tests.e2e.conformance.batch import IMAGE, Batch, Case, entry, pod

pytestmark = pytest.mark.e2e
DATA = {"data_1": "value-1", "data_2": "value-2"}
OBJECTS = (
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held"}, "data": DATA},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "held"}, "stringData": DATA},
)
NODE_ADDRESS = "192.168.77.1"


def runs(*lines: str, phase: str = "Succeeded", **container: Any) -> Case:
    """Return a pod whose container has just these fields beside name and image."""
    spec = pod("", **container.pop("spec", {}))
    spec["containers"] = [{"name": "c", "image": IMAGE, **container}]
    return Case(spec, lines, phase=phase)


def env(script: str, *lines: str, **container: Any) -> Case:
    """Return a pod that prints what it finds in its environment."""
    return runs(*lines, command=["sh", "-c", script], **container)


def field(path: str, name: str = "TOLD") -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def amount(name: str, resource: str, divisor: str = "1") -> dict[str, Any]:
    source = {"resource": resource, "divisor": divisor}
    return {"name": name, "valueFrom": {"resourceFieldRef": source}}


def key(kind: str) -> dict[str, Any]:
    source = {f"{kind}KeyRef": {"name": "held", "key": "data_1"}}
    return {"name": "CONFIG_DATA_1", "valueFrom": source}


def prefixes(kind: str) -> list[dict[str, Any]]:
    """Return the same object three times, under prefixes that upstream's test uses."""
    ref = {f"{kind}Ref": {"name": "held"}}
    return [ref, {"prefix": "p-", **ref}, {"prefix": "1-", **ref}, {"prefix": "$_-", **ref}]


FOO = [
    {"name": "FOO", "value": "foo-value"},
    {"name": "BAR", "value": "bar-value"},
    {"name": "FOOBAR", "value": "$(FOO);;$(BAR)"},
]
PREFIXED = ("data_1=value-1", "p-data_1=value-1", "1-data_1=value-1", "$_-data_1=value-1")
RESOURCES = {
    "requests": {"cpu": "250m", "memory": "32Mi"},
    "limits": {"cpu": "1250m", "memory": "64Mi"},
}
LIMITS = [
    amount("CPU_LIMIT", "limits.cpu", "1m"),
    amount("MEMORY_LIMIT", "limits.memory"),
    amount("CPU_REQUEST", "requests.cpu", "1m"),
    amount("MEMORY_REQUEST", "requests.memory"),
]
COMMANDS = [
    entry("Containers should use the image defaults if command and args are blank", runs()),
    entry(
        "Containers should be able to override the image's default arguments (container cmd)",
        runs("overridden", args=["echo", "overridden"]),
    ),
    entry(
        "Containers should be able to override the image's default command (container entrypoint)",
        runs("overridden", command=["echo", "overridden"]),
    ),
    entry(
        "Containers should be able to override the image's default command and arguments",
        runs("overridden arguments", command=["echo"], args=["overridden", "arguments"]),
    ),
    entry(
        "Kubelet when scheduling a busybox command in a pod should print the output to logs",
        env("echo Hello World; echo and errors >&2", "Hello World", "and errors"),
    ),
]
ENVIRONMENTS = [
    entry(
        "ConfigMap should be consumable via environment variable",
        env("env", "CONFIG_DATA_1=value-1", env=[key("configMap")]),
    ),
    entry(
        "ConfigMap should be consumable via the environment",
        env("env", "data_1=value-1", "data_2=value-2", envFrom=prefixes("configMap")[:1]),
    ),
    entry(
        "ConfigMap should be consumable as environment variable names with various prefixes",
        runs(*PREFIXED, command=["env"], envFrom=prefixes("configMap")),
    ),
    entry(
        "Secrets should be consumable from pods in env vars",
        env("env", "CONFIG_DATA_1=value-1", env=[key("secret")]),
    ),
    entry(
        "Secrets should be consumable via the environment",
        env("env", "data_1=value-1", "data_2=value-2", envFrom=prefixes("secret")[:1]),
    ),
    entry(
        "Secrets should be consumable as environment variable names variable names with various"
        " prefixes",
        runs(*PREFIXED, command=["env"], envFrom=prefixes("secret")),
    ),
    entry(
        "Downward API should provide pod name, namespace and IP address as env vars",
        env(
            'echo "$NAMESPACE"; case $IP in 10.42.*) echo good;; esac; [ $NAME = $(hostname) ]',
            "test-containers",
            "good",
            env=[
                field("metadata.name", "NAME"),
                field("metadata.namespace", "NAMESPACE"),
                field("status.podIP", "IP"),
            ],
        ),
    ),
    entry(
        "Downward API should provide host IP as an env var",
        env("env", f"TOLD={NODE_ADDRESS}", env=[field("status.hostIP")]),
    ),
    entry(
        "Downward API should provide hostIPs as an env var",
        env("env", f"TOLD={NODE_ADDRESS}", env=[field("status.hostIPs")]),
    ),
    entry(
        "Downward API should provide pod UID as env vars",
        env(
            "echo $TOLD | grep -Eq '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' && echo good",
            "good",
            env=[field("metadata.uid")],
        ),
    ),
    entry(
        "Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env"
        " vars",
        env(
            "env",
            "CPU_LIMIT=1250",
            "MEMORY_LIMIT=67108864",
            "CPU_REQUEST=250",
            "MEMORY_REQUEST=33554432",
            env=LIMITS,
            resources=RESOURCES,
        ),
    ),
    entry(
        "Downward API should provide default limits.cpu/memory from node allocatable",
        env('[ "$CPU_LIMIT" -ge 1 ] && [ "$MEMORY_LIMIT" -ge 1000000 ]', env=LIMITS[:2]),
    ),
    entry(
        "Variable Expansion should allow composing env vars into new env vars",
        env("env", "FOO=foo-value", "FOOBAR=foo-value;;bar-value", env=FOO),
    ),
    entry(
        "Variable Expansion should allow substituting values in a container's command",
        runs("test-value foo-value", command=["echo", "test-value", "$(FOO)"], env=FOO),
    ),
    entry(
        "Variable Expansion should allow substituting values in a container's args",
        runs("test-value foo-value", command=["echo"], args=["test-value", "$(FOO)"], env=FOO),
    ),
    entry(
        "Variable Expansion should allow substituting values in a volume subpath",
        env(
            "touch /here/made; ls /all/foo-value",
            "made",
            env=FOO,
            volumeMounts=[
                {"name": "v", "mountPath": "/here", "subPathExpr": "$(FOO)"},
                {"name": "v", "mountPath": "/all"},
            ],
            spec={"volumes": [{"name": "v", "emptyDir": {}}]},
        ),
    ),
]
USER = {"runAsUser": 1001, "runAsGroup": 2002}
ALIASES = [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]
SYSCTL = {"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}}
RIGHTS = [
    entry(
        "Security Context When creating a container with runAsUser should run the container with"
        " uid 65534",
        env("id -u", "65534", securityContext={"runAsUser": 65534}),
    ),
    entry(
        "Security Context When creating a pod with privileged should run the container as"
        " unprivileged when false",
        env(
            "mount -t tmpfs none /mnt && echo mounted || echo refused",
            "refused",
            securityContext={"privileged": False},
        ),
    ),
    entry(
        "Security Context When creating a pod with readOnlyRootFilesystem should run the container"
        " with writable rootfs when readOnlyRootFilesystem=false",
        env("touch /made && ls /made", "/made", securityContext={"readOnlyRootFilesystem": False}),
    ),
    entry(
        "Kubelet when scheduling a read only busybox container should not write to root filesystem",
        env(
            "echo test > /file; sleep 0; [ -e /file ] || echo refused",
            "refused",
            securityContext={"readOnlyRootFilesystem": True},
        ),
    ),
    entry(
        "Security Context should support container.SecurityContext.RunAsUser And"
        " container.SecurityContext.RunAsGroup",
        env("echo $(id -u):$(id -g)", "1001:2002", securityContext=USER),
    ),
    entry(
        "Security Context should support pod.Spec.SecurityContext.RunAsUser And"
        " pod.Spec.SecurityContext.RunAsGroup",
        env("echo $(id -u):$(id -g)", "1001:2002", spec={"securityContext": USER}),
    ),
    entry(
        "Security Context when creating containers with AllowPrivilegeEscalation should not allow"
        " privilege escalation when false",
        env(
            "id -u; grep NoNewPrivs /proc/self/status",
            "1000",
            "NoNewPrivs:\t1",
            securityContext={"allowPrivilegeEscalation": False, "runAsUser": 1000},
        ),
    ),
    entry(
        "Kubelet when scheduling an agnhost Pod with hostAliases should write entries to"
        " /etc/hosts",
        env("cat /etc/hosts", "123.45.67.89\tfoo\tbar", spec={"hostAliases": ALIASES}),
    ),
    entry(
        "Sysctls should support sysctls",
        env("sysctl -n kernel.shm_rmid_forced", "1", spec=SYSCTL),
    ),
]
CASES = [*COMMANDS, *ENVIRONMENTS, *RIGHTS]


@pytest.mark.parametrize("case", CASES)
def test_a_container_finds_itself_as_its_spec_says(batch: Batch, case: Case) -> None:
    batch.check(case)
