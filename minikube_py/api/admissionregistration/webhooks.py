"""What validating and mutating webhooks share."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from minikube_py.api import names, selectors
from minikube_py.api.admissionregistration import matching
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Age
from minikube_py.api.strategy import changed, with_absent

SIDE_EFFECTS = ("None", "NoneOnDryRun")
REVIEW_VERSIONS = ("v1", "v1beta1")
TIMEOUT_SECONDS_MAX = 30
WEBHOOKS = Field("webhooks")
_DEFAULTS = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}


def default_webhook(webhook: Obj) -> Obj:
    """Fill in what the user left out of one webhook."""
    webhook = with_absent(webhook, {**_DEFAULTS, "name": "", "clientConfig": {}})
    webhook = with_absent(webhook, {"sideEffects": None}) if "sideEffects" in webhook else webhook
    webhook = changed(webhook, "rules", matching.default_rules)
    return changed(webhook, "clientConfig", _default_client)


def _default_client(client: Obj) -> Obj:
    return changed(client, "service", lambda service: with_absent(service, {"port": 443}))


def validate_webhooks(new: Obj, old: Obj | None, *, mutating: bool) -> Iterator[FieldError]:
    """Report what is wrong with the webhooks of a configuration.

    Conditions that an update leaves as they were are not compiled again: an expression that was
    once stored stays, whatever a later server thinks of it.
    """
    webhooks: Sequence[Obj] = new.get("webhooks") or ()
    known = old is not None and _conditions(new) == _conditions(old)
    seen: set[str] = set()
    for index, webhook in enumerate(webhooks):
        field = WEBHOOKS[index]
        yield from _validate_webhook(webhook, field, mutating=mutating)
        if not known:
            conditions = webhook.get("matchConditions") or ()
            yield from matching.validate_conditions(conditions, field / "matchConditions")
        versions = webhook.get("admissionReviewVersions") or ()
        yield from validate_versions(versions, field / "admissionReviewVersions")
        name = webhook["name"]
        if name in seen:
            yield (field / "name").duplicate(name)
        if name:
            seen.add(name)


def _conditions(configuration: Obj) -> Sequence[Any]:
    return [webhook.get("matchConditions") or () for webhook in configuration.get("webhooks") or ()]


def _validate_webhook(webhook: Obj, field: Field, *, mutating: bool) -> Iterator[FieldError]:
    yield from _validate_name(webhook["name"], field / "name")
    for index, rule in enumerate(webhook.get("rules") or ()):
        yield from matching.validate_rule(rule, (field / "rules")[index])
    yield from matching.validate_failure_policy(
        webhook.get("failurePolicy"), field / "failurePolicy"
    )
    policy = webhook.get("matchPolicy")
    if policy not in matching.MATCH_POLICIES:
        yield (field / "matchPolicy").unsupported(policy, matching.MATCH_POLICIES)
    yield from _validate_side_effects(webhook.get("sideEffects"), field / "sideEffects")
    seconds = webhook["timeoutSeconds"]
    if not 1 <= seconds <= TIMEOUT_SECONDS_MAX:
        yield (field / "timeoutSeconds").invalid(
            seconds, f"the timeout value must be between 1 and {TIMEOUT_SECONDS_MAX} seconds"
        )
    for key in ("namespaceSelector", "objectSelector"):
        yield from selectors.validate(webhook.get(key), field / key)
    if mutating:
        again = webhook.get("reinvocationPolicy")
        if again not in {"Never", "IfNeeded"}:
            yield (field / "reinvocationPolicy").unsupported(again, {"Never", "IfNeeded"})
    yield from validate_client(webhook["clientConfig"], field / "clientConfig")


def _validate_name(name: str, field: Field) -> Iterator[FieldError]:
    if not name:
        yield field.required()
        return
    errors = ",".join(names.dns1123_subdomain(name))
    if errors:
        yield field.invalid(name, errors)
    elif name.count(".") < 2:
        yield field.invalid(
            name, "should be a domain with at least three segments separated by dots"
        )


def _validate_side_effects(value: str | None, field: Field) -> Iterator[FieldError]:
    if value is None:
        yield field.required(f"must specify one of {', '.join(SIDE_EFFECTS)}")
    elif value not in SIDE_EFFECTS:
        yield field.unsupported(value, SIDE_EFFECTS)


def validate_client(client: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with how a webhook is reached."""
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        yield field.required("exactly one of url or service is required")
    elif url is not None:
        yield from _validate_url(url, field / "url")
    else:
        yield from validate_service(client["service"], field / "service")


_URL_FORM = "; desired format: https://host[/path]"


def _validate_url(url: str, field: Field) -> Iterator[FieldError]:
    try:
        parts = urlsplit(url)
        host = parts.netloc
    except ValueError as error:
        yield field.required(f"url must be a valid URL: {error}{_URL_FORM}")
        return
    if parts.scheme != "https":
        shown = parts.scheme
        yield field.invalid(shown, f"'https' is the only allowed URL scheme{_URL_FORM}")
    if not host:
        yield field.invalid(host, f"host must be specified{_URL_FORM}")
    if "@" in host:
        yield field.invalid(host.rpartition("@")[0], "user information is not permitted in the URL")
    if parts.fragment:
        yield field.invalid(parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield field.invalid(parts.query, "query parameters are not permitted in the URL")


def validate_service(service: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the reference to a service that answers webhooks."""
    for key in ("name", "namespace"):
        if not service.get(key):
            yield (field / key).required()
    port = service.get("port", 443)
    for text in names.port_number(port):
        yield (field / "port").invalid(port, f"port is not valid: {text}")
    if service.get("path") is not None:
        yield from _validate_path(service["path"], field / "path")


def _validate_path(path: str, field: Field) -> Iterator[FieldError]:
    if path in ("", "/"):
        return
    if path == "//":
        yield field.invalid(path, "segment[0] may not be empty")
        return
    if not path.startswith("/"):
        yield field.invalid(path, "must start with a '/'")
    for index, step in enumerate(path[1:].removesuffix("/").split("/")):
        if not step:
            yield field.invalid(path, f"segment[{index}] may not be empty")
            continue
        for text in names.dns1123_subdomain(step):
            yield field.invalid(path, f"segment[{index}]: {text}")


def validate_versions(versions: Sequence[str], field: Field) -> Iterator[FieldError]:
    """Report versions of reviews of which this server sends none."""
    if not versions:
        yield field.required(f"must specify one of {', '.join(REVIEW_VERSIONS)}")
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            yield field[index].invalid(version, "duplicate version")
            continue
        seen.add(version)
        yield from (field[index].invalid(version, text) for text in names.dns1035_label(version))
    if not seen & set(REVIEW_VERSIONS):
        yield field.invalid(versions, f"must include at least one of {', '.join(REVIEW_VERSIONS)}")


def cells(configuration: Obj) -> Sequence[Any]:
    """Return the cells of a configuration's row."""
    return (
        configuration["metadata"]["name"],
        len(configuration.get("webhooks") or ()),
        Age(get(configuration, "metadata.creationTimestamp")),
    )
