"""Pod templates: a template of pods that stands alone."""

from minikube_py.api.resource import NAME, Column, Resource

PODTEMPLATES = Resource(
    returns_deleted_object=True,
    kind="PodTemplate",
    plural="podtemplates",
    schema="io.k8s.api.core.v1.PodTemplate",
    columns=(
        NAME,
        Column("Containers"),
        Column("Images"),
        Column("Pod Labels"),
    ),
)
