"""Options that make no sense are refused by name before anything is made."""

from typing import Any

import pytest

from minikube_py.lib.errors import StartError
from minikube_py.server.config import ServerConfig
from minikube_py.server.options import check, problems


def test_the_defaults_are_good() -> None:
    assert list(problems(ServerConfig())) == []


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("bind_address", "here", "--bind-address"),
        ("advertise_address", "1.2.3", "--advertise-address"),
        ("cluster_dns", "dns", "--cluster-dns"),
        ("https_listen_port", 0, "--https-listen-port"),
        ("https_listen_port", 70000, "--https-listen-port"),
        ("etcd_listen_client_urls", ("http://127.0.0.1:2379",), "--etcd-listen-client-urls"),
        ("etcd_listen_client_urls", ("https://127.0.0.1",), "--etcd-listen-client-urls"),
        ("cluster_cidr", "10.42.0.1/16", "--cluster-cidr"),
        ("service_cidr", "10.43.0.0/30", "--service-cidr"),
        ("service_cidr", "nonsense", "--service-cidr"),
        ("service_cidr", "10.43.0.0/16,10.44.0.0/16", "--service-cidr"),
        ("cluster_cidr", "10.42.0.0/16,fd42::/48,fd43::/48", "--cluster-cidr"),
        ("service_node_port_range", "5-x", "--service-node-port-range"),
        ("service_node_port_range", "40000-30000", "--service-node-port-range"),
        ("cluster_domain", "Not A Domain", "--cluster-domain"),
        ("dns_stub_domains", ("corp.example=nobody",), "--dns-stub-domains"),
        ("write_kubeconfig_mode", "9z", "--write-kubeconfig-mode"),
        ("datastore_endpoint", "floppy://db", "--datastore-endpoint"),
        ("tls_sni_cert_key", ("a.crt",), "--tls-sni-cert-key"),
        ("tls_sni_cert_key", ("a.crt,a.key:192.0.2.1",), "--tls-sni-cert-key"),
        ("authorization_mode", ("Node", "ABAC"), "--authorization-mode"),
        ("authorization_mode", ("RBAC", "Webhook"), "--authorization-webhook-config-file"),
        ("authorization_webhook_config_file", "file", "--authorization-webhook-config-file"),
        ("authorization_webhook_version", "v2", "--authorization-webhook-version"),
        (
            "authorization_webhook_cache_authorized_ttl",
            "long",
            "--authorization-webhook-cache-authorized-ttl",
        ),
        (
            "authentication_token_webhook_cache_ttl",
            "-1s",
            "--authentication-token-webhook-cache-ttl",
        ),
        (
            "authentication_token_webhook_version",
            "v2",
            "--authentication-token-webhook-version",
        ),
    ],
)
def test_a_mistake_is_named_with_its_flag_and_a_remedy(field: str, value: Any, flag: str) -> None:
    config = ServerConfig(**{field: value})
    with pytest.raises(StartError, match=f"^{flag} .* cannot be used; pass "):
        check(config)


def test_the_password_of_a_datastore_is_not_shown() -> None:
    (problem,) = problems(ServerConfig(datastore_endpoint="floppy://me:secret@db"))
    assert "secret" not in problem
