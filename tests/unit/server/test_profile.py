"""`--profile=cis`: stricter than the defaults, and never looser than what was asked for."""

from pathlib import Path
from typing import Any

import pytest

from minikube_py.server import options
from minikube_py.server.admission.event_rate_limit import limits_of
from minikube_py.server.admission.pod_security_configuration import configuration_of
from minikube_py.server.config import ServerConfig
from minikube_py.server.profile import applied, plugin_configuration


def config(**more: Any) -> ServerConfig:
    return ServerConfig(data_dir=Path("/x"), **more)


def test_without_a_profile_nothing_changes() -> None:
    plain = config()
    assert applied(plain) is plain
    assert plugin_configuration(plain, {}) == {}


def test_the_profile_is_stricter() -> None:
    strict = applied(config(profile="cis"))
    assert strict.audit_log_maxsize == 100
    assert strict.enable_admission_plugins == ("EventRateLimit",)
    told = plugin_configuration(strict, {})
    security = configuration_of(told["PodSecurity"])
    assert security.defaults.enforce.level == "restricted"
    assert security.namespaces == {"kube-system"}
    assert {limit.type for limit in limits_of(told["EventRateLimit"])} == {"Server", "Namespace"}
    assert applied(strict) == strict


def test_what_was_asked_for_stands() -> None:
    strict = applied(
        config(profile="cis", audit_log_maxsize=500, enable_admission_plugins=("AlwaysPullImages",))
    )
    assert strict.audit_log_maxsize == 500
    assert strict.enable_admission_plugins == ("AlwaysPullImages", "EventRateLimit")
    own = {"PodSecurity": {"kind": "PodSecurityConfiguration"}}
    assert plugin_configuration(strict, own)["PodSecurity"] is own["PodSecurity"]


@pytest.mark.parametrize(("profile", "good"), [("", True), ("cis", True), ("strict", False)])
def test_a_profile_has_a_name_that_is_known(profile: str, good: bool) -> None:  # noqa: FBT001
    told = list(options.problems(config(profile=profile)))
    assert bool(told) is not good
    assert all("--profile 'strict'" in text for text in told)
