"""Rollbacks by annotation, as `extensions/v1beta1` had them: an old template is wanted again.

Clients of today write the template themselves; the annotation is honoured and taken off.
"""

from collections.abc import Iterator

from minikube_py.api.apps import DEPLOYMENTS
from minikube_py.api.object import Obj, annotations_of, evolve, without
from minikube_py.client.actions import Action, Emit, Update
from minikube_py.server.controllers.deployment_revisions import (
    HASH_LABEL,
    NOT_COPIED,
    View,
    revision_of,
    same_template,
)

ROLLBACK = "deprecated.deployment.rollback.to"
NOT_FOUND, UNCHANGED, DONE = (
    "DeploymentRollbackRevisionNotFound",
    "DeploymentRollbackTemplateUnchanged",
    "DeploymentRollback",
)


def wanted_revision(deployment: Obj) -> int | None:
    """Return the revision to go back to, 0 for the last one; None where nobody asks."""
    text = annotations_of(deployment).get(ROLLBACK, "")
    return int(text) if text.isascii() and text.isdigit() else None


def plan_rollback(view: View, revision: int) -> Iterator[Action]:
    """Go back to a revision, and tell how that went."""
    deployment = view.deployment
    cleared = without(deployment, ("metadata", "annotations", ROLLBACK))
    numbers = sorted({revision_of(rs) for rs in view.all})
    wanted = revision or (numbers[-2] if len(numbers) > 1 else 0)
    found = next((rs for rs in view.all if wanted and revision_of(rs) == wanted), None)
    name = deployment["metadata"]["name"]
    if found is None:
        which = "the revision to rollback to" if wanted else "last revision"
        yield Emit(deployment, "Warning", NOT_FOUND, f"Unable to find {which}.")
    elif same_template(found["spec"]["template"], deployment["spec"]["template"]):
        text = f'The rollback revision contains the same template as current deployment "{name}"'
        yield Emit(deployment, "Warning", UNCHANGED, text)
    else:
        cleared = _with_template_of(cleared, found)
    yield Update(DEPLOYMENTS, cleared)
    if found is not None and cleared["spec"] != deployment["spec"]:
        text = f'Rolled back deployment "{name}" to revision {wanted}'
        yield Emit(deployment, "Normal", DONE, text)


def _with_template_of(deployment: Obj, rs: Obj) -> Obj:
    """Return the deployment with the template of a replica set, and the annotations it had then."""
    template = without(rs["spec"]["template"], ("metadata", "labels", HASH_LABEL))
    kept = {k: v for k, v in annotations_of(deployment).items() if k in NOT_COPIED}
    then = {k: v for k, v in annotations_of(rs).items() if k not in NOT_COPIED}
    noted = evolve(deployment, "metadata.annotations", {**kept, **then})
    return evolve(noted, "spec.template", template)
