"""When a webhook is asked: expressions over the review that it would be sent, all of which hold."""

from collections.abc import Sequence
from typing import Any

from minikube_py.api import cel
from minikube_py.api.cel import CelCostError, CelError, CelEvaluationError
from minikube_py.server.attributes import Attributes
from minikube_py.server.authz.selection import written


class ConditionError(Exception):
    """A condition has no value, and none is false."""


def holds(conditions: Sequence[cel.Program], attributes: Attributes) -> bool:
    """Tell whether all conditions hold; one that is false outweighs others without a value.

    Raises:
        ConditionError: one has no value, and none is false.
        OutOfPatienceError: that takes too long for the event loop (`lib.patience`).

    """
    request, errors = review_of(attributes), []
    for condition in conditions:
        try:
            if condition.evaluate({"request": request}) is not True:
                return False
        except (CelError, CelEvaluationError, CelCostError) as error:
            errors.append(
                f"cel evaluation error: expression '{condition.text}' resulted in error: {error}"
            )
    if errors:
        raise ConditionError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return True


def review_of(attributes: Attributes) -> dict[str, Any]:
    """Return the spec of the review with all its texts, also those that are empty."""
    user = attributes.user
    spec: dict[str, Any] = {
        "user": user.name,
        "groups": list(user.groups),
        "uid": user.uid,
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    if not attributes.is_resource:
        return {**spec, "nonResourceAttributes": {"verb": attributes.verb, "path": attributes.path}}
    wanted = {
        "namespace": attributes.namespace,
        "verb": attributes.verb,
        "group": attributes.group,
        "version": attributes.version,
        "resource": attributes.resource,
        "subresource": attributes.subresource,
        "name": attributes.name,
    }
    return {**spec, "resourceAttributes": {**wanted, **written(attributes)}}
