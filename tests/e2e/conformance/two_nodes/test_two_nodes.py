"""A few requirements of sig-network over two nodes; `make test-two-nodes` runs all of them so.

The scheduler spreads pods, so that clients and those that they ask are on either node.
"""

from tests.e2e.conformance.test_reaching import (
    test_names_lead_where_they_must,
    test_pods_and_services_are_reached_through_the_api_server,
)
from tests.e2e.conformance.test_services import (
    test_a_client_stays_with_one_pod_while_its_service_says_so,
    test_pods_come_to_a_service_and_go_from_it,
)

__all__ = (
    "test_a_client_stays_with_one_pod_while_its_service_says_so",
    "test_names_lead_where_they_must",
    "test_pods_and_services_are_reached_through_the_api_server",
    "test_pods_come_to_a_service_and_go_from_it",
)
