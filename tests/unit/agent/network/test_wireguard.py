"""WireGuard: the key stays private, and peers are made of nodes whose keys may be keys."""

from pathlib import Path

import pytest

from minikube_py.agent.network import links, wireguard
from minikube_py.agent.network.routes import Peer
from minikube_py.lib.errors import StartError

KEY = "7wYH0Xnr5ltXuKG5VmQyYVxgrAVJRFlsqZNLtPE1Fmk="


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = wireguard.private_key(tmp_path / "agent")
    assert wireguard.private_key(tmp_path / "agent") == first
    assert (tmp_path / "agent" / "wireguard.key").stat().st_mode & 0o777 == 0o600
    public = wireguard.public_key(first)
    assert wireguard.is_key(first)
    assert wireguard.is_key(public)
    assert public != first


def test_peers_are_those_with_a_key_an_address_and_networks() -> None:
    peers = [
        Peer("c", ("10.42.2.0/24", "fd42::/64"), ("192.168.0.3", "fd00::3"), KEY),
        Peer("no-key", ("10.42.3.0/24",), ("192.168.0.4",)),
        Peer("no-network", (), ("192.168.0.5",), KEY),
        Peer("other-family", ("10.42.4.0/24",), ("fd00::4",), KEY),
        Peer("forged", ("10.42.5.0/24",), ("192.168.0.6",), "x\nEndpoint = 1.2.3.4:5"),
    ]
    assert wireguard.configuration("private", peers, 4).splitlines() == [
        "[Interface]",
        "PrivateKey = private",
        "ListenPort = 51820",
        "[Peer]",
        f"PublicKey = {KEY}",
        "Endpoint = 192.168.0.3:51820",
        "AllowedIPs = 10.42.2.0/24, fd42::/64",
        "PersistentKeepalive = 25",
    ]
    assert "Endpoint = [fd00::4]:51820" in wireguard.configuration("private", peers, 6)


def test_a_machine_without_the_programs_is_told_which_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wireguard.shutil, "which", lambda name: None)
    with pytest.raises(StartError, match="install the package wireguard-tools"):
        wireguard.require()
    monkeypatch.setattr(wireguard.shutil, "which", lambda name: name if name == "wg" else None)
    monkeypatch.setattr(links, "knows", lambda kind: False)
    with pytest.raises(StartError, match="install the package wireguard-go"):
        wireguard.require()
