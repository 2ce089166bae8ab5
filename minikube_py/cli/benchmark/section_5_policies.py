"""5: policies. Most are the owner's to judge; what is there is counted from the objects."""

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.cli.benchmark.machine import Item, Machine, Result, owners

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ENFORCE = "pod-security.kubernetes.io/enforce"
SYSTEM = ("kube-system", "kube-public", "kube-node-lease")


def _found(what: str, names: list[str]) -> Result:
    if not names:
        return Result("PASS", f"no {what}")
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Result("WARN", f"{what}: {shown}")


def _is_own(name: str) -> bool:
    return name.startswith("system:") or name in ("cluster-admin", "admin", "edit", "view")


def _roles(machine: Machine) -> Iterator[Mapping[str, Any]]:
    for path in (f"{RBAC}/clusterroles", f"{RBAC}/roles"):
        yield from (r for r in machine.items(path) if not _is_own(r["metadata"]["name"]))


def _granting(machine: Machine, resource: str, *verbs: str) -> list[str]:
    """Return the roles that somebody made and that give any of these verbs on a resource."""
    return [
        role["metadata"]["name"]
        for role in _roles(machine)
        for rule in role.get("rules") or ()
        if {resource, "*"} & set(rule.get("resources") or ())
        and {*verbs, "*"} & set(rule.get("verbs") or ())
    ]


def _cluster_admins(machine: Machine) -> Result:
    names = [
        binding["metadata"]["name"]
        for binding in machine.items(f"{RBAC}/clusterrolebindings")
        if binding["roleRef"]["name"] == "cluster-admin"
        and binding["metadata"]["name"] != "cluster-admin"
    ]
    return _found("bindings to cluster-admin", names)


def _wildcards(machine: Machine) -> Result:
    names = [
        role["metadata"]["name"]
        for role in _roles(machine)
        for rule in role.get("rules") or ()
        if "*" in (*(rule.get("verbs") or ()), *(rule.get("resources") or ()))
    ]
    return _found("roles with wildcards", names)


def _granted(what: str, resource: str, *verbs: str) -> Any:
    return lambda machine: _found(f"roles that {what}", _granting(machine, resource, *verbs))


def _default_accounts(machine: Machine) -> Result:
    names = [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in machine.items("/api/v1/pods")
        if pod["spec"].get("serviceAccountName") == "default"
        and pod["spec"].get("automountServiceAccountToken", True)
    ]
    return _found("pods with a token of the default account", names)


def _namespaces(machine: Machine) -> list[Mapping[str, Any]]:
    every = machine.items("/api/v1/namespaces")
    return [n for n in every if n["metadata"]["name"] not in SYSTEM]


def _unrestricted(machine: Machine) -> Result:
    usual = "restricted" if machine.server.profile == "cis" else "privileged"
    names = [
        namespace["metadata"]["name"]
        for namespace in _namespaces(machine)
        if (namespace["metadata"].get("labels") or {}).get(ENFORCE, usual) == "privileged"
    ]
    if machine.server.admission_control_config_file:
        return Result("WARN", "--admission-control-config-file decides about pods' rights")
    return _found(f"namespaces without the label {ENFORCE}", names)


def _without_policy(machine: Machine) -> Result:
    policies = machine.items("/apis/networking.k8s.io/v1/networkpolicies")
    having = {policy["metadata"]["namespace"] for policy in policies}
    names = [n["metadata"]["name"] for n in _namespaces(machine)]
    return _found("namespaces without a NetworkPolicy", [n for n in names if n not in having])


def _in_default(machine: Machine) -> Result:
    pods = machine.items("/api/v1/namespaces/default/pods")
    return _found("pods in the namespace default", [p["metadata"]["name"] for p in pods])


def _secrets_in_variables(machine: Machine) -> Result:
    names = [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in machine.items("/api/v1/pods")
        for container in pod["spec"]["containers"]
        for variable in container.get("env") or ()
        if "secretKeyRef" in (variable.get("valueFrom") or {})
    ]
    return _found("pods with secrets in variables", names)


def _unconfined(machine: Machine) -> Result:
    names = [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in machine.items("/api/v1/pods")
        for container in pod["spec"]["containers"]
        if not (
            (container.get("securityContext") or {}).get("seccompProfile")
            or (pod["spec"].get("securityContext") or {}).get("seccompProfile")
        )
    ]
    return _found("pods without a seccomp profile", sorted(set(names)))


ITEMS = (
    Item("5.1.1", "cluster-admin only where needed", _cluster_admins),
    Item("5.1.2", "Little access to secrets",
         _granted("read secrets", "secrets", "get", "list", "watch")),
    Item("5.1.3", "Few wildcards in roles", _wildcards),
    Item("5.1.4", "Few may create pods", _granted("create pods", "pods", "create")),
    Item("5.1.5", "Default accounts are not used", _default_accounts),
    Item("5.1.6", "Tokens only where needed", _default_accounts),
    Item("5.1.7", "system:masters is not used",
         owners("no object tells its members; the administrator's kubeconfig is one")),
    Item("5.1.8", "Few may bind, impersonate or escalate",
         _granted("bind, impersonate or escalate", "roles", "bind", "impersonate", "escalate")),
    Item("5.1.9", "Few may create volumes",
         _granted("create volumes", "persistentvolumes", "create")),
    Item("5.1.10", "Few may use nodes/proxy",
         _granted("use nodes/proxy", "nodes/proxy", "get", "create")),
    Item("5.1.11", "Few may approve certificates",
         _granted("approve", "certificatesigningrequests/approval", "update", "patch")),
    Item("5.1.12", "Few may change webhooks",
         _granted("change webhooks", "mutatingwebhookconfigurations", "create", "update", "patch")),
    Item("5.1.13", "Few may create tokens",
         _granted("create tokens", "serviceaccounts/token", "create")),
    *(Item(f"5.2.{number}", title, _unrestricted) for number, title in enumerate((
        "Pods are admitted by a policy", "No privileged containers", "No host PID",
        "No host IPC", "No host network", "No privilege escalation", "No root",
        "No NET_RAW", "No added capabilities", "Capabilities are dropped",
        "No Windows HostProcess", "No host paths", "No host ports"), start=1)),
    Item("5.3.1", "The network enforces policies",
         owners("kpy stores NetworkPolicies and does not enforce them yet")),
    Item("5.3.2", "Every namespace has a policy", _without_policy),
    Item("5.4.1", "Secrets as files, not variables", _secrets_in_variables),
    Item("5.4.2", "Secrets outside the cluster", owners("encryption at rest is on: see 1.2.27")),
    Item("5.5.1", "Images have a known origin", owners("a policy or webhook can check it")),
    Item("5.7.1", "Namespaces part who works here",
         lambda m: Result("WARN", f"{len(_namespaces(m))} namespaces beside the system's")),
    Item("5.7.2", "Pods have a seccomp profile", _unconfined),
    Item("5.7.3", "Pods have a security context", _unrestricted),
    Item("5.7.4", "The namespace default is not used", _in_default),
)  # fmt: skip
