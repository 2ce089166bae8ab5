"""Kubeconfig files: written and read back, and what is wrong with a bad one."""

import stat

import pytest

from minikube_py.client import kubeconfig
from minikube_py.client.config import ClientConfig
from minikube_py.client.kubeconfig import KubeconfigError


def test_what_is_saved_is_loaded(tmp_path):
    config = ClientConfig(
        server="https://10.0.0.1:6443",
        ca_data=b"ca",
        certificate_data=b"certificate",
        key_data=b"key",
        token="token",
        namespace="apps",
    )
    path = tmp_path / "config"
    kubeconfig.save(path, config, "kpy")
    assert kubeconfig.load(path) == config
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_are_found_beside_the_kubeconfig(tmp_path):
    path = tmp_path / "config"
    files = {"ca_file": tmp_path / "pki" / "ca.crt", "token_file": tmp_path / "token"}
    kubeconfig.save(path, ClientConfig(server="https://s", **files))
    text = path.read_text().replace(str(tmp_path) + "/", "")
    path.write_text(text)
    loaded = kubeconfig.load(path)
    assert (loaded.ca_file, loaded.token_file) == (files["ca_file"], files["token_file"])


def test_another_context_can_be_chosen(tmp_path):
    path = tmp_path / "config"
    kubeconfig.save(path, ClientConfig(server="https://s"), "one")
    assert kubeconfig.load(path, "one").server == "https://s"
    with pytest.raises(KubeconfigError, match="no context 'two'"):
        kubeconfig.load(path, "two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("- a", "is not a map"),
        ("kind: Config", "has no context ''"),
        (
            "current-context: c\ncontexts: [{name: c, context: {cluster: x, user: u}}]",
            "has no cluster 'x'",
        ),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeconfigError, match=message) as caught:
        kubeconfig.load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(KubeconfigError, match=r"cannot read kubeconfig .*none"):
        kubeconfig.load(tmp_path / "none")


def test_data_that_is_no_base64_is_refused(tmp_path):
    path = tmp_path / "config"
    kubeconfig.save(path, ClientConfig(server="https://s", ca_data=b"ca"))
    path.write_text(path.read_text().replace("Y2E=", "a-b"))
    with pytest.raises(KubeconfigError, match="no base64 in 'certificate-authority-data'"):
        kubeconfig.load(path)
