"""Nodes: the machines that run pods."""

from minikube_py.api.object import get
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

NODES = Resource(
    kind="Node",
    plural="nodes",
    namespaced=False,
    short_names=("no",),
    schema="io.k8s.api.core.v1.Node",
    subresources=(
        Subresource(
            name="proxy",
            kind="NodeProxyOptions",
            verbs=("create", "delete", "get", "patch", "update"),
        ),
        Subresource(name="status", shares_object=True),
    ),
    columns=(
        NAME,
        Column("Status"),
        Column("Roles"),
        AGE,
        Column("Version"),
        Column("Internal-IP", priority=1),
        Column("External-IP", priority=1),
        Column("OS-Image", priority=1),
        Column("Kernel-Version", priority=1),
        Column("Container-Runtime", priority=1),
    ),
    selectable_fields={
        "spec.unschedulable": lambda node: "true" if get(node, "spec.unschedulable") else "false"
    },
)
