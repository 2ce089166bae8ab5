"""The chain: which plugins run, in which order, and what administrators say of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.lib.errors import StartError
from minikube_py.server.admission import DYNAMIC, NAMES, OPTIONAL, Surroundings, plugins
from minikube_py.server.admission.configuration import load
from minikube_py.server.config import ServerConfig
from minikube_py.server.options import problems

Chain = Callable[..., list[str]]
DEFAULT = [
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "PodSecurity",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "PodTopologyLabels",
    "RbacEscalation",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
]


class Webhook:
    """A plugin that asks users."""

    name = "ValidatingAdmissionWebhook"

    async def admit(self, admission: Any) -> Any:
        return admission.obj

    async def validate(self, admission: Any) -> Any:
        del admission
        return ()


@pytest.fixture
def chain(listing: Any, clock: Any) -> Chain:
    """Return the names of the plugins that run."""

    def make(**more: Any) -> list[str]:
        unused: Any = None
        around = Surroundings(
            lister=lambda _resource: listing(),
            guard=unused,
            authorizer=unused,
            clock=clock,
            client=lambda: unused,
            dynamic=(Webhook(),),
            **more,
        )
        return [plugin.name for plugin in plugins(around)]

    return make


def test_what_upstream_has_on_runs_in_upstreams_order(chain: Chain) -> None:
    assert chain() == DEFAULT
    assert set(DEFAULT) - {"RbacEscalation"} <= set(NAMES) - OPTIONAL
    assert set(DYNAMIC) < set(NAMES)


def test_plugins_are_enabled_and_disabled_by_name(chain: Chain) -> None:
    assert "AlwaysPullImages" in chain(enabled=frozenset({"AlwaysPullImages"}))
    off = frozenset({"PodSecurity", "ResourceQuota", "ValidatingAdmissionWebhook"})
    assert set(DEFAULT) - set(chain(disabled=off)) == off


def test_a_plugin_without_the_configuration_that_it_needs_does_not_start(chain: Chain) -> None:
    with pytest.raises(StartError, match="limits must not be empty"):
        chain(enabled=frozenset({"EventRateLimit"}))
    limit = {"type": "Server", "qps": 1, "burst": 1}
    on = chain(
        enabled=frozenset({"EventRateLimit"}),
        configuration={"EventRateLimit": {"limits": [limit]}},
    )
    assert on.index("EventRateLimit") == on.index("DefaultTolerationSeconds") + 1


def test_a_name_that_no_plugin_has_is_refused() -> None:
    for options in ({"enable_admission_plugins": ("x",)}, {"disable_admission_plugins": ("x",)}):
        (problem,) = problems(ServerConfig(**options))
        assert "admission-plugins 'x' cannot be used" in problem
    assert not list(problems(ServerConfig(disable_admission_plugins=("PodSecurity",))))


HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
POD_SECURITY = (
    "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n"
)


def test_a_configuration_stands_in_place_or_in_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "pods.yaml").write_text(POD_SECURITY + "defaults: {enforce: baseline}\n")
    file = tmp_path / "admission.yaml"
    file.write_text(
        HEAD
        + "plugins:\n"
        + "- {name: PodSecurity, path: pods.yaml}\n"
        + "- name: ResourceQuota\n"
        + "  configuration:\n"
        + "    apiVersion: apiserver.config.k8s.io/v1\n"
        + "    kind: ResourceQuotaConfiguration\n"
        + "    limitedResources: [{resource: pods}]\n"
    )
    found = load(str(file))
    assert found["PodSecurity"]["defaults"] == {"enforce": "baseline"}
    assert found["ResourceQuota"]["limitedResources"] == [{"resource": "pods"}]
    assert load("") == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "is not an object"),
        ("kind: Pod", "expected AdmissionConfiguration"),
        (HEAD + "plugins: {}", "plugins must be a list"),
        (HEAD + "plugins: [{name: LimitRanger}]", "takes no configuration"),
        (HEAD + "plugins: [{name: PodSecurity}]", "needs a configuration or the path"),
        (HEAD + "plugins: [{name: PodSecurity, path: gone.yaml}]", "cannot read"),
        (
            HEAD + "plugins: [{name: PodSecurity, configuration: {kind: Pod}}]",
            "expected PodSecurityConfiguration",
        ),
        (
            HEAD
            + "plugins: [{name: PodSecurity, configuration: {}}, "
            + "{name: PodSecurity, configuration: {}}]",
            "is configured twice",
        ),
    ],
)
def test_a_file_that_is_wrong_keeps_the_server_from_starting(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(text)
    with pytest.raises(StartError, match=complaint):
        load(str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot read .*gone\.yaml"):
        load(str(tmp_path / "gone.yaml"))
