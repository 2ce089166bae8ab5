"""The requirements of sig-network that need containers, once more over two nodes.

Pods go to either node in turn (`Net.make`), so that clients and those that they ask are on
different ones, and what a node does is asked of both. `make test-two-nodes` runs the whole of
tests/e2e/network so too.
"""

from tests.e2e.conformance.test_reaching import (
    test_a_pod_may_bring_its_own_resolver_configuration,
    test_endpoints_follow_a_service_soon,
    test_names_lead_where_they_must,
    test_one_host_port_serves_several_pods_on_several_addresses,
    test_pods_and_services_are_reached_through_the_api_server,
    test_pods_and_the_node_reach_each_pod,
    test_pods_and_the_node_reach_each_pod_by_datagrams,
)
from tests.e2e.conformance.test_services import (
    test_a_client_stays_with_one_pod_while_its_service_says_so,
    test_a_service_changes_its_type,
    test_a_service_of_no_pods_has_empty_endpoints_that_go_with_it,
    test_one_port_of_two_protocols_can_lose_one_of_them,
    test_pods_come_to_a_service_and_go_from_it,
    test_slices_written_by_hand_lead_to_all_their_endpoints,
    test_the_api_server_is_a_service,
)

__all__ = (
    "test_a_client_stays_with_one_pod_while_its_service_says_so",
    "test_a_pod_may_bring_its_own_resolver_configuration",
    "test_a_service_changes_its_type",
    "test_a_service_of_no_pods_has_empty_endpoints_that_go_with_it",
    "test_endpoints_follow_a_service_soon",
    "test_names_lead_where_they_must",
    "test_one_host_port_serves_several_pods_on_several_addresses",
    "test_one_port_of_two_protocols_can_lose_one_of_them",
    "test_pods_and_services_are_reached_through_the_api_server",
    "test_pods_and_the_node_reach_each_pod",
    "test_pods_and_the_node_reach_each_pod_by_datagrams",
    "test_pods_come_to_a_service_and_go_from_it",
    "test_slices_written_by_hand_lead_to_all_their_endpoints",
    "test_the_api_server_is_a_service",
)
