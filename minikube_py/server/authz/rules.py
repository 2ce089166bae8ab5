"""What a user may do in a namespace, as SelfSubjectRulesReview answers it."""

from collections.abc import Sequence
from typing import Any

from minikube_py.api.errors import BadRequestError
from minikube_py.server.attributes import User
from minikube_py.server.authz.node import node_of
from minikube_py.server.authz.rbac import Rbac

WEBHOOK_ERROR = "webhook authorizer does not support user rule resolution"
NODE_ERROR = "node authorizer does not support user rule resolution"


def rules_status(
    rbac: Rbac, user: User, namespace: str, unknown: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the status of a SelfSubjectRulesReview; `unknown` says whose rules are not in it.

    Raises:
        BadRequestError: no namespace is asked for.

    """
    if not namespace:
        raise BadRequestError("no namespace on request")
    rules, errors = rbac.rules_for(user, namespace)
    if node_of(user)[0]:
        errors = [NODE_ERROR, *errors]
    errors = [*errors, *unknown]
    sources = [dict(rule.source or {}) for rule in rules]
    status: dict[str, Any] = {
        "resourceRules": [
            {**source, "verbs": source.get("verbs") or []}
            for source in sources
            if source.get("resources")
        ],
        "nonResourceRules": [
            {"verbs": source.get("verbs") or [], "nonResourceURLs": source["nonResourceURLs"]}
            for source in sources
            if source.get("nonResourceURLs")
        ],
        "incomplete": bool(errors),
    }
    return {**status, "evaluationError": ", ".join(errors)} if errors else status
