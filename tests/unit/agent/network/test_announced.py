"""The frames by which a node says that an address is its own."""

from minikube_py.agent.network.announce import announcer
from minikube_py.agent.network.announced import arp_claim, neighbour_advertisement
from minikube_py.api.announcements import ANNOUNCED_BY
from minikube_py.api.item import Item

MAC = bytes.fromhex("0242ac110002")


def test_an_arp_announcement_asks_for_the_address_that_it_comes_from():
    assert (
        arp_claim("192.0.2.1", MAC).hex()
        == (
            "ffffffffffff" + "0242ac110002" + "0806"  # to all, from us, ARP
            "0001" + "0800" + "06" + "04" + "0001"  # Ethernet, IPv4, request
            "0242ac110002" + "c0000201" + "000000000000" + "c0000201"
        )
    )


def test_a_neighbour_advertisement_overrides_what_others_know():
    assert neighbour_advertisement("fd00::1", MAC).hex() == (
        "88000000" + "20000000" + "fd000000000000000000000000000001" + "0201" + "0242ac110002"
    )


def test_services_are_found_by_the_node_that_they_name():
    metadata = {"name": "s", "namespace": "d", "annotations": {ANNOUNCED_BY: "n1"}}
    assert announcer(Item.from_object({"metadata": metadata})) == ("n1",)
    assert announcer(Item.from_object({"metadata": {"name": "s"}})) == ()
