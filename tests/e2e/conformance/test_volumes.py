"""Volumes as the conformance suite looks at them: contents, modes, owners, where they lie."""

import base64
from typing import Any

import pytest

from tests.e2e.conformance.batch import Batch, Case, entry, pod

pytestmark = pytest.mark.e2e
DATA = {"data-1": "value-1\n", "data-2": "value-2\n", "data-3": "value-3\n"}
BINARY = bytes([0xDE, 0xCA, 0xFE, 0xBA, 0xD0, 0xFE, 0xFF])
OBJECTS = (
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held"},
        "data": DATA,
        "binaryData": {"dump.bin": base64.b64encode(BINARY).decode()},
    },
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "held"}, "stringData": DATA},
)
NON_ROOT = {"securityContext": {"runAsUser": 1000}}
ITEMS = [{"key": "data-2", "path": "path/to/data-2"}]
ITEMS_READ_ONLY = [{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]
KINDS = {
    "configMap": lambda more: {"configMap": {"name": "held", **more}},
    "secret": lambda more: {"secret": {"secretName": "held", **more}},
    "projected configMap": lambda more: _projected("configMap", more),
    "projected secret": lambda more: _projected("secret", more),
}


def _projected(kind: str, more: dict[str, Any]) -> dict[str, Any]:
    source = {kind: {"name": "held", **{k: v for k, v in more.items() if k == "items"}}}
    top = {k: v for k, v in more.items() if k == "defaultMode"}
    return {"projected": {"sources": [source], **top}}


def shown(path: str, value: str, mode: str, owner: str = "0:0") -> tuple[str, ...]:
    """Return what `look` prints of a file."""
    return (f"{path}: {value}", f"{path}: {mode} {owner}")


def look(*paths: str) -> str:
    """Return a script that prints what files hold, and mode and owner of what they lead to."""
    return "; ".join(
        f'echo "{path}: $(cat {path})"; echo "{path}: $(stat -L -c "%A %u:%g" {path})"'
        for path in paths
    )


def files(kind: str, path: str = "/v/data-1", mode: str = "-rw-r--r--", **more: Any) -> Case:
    """Return a pod that looks at one file of a configMap or secret; `spec` is for the pod."""
    security = more.pop("spec", {})
    group = str(security.get("securityContext", {}).get("fsGroup", 0))
    value = f"value-{path[-1]}"
    return Case(
        pod(
            look(path),
            container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            volumes=[{"name": "v", **KINDS[kind](more)}],
            **security,
        ),
        shown(path, value, mode, f"0:{group}"),
    )


def several(kind: str) -> Case:
    """Return a pod that has the same thing in two volumes."""
    volumes = [{"name": name, **KINDS[kind]({})} for name in ("a", "b")]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("a", "b")]
    lines = [shown(f"/{name}/data-1", "value-1", "-rw-r--r--") for name in ("a", "b")]
    script = look("/a/data-1", "/b/data-1")
    spec = pod(script, container={"volumeMounts": mounts}, volumes=volumes)
    return Case(spec, tuple(line for pair in lines for line in pair))


GROUPED = {"securityContext": {"runAsUser": 1000, "fsGroup": 1001}}
MAPPED = "/v/path/to/data-2"
READ_ONLY = "-r--------"
CONFIG_MAPS = [
    entry("ConfigMap should be consumable from pods in volume", files("configMap")),
    entry(
        "ConfigMap should be consumable from pods in volume as non-root",
        files("configMap", spec=NON_ROOT),
    ),
    entry(
        "ConfigMap should be consumable from pods in volume with defaultMode set",
        files("configMap", mode=READ_ONLY, defaultMode=0o400),
    ),
    entry(
        "ConfigMap should be consumable from pods in volume with mappings",
        files("configMap", MAPPED, items=ITEMS),
    ),
    entry(
        "ConfigMap should be consumable from pods in volume with mappings and Item mode set",
        files("configMap", MAPPED, READ_ONLY, items=ITEMS_READ_ONLY),
    ),
    entry(
        "ConfigMap should be consumable from pods in volume with mappings as non-root",
        files("configMap", MAPPED, items=ITEMS, spec=NON_ROOT),
    ),
    entry(
        "ConfigMap should be consumable in multiple volumes in the same pod", several("configMap")
    ),
    entry(
        "ConfigMap binary data should be reflected in volume",
        Case(
            pod(
                "od -An -tx1 /v/dump.bin; cat /v/data-1",
                container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                volumes=[{"name": "v", "configMap": {"name": "held"}}],
            ),
            (" de ca fe ba d0 fe ff", "value-1"),
        ),
    ),
    entry(
        "Projected configMap should be consumable from pods in volume",
        files("projected configMap"),
    ),
    entry(
        "Projected configMap should be consumable from pods in volume as non-root",
        files("projected configMap", spec=NON_ROOT),
    ),
    entry(
        "Projected configMap should be consumable from pods in volume with defaultMode set",
        files("projected configMap", mode=READ_ONLY, defaultMode=0o400),
    ),
    entry(
        "Projected configMap should be consumable from pods in volume with mappings",
        files("projected configMap", MAPPED, items=ITEMS),
    ),
    entry(
        "Projected configMap should be consumable from pods in volume with mappings and Item"
        " mode set",
        files("projected configMap", MAPPED, READ_ONLY, items=ITEMS_READ_ONLY),
    ),
    entry(
        "Projected configMap should be consumable from pods in volume with mappings as non-root",
        files("projected configMap", MAPPED, items=ITEMS, spec=NON_ROOT),
    ),
    entry(
        "Projected configMap should be consumable in multiple volumes in the same pod",
        several("projected configMap"),
    ),
]
SECRETS = [
    entry("Secrets should be consumable from pods in volume", files("secret")),
    entry(
        "Secrets should be consumable from pods in volume with defaultMode set",
        files("secret", mode=READ_ONLY, defaultMode=0o400),
    ),
    entry(
        "Secrets should be consumable from pods in volume as non-root with defaultMode and fsGroup"
        " set",
        files("secret", mode="-r--r-----", defaultMode=0o440, spec=GROUPED),
    ),
    entry(
        "Secrets should be consumable from pods in volume with mappings",
        files("secret", MAPPED, items=ITEMS),
    ),
    entry(
        "Secrets should be consumable from pods in volume with mappings and Item Mode set",
        files("secret", MAPPED, READ_ONLY, items=ITEMS_READ_ONLY),
    ),
    entry("Secrets should be consumable in multiple volumes in a pod", several("secret")),
    entry("Projected secret should be consumable from pods in volume", files("projected secret")),
    entry(
        "Projected secret should be consumable from pods in volume with defaultMode set",
        files("projected secret", mode=READ_ONLY, defaultMode=0o400),
    ),
    entry(
        "Projected secret should be consumable from pods in volume as non-root with defaultMode"
        " and fsGroup set",
        files("projected secret", mode="-r--r-----", defaultMode=0o440, spec=GROUPED),
    ),
    entry(
        "Projected secret should be consumable from pods in volume with mappings",
        files("projected secret", MAPPED, items=ITEMS),
    ),
    entry(
        "Projected secret should be consumable from pods in volume with mappings and Item Mode set",
        files("projected secret", MAPPED, READ_ONLY, items=ITEMS_READ_ONLY),
    ),
    entry(
        "Projected secret should be consumable in multiple volumes in a pod",
        several("projected secret"),
    ),
]


# --- downward API ---------------------------------------------------------------------------------


def tells(what: dict[str, Any], *lines: str, projected: bool, **more: Any) -> Case:
    """Return a pod that reads about itself in the file /v/told."""
    mode = {key: more.pop(key) for key in ("defaultMode",) if key in more}
    told = {"downwardAPI": {"items": [{"path": "told", **what}]}}
    if projected:
        volume: dict[str, Any] = {"projected": {"sources": [told], **mode}}
    else:
        volume = {"downwardAPI": {**told["downwardAPI"], **mode}}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    spec = pod(
        look("/v/told"),
        container={**mounts, **more.pop("container", {})},
        volumes=[{"name": "v", **volume}],
        **more,
    )
    return Case(spec, lines)


NAME = {"fieldRef": {"fieldPath": "metadata.namespace"}}
RESOURCES = {
    "resources": {
        "requests": {"cpu": "250m", "memory": "32Mi"},
        "limits": {"cpu": "1250m", "memory": "64Mi"},
    }
}


def amount(resource: str, value: str, *, projected: bool) -> Case:
    """Return a pod that reads one of its container's resources."""
    source = {"containerName": "c", "resource": resource}
    if resource.endswith("cpu"):
        source["divisor"] = "1m"
    line = f"/v/told: {value}"
    return tells({"resourceFieldRef": source}, line, projected=projected, container=RESOURCES)


NAMED = "/v/told: test-volumes"
DOWNWARD = [
    entry("Downward API volume should provide podname only", tells(NAME, NAMED, projected=False)),
    entry(
        "Downward API volume should set DefaultMode on files",
        tells(NAME, "/v/told: -r-------- 0:0", projected=False, defaultMode=0o400),
    ),
    entry(
        "Downward API volume should set mode on item file",
        tells(NAME | {"mode": 0o400}, "/v/told: -r-------- 0:0", projected=False),
    ),
    entry(
        "Downward API volume should provide container's cpu limit",
        amount("limits.cpu", "1250", projected=False),
    ),
    entry(
        "Downward API volume should provide container's cpu request",
        amount("requests.cpu", "250", projected=False),
    ),
    entry(
        "Downward API volume should provide container's memory limit",
        amount("limits.memory", "67108864", projected=False),
    ),
    entry(
        "Downward API volume should provide container's memory request",
        amount("requests.memory", "33554432", projected=False),
    ),
    entry("Projected downwardAPI should provide podname only", tells(NAME, NAMED, projected=True)),
    entry(
        "Projected downwardAPI should set DefaultMode on files",
        tells(NAME, "/v/told: -r-------- 0:0", projected=True, defaultMode=0o400),
    ),
    entry(
        "Projected downwardAPI should set mode on item file",
        tells(NAME | {"mode": 0o400}, "/v/told: -r-------- 0:0", projected=True),
    ),
    entry(
        "Projected downwardAPI should provide container's cpu limit",
        amount("limits.cpu", "1250", projected=True),
    ),
    entry(
        "Projected downwardAPI should provide container's cpu request",
        amount("requests.cpu", "250", projected=True),
    ),
    entry(
        "Projected downwardAPI should provide container's memory limit",
        amount("limits.memory", "67108864", projected=True),
    ),
    entry(
        "Projected downwardAPI should provide container's memory request",
        amount("requests.memory", "33554432", projected=True),
    ),
]


# --- emptyDir -------------------------------------------------------------------------------------


def empty(mode: str, medium: str, *, root: bool) -> Case:
    """Return a pod that makes a file in an emptyDir and looks at it, and at the folder."""
    script = (
        f"echo mount-tester new file > /v/made; chmod {mode} /v/made; cat /v/made;"
        ' stat -c "made %a" /v/made; stat -c "folder %A" /v; stat -f -c "on %T" /v'
    )
    spec = pod(
        script,
        container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        volumes=[{"name": "v", "emptyDir": {"medium": medium} if medium else {}}],
        **({} if root else {"securityContext": {"runAsUser": 1001}}),
    )
    lines = ["mount-tester new file", f"made {mode.lstrip('0')}", "folder drwxrwxrwx"]
    return Case(spec, (*lines, *(["on tmpfs"] if medium else [])))


EMPTY_DIRS = [
    entry(
        "EmptyDir volumes volume on default medium should have the correct mode",
        empty("0644", "", root=True),
    ),
    entry(
        "EmptyDir volumes volume on tmpfs should have the correct mode",
        empty("0644", "Memory", root=True),
    ),
    entry("EmptyDir volumes should support (root,0644,default)", empty("0644", "", root=True)),
    entry("EmptyDir volumes should support (root,0666,default)", empty("0666", "", root=True)),
    entry("EmptyDir volumes should support (root,0777,default)", empty("0777", "", root=True)),
    entry("EmptyDir volumes should support (root,0644,tmpfs)", empty("0644", "Memory", root=True)),
    entry("EmptyDir volumes should support (root,0666,tmpfs)", empty("0666", "Memory", root=True)),
    entry("EmptyDir volumes should support (root,0777,tmpfs)", empty("0777", "Memory", root=True)),
    entry("EmptyDir volumes should support (non-root,0644,default)", empty("0644", "", root=False)),
    entry("EmptyDir volumes should support (non-root,0666,default)", empty("0666", "", root=False)),
    entry("EmptyDir volumes should support (non-root,0777,default)", empty("0777", "", root=False)),
    entry(
        "EmptyDir volumes should support (non-root,0644,tmpfs)",
        empty("0644", "Memory", root=False),
    ),
    entry(
        "EmptyDir volumes should support (non-root,0666,tmpfs)",
        empty("0666", "Memory", root=False),
    ),
    entry(
        "EmptyDir volumes should support (non-root,0777,tmpfs)",
        empty("0777", "Memory", root=False),
    ),
    entry(
        "EmptyDir volumes pod should support shared volumes between containers",
        Case(
            {
                "restartPolicy": "Never",
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [
                    {
                        "name": name,
                        "image": "kpy.local/busybox:1",
                        "command": ["sh", "-c", script],
                        "volumeMounts": [{"name": "v", "mountPath": place}],
                    }
                    for name, place, script in (
                        ("reader", "/here", "while ! cat /here/f 2>/dev/null; do sleep 0.1; done"),
                        ("writer", "/there", "echo hello > /there/tmp; mv /there/tmp /there/f"),
                    )
                ],
            },
            ("hello",),
        ),
    ),
]


# --- several at once ------------------------------------------------------------------------------

TOGETHER = [
    {"configMap": {"name": "held", "items": [{"key": "data-1", "path": "from-map"}]}},
    {"secret": {"name": "held", "items": [{"key": "data-2", "path": "projected/from-secret"}]}},
    {"downwardAPI": {"items": [{"path": "namespace", **NAME}]}},
]


def part(volume: dict[str, Any], sub_path: str, line: str, place: str = "/v") -> Case:
    """Return a pod that mounts one file of a volume."""
    mount = {"name": "v", "mountPath": place, "subPath": sub_path}
    return Case(
        pod(
            f"cat {place}; echo",
            container={"volumeMounts": [mount]},
            volumes=[{"name": "v", **volume}],
        ),
        (line,),
    )


DOWNWARD_VOLUME = {"downwardAPI": {"items": [{"path": "downward/namespace", **NAME}]}}
COMBINED = [
    entry(
        "Projected combined should project all components that make up the projection API",
        Case(
            pod(
                look("/v/from-map", "/v/projected/from-secret", "/v/namespace"),
                container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                volumes=[{"name": "v", "projected": {"sources": TOGETHER}}],
            ),
            (
                "/v/from-map: value-1",
                "/v/projected/from-secret: value-2",
                "/v/namespace: test-volumes",
            ),
        ),
    ),
    entry(
        "EmptyDir wrapper volumes should not conflict",
        Case(
            pod(
                look("/map/data-1", "/secret/data-1"),
                container={
                    "volumeMounts": [
                        {"name": "map", "mountPath": "/map"},
                        {"name": "secret", "mountPath": "/secret"},
                    ]
                },
                volumes=[
                    {"name": "map", "configMap": {"name": "held"}},
                    {"name": "secret", "secret": {"secretName": "held"}},
                ],
            ),
            ("/map/data-1: value-1", "/secret/data-1: value-1"),
        ),
    ),
    entry(
        "Subpath Atomic writer volumes should support subpaths with configmap pod",
        part(KINDS["configMap"]({}), "data-1", "value-1"),
    ),
    entry(
        "Subpath Atomic writer volumes should support subpaths with configmap pod with mountPath"
        " of existing file",
        part(KINDS["configMap"]({}), "data-1", "value-1", place="/etc/resolv.conf"),
    ),
    entry(
        "Subpath Atomic writer volumes should support subpaths with secret pod",
        part(KINDS["secret"]({}), "data-2", "value-2"),
    ),
    entry(
        "Subpath Atomic writer volumes should support subpaths with downward pod",
        part(DOWNWARD_VOLUME, "downward/namespace", "test-volumes"),
    ),
    entry(
        "Subpath Atomic writer volumes should support subpaths with projected pod",
        part({"projected": {"sources": TOGETHER}}, "projected/from-secret", "value-2"),
    ),
]
CASES = [*CONFIG_MAPS, *SECRETS, *DOWNWARD, *EMPTY_DIRS, *COMBINED]


@pytest.mark.parametrize("case", CASES)
def test_a_pod_finds_in_its_volumes_what_it_must(batch: Batch, case: Case) -> None:
    batch.check(case)
