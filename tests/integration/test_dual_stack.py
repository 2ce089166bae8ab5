"""Services of two address families: an address of each, gained and given back."""

from pathlib import Path
from typing import Any

from tests.integration.conftest import Server, running
from tests.integration.patience import eventually

BOTH = "10.43.0.0/16,fd43::/112"
PATH = "/api/v1/namespaces/default/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
RANGE = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes"


def service(name: str, **spec: Any) -> dict[str, Any]:
    head = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": name}}
    return {**head, "spec": {"ports": [{"port": 80}], **spec}}


async def made(server: Server, name: str, **spec: Any) -> Any:
    answer = await server.call("POST", PATH, service(name, **spec))
    assert answer.status == 201, answer.body
    return answer.body["spec"]


async def patched(server: Server, name: str, **spec: Any) -> Any:
    media = "application/merge-patch+json"
    answer = await server.call("PATCH", f"{PATH}/{name}", {"spec": spec}, content_type=media)
    assert answer.status == 200, answer.body
    return answer.body["spec"]


async def addresses(server: Server) -> set[str]:
    listed = (await server.call("GET", ADDRESSES)).body["items"]
    return {item["metadata"]["name"] for item in listed}


def kinds(spec: Any) -> list[str]:
    return ["IPv6" if ":" in address else "IPv4" for address in spec["clusterIPs"]]


async def test_a_service_has_an_address_of_each_family_that_it_wants(tmp_path: Path) -> None:
    async with running(tmp_path, service_cidr=BOTH) as server:
        plain = await made(server, "plain")
        assert (kinds(plain), plain["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
        later = await made(server, "v6", ipFamilies=["IPv6"])
        assert later["clusterIP"].startswith("fd43::")
        both = await made(server, "both", ipFamilyPolicy="RequireDualStack")
        assert kinds(both) == both["ipFamilies"] == ["IPv4", "IPv6"]
        assert both["clusterIP"] == both["clusterIPs"][0]
        turned = await made(server, "turned", ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv6"])
        assert kinds(turned) == turned["ipFamilies"] == ["IPv6", "IPv4"]
        wished = ["10.43.7.7", "fd43::7"]
        asked = await made(
            server,
            "asked",
            ipFamilyPolicy="RequireDualStack",
            clusterIP=wished[0],
            clusterIPs=wished,
        )
        assert asked["clusterIPs"] == wished
        assert {*both["clusterIPs"], *turned["clusterIPs"], *wished} <= await addresses(server)


async def test_a_second_address_is_gained_and_given_back(tmp_path: Path) -> None:
    async with running(tmp_path, service_cidr=BOTH) as server:
        first = (await made(server, "a"))["clusterIP"]
        grown = await patched(server, "a", ipFamilyPolicy="PreferDualStack")
        assert grown["clusterIPs"][0] == first
        assert kinds(grown) == ["IPv4", "IPv6"]
        assert set(grown["clusterIPs"]) <= await addresses(server)
        shrunk = await patched(server, "a", ipFamilyPolicy="SingleStack")
        assert (shrunk["clusterIPs"], shrunk["ipFamilies"]) == ([first], ["IPv4"])
        assert grown["clusterIPs"][1] not in await addresses(server)
        await server.call("DELETE", f"{PATH}/a")
        assert first not in await addresses(server)


async def test_a_service_that_is_refused_its_second_address_keeps_no_first(tmp_path: Path) -> None:
    async with running(tmp_path, service_cidr=BOTH) as server:
        taken = await made(server, "a", ipFamilies=["IPv6"], clusterIP="fd43::9")
        before = await addresses(server)
        wished = ["10.43.9.9", taken["clusterIP"]]
        answer = await server.call(
            "POST",
            PATH,
            service("b", ipFamilyPolicy="RequireDualStack", clusterIP=wished[0], clusterIPs=wished),
        )
        assert answer.status == 422
        assert "provided IP is already allocated" in answer.body["message"]
        assert await addresses(server) == before


async def test_headless_services_and_their_endpoints_are_of_both_families(tmp_path: Path) -> None:
    async with running(tmp_path, service_cidr=BOTH, disable_controller_manager=False) as server:
        wanted = {"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack"}
        spec = await made(server, "web", selector={"app": "web"}, **wanted)
        assert (spec["clusterIPs"], spec["ipFamilies"]) == (["None"], ["IPv4", "IPv6"])
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

        async def families() -> list[str]:
            found = (await server.call("GET", slices)).body["items"]
            mine = [one for one in found if one["metadata"]["name"].startswith("web-")]
            return sorted(one["addressType"] for one in mine)

        await eventually(families, ["IPv4", "IPv6"].__eq__)


async def test_a_cluster_becomes_one_of_two_families(tmp_path: Path) -> None:
    async with running(tmp_path, service_cidr="10.43.0.0/16") as server:
        refused = await server.call("POST", PATH, service("a", ipFamilyPolicy="RequireDualStack"))
        assert "this cluster is not configured for dual-stack services" in refused.body["message"]
    async with running(tmp_path, service_cidr=BOTH) as server:
        found = (await server.call("GET", RANGE)).body["spec"]["cidrs"]
        assert found == BOTH.split(",")
        assert kinds(await made(server, "a", ipFamilyPolicy="RequireDualStack")) == ["IPv4", "IPv6"]
