"""The messages of etcd's v3 API that kpy sends, reads and serves, as one table.

The form is that of lib/message_table.py. The numbers are those of etcd's rpc.proto and kv.proto; of
authentication there is only what a client needs to log in. A message that embeds an operation
(RequestOp, ResponseOp, WatchRequest) has one of its fields: whichever is in the dict.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from minikube_py.lib.message_table import parse
from minikube_py.lib.protowire import Codec

PACKAGE = "etcdserverpb"
TABLE = """\
enum AlarmRequest.AlarmAction GET=0 ACTIVATE=1 DEACTIVATE=2
enum AlarmType NONE=0 NOSPACE=1 CORRUPT=2
enum Compare.CompareResult EQUAL=0 GREATER=1 LESS=2 NOT_EQUAL=3
enum Compare.CompareTarget VERSION=0 CREATE=1 MOD=2 VALUE=3 LEASE=4
enum Event.EventType PUT=0 DELETE=1
enum RangeRequest.SortOrder NONE=0 ASCEND=1 DESCEND=2
enum RangeRequest.SortTarget KEY=0 VERSION=1 CREATE=2 MOD=3 VALUE=4
enum WatchCreateRequest.FilterType NOPUT=0 NODELETE=1
AlarmMember memberID=1:uint64 alarm=2:AlarmType
AlarmRequest action=1:AlarmRequest.AlarmAction memberID=2:uint64 alarm=3:AlarmType
AlarmResponse header=1:ResponseHeader alarms=2:AlarmMember*
AuthenticateRequest name=1:string password=2:string
AuthenticateResponse header=1:ResponseHeader token=2:string
CompactionRequest revision=1:int64 physical=2:bool
CompactionResponse header=1:ResponseHeader
Compare result=1:Compare.CompareResult target=2:Compare.CompareTarget key=3:bytes version=4:int64!
  create_revision=5:int64! mod_revision=6:int64! value=7:bytes! lease=8:int64! range_end=64:bytes
DefragmentRequest
DefragmentResponse header=1:ResponseHeader
DeleteRangeRequest key=1:bytes range_end=2:bytes prev_kv=3:bool
DeleteRangeResponse header=1:ResponseHeader deleted=2:int64 prev_kvs=3:KeyValue*
DowngradeInfo enabled=1:bool targetVersion=2:string
Event type=1:Event.EventType kv=2:KeyValue prev_kv=3:KeyValue
HashKVRequest revision=1:int64
HashKVResponse header=1:ResponseHeader hash=2:uint32 compact_revision=3:int64 hash_revision=4:int64
HashRequest
HashResponse header=1:ResponseHeader hash=2:uint32
KeyValue key=1:bytes create_revision=2:int64 mod_revision=3:int64 version=4:int64 value=5:bytes
  lease=6:int64
LeaseGrantRequest TTL=1:int64 ID=2:int64
LeaseGrantResponse header=1:ResponseHeader ID=2:int64 TTL=3:int64 error=4:string
LeaseKeepAliveRequest ID=1:int64
LeaseKeepAliveResponse header=1:ResponseHeader ID=2:int64 TTL=3:int64
LeaseLeasesRequest
LeaseLeasesResponse header=1:ResponseHeader leases=2:LeaseStatus*
LeaseRevokeRequest ID=1:int64
LeaseRevokeResponse header=1:ResponseHeader
LeaseStatus ID=1:int64
LeaseTimeToLiveRequest ID=1:int64 keys=2:bool
LeaseTimeToLiveResponse header=1:ResponseHeader ID=2:int64 TTL=3:int64 grantedTTL=4:int64
  keys=5:bytes*
Member ID=1:uint64 name=2:string peerURLs=3:string* clientURLs=4:string* isLearner=5:bool
MemberAddRequest peerURLs=1:string* isLearner=2:bool
MemberAddResponse header=1:ResponseHeader member=2:Member members=3:Member*
MemberListRequest linearizable=1:bool
MemberListResponse header=1:ResponseHeader members=2:Member*
MemberPromoteRequest ID=1:uint64
MemberPromoteResponse header=1:ResponseHeader members=2:Member*
MemberRemoveRequest ID=1:uint64
MemberRemoveResponse header=1:ResponseHeader members=2:Member*
MemberUpdateRequest ID=1:uint64 peerURLs=2:string*
MemberUpdateResponse header=1:ResponseHeader members=2:Member*
MoveLeaderRequest targetID=1:uint64
MoveLeaderResponse header=1:ResponseHeader
PutRequest key=1:bytes value=2:bytes lease=3:int64 prev_kv=4:bool ignore_value=5:bool
  ignore_lease=6:bool
PutResponse header=1:ResponseHeader prev_kv=2:KeyValue
RangeRequest key=1:bytes range_end=2:bytes limit=3:int64 revision=4:int64
  sort_order=5:RangeRequest.SortOrder sort_target=6:RangeRequest.SortTarget serializable=7:bool
  keys_only=8:bool count_only=9:bool min_mod_revision=10:int64 max_mod_revision=11:int64
  min_create_revision=12:int64 max_create_revision=13:int64
RangeResponse header=1:ResponseHeader kvs=2:KeyValue* more=3:bool count=4:int64
RequestOp request_range=1:RangeRequest! request_put=2:PutRequest!
  request_delete_range=3:DeleteRangeRequest! request_txn=4:TxnRequest!
ResponseHeader cluster_id=1:uint64 member_id=2:uint64 revision=3:int64 raft_term=4:uint64
ResponseOp response_range=1:RangeResponse! response_put=2:PutResponse!
  response_delete_range=3:DeleteRangeResponse! response_txn=4:TxnResponse!
SnapshotRequest
SnapshotResponse header=1:ResponseHeader remaining_bytes=2:uint64 blob=3:bytes version=4:string
StatusRequest
StatusResponse header=1:ResponseHeader version=2:string dbSize=3:int64 leader=4:uint64
  raftIndex=5:uint64 raftTerm=6:uint64 raftAppliedIndex=7:uint64 errors=8:string*
  dbSizeInUse=9:int64 isLearner=10:bool storageVersion=11:string dbSizeQuota=12:int64
  downgradeInfo=13:DowngradeInfo
TxnRequest compare=1:Compare* success=2:RequestOp* failure=3:RequestOp*
TxnResponse header=1:ResponseHeader succeeded=2:bool responses=3:ResponseOp*
WatchCancelRequest watch_id=1:int64
WatchCreateRequest key=1:bytes range_end=2:bytes start_revision=3:int64 progress_notify=4:bool
  filters=5:WatchCreateRequest.FilterType* prev_kv=6:bool watch_id=7:int64 fragment=8:bool
WatchProgressRequest
WatchRequest create_request=1:WatchCreateRequest! cancel_request=2:WatchCancelRequest!
  progress_request=3:WatchProgressRequest!
WatchResponse header=1:ResponseHeader watch_id=2:int64 created=3:bool canceled=4:bool
  compact_revision=5:int64 cancel_reason=6:string fragment=7:bool events=11:Event*
"""


class Method(NamedTuple):
    """One call: the names of its messages, and which side sends a stream of them."""

    request: str
    response: str
    streams_in: bool = False
    streams_out: bool = False


def _unary(*methods: str) -> dict[str, Method]:
    return {name: Method(f"{name}Request", f"{name}Response") for name in methods}


def _both_ways(name: str) -> Method:
    return Method(f"{name}Request", f"{name}Response", streams_in=True, streams_out=True)


SERVICES: Mapping[str, Mapping[str, Method]] = {
    "KV": {
        **_unary("Range", "Put", "DeleteRange", "Txn"),
        "Compact": Method("CompactionRequest", "CompactionResponse"),
    },
    "Watch": {"Watch": _both_ways("Watch")},
    "Lease": {
        **_unary("LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases"),
        "LeaseKeepAlive": _both_ways("LeaseKeepAlive"),
    },
    "Cluster": _unary("MemberAdd", "MemberRemove", "MemberUpdate", "MemberList", "MemberPromote"),
    "Maintenance": {
        **_unary("Alarm", "Status", "Defragment", "Hash", "HashKV", "MoveLeader"),
        "Snapshot": Method("SnapshotRequest", "SnapshotResponse", streams_out=True),
    },
    "Auth": _unary("Authenticate"),
}
"""The methods by service; the path of a call is `/etcdserverpb.SERVICE/METHOD`."""


@cache
def codec() -> Codec:
    """Return the codec of the table; made at the first use."""
    return Codec(parse(TABLE))
