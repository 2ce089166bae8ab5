"""Controller revisions: the history of a StatefulSet or DaemonSet."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

CONTROLLERREVISIONS = Resource(
    group="apps",
    kind="ControllerRevision",
    plural="controllerrevisions",
    schema="io.k8s.api.apps.v1.ControllerRevision",
    columns=(
        NAME,
        Column("Controller"),
        Column("Revision"),
        AGE,
    ),
)
