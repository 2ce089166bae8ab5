"""Classes of which one may be the default: the newest of those that say so."""

from collections.abc import Iterable

from minikube_py.api.object import Obj, annotations_of


def newest_default(classes: Iterable[Obj], *annotations: str) -> str:
    """Return the name of the class marked as default by one of the annotations, "" without one.

    Of several the newest counts, of equally old ones the first by name, as upstream decides.
    """
    marked = [
        found
        for found in classes
        if any(annotations_of(found).get(name) == "true" for name in annotations)
    ]
    marked.sort(key=lambda found: str(found["metadata"]["name"]))
    marked.sort(key=lambda found: str(found["metadata"].get("creationTimestamp")), reverse=True)
    return str(marked[0]["metadata"]["name"]) if marked else ""
