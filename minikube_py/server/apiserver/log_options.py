"""The query of a pod's log, checked before the kubelet is asked (upstream's `PodLogOptions`)."""

from collections.abc import Iterator, Mapping

from minikube_py.api.errors import InvalidError
from minikube_py.api.fields import Field, FieldError, invalid_message
from minikube_py.server.apiserver.parameters import integer


def check(name: str, query: Mapping[str, str]) -> None:
    """Raise where the options of a log make no sense."""
    errors = list(_errors(query))
    if errors:
        raise InvalidError(
            invalid_message("PodLogOptions", name, errors),
            details={"name": name, "kind": "PodLogOptions"},
            causes=[error.cause() for error in errors],
        )


def _errors(query: Mapping[str, str]) -> Iterator[FieldError]:
    if (tail := integer(query, "tailLines")) < 0:
        yield Field("tailLines").invalid(tail, "must be greater than or equal to 0")
    if query.get("limitBytes") and (limit := integer(query, "limitBytes")) < 1:
        yield Field("limitBytes").invalid(limit, "must be greater than 0")
    seconds = query.get("sinceSeconds")
    if seconds and query.get("sinceTime"):
        what = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        yield Field("[]").forbidden(what)  # as upstream prints a path without a name
    elif seconds and (since := integer(query, "sinceSeconds")) < 1:
        yield Field("sinceSeconds").invalid(since, "must be greater than 0")
