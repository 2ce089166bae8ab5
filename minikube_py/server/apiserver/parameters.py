"""Query parameters of lists, watches and writes, checked as upstream's ListOptions are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minikube_py.api import field_selectors, selectors
from minikube_py.api.errors import BadRequestError, InvalidError, StatusError
from minikube_py.api.field_selectors import FieldSelector
from minikube_py.api.fields import Field, FieldError, invalid_message
from minikube_py.api.item import Item
from minikube_py.api.managed_fields import manager_name
from minikube_py.api.metadata import validate_field_manager
from minikube_py.api.resource import Resource
from minikube_py.api.selectors import LabelSelector
from minikube_py.server.apiserver.request import is_true

_MATCHES = ("Exact", "NotOlderThan")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which objects a list or watch shows."""

    labels: LabelSelector
    fields: FieldSelector
    name: str = ""
    """The value of `metadata.name=` or of the path, for a direct look-up; "" for any."""

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.labels and not self.fields and not self.name

    def matches(self, item: Item) -> bool:
        """Tell whether an item is shown."""
        if self.name and item.key.name != self.name:
            return False
        if self.labels and not self.labels.matches(item.labels):
            return False
        if not self.fields:
            return True
        known = {
            "metadata.name": item.key.name,
            "metadata.namespace": item.key.namespace,
            **item.fields,
        }
        return self.fields.matches(known)


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """What a client asks of a list or watch."""

    selection: Selection
    resource_version: str = ""
    match: str = ""
    limit: int = 0
    continue_: str = ""
    watch: bool = False
    bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_seconds: int = 0

    @property
    def revision(self) -> int:
        """The revision asked for; 0 for none, or for any.

        Raises:
            StatusError: it is no number.

        """
        return parse_revision(self.resource_version)


def parse_revision(text: str) -> int:
    """Read a resourceVersion; upstream answers nonsense with a 500 without a reason."""
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    error = StatusError(
        f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
        "invalid syntax"
    )
    error.reason = ""
    raise error


def list_options(
    resource: Resource, query: Mapping[str, str], *, name: str = "", watch: bool = False
) -> ListOptions:
    """Read and check the options of a list or watch."""
    options = ListOptions(
        selection=selection(resource, query, name=name),
        resource_version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        limit=integer(query, "limit"),
        continue_=query.get("continue", ""),
        watch=watch,
        bookmarks=is_true(query.get("allowWatchBookmarks")),
        send_initial_events=_optional_bool(query, "sendInitialEvents"),
        timeout_seconds=integer(query, "timeoutSeconds"),
    )
    errors = _watch_errors(options) if watch else _list_errors(options)
    if errors:
        raise InvalidError(
            invalid_message("ListOptions.meta.k8s.io", "", errors),
            details={"group": "meta.k8s.io", "kind": "ListOptions"},
            causes=[error.cause() for error in errors],
        )
    return options


def selection(resource: Resource, query: Mapping[str, str], *, name: str = "") -> Selection:
    """Read the selectors; raises BadRequestError in upstream's words."""
    try:
        labels = selectors.parse(query.get("labelSelector", ""))
        fields = field_selectors.parse(query.get("fieldSelector", ""))
    except ValueError as error:
        raise BadRequestError(str(error)) from error
    for term in fields.terms:
        if not _is_selectable(resource, term.field):
            raise BadRequestError(_unsupported_field(resource, term.field))
    if resource.storage is not None:
        fields = fields.renamed(resource.storage.stored_fields)
    return Selection(labels=labels, fields=fields, name=name or fields.exact("metadata.name") or "")


def _is_selectable(resource: Resource, path: str) -> bool:
    if path in resource.selectable_fields or path == "metadata.name":
        return True
    # Upstream's general conversion takes both names; kinds with one of their own know better.
    general = not resource.selectable_fields and not resource.custom
    return path == "metadata.namespace" and (resource.namespaced or general)


def _unsupported_field(resource: Resource, path: str) -> str:
    """Return upstream's text; kinds with fields of their own have a conversion of their own."""
    if resource.custom:
        return f"field label not supported: {path}"
    if not resource.selectable_fields:
        names = '"metadata.name", "metadata.namespace"'
        return f'"{path}" is not a known field selector: only {names}'
    if resource.group == "batch":
        return f'field label "{path}" not supported for {resource.kind}'
    return f"field label not supported: {path}"


_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_DIGITS_MAX = 100
"""Of a number; what is longer is out of range, or has noughts before it that nobody writes."""


def integer(query: Mapping[str, str], name: str) -> int:
    """Read a whole number; raises BadRequestError."""
    text = query.get(name)
    if text is None:
        return 0
    if not _INTEGER.fullmatch(text):
        raise BadRequestError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(text) > _DIGITS_MAX or not -(2**63) <= int(text) < 2**63:
        raise BadRequestError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def _optional_bool(query: Mapping[str, str], name: str) -> bool | None:
    text = query.get(name)
    return None if text is None else is_true(text)


def _watch_errors(options: ListOptions) -> list[FieldError]:
    """Apply apimachinery's ValidateListOptions for a watch."""
    match = Field("resourceVersionMatch")
    errors: list[FieldError] = []
    if options.send_initial_events is not None and options.match != "NotOlderThan":
        what = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        errors.append(match.forbidden(what))
    if options.match and options.send_initial_events is None:
        what = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        errors.append(match.forbidden(what))
    if options.match and options.match != "NotOlderThan":
        errors.append(match.unsupported(options.match, ["NotOlderThan"]))
    if options.continue_:
        what = "resourceVersionMatch is forbidden when continue is provided"
        errors.append(match.forbidden(what))
    return errors


def _list_errors(options: ListOptions) -> list[FieldError]:
    """Apply apimachinery's ValidateListOptions for a list."""
    match = Field("resourceVersionMatch")
    errors: list[FieldError] = []
    if options.send_initial_events is not None:
        errors.append(
            Field("sendInitialEvents").forbidden("sendInitialEvents is forbidden for list")
        )
    if not options.match:
        return errors
    if not options.resource_version:
        errors.append(
            match.forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided")
        )
    if options.continue_:
        errors.append(
            match.forbidden("resourceVersionMatch is forbidden when continue is provided")
        )
    if options.match not in _MATCHES:
        errors.append(
            FieldError(
                "FieldValueNotSupported",
                str(match),
                f'Unsupported value: "{options.match}": '
                'supported values: "Exact", "NotOlderThan", ""',
            )
        )
    elif options.match == "Exact" and options.resource_version == "0":
        errors.append(
            match.forbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
        )
    return errors


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """What a client asks of a create, update or patch."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = ""
    asked_validation: str = ""
    """As the client wrote it."""
    force: bool = False
    pretty: bool = False
    user_agent: str = field(default="")

    @property
    def document(self) -> dict[str, Any]:
        """The options as a document, without its kind."""
        document = {
            "dryRun": ["All"] if self.dry_run else None,
            "force": self.force or None,
            "fieldManager": self.field_manager or None,
            "fieldValidation": self.asked_validation or None,
        }
        return {key: value for key, value in document.items() if value is not None}

    @property
    def manager(self) -> str:
        """The field manager: as given, or the first part of the User-Agent."""
        return manager_name(self.field_manager, self.user_agent)


def _patch_errors(query: Mapping[str, str], manager: str, *, applies: bool) -> list[FieldError]:
    """Apply apimachinery's ValidatePatchOptions."""
    if applies:
        what = "is required for apply patch"
        return [] if manager else [Field("fieldManager").required(what)]
    if query.get("force"):
        return [Field("force").forbidden("may not be specified for non-apply patch")]
    return []


_OPTION_KINDS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}


def write_options(
    query: Mapping[str, str], verb: str, user_agent: str = "", *, applies: bool = False
) -> WriteOptions:
    """Read and check the options of a write; `applies` is a server-side apply."""
    dry_run = query.get("dryRun")
    validation = query.get("fieldValidation", "")
    manager = query.get("fieldManager", "")
    errors = []
    if dry_run is not None and dry_run != "All":
        errors.append(Field("dryRun").unsupported([dry_run], ["All"]))
    if verb == "patch":
        errors.extend(_patch_errors(query, manager, applies=applies))
    errors.extend(validate_field_manager(manager, Field("fieldManager")))
    if validation not in ("", "Ignore", "Warn", "Strict"):
        supported = ["", "Ignore", "Strict", "Warn"]
        errors.append(Field("fieldValidation").unsupported(validation, supported))
    if errors:
        kind = _OPTION_KINDS.get(verb, "DeleteOptions")
        raise InvalidError(
            invalid_message(f"{kind}.meta.k8s.io", "", errors),
            details={"group": "meta.k8s.io", "kind": kind},
            causes=[error.cause() for error in errors],
        )
    return WriteOptions(
        dry_run=dry_run == "All",
        field_manager=manager,
        field_validation=validation or "Warn",
        asked_validation=validation,
        force=is_true(query.get("force")),
        user_agent=user_agent,
    )
