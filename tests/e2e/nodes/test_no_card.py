"""A machine without any network card is a cluster of one."""

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net, pod, service, web
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e


def test_pods_services_and_names_work_on_a_machine_without_a_network_card(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    alone = Cluster(tmp_path_factory.mktemp("alone"), address="")
    try:
        links = alone.machine.sh("ip", "-o", "link")
        assert links.count("\n") == 1, links
        alone.start()
        alone.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=120s")
        net = Net(alone, "default")
        net.make(
            pod("client"), web("target", labels={"app": "web"}), service("web", {"app": "web"})
        )
        wait_until(lambda: net.ask("web") == "target", 30, "a service is found by its name")
        assert net.do("logs", "target") == ""
    finally:
        alone.close()
