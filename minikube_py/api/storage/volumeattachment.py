"""Volume attachments: a volume that is or is to be attached to a node."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

VOLUMEATTACHMENTS = Resource(
    group="storage.k8s.io",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    schema="io.k8s.api.storage.v1.VolumeAttachment",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Attacher", format="name"),
        Column("PV"),
        Column("Node"),
        Column("Attached", "boolean"),
        AGE,
    ),
)
