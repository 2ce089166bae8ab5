"""The messages of device plugins (v1beta1), as one table.

The form is that of lib/message_table.py.

The numbers are those of k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto.
"""

from functools import cache

from minikube_py.lib.message_table import parse
from minikube_py.lib.protowire import Codec

TABLE = """\
AllocateRequest container_requests=1:ContainerAllocateRequest*
AllocateResponse container_responses=1:ContainerAllocateResponse*
CDIDevice name=1:string
ContainerAllocateRequest devices_ids=1:string*
ContainerAllocateResponse envs=1:map<string,string> mounts=2:Mount* devices=3:DeviceSpec*
  annotations=4:map<string,string> cdi_devices=5:CDIDevice*
ContainerPreferredAllocationRequest available_deviceIDs=1:string* must_include_deviceIDs=2:string*
  allocation_size=3:int32
ContainerPreferredAllocationResponse deviceIDs=1:string*
Device ID=1:string health=2:string topology=3:TopologyInfo
DevicePluginOptions pre_start_required=1:bool get_preferred_allocation_available=2:bool
DeviceSpec container_path=1:string host_path=2:string permissions=3:string
Empty
ListAndWatchResponse devices=1:Device*
Mount container_path=1:string host_path=2:string read_only=3:bool
NUMANode ID=1:int64
PreStartContainerRequest devices_ids=1:string*
PreStartContainerResponse
PreferredAllocationRequest container_requests=1:ContainerPreferredAllocationRequest*
PreferredAllocationResponse container_responses=1:ContainerPreferredAllocationResponse*
RegisterRequest version=1:string endpoint=2:string resource_name=3:string
  options=4:DevicePluginOptions
TopologyInfo nodes=1:NUMANode*
"""


@cache
def codec() -> Codec:
    """Return the codec of the table; made at the first use."""
    return Codec(parse(TABLE))
