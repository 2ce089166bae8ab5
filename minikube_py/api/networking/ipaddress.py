"""IP addresses: the record that a ClusterIP is taken; the name is the address."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import addresses, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.networking import references
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import NAME, Age, Column, Resource

PARENT = Field("spec") / "parentRef"


def default(ip: Obj) -> Obj:
    """Fill in what is always shown."""
    return strategy.with_absent(ip, {"spec": {}})


def validate_name(name: str) -> Iterator[str]:
    """Yield what keeps a name from being an address in canonical form."""
    for error in addresses.validate_ip(Field(), name):
        yield error.text.partition(": ")[2].partition(": ")[2]


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated address; its parent never changes."""
    parent = new["spec"].get("parentRef")
    if parent is None:
        yield PARENT.required()
    else:
        yield from references.validate_parent(parent, PARENT)
    before = get(old, "spec.parentRef")
    if old is not None and parent != before:
        yield PARENT.immutable(_shown(parent))


def _shown(parent: Obj | None) -> Obj | None:
    if parent is None:
        return None
    return {
        "Group": parent.get("group", ""),
        "Resource": parent.get("resource", ""),
        "Namespace": parent.get("namespace", ""),
        "Name": parent.get("name", ""),
    }


def cells(ip: Obj) -> Sequence[Any]:
    """Return the cells of an address' row: one more than there are columns, as upstream has it."""
    parent = get(ip, "spec.parentRef") or {}
    group, resource = parent.get("group", ""), parent.get("resource", "")
    parts = [f"{resource}.{group}".lower() if group else resource.lower()]
    parts += [parent[key] for key in ("namespace", "name") if parent.get(key)]
    return (ip["metadata"]["name"], "/".join(parts), Age(get(ip, "metadata.creationTimestamp")))


IPADDRESSES = Resource(
    group="networking.k8s.io",
    kind="IPAddress",
    plural="ipaddresses",
    namespaced=False,
    short_names=("ip",),
    schema="io.k8s.api.networking.v1.IPAddress",
    columns=(NAME, Column("ParentRef")),
    cells=cells,
    default=default,
    validate=validate,
    validate_name=validate_name,
)
