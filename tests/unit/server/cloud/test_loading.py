"""Providers are found by name: ours, and those that Python packages bring."""

import sys
from pathlib import Path

import pytest

from minikube_py.lib.errors import StartError
from minikube_py.server.cloud import loading, run
from minikube_py.server.cloud.provider import CloudSetting, Provider
from tests.unit.server.cloud.fake_cloud import FakeCloud

MOON = """
from minikube_py.server.cloud.provider import Provider

def make(setting):
    return Provider(name=f"moon of {setting.cluster_name}")
"""


@pytest.fixture
def moon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a package installed that brings a provider."""
    (tmp_path / "moon_of_kpy.py").write_text(MOON)
    info = tmp_path / "moon-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moon\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kpy.cloud]\nmoon = moon_of_kpy:make\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("moon_of_kpy", None)


def test_a_package_brings_a_provider_by_an_entry_point(moon: None) -> None:
    provider = loading.load("moon", CloudSetting(cluster_name="kpy"))
    assert provider.name == "moon of kpy"
    assert loading.names() == ["aws", "local", "moon"]


def test_a_provider_that_nobody_brings_is_refused() -> None:
    with pytest.raises(StartError, match="'sun' is not known; pass one of aws, local"):
        loading.load("sun", CloudSetting())
    assert loading.load("local", CloudSetting()).name == "local"


def names(provider: Provider, **more: bool) -> list[str]:
    return [part.name for part in run.parts(provider, CloudSetting(**more))]


def test_only_controllers_run_that_the_provider_has_the_part_for() -> None:
    nodes = ["cloud-node-controller", "cloud-node-lifecycle-controller"]
    cloud = FakeCloud()
    assert names(Provider(name="empty")) == []
    assert names(cloud.provider(instances=True)) == nodes
    assert names(cloud.provider(load_balancers=True)) == ["service-controller"]
    assert names(cloud.provider(routes=True)) == ["route_controller"]
    assert names(cloud.provider(routes=True), configure_routes=False) == []
    assert names(cloud.provider()) == [*nodes, "service-controller", "route_controller"]
    assert names(loading.load("local", CloudSetting())) == [*nodes, "service-lb-controller"]
