"""EncryptionConfiguration is read and refused in upstream's words, and never shows a key."""

import base64
from typing import Any

import pytest
import yaml

from minikube_py.server.encryption import configuration
from minikube_py.server.encryption.configuration import (
    Configuration,
    Key,
    KeyService,
    Rule,
    Sealer,
    new_key,
    with_primary,
)

SECRET = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
IDENTITY: dict[str, Any] = {"identity": {}}


def document(*rules: dict[str, Any]) -> bytes:
    return yaml.safe_dump(
        {
            "apiVersion": configuration.API_VERSION,
            "kind": configuration.KIND,
            "resources": list(rules),
        }
    ).encode()


def rule(*providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)) -> dict[str, Any]:
    return {"resources": list(resources), "providers": list(providers)}


def aes(secret: str, name: str = "key1", scheme: str = "aesgcm") -> dict[str, Any]:
    return {scheme: {"keys": [{"name": name, "secret": secret}]}}


def kms(**fields: Any) -> dict[str, Any]:
    given = {"apiVersion": "v2", "name": "vault", "endpoint": "unix:///run/kms.sock", **fields}
    return {"kms": given}


def test_what_is_written_reads_the_same() -> None:
    wanted = Configuration(
        (
            Rule(
                ("secrets", "configmaps"),
                (
                    Sealer("aesgcm", new_key()),
                    Sealer("aescbc", Key("old", b"x" * 16)),
                    Sealer("kms", service=KeyService("vault", "unix:///run/kms.sock", 5.0)),
                    Sealer("identity"),
                ),
            ),
            Rule(("*.*",), (Sealer("identity"),)),
        )
    )
    assert configuration.read(configuration.write(wanted)) == wanted


def test_the_keys_of_one_provider_are_tried_in_their_order() -> None:
    both = {
        "aesgcm": {"keys": [*aes(SECRET, "b")["aesgcm"]["keys"], *aes(SECRET)["aesgcm"]["keys"]]}
    }
    found = configuration.read(document(rule(both, IDENTITY)))
    assert [s.title for s in found.rules[0].sealers] == ["aesgcm b", "aesgcm key1", "identity"]


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        ("secrets", "secrets", True),
        ("secrets", "secrets.example.com", False),
        ("*.apps", "deployments.apps", True),
        ("*.apps", "secrets", False),
        ("*.", "secrets", True),
        ("*.", "deployments.apps", False),
        ("*.*", "widgets.example.com", True),
    ],
)
def test_a_rule_covers_what_its_patterns_say(pattern: str, resource: str, *, covered: bool) -> None:
    assert Rule((pattern,), ()).covers(resource) is covered


def test_the_first_rule_that_covers_decides() -> None:
    first, second = Rule(("secrets",), ()), Rule(("*.*",), ())
    found = Configuration((first, second))
    assert found.rule_of("secrets") is first
    assert found.rule_of("pods") is second
    assert Configuration((first,)).rule_of("pods") is None


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ((), "resources: Required value: at least one resources is required"),
        (
            (rule(),),
            "resources[0].providers: Required value: at least one resources[0].providers",
        ),
        (
            (rule(IDENTITY, resources=("Secrets",)),),
            'resources[0].resources[0]: Invalid value: "Secrets": resource name should not contain',
        ),
        ((rule(IDENTITY, resources=("*",)),), "use '*.' to encrypt all the resources from core"),
        ((rule(IDENTITY, resources=("secrets", "*.")),), "as they will be masked"),
        ((rule(IDENTITY, resources=("pods", "pods")),), "cannot be specified multiple times"),
        ((rule(IDENTITY, resources=("*.events.k8s.io",)),), "Use 'events' instead"),
        ((rule({**IDENTITY, **aes(SECRET)}),), "more than one provider specified in a single"),
        ((rule(aes("AAAA")),), "got 3, expected one of [16 24 32]"),
        ((rule(aes("???")),), "secrets must be base64 encoded"),
        ((rule(aes(SECRET, name="")),), "name is a mandatory field for a key"),
        ((rule({"aescbc": {"keys": []}}),), "at least one resources[0].providers[0].aescbc.keys"),
        ((rule({"secretbox": {"keys": []}}),), "secretbox is not supported here; use aesgcm"),
        ((rule({"rot13": {}}),), 'Unsupported value: "rot13"'),
        ((rule(kms(apiVersion="v1")),), "only v2 is supported"),
        ((rule(kms(name="a:b")),), "must not contain ':'"),
        ((rule(kms(), kms()),), "duplicate KMS provider name vault, names must be unique"),
        ((rule(kms(endpoint="")),), "endpoint is a mandatory field for a provider"),
        ((rule(kms(endpoint="tcp://x")),), 'unsupported scheme "tcp" for KMS provider'),
        ((rule(kms(timeout="-1s")),), "timeout should be a positive value"),
    ],
)
def test_a_mistake_is_named_with_its_field(rules: tuple[dict[str, Any], ...], text: str) -> None:
    with pytest.raises(ValueError, match="resources") as caught:
        configuration.read(document(*rules))
    assert text in str(caught.value)


@pytest.mark.parametrize("data", [b"[", b"a: b", b"kind: EncryptionConfiguration", b"\xff"])
def test_what_is_no_configuration_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cannot be parsed|is no Encryption|has apiVersion"):
        configuration.read(data)


def test_a_refusal_never_shows_a_key() -> None:
    leaked = base64.b64encode(b"planted-key").decode()
    with pytest.raises(ValueError, match="expected one of") as caught:
        configuration.read(document(rule(aes(leaked))))
    assert leaked not in str(caught.value)
    assert "planted" not in repr(Key("name", b"planted-key"))


def test_a_new_first_key_keeps_the_others_behind_it() -> None:
    old, new = Sealer("aesgcm", new_key()), Sealer("aesgcm", new_key(["key1"]))
    assert new.title == "aesgcm key2"
    assert with_primary(Rule(("secrets",), (old,)), new).sealers == (new, old)
    assert with_primary(Rule(("secrets",), (new, old)), old).sealers == (old, new)
