"""The messages of CSI v1 that a node speaks, as one table.

The form is that of lib/message_table.py. The numbers are those of the CSI specification's
csi.proto.
"""

from functools import cache

from minikube_py.lib.message_table import parse
from minikube_py.lib.protowire import Codec

TABLE = """\
enum AccessModeType UNKNOWN=0 SINGLE_NODE_WRITER=1 SINGLE_NODE_READER_ONLY=2
  MULTI_NODE_READER_ONLY=3 MULTI_NODE_SINGLE_WRITER=4 MULTI_NODE_MULTI_WRITER=5
  SINGLE_NODE_SINGLE_WRITER=6 SINGLE_NODE_MULTI_WRITER=7
enum VolumeUsageUnit UNKNOWN=0 BYTES=1 INODES=2
AccessMode mode=1:AccessModeType
BlockVolume
CapacityRange required_bytes=1:int64 limit_bytes=2:int64
MountVolume fs_type=1:string mount_flags=2:string* volume_mount_group=3:string
NodeExpandVolumeRequest volume_id=1:string volume_path=2:string capacity_range=3:CapacityRange
  staging_target_path=4:string volume_capability=5:VolumeCapability secrets=6:map<string,string>
NodeExpandVolumeResponse capacity_bytes=1:int64
NodeGetCapabilitiesRequest
NodeGetCapabilitiesResponse capabilities=1:NodeServiceCapability*
NodeGetInfoRequest
NodeGetInfoResponse node_id=1:string max_volumes_per_node=2:int64 accessible_topology=3:Topology
NodeGetVolumeStatsRequest volume_id=1:string volume_path=2:string staging_target_path=3:string
NodeGetVolumeStatsResponse usage=1:VolumeUsage*
NodePublishVolumeRequest volume_id=1:string publish_context=2:map<string,string>
  staging_target_path=3:string target_path=4:string volume_capability=5:VolumeCapability
  readonly=6:bool secrets=7:map<string,string> volume_context=8:map<string,string>
NodePublishVolumeResponse
NodeServiceCapability rpc=1:NodeServiceCapabilityRpc
NodeServiceCapabilityRpc type=1:int32
NodeStageVolumeRequest volume_id=1:string publish_context=2:map<string,string>
  staging_target_path=3:string volume_capability=4:VolumeCapability
  secrets=5:map<string,string> volume_context=6:map<string,string>
NodeStageVolumeResponse
NodeUnpublishVolumeRequest volume_id=1:string target_path=2:string
NodeUnpublishVolumeResponse
NodeUnstageVolumeRequest volume_id=1:string staging_target_path=2:string
NodeUnstageVolumeResponse
Topology segments=1:map<string,string>
VolumeCapability block=1:BlockVolume mount=2:MountVolume access_mode=3:AccessMode
VolumeUsage available=1:int64 total=2:int64 used=3:int64 unit=4:VolumeUsageUnit
"""


@cache
def codec() -> Codec:
    """Return the codec of the table; made at the first use."""
    return Codec(parse(TABLE))
