"""/healthz, /livez and /readyz: named checks, all together and each by itself.

The names are upstream's, so that probes that ask for one of them, or leave one out, work here too.
Most of upstream's checks say whether something that is started after the server listens has been;
each of them stands here for the part of this server that does its work.
"""

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web
from multidict import MultiMapping

Check = Callable[[], str | None]
"""Returns why a part is not well, or None."""

STORAGE = "etcd"
START = "poststarthook/bootstrap"
KEY_SERVICES = "kms-providers"
"""Whether the plugins that keep keys of encryption at rest can be used; where a file names any."""
AGGREGATION = "autoregister-completion"
_HOOKS: tuple[tuple[str, str], ...] = (
    ("start-apiserver-admission-initializer", STORAGE),
    ("generic-apiserver-start-informers", STORAGE),
    ("priority-and-fairness-config-consumer", START),
    ("priority-and-fairness-filter", STORAGE),
    ("storage-object-count-tracker-hook", STORAGE),
    ("start-apiextensions-informers", STORAGE),
    ("start-apiextensions-controllers", START),
    ("crd-informer-synced", STORAGE),
    ("start-system-namespaces-controller", START),
    ("peer-endpoint-reconciler-controller", START),
    ("start-cluster-authentication-info-controller", START),
    ("start-kube-apiserver-identity-lease-controller", START),
    ("start-kube-apiserver-identity-lease-garbage-collector", START),
    ("storage-readiness", STORAGE),
    ("start-legacy-token-tracking-controller", START),
    ("start-service-ip-repair-controllers", START),
    ("rbac/bootstrap-roles", START),
    ("scheduling/bootstrap-system-priority-classes", START),
    ("priority-and-fairness-config-producer", START),
    ("bootstrap-controller", START),
    ("start-kubernetes-service-cidr-controller", START),
    ("aggregator-reload-proxy-client-cert", START),
    ("start-kube-aggregator-informers", STORAGE),
    ("apiservice-status-local-available-controller", START),
    ("apiservice-status-remote-available-controller", START),
    ("apiservice-registration-controller", AGGREGATION),
    ("apiservice-wait-for-first-sync", AGGREGATION),
    ("apiservice-discovery-controller", START),
    ("kube-apiserver-autoregistration", AGGREGATION),
)
"""What upstream starts once it listens, in its order, and the check of ours that stands for it."""
_LAST_HOOKS: tuple[tuple[str, str], ...] = (
    ("apiservice-openapi-controller", START),
    ("apiservice-openapiv3-controller", START),
)
_BEFORE: Mapping[str, tuple[str, ...]] = {
    "healthz": ("ping", "log", STORAGE),
    "livez": ("ping", "log", "loopback-serving-certificate", STORAGE),
    "readyz": ("ping", "log", "informer-sync"),
}
_AFTER: Mapping[str, tuple[str, ...]] = {"healthz": (), "livez": (), "readyz": ("shutdown",)}
_WELL: Check = lambda: None  # noqa: E731 -- who answers is well
_ALWAYS_WELL = ("ping", "log", "loopback-serving-certificate")
KINDS = tuple(_BEFORE)
_HEADERS = {
    "Cache-Control": "no-cache, private",
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
}


class Health:
    """Answers the three paths and those below them."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        """Take the server's own checks.

        They are `etcd`, `poststarthook/bootstrap`, `autoregister-completion` and `shutdown`, and
        `kms-providers` where keys are kept elsewhere.
        """
        self._checks: Mapping[str, Mapping[str, Check]] = {
            kind: _checks_of(kind, checks) for kind in KINDS
        }

    def checks(self, kind: str) -> Mapping[str, Check]:
        """Return the checks of `healthz`, `livez` or `readyz` by name."""
        return self._checks[kind]

    def paths(self) -> list[str]:
        """Return the paths that are answered."""
        below = [f"/{kind}/{name}" for kind, checks in self._checks.items() for name in checks]
        return [*(f"/{kind}" for kind in KINDS), *below]

    def answer(self, path: str, query: MultiMapping[str]) -> web.Response | None:
        """Return `ok`, or what is not well; None where there is no such check."""
        kind, _, name = path.strip("/").partition("/")
        checks = self._checks[kind]
        if not name:
            excluded = query.getall("exclude", [])
            return _all(kind, checks, excluded, verbose="verbose" in query)
        if name not in checks:
            return None
        why = checks[name]()
        if why is None:
            return web.Response(text="ok", headers=_HEADERS)
        return web.Response(text=f"internal server error: {why}\n", status=500, headers=_HEADERS)


def _checks_of(kind: str, own: Mapping[str, Check]) -> dict[str, Check]:
    hooks = [(f"poststarthook/{name}", own.get(check, _WELL)) for name, check in _HOOKS]
    last = [(f"poststarthook/{name}", own.get(check, _WELL)) for name, check in _LAST_HOOKS]
    known = {
        **dict.fromkeys(_ALWAYS_WELL, _WELL),
        STORAGE: own.get(STORAGE, _WELL),
        "informer-sync": own.get(STORAGE, _WELL),
        "shutdown": own.get("shutdown", _WELL),
    }
    services = [(KEY_SERVICES, own[KEY_SERVICES])] if KEY_SERVICES in own else []
    before = [*((name, known[name]) for name in _BEFORE[kind]), *services]
    after = [(name, known[name]) for name in _AFTER[kind]]
    ready = [(AGGREGATION, own.get(AGGREGATION, _WELL))]
    return dict([*before, *hooks, *ready, *last, *after])


def _all(
    kind: str, checks: Mapping[str, Check], excluded: Sequence[str], *, verbose: bool
) -> web.Response:
    lines, failed = [], False
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
        elif check() is None:
            lines.append(f"[+]{name} ok")
        else:
            failed = True
            lines.append(f"[-]{name} failed: reason withheld")
    if unknown := sorted({name for name in excluded if name not in checks}):
        names = ",".join(f'"{name}"' for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    if failed:
        text = "\n".join([*lines, f"{kind} check failed", ""])
        return web.Response(text=text, status=500, headers=_HEADERS)
    text = "\n".join([*lines, f"{kind} check passed", ""]) if verbose else "ok"
    return web.Response(text=text, headers=_HEADERS)
