"""What the author of a pod should know though it is accepted: sent as Warning headers.

The cases and words are those of upstream's `pkg/api/pod/warnings.go`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import names, quantity
from minikube_py.api.addresses import warn_ip
from minikube_py.api.core.pod_annotations import APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD
from minikube_py.api.core.pod_path_warnings import warn_overlaps
from minikube_py.api.core.pod_resources import visit_containers
from minikube_py.api.fields import Field, quote
from minikube_py.api.object import Obj, annotations_of, get

_LABELS: Final = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
    "security.alpha.kubernetes.io/unsafe-sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
}
_VOLUMES: Final = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_SHOWN: Final = {"storageos": "storageOS"}
_NEGATIVE: Final = "must be >= 0; negative values are invalid and will be treated as 1"
_BYTES: Final = ("memory", "ephemeral-storage")
_POD: Final = Field.kept()
_MEANT: Final = ("container.", "scheduler.", "seccomp.", "security.")
"""How all annotations begin that anybody is warned of."""
_SECCOMP: Final = 'non-functional in v1.27+; use the "seccompProfile" field instead'


def warn(pod: Obj, old: Obj | None) -> Iterator[str]:
    """Yield what the author of a new pod should know; changes of pods are nobody's work."""
    if old is not None:
        return
    name = pod["metadata"].get("name") or ""
    if messages := names.dns1123_label(name):
        yield (
            "metadata.name: this is used in the Pod's hostname, which can result in surprising "
            f"behavior; a DNS label is recommended: [{' '.join(messages)}]"
        )
    yield from warn_pod_spec(pod.get("spec") or {}, annotations_of(pod), _POD)


def warn_pod_template(template: Obj, path: Field) -> Iterator[str]:
    """Yield what the author of a pod template at `path` should know."""
    annotations: Mapping[str, str] = get(template, "metadata.annotations") or {}
    yield from warn_pod_spec(template.get("spec") or {}, annotations, path)


def warn_pod_spec(spec: Obj, annotations: Mapping[str, str], path: Field) -> Iterator[str]:
    """Yield what is odd about a pod's spec and annotations; `path` is what holds both."""
    at = path / "spec"
    for key, check in _CHECKS:
        if value := spec.get(key):
            yield from check(value, at / key)
    if any(key.startswith(_MEANT) for key in annotations):
        yield from _annotations(spec, annotations, path)
    for key, index, container in visit_containers(spec):
        yield from _container(container, (at / key)[index])
    yield from _ports(spec, at)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        yield f"{at / 'terminationGracePeriodSeconds'}: {_NEGATIVE}"
    yield from _addresses(spec, at)


def _addresses(spec: Obj, path: Field) -> Iterator[str]:
    if spec.get("dnsConfig"):
        for index, address in enumerate(spec["dnsConfig"].get("nameservers") or ()):
            yield from warn_ip((path / "dnsConfig" / "nameservers")[index], address)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from warn_ip((path / "hostAliases")[index] / "ip", alias.get("ip") or "")


def label_warning(key: str) -> str:
    """Return why not to use a label of nodes, or ""."""
    if key not in _LABELS:
        return ""
    since, instead = _LABELS[key]
    return f'deprecated since {since}; use "{instead}" instead'


def _node_selector(selector: Mapping[str, str], path: Field) -> Iterator[str]:
    for key in selector:
        if message := label_warning(key):
            yield f"{path[key]}: {message}"


def _affinity(affinity: Obj, path: Field) -> Iterator[str]:
    node = affinity.get("nodeAffinity") or {}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    at = path / "nodeAffinity"
    for index, term in enumerate(get(node, f"{required}.nodeSelectorTerms") or ()):
        yield from warn_node_selector_term(term, (at / required / "nodeSelectorTerms")[index])
    for index, weighted in enumerate(node.get(preferred) or ()):
        term = weighted.get("preference") or {}
        yield from warn_node_selector_term(term, (at / preferred)[index] / "preference")


def warn_node_selector_term(term: Obj, path: Field) -> Iterator[str]:
    """Yield what is odd about one term of a selector of nodes."""
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        key = expression.get("key") or ""
        at = (path / "matchExpressions")[index]
        if message := label_warning(key):
            yield f"{at / 'key'}: {key} is {message}"
        for position, value in enumerate(expression.get("values") or ()):
            if messages := names.label_value(value):
                yield f"{(at / 'values')[position]}: {value} is invalid, {', '.join(messages)}"


def _spreading(constraints: Sequence[Obj], path: Field) -> Iterator[str]:
    for index, constraint in enumerate(constraints):
        key = constraint.get("topologyKey") or ""
        if message := label_warning(key):
            yield f"{path[index] / 'topologyKey'}: {key} is {message}"
        if constraint.get("labelSelector") is None:
            yield (
                f"{path[index] / 'labelSelector'}: a null labelSelector results in matching no pod"
            )


def _volumes(volumes: Sequence[Obj], path: Field) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        if not _VOLUMES.keys().isdisjoint(volume):
            yield from warn_volume_source(volume, path[index])
        if "ephemeral" in volume:
            template = get(volume, "ephemeral.volumeClaimTemplate.spec") or {}
            at = path[index] / "ephemeral" / "volumeClaimTemplate" / "spec"
            yield from warn_claim_spec(template, at)
    for volume in volumes:
        yield from warn_overlaps(volume)


def warn_volume_source(volume: Obj, path: Field) -> Iterator[str]:
    """Tell of a kind of volume that has had its day."""
    for key in volume:
        if key in _VOLUMES:
            yield f"{path / _SHOWN.get(key, key)}: {_VOLUMES[key]}"


def warn_claim_spec(spec: Obj, path: Field) -> Iterator[str]:
    """Yield what is odd about the spec of a claim of storage."""
    amount = get(spec, "resources.requests.storage")
    if amount is not None:
        yield from _fraction(amount, (path / "resources" / "requests")["storage"])


def _fraction(amount: str, path: Field) -> Iterator[str]:
    parsed = quantity.parse(amount)
    # Upstream counts thousandths in an int64, which ends at 9.2e15: beyond, the rest is nonsense.
    if _clipped_milli(parsed.milli_value()) % 1000:
        yield f"{path}: fractional byte value {quote(str(parsed))} is invalid, must be an integer"


def _clipped_milli(value: int) -> int:
    most = (1 << 63) - 1
    return max(-most - 1, min(value, most))


def _host_aliases(aliases: Sequence[Obj], path: Field) -> Iterator[str]:
    seen: set[str] = set()
    for index, alias in enumerate(aliases):
        address = alias.get("ip") or ""
        if address in seen:
            yield f"{path[index] / 'ip'}: duplicate ip {quote(address)}"
        seen.add(address)


def _pull_secrets(secrets: Sequence[Obj], path: Field) -> Iterator[str]:
    seen: set[str] = set()
    for index, secret in enumerate(secrets):
        name = secret.get("name") or ""
        if name in seen:
            yield f"{path[index] / 'name'}: duplicate name {quote(name)}"
        seen.add(name)
    for index, secret in enumerate(secrets):
        if not secret.get("name"):
            yield f'{path[index] / "name"}: invalid empty name ""'


def _overhead(overhead: Mapping[str, str], path: Field) -> Iterator[str]:
    for name in _BYTES:
        if name in overhead:
            yield from _fraction(overhead[name], path[name])


def _annotations(spec: Obj, annotations: Mapping[str, str], path: Field) -> Iterator[str]:
    at = path / "metadata" / "annotations"
    for key, message in _ANNOTATIONS.items():
        if key in annotations:
            yield f"{at[key]}: {message}"
    if SECCOMP_POD in annotations and get(spec, "securityContext.seccompProfile") is None:
        yield f"{at[SECCOMP_POD]}: {_SECCOMP}"
    pod_profile = get(spec, "securityContext.appArmorProfile")
    for _key, _index, container in visit_containers(spec):
        name = container.get("name") or ""
        seccomp, app_armor = SECCOMP_CONTAINER + name, APP_ARMOR + name
        if seccomp in annotations and get(container, "securityContext.seccompProfile") is None:
            yield f"{at[seccomp]}: {_SECCOMP}"
        own = pod_profile or get(container, "securityContext.appArmorProfile")
        if app_armor in annotations and own is None:
            yield (
                f'{at[app_armor]}: deprecated since v1.30; use the "appArmorProfile" field instead'
            )


def _container(container: Obj, path: Field) -> Iterator[str]:
    resources = container.get("resources")
    if resources:
        listed = [(key, resources[key]) for key in ("limits", "requests") if resources.get(key)]
        for name in _BYTES:
            for key, amounts in listed:
                if name in amounts:
                    yield from _fraction(amounts[name], (path / "resources" / key)[name])
    variables = container.get("env") or ()
    if len({variable.get("name") or "" for variable in variables}) < len(variables):
        yield from _environment(variables, path / "env")


def _environment(variables: Sequence[Obj], path: Field) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name, value = variable.get("name") or "", variable.get("value") or ""
        reference = f"$({name})"
        builds_on = variable.get("valueFrom") is None and value != reference and reference in value
        if name in seen and not builds_on:
            yield (
                f"{path[index]}: hides previous definition of {quote(name)}, "
                "which may be dropped when using apply"
            )
        seen.add(name)


def _ports(spec: Obj, path: Field) -> Iterator[str]:
    known: dict[tuple[int, str], list[_Port]] = {}
    for key, index, container in visit_containers(spec):
        for position, port in enumerate(container.get("ports") or ()):
            number = (port.get("containerPort") or 0, port.get("protocol") or "")
            place = (key, index, position, port)
            for other in known.get(number, ()):
                yield from _overlap(place, other, path)
            known.setdefault(number, []).append(place)


_Port = tuple[str, int, int, Obj]
"""A port, after the list that its container is in, the container's place and its own."""


def _overlap(one: _Port, two: _Port, path: Field) -> Iterator[str]:
    at, other_at = (((path / key)[index] / "ports")[n] for key, index, n, _ in (one, two))
    port, other = one[-1], two[-1]
    ports = port.get("hostPort") or 0, other.get("hostPort") or 0
    addresses = port.get("hostIP") or "", other.get("hostIP") or ""
    if ports[0] == ports[1] and addresses[0] == addresses[1]:
        yield f"{at}: duplicate port definition with {other_at}"
    elif 0 in ports:
        yield f"{at}: overlapping port definition with {other_at}"
    elif ports[0] == ports[1] and "" in addresses:
        yield f"{at}: dangerously ambiguous port definition with {other_at}"


_CHECKS: Final[tuple[tuple[str, Callable[[Any, Field], Iterator[str]]], ...]] = (
    ("nodeSelector", _node_selector),
    ("affinity", _affinity),
    ("topologySpreadConstraints", _spreading),
    ("volumes", _volumes),
    ("hostAliases", _host_aliases),
    ("imagePullSecrets", _pull_secrets),
    ("overhead", _overhead),
)
