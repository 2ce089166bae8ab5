"""CSI storage capacities: how much a class can provide where."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, quantity, selectors, strategy
from minikube_py.api.core.pod_warnings import label_warning
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import NAME, Column, Resource


def default(capacity: Obj) -> Obj:
    """Fill in what is always shown."""
    return strategy.with_absent(capacity, {"storageClassName": ""})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated capacity; where it applies never changes."""
    name = new["storageClassName"]
    for text in names.dns1123_subdomain(name):
        yield Field("storageClassName").invalid(name, text)
    topology = new.get("nodeTopology")
    yield from selectors.validate(topology, Field("nodeTopology"))
    # Upstream lets maximumVolumeSize be anything.
    amount = new.get("capacity")
    if amount is not None and quantity.parse(amount) < quantity.ZERO:
        yield Field("capacity").invalid(amount, strategy.NOT_NEGATIVE)
    if old is not None:
        if topology != old.get("nodeTopology"):
            yield Field("nodeTopology").immutable(selectors.shown(topology))
        yield from strategy.immutable(name, old.get("storageClassName"), Field("storageClassName"))


def warn(capacity: Obj, _old: Obj | None) -> Iterator[str]:
    """Yield which labels of nodes have newer names."""
    topology, field = capacity.get("nodeTopology") or {}, Field("nodeTopology")
    for index, requirement in enumerate(topology.get("matchExpressions") or ()):
        if message := label_warning(requirement.get("key", "")):
            yield f"{(field / 'matchExpressions')[index] / 'key'}: {message}"
    for key in topology.get("matchLabels") or ():
        if message := label_warning(key):
            yield f"{field / 'matchLabels' / key}: {message}"


def cells(capacity: Obj) -> Sequence[Any]:
    """Return the cells of a capacity's row."""
    return (capacity["metadata"]["name"], get(capacity, "metadata.creationTimestamp"))


CSISTORAGECAPACITIES = Resource(
    group="storage.k8s.io",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    schema="io.k8s.api.storage.v1.CSIStorageCapacity",
    columns=(NAME, Column("Created At", "date")),
    cells=cells,
    default=default,
    validate=validate,
    warn=warn,
    allow_unconditional_update=False,
)
