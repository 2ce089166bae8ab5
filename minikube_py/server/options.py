"""Options are looked at before anything is made: a mistake is one line that names the flag."""

import ipaddress
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minikube_py.api import names, times
from minikube_py.datastore.open import ETCD
from minikube_py.lib import tls
from minikube_py.lib.errors import StartError
from minikube_py.lib.net import is_address
from minikube_py.server import named_certificates
from minikube_py.server.audit import sink
from minikube_py.server.authz.modes import MODES
from minikube_py.server.authz.webhook import VERSIONS
from minikube_py.server.config import WITHOUT_CLOUD, ServerConfig
from minikube_py.server.profile import PROFILES
from minikube_py.server.snapshots import service as snapshots

DATASTORES = ("memory", "sqlite", "postgres", "postgresql", "mysql", *ETCD)
"""Schemes of `--datastore-endpoint`; "" is SQLite in the data dir."""
SMALLEST_SERVICE_NETWORK = 16
"""The first address is the API server's, the tenth the cluster DNS's."""
_MODE = re.compile(r"0?[0-7]{3}")
NETWORK_BACKENDS = ("vxlan", "host-gw", "wireguard", "none")


def check(config: ServerConfig) -> None:
    """Raise StartError for the first option that makes no sense."""
    for problem in problems(config):
        raise StartError(problem)
    snapshots.check(config)


def _is_https(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme == "https" and bool(parts.hostname) and bool(parts.port)
    except ValueError:  # a port that is no number
        return False


def problems(config: ServerConfig) -> Iterator[str]:
    """Yield what is wrong: the flag, what was given, what to give instead."""
    checks: tuple[Check, ...] = (
        ("--bind-address", config.bind_address, is_address, "an IP address"),
        ("--advertise-address", config.advertise_address, _empty_or(is_address), "an IP address"),
        ("--cluster-dns", config.cluster_dns, _empty_or(is_address), "an IP address"),
        ("--https-listen-port", config.https_listen_port, _is_port, "a port from 1 to 65535"),
        ("--etcd-client-port", config.etcd_client_port, _is_port, "a port from 1 to 65535"),
        ("--etcd-peer-port", config.etcd_peer_port, _is_port, "a port from 1 to 65535"),
        *(
            ("--etcd-listen-client-urls", url, _is_https, "https://ADDRESS:PORT")
            for url in config.etcd_listen_client_urls
        ),
        *_network_checks(config),
        (
            "--service-node-port-range",
            config.service_node_port_range,
            _is_port_range,
            "a range of ports such as 30000-32767",
        ),
        (
            "--network-backend",
            config.network_backend,
            NETWORK_BACKENDS.__contains__,
            _either(NETWORK_BACKENDS),
        ),
        ("--profile", config.profile, PROFILES.__contains__, "cis, or nothing"),
        *_audit_checks(config),
        *_count_checks(config),
        *_webhook_checks(config),
        *_duration_checks(config),
        *(
            (flag, name, _is_plugin, "names of upstream's plugins, such as PodSecurity")
            for flag, names in (
                ("--enable-admission-plugins", config.enable_admission_plugins),
                ("--disable-admission-plugins", config.disable_admission_plugins),
            )
            for name in names
        ),
        *_tls_checks(config),
        *_cloud_checks(config),
        *(
            ("--dns-stub-domains", stub, _is_stub, "DOMAIN=ADDRESS[:PORT]")
            for stub in config.dns_stub_domains
        ),
        ("--cluster-domain", config.cluster_domain, _is_domain, "a domain such as cluster.local"),
        ("--write-kubeconfig-mode", config.write_kubeconfig_mode, _is_mode, "a mode such as 0600"),
        (
            "--datastore-endpoint",
            config.datastore_endpoint.partition("://")[0],
            _is_datastore,
            "nothing for SQLite in the data dir, postgres://, mysql:// or memory://",
        ),
    )
    yield from _member_problems(config)
    for flag, value, is_good, wanted in checks:
        if not is_good(value):
            yield f"{flag} {value!r} cannot be used; pass {wanted}"


def _member_problems(config: ServerConfig) -> Iterator[str]:
    flag = "--server" if config.server else "--cluster-init" if config.cluster_init else ""
    if flag and config.datastore_endpoint:
        yield f"{flag} makes etcd the datastore; leave --datastore-endpoint out, or {flag}"
    if config.server and config.cluster_init:
        yield "--cluster-init begins a cluster, --server joins one; pass one of them"
    if config.server and not config.token:
        yield "--server needs --token; `kpy token` on that server prints it"


Check = tuple[str, Any, Callable[[Any], bool], str]


def _count_checks(config: ServerConfig) -> Iterator[Check]:
    counts = (
        ("--history-retention-bytes", config.history_retention_bytes),
        ("--max-requests-inflight", config.max_requests_inflight),
        ("--max-mutating-requests-inflight", config.max_mutating_requests_inflight),
    )
    for flag, value in counts:
        yield flag, value, _is_count, "0 or more"


def _duration_checks(config: ServerConfig) -> tuple[Check, ...]:
    durations = (
        ("--node-monitor-grace-period", config.node_monitor_grace_period, "50s"),
        (
            "--horizontal-pod-autoscaler-sync-period",
            config.horizontal_pod_autoscaler_sync_period,
            "15s",
        ),
        ("--request-timeout", config.request_timeout, "1m0s"),
    )
    return tuple(
        (flag, value, _is_duration, f"a duration such as {example}")
        for flag, value, example in durations
    )


def _network_checks(config: ServerConfig) -> Iterator[Check]:
    such = "(or one of IPv4 and one of IPv6, with a comma between) such as"
    wanted = f"a network {such} 10.42.0.0/16"
    yield "--cluster-cidr", config.cluster_cidr, _each(_is_network), wanted
    wanted = f"a network of at least 16 addresses {such} 10.43.0.0/16"
    yield "--service-cidr", config.service_cidr, _each(_is_service_network), wanted


def _audit_checks(config: ServerConfig) -> tuple[Check, ...]:
    return (
        ("--audit-log-maxsize", config.audit_log_maxsize, _is_count, "0 or more"),
        ("--audit-log-maxage", config.audit_log_maxage, _is_count, "0 or more"),
        ("--audit-log-maxbackup", config.audit_log_maxbackup, _is_count, "0 or more"),
        ("--audit-log-mode", config.audit_log_mode, sink.MODES.__contains__, _either(sink.MODES)),
        (
            "--audit-log-format",
            config.audit_log_format,
            sink.FORMATS.__contains__,
            _either(sink.FORMATS),
        ),
    )


def _cloud_checks(config: ServerConfig) -> tuple[Check, ...]:
    return (
        (
            "--cloud-provider",
            config.cloud_provider,
            _is_cloud_provider,
            "local, aws, external, none or the name of a provider that is installed",
        ),
        (
            "--cloud-config",
            config.cloud_config,
            lambda value: not value or Path(value).is_file(),
            "a file that exists",
        ),
    )


def _tls_checks(config: ServerConfig) -> tuple[Check, ...]:
    return (
        (
            "--tls-min-version",
            config.tls_min_version,
            tls.MIN_VERSIONS.__contains__,
            " or ".join(tls.MIN_VERSIONS),
        ),
        *(
            ("--tls-cipher-suites", suite, tls.CIPHER_SUITES.__contains__, "names that Go has")
            for suite in config.tls_cipher_suites
        ),
        *(
            (
                "--tls-sni-cert-key",
                value,
                named_certificates.is_good,
                "certificate,key or certificate,key:name,*.name",
            )
            for value in config.tls_sni_cert_key
        ),
        (
            "--proxy-client-key-file",
            config.proxy_client_key_file,
            lambda value: bool(value) == bool(config.proxy_client_cert_file),
            "it together with --proxy-client-cert-file, or neither",
        ),
    )


def _webhook_checks(config: ServerConfig) -> Iterator[Check]:
    """Yield the checks of what says who is asked about users and rights."""
    for flag, version in (
        ("--authentication-token-webhook-version", config.authentication_token_webhook_version),
        ("--authorization-webhook-version", config.authorization_webhook_version),
    ):
        yield flag, version, VERSIONS.__contains__, _either(VERSIONS)
    for flag, lasts in (
        ("--authentication-token-webhook-cache-ttl", config.authentication_token_webhook_cache_ttl),
        (
            "--authorization-webhook-cache-authorized-ttl",
            config.authorization_webhook_cache_authorized_ttl,
        ),
        (
            "--authorization-webhook-cache-unauthorized-ttl",
            config.authorization_webhook_cache_unauthorized_ttl,
        ),
    ):
        yield flag, lasts, _is_time_to_live, "a duration such as 2m0s, 0s for none"
    for mode in config.authorization_mode:
        yield "--authorization-mode", mode, MODES.__contains__, _either(MODES)
    yield (
        "--authorization-config",
        config.authorization_config,
        lambda value: not value or config.authorization_mode == ("Node", "RBAC"),
        "it without --authorization-mode and --authorization-webhook-*",
    )
    yield (
        "--authorization-webhook-config-file",
        config.authorization_webhook_config_file,
        lambda value: bool(value) == ("Webhook" in config.authorization_mode),
        "it together with --authorization-mode=...,Webhook, or neither",
    )


def _is_time_to_live(value: str) -> bool:
    try:
        return times.parse_duration(value) >= 0
    except ValueError:
        return False


def _empty_or(check_value: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda value: not value or check_value(value)


def _either(values: tuple[str, ...]) -> str:
    return " or ".join(values)


def _is_count(value: int) -> bool:
    return value >= 0


def _is_cloud_provider(name: str) -> bool:
    from minikube_py.server.cloud import loading  # noqa: PLC0415 -- looks through all packages

    return name in (loading.LOCAL, *WITHOUT_CLOUD) or name in loading.names()


def _is_plugin(name: str) -> bool:
    from minikube_py.server.admission import NAMES  # noqa: PLC0415 -- few say such a name

    return name in NAMES


def _is_port(value: int) -> bool:
    return 1 <= value <= 65535


def _is_network(value: str) -> bool:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return False
    return "/" in value


def _is_service_network(value: str) -> bool:
    return (
        _is_network(value) and ipaddress.ip_network(value).num_addresses >= SMALLEST_SERVICE_NETWORK
    )


def _each(test: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return the test for one network, or one of each address family."""

    def holds(value: str) -> bool:
        parts = value.split(",")
        families = [":" in part for part in parts]
        return all(map(test, parts)) and len(set(families)) == len(families)

    return holds


def _is_port_range(value: str) -> bool:
    low, _, high = value.partition("-")
    if not (low.isdecimal() and high.isdecimal()):
        return False
    return 1 <= int(low) <= int(high) <= 65535


def _is_stub(value: str) -> bool:
    domain, _, place = value.partition("=")
    address, port = place, "53"
    if place.startswith("[") or place.count(":") == 1:
        address, _, port = place.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    return _is_domain(domain) and is_address(address.strip("[]")) and is_port


def _is_domain(value: str) -> bool:
    return not list(names.dns1123_subdomain(value))


def _is_duration(value: str) -> bool:
    try:
        return times.parse_duration(value) > 0
    except ValueError:
        return False


def _is_mode(value: str) -> bool:
    return _MODE.fullmatch(value) is not None


def _is_datastore(scheme: str) -> bool:
    return not scheme or scheme in DATASTORES
