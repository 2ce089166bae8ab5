"""Which devices claims get: each row is what there is, what is asked for, and what comes of it."""

from typing import Any

import pytest

from minikube_py.api import quantity
from minikube_py.api.item import Item
from minikube_py.api.resource_k8s import RESOURCECLAIMS
from minikube_py.server.scheduler.devices.capacity import consumed
from minikube_py.server.scheduler.devices.inventory import DeviceId, Inventory, read
from minikube_py.server.scheduler.devices.results import allocation
from minikube_py.server.scheduler.devices.search import STEPS_MAX, Taken, search
from minikube_py.server.scheduler.devices.wishes import AllocationError, plan_of
from tests.frozen import freeze
from tests.unit.server.scheduler.devices import (
    DRIVER,
    claim,
    device,
    device_class,
    piece,
    request,
    wanted,
)

HERE = f'device.attributes["{DRIVER}"]'
TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}
CLASSES = {"c": device_class()}


def inventory(slices: Any, before: Inventory | None = None) -> Inventory:
    return Inventory.of(map(read, map(Item.from_object, slices)), before)


def found(
    slices: Any, *claims: Any, classes: Any = None, taken: Taken | None = None, node: str = "n"
) -> Any:
    """Return the devices of each claim by name, or None, or what went wrong."""
    known = classes or CLASSES
    try:
        plans = [plan_of(one, known.get) for one in claims]
        matched = search(plans, inventory(slices), taken or Taken(), node, {"zone": "x"})
    except AllocationError as error:
        return str(error)
    if matched is None:
        return None
    return [[one.device.id.device for one in choices] for choices in matched]


def cards(*sizes: int) -> Any:
    listed = [device(f"g{n}", attributes={"size": size}) for n, size in enumerate(sizes)]
    return piece("s", *listed)


@pytest.mark.parametrize(
    ("slices", "wish", "expected"),
    [
        ([cards(1)], claim(), [["g0"]]),
        ([cards()], claim(), None),
        ([cards(1)], claim("k", request(count=2)), None),
        ([cards(1, 2)], claim("k", request(count=2)), [["g0", "g1"]]),
        ([cards(1, 2)], claim("k", request("r", 1, f"{HERE}.size == 2")), [["g1"]]),
        # One request may have to leave to another what only that can use.
        ([cards(1, 2)],
         claim("k", request("a"), request("b", 1, f"{HERE}.size == 1")), [["g1", "g0"]]),
        ([cards(1, 2, 3)], claim("k", request("a", allocationMode="All")), [["g0", "g1", "g2"]]),
        ([cards()], claim("k", request("a", allocationMode="All")), None),
        ([cards(1)], claim("k", request("r", 1, f"{HERE}.none == 1")),
         "claim d/k: selector #0: CEL runtime error: no such key: none"),
        # A device that is not looked at cannot go wrong.
        ([piece("s", device("g0", attributes={"a": 1}), device("g1"))],
         claim("k", request("r", 1, f"{HERE}.a == 1")), [["g0"]]),
    ],
)  # fmt: skip
def test_requests_are_met(slices: Any, wish: Any, expected: Any) -> None:
    assert found(slices, wish) == expected


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([piece("s", device("g"), nodeName="n")], [["g"]]),
        ([piece("s", device("g"), nodeName="other")], None),
        ([piece("s", device("g"), nodeSelector={"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["x"]}]}]})], [["g"]]),
        ([piece("s", device("g", nodeName="other"), device("h", allNodes=True),
                perDeviceNodeSelection=True)], [["h"]]),
        # An incomplete pool, and one in which two devices have one name, give nothing.
        ([piece("s", device("g"), count=2)], None),
        ([piece("s", device("g"), count=2), piece("t", device("h"), count=2)], [["g"]]),
        ([piece("s", device("g"), count=2), piece("t", device("g"), count=2)], None),
        # Only the newest generation of a pool counts.
        ([piece("s", device("old")), piece("t", device("new"), generation=2)], [["new"]]),
        ([piece("s", device("a"), pool="b"), piece("t", device("b"), pool="a")], [["b"]]),
    ],
)  # fmt: skip
def test_devices_are_taken_from_pools_that_are_whole_and_in_reach(
    slices: Any, expected: Any
) -> None:
    assert found(slices, claim()) == expected


def test_all_devices_of_a_pool_that_is_being_updated_are_not_known() -> None:
    slices = [piece("s", device("g"), count=2)]
    said = "claim d/k, request r: asks for all devices, but resource pool dra.example.com/p is "
    wish = claim("k", request(allocationMode="All"))
    assert found(slices, wish) == f"{said}currently being updated"


def test_classes_select_too_and_have_to_be_there() -> None:
    classes = {"c": device_class("c", f"{HERE}.size > 1")}
    assert found([cards(1, 2)], claim(), classes=classes) == [["g1"]]
    assert found([cards(1)], claim("k", request(deviceClassName="x"))) == (
        "request r: device class x does not exist"
    )


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ({"matchAttribute": f"{DRIVER}/numa"}, [["g0", "g2"]]),
        ({"matchAttribute": f"{DRIVER}/numa", "requests": ["a"]}, [["g0", "g1"]]),
        ({"distinctAttribute": f"{DRIVER}/numa"}, [["g0", "g1"]]),
        ({"matchAttribute": f"{DRIVER}/none"}, None),
        ({"matchAttribute": "other.example.com/numa"}, None),
    ],
)
def test_devices_have_in_common_what_the_claim_says(constraint: Any, expected: Any) -> None:
    numbered = [device(f"g{n}", attributes={"numa": numa}) for n, numa in enumerate((0, 1, 0))]
    wish = claim("k", request("a"), request("b"), constraints=[constraint])
    assert found([piece("s", *numbered)], wish) == expected


def test_the_first_alternative_that_can_be_met_counts() -> None:
    alternatives = [
        {"name": "two", **wanted(2, f"{HERE}.size == 9")},
        {"name": "big", **wanted(1, f"{HERE}.size == 9")},
        {"name": "any", **wanted(1)},
    ]
    first = {"name": "r", "firstAvailable": alternatives}
    assert found([cards(1, 9, 9)], claim("k", first)) == [["g1", "g2"]]
    assert found([cards(1, 9)], claim("k", first)) == [["g1"]]
    assert found([cards(1)], claim("k", first)) == [["g0"]]
    # What comes later may need what an earlier alternative would take.
    then = request("s", 1, f"{HERE}.size == 9")
    assert found([cards(1, 9)], claim("k", first, then)) == [["g0", "g1"]]


def test_what_others_have_is_taken_and_administrators_see_it_all() -> None:
    taken = Taken(frozenset({DeviceId(DRIVER, "p", "g0")}))
    assert found([cards(1)], claim(), taken=taken) is None
    admin = claim("k", request(adminAccess=True))
    assert found([cards(1)], admin, taken=taken) == [["g0"]]
    twice = claim("k", request("a", adminAccess=True), request("b", adminAccess=True))
    assert found([cards(1)], twice) is None
    assert found([cards(1, 2)], claim("a"), claim("b")) == [["g0"], ["g1"]]


@pytest.mark.parametrize(
    ("taint", "tolerations", "expected"),
    [
        (TAINT, [], None),
        (TAINT, [{"key": "k", "operator": "Exists"}], [["g"]]),
        (TAINT, [{"key": "k", "operator": "Equal", "value": "w"}], None),
        ({**TAINT, "effect": "NoExecute"}, [], None),
        ({**TAINT, "effect": "None"}, [], [["g"]]),
    ],
)
def test_tainted_devices_go_to_those_who_bear_it(
    taint: Any, tolerations: Any, expected: Any
) -> None:
    slices = [piece("s", device("g", taints=[taint]))]
    assert found(slices, claim("k", request(tolerations=tolerations))) == expected


def test_partitions_draw_on_what_they_share() -> None:
    def part(name: str, memory: str) -> Any:
        needs = {"counterSet": "card", "counters": {"memory": {"value": memory}}}
        return device(name, consumesCounters=[needs])

    shared = [{"name": "card", "counters": {"memory": {"value": "8Gi"}}}]
    slices = [
        piece("a", part("half0", "4Gi"), part("half1", "4Gi"), part("whole", "8Gi"), count=2),
        piece("b", count=2, sharedCounters=shared),
    ]
    assert found(slices, claim("k", request(count=2))) == [["half0", "half1"]]
    assert found(slices, claim("k", request(count=3))) is None
    taken = Taken(frozenset({DeviceId(DRIVER, "p", "half0")}))
    assert found(slices, claim(), taken=taken) == [["half1"]]
    whole = Taken(frozenset({DeviceId(DRIVER, "p", "whole")}))
    assert found(slices, claim(), taken=whole) is None


def shared(policy: Any = None) -> Any:
    capacity = {"value": "10Gi", **({"requestPolicy": policy} if policy else {})}
    return device("nic", capacity={"rate": capacity}, allowMultipleAllocations=True)


def asking(amount: str | None) -> Any:
    return request(capacity={"requests": {"rate": amount}}) if amount else request()


def test_a_shared_device_is_given_out_until_nothing_is_left() -> None:
    slices = [piece("s", shared())]
    assert found(slices, claim("a", asking("6Gi")), claim("b", asking("4Gi"))) == [["nic"], ["nic"]]
    assert found(slices, claim("a", asking("6Gi")), claim("b", asking("5Gi"))) is None
    held = {DeviceId(DRIVER, "p", "nic"): [{"rate": quantity.parse("6Gi")}]}
    assert found(slices, claim("a", asking("4Gi")), taken=Taken(shares=held)) == [["nic"]]
    assert found(slices, claim("a", asking(None)), taken=Taken(shares=held)) is None


@pytest.mark.parametrize(
    ("policy", "amount", "expected"),
    [
        (None, None, "10Gi"),
        (None, "3Gi", "3Gi"),
        (None, "11Gi", None),
        ({"default": "2Gi"}, None, "2Gi"),
        ({"default": "2Gi", "validValues": ["2Gi", "4Gi"]}, "3Gi", "4Gi"),
        ({"default": "2Gi", "validValues": ["2Gi", "4Gi"]}, "5Gi", None),
        ({"default": "2Gi", "validRange": {"min": "2Gi"}}, "1Gi", "2Gi"),
        ({"default": "2Gi", "validRange": {"min": "2Gi", "step": "2Gi"}}, "5Gi", "6Gi"),
        ({"default": "2Gi", "validRange": {"min": "2Gi", "max": "4Gi"}}, "5Gi", None),
    ],
)
def test_amounts_are_rounded_to_what_the_policy_allows(
    policy: Any, amount: str | None, expected: str | None
) -> None:
    (pool,) = inventory([piece("s", shared(policy))]).pools
    taken = consumed(pool.devices[0], asking(amount)["exactly"])
    assert (None if taken is None else str(taken["rate"])) == expected


def test_a_device_without_what_is_asked_for_is_no_candidate() -> None:
    unknown = claim("k", request(capacity={"requests": {"rate": "1"}}))
    assert found([cards(1)], unknown) is None


def test_more_devices_than_a_claim_may_have_are_refused() -> None:
    assert found([cards(*range(40))], claim("k", request(count=33))) == (
        "claim d/k: number of requested devices 33 exceeds the claim limit of 32"
    )


def test_a_search_without_end_is_given_up() -> None:
    impossible = {"matchAttribute": f"{DRIVER}/size"}
    requests = [request(f"r{n}", 4) for n in range(4)]
    wish = claim("k", *requests, constraints=[impossible])
    sizes = [n % 8 for n in range(64)]
    answer = found([cards(*sizes)], wish)
    assert answer is None or answer.startswith("filter operation aborted")
    assert STEPS_MAX < 100_000


def test_an_allocation_says_what_why_and_where() -> None:
    config = {"opaque": {"driver": DRIVER, "parameters": {"a": 1}}}
    classes = {"c": device_class("c", config=[config])}
    mine = [{"requests": ["r"], **config}, {"requests": ["other"], **config}, config]
    tolerations = [{"key": "k", "operator": "Exists"}]
    wish = claim(
        "k", request(tolerations=tolerations), request("other"), config=mine[:1] + mine[2:]
    )
    slices = [piece("s", device("g"), device("h"), nodeName="n")]
    plan = plan_of(wish, classes.get)
    matched = search([plan], inventory(slices), Taken(), "n", {})
    assert matched is not None
    made = allocation(plan, matched[0], "n")
    assert made["devices"]["results"] == [
        {
            "request": "r",
            "driver": DRIVER,
            "pool": "p",
            "device": "g",
            "tolerations": tolerations,
        },
        {"request": "other", "driver": DRIVER, "pool": "p", "device": "h"},
    ]
    assert made["devices"]["config"] == [
        {"source": "FromClass", "requests": ["r", "other"], **config},
        {"source": "FromClaim", "requests": ["r"], **config},
        {"source": "FromClaim", **config},
    ]
    fields = [{"key": "metadata.name", "operator": "In", "values": ["n"]}]
    assert made["nodeSelector"] == {"nodeSelectorTerms": [{"matchFields": fields}]}


def test_an_allocation_is_one_that_the_api_takes() -> None:
    wish = claim("k", asking("3Gi"))
    selector = {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["x"]}]}]}  # fmt: skip
    slices = [piece("s", shared(), nodeSelector=selector)]
    plan = plan_of(wish, CLASSES.get)
    matched = search([plan], inventory(slices), Taken(), "n", {"zone": "x"})
    assert matched is not None
    made = allocation(plan, matched[0], "n")
    (result,) = made["devices"]["results"]
    assert result["consumedCapacity"] == {"rate": "3Gi"}
    assert made["nodeSelector"] == selector
    status = next(one for one in RESOURCECLAIMS.subresources if one.name == "status")
    users = [{"resource": "pods", "name": "p", "uid": "u"}]
    new = freeze({**wish, "status": {"allocation": made, "reservedFor": users}})
    assert status.validate is not None
    assert list(status.validate(new, wish)) == []


def test_only_what_has_changed_is_read_anew() -> None:
    first, second = (Item.from_object(piece(name, device(name), pool=name)) for name in "ab")
    before = Inventory.of(map(read, (first, second)))
    newer = Item.from_object(piece("b", device("b"), device("c"), pool="b"))
    after = Inventory.of(map(read, (first, newer)), before)
    assert after.pools[0] is before.pools[0]
    assert [len(pool.devices) for pool in after.pools] == [1, 2]
    gone = Inventory.of(map(read, (newer,)), after)
    assert gone.pools == [after.pools[1]]
