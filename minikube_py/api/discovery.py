"""What a server serves, as clients ask for it before anything else: the discovery documents.

`/api`, `/apis` and the documents below them list groups, versions and resources one by one;
aggregated discovery has all of it in one document for each of `/api` and `/apis`. All are derived
from the scheme. Built-in groups stand in the scheme's order, custom ones after them by name;
versions stand in the order of kube version priority, the preferred one first.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any

import orjson

from minikube_py.api.resource import Resource, Subresource
from minikube_py.api.scheme import Scheme

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?", re.ASCII)
_STABILITY = {None: 3, "beta": 2, "alpha": 1}
AGGREGATED = ("v2", "v2beta1")
"""The versions of apidiscovery.k8s.io."""


def document(scheme: Scheme, path: str, *, server_address: str = "") -> bytes | None:
    """Return the discovery document of a path, None where there is none.

    `/api#v2` and `/apis#v2` (or `#v2beta1`) are the aggregated ones. `server_address` is the
    `host:port` that `/api` tells to clients.
    """
    plain, _, version = path.partition("#")
    found = aggregated(scheme, plain, version) if version else _plain(scheme, plain, server_address)
    return None if found is None else orjson.dumps(found)


def etag(data: bytes) -> str:
    """Return the tag of a document: the SHA-512 of its bytes, in hex."""
    return hashlib.sha512(data).hexdigest().upper()


def groups(scheme: Scheme) -> dict[str, tuple[str, ...]]:
    """Return the versions of every group but the core one, the preferred version first."""
    found: dict[str, dict[str, None]] = {}
    custom: set[str] = set()
    for resource in _shown(scheme):
        if resource.group:
            if resource.group not in found and resource.custom:
                custom.add(resource.group)
            found.setdefault(resource.group, {})[resource.version] = None
    order = [group for group in found if group not in custom] + sorted(custom)
    return {
        group: tuple(sorted(found[group], key=version_priority, reverse=True)) for group in order
    }


def version_priority(version: str) -> tuple[int, int, int, tuple[int, ...]]:
    """Return a key that is greater for a version that is preferred: v2 > v1 > v1beta1 > foo.

    Versions that are no kube versions come last, in the order of the alphabet.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        return (0, 0, 0, (*(-byte for byte in version.encode()), 1))
    major, stability, minor = match.groups()
    return (_STABILITY[stability], int(major), int(minor or 0), ())


def _shown(scheme: Scheme) -> Iterable[Resource]:
    return (resource for resource in scheme if resource.in_discovery)


def _of_version(scheme: Scheme, group: str, version: str) -> list[Resource]:
    found = [r for r in _shown(scheme) if (r.group, r.version) == (group, version)]
    return sorted(found, key=lambda resource: resource.plural)


def _plain(scheme: Scheme, path: str, server_address: str) -> dict[str, Any] | None:
    match path.strip("/").split("/"):
        case ["api"]:
            return _api_versions(server_address)
        case ["api", version]:
            return _resource_list(scheme, "", version)
        case ["apis"]:
            listed = [_group(name, versions) for name, versions in groups(scheme).items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["apis", name]:
            versions = groups(scheme).get(name)
            head = {"kind": "APIGroup", "apiVersion": "v1"}
            return None if versions is None else {**head, **_group(name, versions)}
        case ["apis", name, version]:
            return _resource_list(scheme, name, version)
    return None


def _api_versions(server_address: str) -> dict[str, Any]:
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": addresses if server_address else [],
    }


def _group(name: str, versions: tuple[str, ...]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(scheme: Scheme, group: str, version: str) -> dict[str, Any] | None:
    resources = _of_version(scheme, group, version)
    if not resources:
        return None
    head: dict[str, Any] = {"kind": "APIResourceList"}
    if group:
        head["apiVersion"] = "v1"
    entries = []
    for resource in resources:
        entries.append(_entry(resource))
        entries += [_subresource_entry(resource, sub) for sub in resource.subresources]
    entries.sort(key=lambda entry: str(entry["name"]))
    return {**head, "groupVersion": resources[0].api_version, "resources": entries}


def _entry(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular_name,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if "watch" in resource.verbs:
        entry["storageVersionHash"] = storage_version_hash(resource)
    return entry


def _verbs(resource: Resource) -> list[str]:
    """Return the verbs by name; those of custom kinds in the order that upstream wrote down."""
    return list(resource.verbs) if resource.custom else sorted(resource.verbs)


def _subresource_entry(resource: Resource, sub: Subresource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": f"{resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.kind or resource.kind,
        "verbs": sorted(sub.verbs),
    }
    if sub.group is not None and sub.version is not None:
        entry["group"] = sub.group
        entry["version"] = sub.version
    return {key: value for key, value in entry.items() if key != "group" or value}


def storage_version_hash(resource: Resource) -> str:
    """Return the hash of the kind in the version that is stored."""
    stored = resource.storage.resource if resource.storage is not None else resource
    text = f"{stored.group}/{stored.stored_version or stored.version}/{stored.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


# --- aggregated discovery -------------------------------------------------------------------------


def aggregated(scheme: Scheme, path: str, version: str = "v2") -> dict[str, Any] | None:
    """Return the aggregated document of `/api` or `/apis`, None for anything else."""
    if version not in AGGREGATED or path not in ("/api", "/apis"):
        return None
    listed = {"": ("v1",)} if path == "/api" else groups(scheme)
    items = [_aggregated_group(scheme, group, versions) for group, versions in listed.items()]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_group(scheme: Scheme, group: str, versions: tuple[str, ...]) -> dict[str, Any]:
    return {
        "metadata": {"name": group} if group else {},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated_entry(r) for r in _of_version(scheme, group, version)],
                "freshness": "Current",
            }
            for version in versions
        ],
    }


def _aggregated_entry(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": _response_kind(resource, None),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular_name,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _response_kind(resource, sub),
                "verbs": sorted(sub.verbs),
            }
            for sub in sorted(resource.subresources, key=lambda sub: sub.name)
        ]
    return entry


def _response_kind(resource: Resource, sub: Subresource | None) -> dict[str, str]:
    """Return the kind that is answered; the group's own version is left empty, as upstream does."""
    if sub is None:
        return {"group": "", "version": "", "kind": resource.kind}
    return {
        "group": sub.group or "",
        "version": sub.version or "",
        "kind": sub.kind or resource.kind,
    }
