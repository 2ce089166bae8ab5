"""The messages of DRA plugins (v1, which v1beta1 equals), as one table in the form of cri's.

The numbers are those of k8s.io/kubelet/pkg/apis/dra/v1/api.proto, and of dra-health/v1alpha1.
"""

from functools import cache

from minikube_py.lib.message_table import parse
from minikube_py.lib.protowire import Codec

TABLE = """\
Claim namespace=1:string uid=2:string name=3:string
Device request_names=1:string* pool_name=2:string device_name=3:string cdi_device_ids=4:string*
  share_id=5:string
DeviceHealth device=1:DeviceIdentifier health=2:HealthStatus last_updated_time=3:int64
  health_check_timeout_seconds=4:int64 message=5:string
DeviceIdentifier pool_name=1:string device_name=2:string
enum HealthStatus UNKNOWN=0 HEALTHY=1 UNHEALTHY=2
NodePrepareResourceResponse devices=1:Device* error=2:string
NodePrepareResourcesRequest claims=1:Claim*
NodePrepareResourcesResponse claims=1:map<string,NodePrepareResourceResponse>
NodeUnprepareResourceResponse error=1:string
NodeUnprepareResourcesRequest claims=1:Claim*
NodeUnprepareResourcesResponse claims=1:map<string,NodeUnprepareResourceResponse>
NodeWatchResourcesRequest
NodeWatchResourcesResponse devices=1:DeviceHealth*
"""


@cache
def codec() -> Codec:
    """Return the codec of the table; made at the first use."""
    return Codec(parse(TABLE))
