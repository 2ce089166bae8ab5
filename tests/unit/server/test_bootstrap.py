"""What a control plane keeps on disk, and how it refuses what it cannot use."""

import base64
import ipaddress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from minikube_py.lib import pki
from minikube_py.lib.errors import StartError
from minikube_py.server import bootstrap, join_tokens
from minikube_py.server.config import ServerConfig

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def config(folder: Path) -> ServerConfig:
    return ServerConfig(data_dir=folder / "data", write_kubeconfig=folder / "etc" / "kpy.yaml")


def prepare(given: ServerConfig) -> bootstrap.Bootstrap:
    return bootstrap.prepare(given, node_name="n1", node_addresses=("10.0.0.5",), now=NOW)


def test_the_serving_certificate_holds_every_name_that_clients_use(tmp_path: Path) -> None:
    made = prepare(replace(config(tmp_path), tls_san=("kpy.example", "10.9.9.9")))
    assert pki.alternatives_of(made.serving.certificate) == {
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
        "::1",
        "10.0.0.5",
        "10.43.0.1",
        "n1",
        "kpy.example",
        "10.9.9.9",
    }


def test_the_kubeconfig_is_the_administrators(tmp_path: Path) -> None:
    made = prepare(config(tmp_path))
    document = yaml.safe_load(made.kubeconfig.read_text())
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    certificate = base64.b64decode(document["users"][0]["user"]["client-certificate-data"])
    assert certificate == made.admin.certificate_pem
    assert made.kubeconfig.stat().st_mode & 0o777 == 0o600


def test_the_kubeconfig_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    prepare(config(tmp_path))
    made = prepare(replace(config(tmp_path), write_kubeconfig_mode="0644"))
    assert made.kubeconfig.stat().st_mode & 0o777 == 0o644


def test_a_second_start_finds_everything_as_it_was(tmp_path: Path) -> None:
    first, second = prepare(config(tmp_path)), prepare(config(tmp_path))
    assert first.token == second.token
    assert first.serving.certificate == second.serving.certificate
    assert first.service_account_key.public_key() == second.service_account_key.public_key()


def test_every_start_that_was_killed_goes_on(tmp_path: Path) -> None:
    first = prepare(config(tmp_path))
    for file in sorted((tmp_path / "data" / "server" / "tls").glob("*.crt")):
        file.unlink()
        made = prepare(config(tmp_path))
        assert made.cluster_ca.key_pem == first.cluster_ca.key_pem
        made.serving.certificate.verify_directly_issued_by(made.cluster_ca.certificate)


def test_the_token_names_the_ca_and_keeps_the_given_secret(tmp_path: Path) -> None:
    made = prepare(replace(config(tmp_path), token="s3cret"))
    assert made.token == f"K10{made.cluster_ca.fingerprint}::server:s3cret"
    assert made.token.rpartition(":")[2] == "s3cret"
    assert prepare(config(tmp_path)).token == made.token
    assert (tmp_path / "data" / "server" / "token").stat().st_mode & 0o777 == 0o600


def test_a_given_token_that_was_rotated_away_stays_away(tmp_path: Path) -> None:
    told = replace(config(tmp_path), token="s3cret-one")
    made = prepare(told)
    newer = join_tokens.rotate(tmp_path / "data" / "server")
    assert prepare(told).token == newer
    assert prepare(replace(told, token=made.token)).token == newer
    assert prepare(replace(told, token="s3cret-two")).token.endswith(":s3cret-two")


def test_secrets_do_not_show(tmp_path: Path) -> None:
    made = prepare(replace(config(tmp_path), token="s3cret"))
    assert "s3cret" not in repr(made)
    assert made.admin.key_pem.decode() not in repr(made)


def test_a_token_of_another_cluster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="of another cluster"):
        prepare(replace(config(tmp_path), token=f"K10{'0' * 64}::server:x"))


def test_the_nodes_certificates_name_the_node(tmp_path: Path) -> None:
    made = prepare(config(tmp_path))
    node = bootstrap.node_certificates(made, tmp_path / "n", "n1", ("10.0.0.5",), now=NOW)
    assert pki.alternatives_of(node.serving.certificate) >= {"n1", "10.0.0.5"}
    assert node.client.certificate.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"write_kubeconfig_mode": "rw"}, "--write-kubeconfig-mode 'rw' is no file mode"),
        ({"service_cidr": "10.0.0.0/40"}, "--service-cidr '10.0.0.0/40' is no network"),
        ({"bind_address": "eth0"}, "--bind-address 'eth0' is no IP address"),
        ({"advertise_address": "host"}, "--advertise-address 'host' is no IP address"),
    ],
)
def test_bad_input_is_one_line_with_a_remedy(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    with pytest.raises(StartError, match="; pass") as caught:
        prepare(replace(config(tmp_path), **change))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_data_dir_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StartError, match=r"cannot use folder .*data"):
        prepare(config(tmp_path))


def test_service_addresses_come_from_the_network() -> None:
    given = ServerConfig(service_cidr="10.96.0.0/12")
    assert bootstrap.kubernetes_service_ip(given) == "10.96.0.1"
    assert bootstrap.cluster_dns_ip(given) == "10.96.0.10"
    assert ipaddress.ip_address(bootstrap.advertise_address(given))


@pytest.mark.parametrize(
    ("options", "advertised"),
    [
        ({"bind_address": "10.1.2.3"}, "10.1.2.3"),
        ({"bind_address": "0.0.0.0"}, "10.9.9.9"),
        ({"bind_address": "127.0.0.1"}, "10.9.9.9"),
        ({"bind_address": "127.0.0.1", "advertise_address": "10.1.2.4"}, "10.1.2.4"),
    ],
)
def test_an_address_is_advertised_that_others_may_reach(
    options: dict[str, str], advertised: str
) -> None:
    given = ServerConfig(**options)  # type: ignore[arg-type]
    assert bootstrap.advertise_address(given, ("10.9.9.9",)) == advertised
