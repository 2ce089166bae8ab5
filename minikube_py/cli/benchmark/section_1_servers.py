"""1.2 to 1.4: API server, controller manager and scheduler."""

import ssl
from pathlib import Path

from minikube_py.cli.benchmark.machine import (
    Item,
    Machine,
    Result,
    absent,
    judged,
    owners,
    passed,
)
from minikube_py.server.profile import PLUGINS

OLD_TLS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
IN_PROCESS = "it runs in the API server's process and listens on no port of its own"
AUDIT_DAYS_MIN, AUDIT_BACKUPS_MIN, AUDIT_MEGABYTES_MIN = 30, 10, 100


def _anonymous(machine: Machine) -> Result:
    status, _ = machine.ask("/api")
    return judged(good=status == 401, why=f"/api without credentials was answered with {status}")


def _modes(machine: Machine) -> tuple[str, ...]:
    path = machine.server.authorization_config
    if not path:
        return machine.server.authorization_mode
    from minikube_py.server.authz.configuration import read  # noqa: PLC0415

    try:
        return tuple(member.type for member in read(Path(path).read_bytes()))
    except (OSError, ValueError):
        return (f"not known: {path} cannot be used any more",)


def _not_always_allow(machine: Machine) -> Result:
    status, _ = machine.ask("/api/v1/secrets")
    modes = ", ".join(_modes(machine))
    return judged(
        good="AlwaysAllow" not in modes and status in (401, 403),
        why=f"modes are {modes}; secrets asked for by nobody were answered with {status}",
    )


def _mode(name: str, machine: Machine) -> Result:
    modes = _modes(machine)
    return judged(good=name in modes, why=f"who decides: {', '.join(modes)}")


def _kubelet_client(machine: Machine) -> Result:
    pair = [machine.tls / f"apiserver-kubelet-client.{ending}" for ending in ("crt", "key")]
    return judged(good=all(path.exists() for path in pair), why=f"{pair[0]} and its key")


def _plugin(name: str, machine: Machine, *, optional: bool = False) -> Result:
    config = machine.server
    off = name in config.disable_admission_plugins
    on = name in config.enable_admission_plugins if optional else not off
    if optional and not on:
        remedy = "--profile=cis" if name in PLUGINS else f"--enable-admission-plugins={name}"
        return Result("WARN", f"pass {remedy} where the cluster wants it")
    return judged(good=on, why="it runs" if on else "--disable-admission-plugins names it")


def _audit_log(machine: Machine) -> Result:
    config, default = machine.server, machine.folder / "logs" / "audit.log"
    if config.audit_log_path == "none":
        return judged(good=False, why="--audit-log-path is none")
    return passed(config.audit_log_path or str(default))


def _at_least(flag: str, value: int, least: int) -> Result:
    return judged(
        good=value >= least,
        why=f"{flag} is {value}, at least {least} are asked for"
        + ("" if value >= least else "; --profile=cis sets that"),
    )


def _old_tls(machine: Machine) -> Result:
    port = machine.server.https_listen_port
    old = [version.name for version in OLD_TLS if machine.takes_tls(version, port)]
    suites = ", ".join(machine.server.tls_cipher_suites) or "OpenSSL's defaults of level 2"
    return judged(good=not old, why=f"older than TLS 1.2: {old or 'refused'}; suites: {suites}")


def _encryption(machine: Machine) -> Result:
    from minikube_py.lib.errors import StartError  # noqa: PLC0415
    from minikube_py.server.encryption.files import Files  # noqa: PLC0415

    files = Files.of(machine.folder, machine.server.encryption_provider_config)
    try:
        configuration, _ = files.read()
    except StartError as error:
        return judged(good=False, why=str(error))
    rule = configuration.rule_of("secrets")
    first = rule.sealers[0].title if rule is not None else "identity"
    return judged(good=first != "identity", why=f"secrets are stored by {first}")


def _lookup(machine: Machine) -> Result:
    del machine
    return passed("accounts and what tokens are bound to are always looked up")


def _root_ca(machine: Machine) -> Result:
    path = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"
    status, _ = machine.ask(path, admin=True)
    return judged(good=status == 200, why=f"{path} is answered with {status}")


ITEMS = (
    Item("1.2.1", "No anonymous requests", _anonymous),
    Item("1.2.2", "No file of static tokens", absent("there is no --token-auth-file")),
    Item(
        "1.2.3",
        "Services with external IPs are refused",
        owners("external IPs are served; forbid them with a ValidatingAdmissionPolicy"),
    ),
    Item("1.2.4", "Kubelets are spoken to with a client certificate", _kubelet_client),
    Item(
        "1.2.5",
        "Kubelets' certificates are verified",
        lambda m: judged(
            good=(m.tls / "cluster-ca.crt").exists(), why=f"by {m.tls / 'cluster-ca.crt'}"
        ),
    ),
    Item("1.2.6", "Authorisation is not AlwaysAllow", _not_always_allow),
    Item("1.2.7", "Authorisation includes Node", lambda m: _mode("Node", m)),
    Item("1.2.8", "Authorisation includes RBAC", lambda m: _mode("RBAC", m)),
    Item("1.2.9", "EventRateLimit runs", lambda m: _plugin("EventRateLimit", m, optional=True)),
    Item("1.2.10", "AlwaysAdmit does not run", absent("there is no such plugin")),
    Item(
        "1.2.11",
        "AlwaysPullImages runs",
        lambda m: _plugin("AlwaysPullImages", m, optional=True),
    ),
    Item("1.2.12", "ServiceAccount runs", lambda m: _plugin("ServiceAccount", m)),
    Item("1.2.13", "NamespaceLifecycle runs", lambda m: _plugin("NamespaceLifecycle", m)),
    Item("1.2.14", "NodeRestriction runs", lambda m: _plugin("NodeRestriction", m)),
    Item("1.2.15", "No profiling", absent("there is no profiler; /debug/tasks needs rights")),
    Item("1.2.16", "There is an audit log", _audit_log),
    Item(
        "1.2.17",
        "Audit logs are kept 30 days",
        lambda m: _at_least("--audit-log-maxage", m.server.audit_log_maxage, AUDIT_DAYS_MIN),
    ),
    Item(
        "1.2.18",
        "Ten audit logs are kept",
        lambda m: _at_least(
            "--audit-log-maxbackup", m.server.audit_log_maxbackup, AUDIT_BACKUPS_MIN
        ),
    ),
    Item(
        "1.2.19",
        "An audit log has 100 MB",
        lambda m: (
            _at_least("--audit-log-maxsize", m.server.audit_log_maxsize, AUDIT_MEGABYTES_MIN)
            if m.server.audit_log_maxsize >= AUDIT_MEGABYTES_MIN
            else Result(
                "WARN",
                f"--audit-log-maxsize is {m.server.audit_log_maxsize} so that small disks last; "
                "--profile=cis sets 100",
            )
        ),
    ),
    Item(
        "1.2.20",
        "Requests end",
        lambda m: passed(f"--request-timeout is {m.server.request_timeout}"),
    ),
    Item("1.2.21", "Service accounts are looked up", _lookup),
    Item(
        "1.2.22",
        "Tokens are verified with a key of their own",
        lambda m: judged(
            good=(m.tls / "service-account.key").exists(), why=str(m.tls / "service-account.key")
        ),
    ),
    Item("1.2.23", "etcd is spoken to with a certificate", absent("the store is a file (SQLite)")),
    Item(
        "1.2.24",
        "The API is served with TLS",
        lambda m: judged(
            good=m.takes_tls(ssl.TLSVersion.TLSv1_3, m.server.https_listen_port),
            why=f"port {m.server.https_listen_port} speaks TLS 1.3",
        ),
    ),
    Item(
        "1.2.25",
        "Client certificates are verified",
        lambda m: judged(
            good=m.ask("/version", admin=True)[0] == 200, why=f"by {m.tls / 'client-ca.crt'}"
        ),
    ),
    Item("1.2.26", "etcd's certificate is verified", absent("the store is a file (SQLite)")),
    Item("1.2.27", "Secrets are encrypted at rest", _encryption),
    Item("1.2.28", "By a provider that does it well", _encryption),
    Item("1.2.29", "Only strong ciphers", _old_tls),
    Item("1.3.1", "Finished pods are cleared away", lambda _: passed("beyond 12,500 of them")),
    Item("1.3.2", "Controller manager: no profiling", absent(IN_PROCESS)),
    Item(
        "1.3.3",
        "Controllers have an account each",
        lambda _: passed("every controller acts as a service account of its own"),
    ),
    Item(
        "1.3.4",
        "Tokens are signed with a key of their own",
        lambda m: m.modes([m.tls / "service-account.key"], 0o600),
    ),
    Item("1.3.5", "Pods get the CA", _root_ca),
    Item(
        "1.3.6",
        "Kubelets' serving certificates are renewed",
        lambda _: passed("while kpy runs, when 90 days are left"),
    ),
    Item("1.3.7", "Controller manager listens on loopback", absent(IN_PROCESS)),
    Item("1.4.1", "Scheduler: no profiling", absent(IN_PROCESS)),
    Item("1.4.2", "Scheduler listens on loopback", absent(IN_PROCESS)),
)
