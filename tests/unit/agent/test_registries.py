"""registries.yaml: what it says, what containerd is told of it, and how it is followed."""

import asyncio
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.registries import Registries, RegistriesFile, hosts_files, parse
from minikube_py.lib.errors import StartError

TEXT = b"""
mirrors:
  docker.io:
    endpoint: ["https://mirror.example.com:5000", "http://10.0.0.1/"]
  "*":
    endpoint: ["https://cache.example.com"]
configs:
  "mirror.example.com:5000":
    auth: {username: somebody, password: s3cret}
    tls: {ca_file: /ca.pem, cert_file: /c.pem, key_file: /k.pem}
  registry.example.com:
    auth: {identity_token: t0ken}
    tls: {insecure_skip_verify: true}
"""


def test_mirrors_become_files_that_containerd_reads():
    files = hosts_files(parse(TEXT))
    assert files["docker.io"] == (
        'server = "https://registry-1.docker.io"\n'
        "\n"
        '[host."https://mirror.example.com:5000"]\n'
        '  capabilities = ["pull", "resolve"]\n'
        '  ca = "/ca.pem"\n'
        '  client = [["/c.pem", "/k.pem"]]\n'
        "\n"
        '[host."http://10.0.0.1"]\n'
        '  capabilities = ["pull", "resolve"]\n'
    )
    assert files["_default"].startswith('\n[host."https://cache.example.com"]')
    assert 'server = "https://registry.example.com"' in files["registry.example.com"]
    assert "skip_verify = true" in files["registry.example.com"]
    assert "s3cret" not in "".join(files.values())
    assert "t0ken" not in "".join(files.values())


def test_credentials_are_those_of_the_registry_and_of_its_mirrors():
    registries = parse(TEXT)
    (found,) = registries.credentials("docker.io")
    assert (found["username"], found["password"]) == ("somebody", "s3cret")
    (found,) = registries.credentials("registry.example.com")
    assert found["identitytoken"] == "t0ken"
    assert list(registries.credentials("other.example.com")) == []
    assert "s3cret" not in repr(registries)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "yaml: line 1"),
        (b"[]", ""),
        (b"[1]", "the file must be a mapping"),
        (b"mirror: {}", "the file: mirror is not known; there are mirrors, configs"),
        (b"mirrors: []", ""),
        (b"mirrors: [1]", "mirrors must be a mapping"),
        (
            b"mirrors: {a: {endpoint: [b]}}",
            "mirrors.a.endpoint: b is not a URL with http or https",
        ),
        (b"mirrors: {a: {rewrite: {x: y}}}", "mirrors.a.rewrite: containerd has no way"),
        (
            b"configs: {a: {tls: {cert_file: c}}}",
            "configs.a.tls: cert_file and key_file go together",
        ),
        (b"configs: {a: {auth: {user: c}}}", "configs.a.auth: user is not known"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, why):
    if not why:
        assert parse(text) == Registries()
        return
    with pytest.raises(ValueError, match=re.escape(why)):
        parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["mirrors", "configs", "endpoint", "auth", "tls", "a", "*"]), inner
            )
        ),
        max_leaves=10,
    )
)
def test_no_file_breaks_the_reader(document):
    try:
        files = hosts_files(parse(yaml.safe_dump(document).encode()))
    except ValueError:
        return
    assert all(text.endswith("\n") for text in files.values())


async def test_a_changed_file_holds_at_once_and_a_wrong_one_changes_nothing(tmp_path):
    path, folder = tmp_path / "registries.yaml", tmp_path / "certs.d"
    file = RegistriesFile(path, folder)
    file.load()
    assert list(folder.iterdir()) == []
    following = asyncio.create_task(file.follow())
    try:
        path.write_bytes(TEXT)
        async with asyncio.timeout(20):
            while not (  # noqa: ASYNC110 -- the file system is all that can be asked
                (folder / "registry.example.com" / "hosts.toml").exists()
                and list(file.credentials("docker.io"))
            ):
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
    path.write_bytes(b"mirrors: [1]")
    with pytest.raises(StartError, match="mirrors must be a mapping; mend it or remove"):
        file.load()
    assert (folder / "docker.io" / "hosts.toml").exists()
    path.unlink()
    file.load()
    assert list(folder.iterdir()) == []
