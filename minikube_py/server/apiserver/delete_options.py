"""DeleteOptions come in the body or as query parameters, and are checked either way."""

from collections.abc import Mapping
from typing import Any

from minikube_py.api import schema_check
from minikube_py.api.errors import BadRequestError, InvalidError
from minikube_py.api.fields import Field, FieldError, invalid_message
from minikube_py.api.object import Obj
from minikube_py.api.schema import type_of
from minikube_py.api.schema_report import DecodeError
from minikube_py.server.apiserver import body
from minikube_py.server.apiserver.parameters import WriteOptions, integer, write_options
from minikube_py.server.apiserver.request import is_true

_TYPE = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_POLICIES = ("Background", "Foreground", "Orphan")


def delete_options(query: Mapping[str, str], data: bytes, content_type: str) -> dict[str, Any]:
    """Return the options of a delete; raises InvalidError or BadRequestError."""
    options = _from_body(data, content_type) if data else _from_query(query)
    errors = list(_errors(options))
    if errors:
        raise InvalidError(
            invalid_message("DeleteOptions.meta.k8s.io", "", errors),
            details={"group": "meta.k8s.io", "kind": "DeleteOptions"},
            causes=[error.cause() for error in errors],
        )
    return options


def _from_body(data: bytes, content_type: str) -> dict[str, Any]:
    document = body.parse(data, body.format_of(content_type), "DeleteOptions")
    if (kind := document.get("kind") or "DeleteOptions") != "DeleteOptions":
        version = document.get("apiVersion") or "v1"
        raise BadRequestError(
            f'no kind "{kind}" is registered for version "{version}" in scheme '
            '"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:31"'
        )
    try:
        checked: Obj = schema_check.check(type_of(_TYPE), document).obj
    except DecodeError as error:
        raise BadRequestError(str(error)) from error
    return {key: value for key, value in checked.items() if value is not None}


def _from_query(query: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if "gracePeriodSeconds" in query:
        options["gracePeriodSeconds"] = integer(query, "gracePeriodSeconds")
    if query.get("propagationPolicy"):
        options["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        options["orphanDependents"] = is_true(query["orphanDependents"])
    if "dryRun" in query:
        options["dryRun"] = [query["dryRun"]]
    return options


def _errors(options: Obj) -> list[FieldError]:
    """Apply apimachinery's ValidateDeleteOptions."""
    errors = []
    policy, orphan = options.get("propagationPolicy"), options.get("orphanDependents")
    if policy is not None and orphan is not None:
        errors.append(
            Field("propagationPolicy").invalid(
                policy, "orphanDependents and deletionPropagation cannot be both set"
            )
        )
    if policy is not None and policy not in _POLICIES:
        errors.append(Field("propagationPolicy").unsupported(policy, (*_POLICIES, "nil")))
    for value in options.get("dryRun") or ():
        if value != "All":
            errors.append(Field("dryRun").unsupported(options["dryRun"], ["All"]))
            break
    return errors


def write_options_of(options: Obj) -> WriteOptions:
    """Return the write options that a DeleteOptions document has."""
    return write_options({"dryRun": "All"} if options.get("dryRun") else {}, "delete")
