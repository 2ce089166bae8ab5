"""The messages of CRI v1 and of containerd's own services that kpy speaks, as one table.

The form is that of lib/message_table.py. The numbers are those of k8s.io/cri-api
(runtime/v1/api.proto) and of containerd's api/services (containers, events, leases, snapshots);
fields that kpy never sends or reads are left out, which the codec skips.
"""

from functools import cache

from minikube_py.lib.message_table import parse
from minikube_py.lib.protowire import Codec

TABLE = """\
enum ContainerState CONTAINER_CREATED=0 CONTAINER_RUNNING=1 CONTAINER_EXITED=2 CONTAINER_UNKNOWN=3
enum MountPropagation PROPAGATION_PRIVATE=0 PROPAGATION_HOST_TO_CONTAINER=1
  PROPAGATION_BIDIRECTIONAL=2
enum NamespaceMode POD=0 CONTAINER=1 NODE=2 TARGET=3
enum PodSandboxState SANDBOX_READY=0 SANDBOX_NOTREADY=1
enum Protocol TCP=0 UDP=1 SCTP=2
enum SecurityProfile.ProfileType RuntimeDefault=0 Unconfined=1 Localhost=2
enum Signal RUNTIME_DEFAULT=0 SIGABRT=1 SIGALRM=2 SIGBUS=3 SIGCHLD=4 SIGCLD=5 SIGCONT=6 SIGFPE=7
  SIGHUP=8 SIGILL=9 SIGINT=10 SIGIO=11 SIGIOT=12 SIGKILL=13 SIGPIPE=14 SIGPOLL=15 SIGPROF=16
  SIGPWR=17 SIGQUIT=18 SIGSEGV=19 SIGSTKFLT=20 SIGSTOP=21 SIGSYS=22 SIGTERM=23 SIGTRAP=24
  SIGTSTP=25 SIGTTIN=26 SIGTTOU=27 SIGURG=28 SIGUSR1=29 SIGUSR2=30 SIGVTALRM=31 SIGWINCH=32
  SIGXCPU=33 SIGXFSZ=34 SIGRTMIN=35 SIGRTMINPLUS1=36 SIGRTMINPLUS2=37 SIGRTMINPLUS3=38
  SIGRTMINPLUS4=39 SIGRTMINPLUS5=40 SIGRTMINPLUS6=41 SIGRTMINPLUS7=42 SIGRTMINPLUS8=43
  SIGRTMINPLUS9=44 SIGRTMINPLUS10=45 SIGRTMINPLUS11=46 SIGRTMINPLUS12=47 SIGRTMINPLUS13=48
  SIGRTMINPLUS14=49 SIGRTMINPLUS15=50 SIGRTMAXMINUS14=51 SIGRTMAXMINUS13=52 SIGRTMAXMINUS12=53
  SIGRTMAXMINUS11=54 SIGRTMAXMINUS10=55 SIGRTMAXMINUS9=56 SIGRTMAXMINUS8=57 SIGRTMAXMINUS7=58
  SIGRTMAXMINUS6=59 SIGRTMAXMINUS5=60 SIGRTMAXMINUS4=61 SIGRTMAXMINUS3=62 SIGRTMAXMINUS2=63
  SIGRTMAXMINUS1=64 SIGRTMAX=65
enum SupplementalGroupsPolicy Merge=0 Strict=1
Any type_url=1:string value=2:bytes
AttachRequest container_id=1:string stdin=2:bool tty=3:bool stdout=4:bool stderr=5:bool
AttachResponse url=1:string
AuthConfig username=1:string password=2:string auth=3:string server_address=4:string
  identity_token=5:string registry_token=6:string
CDIDevice name=1:string
Capability add_capabilities=1:string* drop_capabilities=2:string*
  add_ambient_capabilities=3:string*
Container id=1:string pod_sandbox_id=2:string metadata=3:ContainerMetadata image=4:ImageSpec
  image_ref=5:string state=6:ContainerState created_at=7:int64 labels=8:map<string,string>
  annotations=9:map<string,string> image_id=10:string
ContainerAttributes id=1:string metadata=2:ContainerMetadata labels=3:map<string,string>
  annotations=4:map<string,string>
ContainerConfig metadata=1:ContainerMetadata image=2:ImageSpec command=3:string* args=4:string*
  working_dir=5:string envs=6:KeyValue* mounts=7:Mount* devices=8:Device*
  labels=9:map<string,string> annotations=10:map<string,string> log_path=11:string stdin=12:bool
  stdin_once=13:bool tty=14:bool linux=15:LinuxContainerConfig CDI_devices=17:CDIDevice*
  stop_signal=18:Signal
ContainerFilter id=1:string state=2:ContainerStateValue pod_sandbox_id=3:string
  label_selector=4:map<string,string>
ContainerMetadata name=1:string attempt=2:uint32
ContainerRecord id=1:string spec=5:Any
ContainerRecordsRequest filters=1:string*
ContainerRecordsResponse containers=1:ContainerRecord*
ContainerResources linux=1:LinuxContainerResources
ContainerStateValue state=1:ContainerState
ContainerStats attributes=1:ContainerAttributes cpu=2:CpuUsage memory=3:MemoryUsage
  writable_layer=4:FilesystemUsage swap=5:SwapUsage io=6:IoUsage
ContainerStatsFilter id=1:string pod_sandbox_id=2:string label_selector=3:map<string,string>
ContainerStatsRequest container_id=1:string
ContainerStatsResponse stats=1:ContainerStats
ContainerStatus id=1:string metadata=2:ContainerMetadata state=3:ContainerState created_at=4:int64
  started_at=5:int64 finished_at=6:int64 exit_code=7:int32 image=8:ImageSpec image_ref=9:string
  reason=10:string message=11:string labels=12:map<string,string>
  annotations=13:map<string,string> mounts=14:Mount* log_path=15:string
  resources=16:ContainerResources image_id=17:string user=18:ContainerUser
  stop_signal=19:Signal
ContainerStatusRequest container_id=1:string verbose=2:bool
ContainerStatusResponse status=1:ContainerStatus info=2:map<string,string>
ContainerUser linux=1:LinuxContainerUser
CpuUsage timestamp=1:int64 usage_core_nano_seconds=2:UInt64Value usage_nano_cores=3:UInt64Value
  psi=4:PsiStats
CreateContainerRequest pod_sandbox_id=1:string config=2:ContainerConfig
  sandbox_config=3:PodSandboxConfig
CreateContainerResponse container_id=1:string
DNSConfig servers=1:string* searches=2:string* options=3:string*
Device container_path=1:string host_path=2:string permissions=3:string
EmptyResponse
Envelope timestamp=1:Timestamp namespace=2:string topic=3:string event=4:Any
ExecRequest container_id=1:string cmd=2:string* tty=3:bool stdin=4:bool stdout=5:bool
  stderr=6:bool
ExecResponse url=1:string
ExecSyncRequest container_id=1:string cmd=2:string* timeout=3:int64
ExecSyncResponse stdout=1:bytes stderr=2:bytes exit_code=3:int32
FilesystemIdentifier mountpoint=1:string
FilesystemUsage timestamp=1:int64 fs_id=2:FilesystemIdentifier used_bytes=3:UInt64Value
  inodes_used=4:UInt64Value
HugepageLimit page_size=1:string limit=2:uint64
IDMapping host_id=1:uint32 container_id=2:uint32 length=3:uint32
Image id=1:string repo_tags=2:string* repo_digests=3:string* size=4:uint64 uid=5:Int64Value
  username=6:string spec=7:ImageSpec pinned=8:bool
ImageFilter image=1:ImageSpec
ImageFsInfoRequest
ImageFsInfoResponse image_filesystems=1:FilesystemUsage* container_filesystems=2:FilesystemUsage*
ImageSpec image=1:string annotations=2:map<string,string> user_specified_image=18:string
  runtime_handler=19:string image_ref=20:string
ImageStatusRequest image=1:ImageSpec verbose=2:bool
ImageStatusResponse image=1:Image info=2:map<string,string>
Int64Value value=1:int64
IoUsage timestamp=1:int64 psi=2:PsiStats
KeyValue key=1:string value=2:bytes
Lease id=1:string
LeaseCreateRequest id=1:string
LeaseDeleteRequest id=1:string
LeaseListRequest filters=1:string*
LeaseListResponse leases=1:Lease*
LinuxContainerConfig resources=1:LinuxContainerResources
  security_context=2:LinuxContainerSecurityContext
LinuxContainerResources cpu_period=1:int64 cpu_quota=2:int64 cpu_shares=3:int64
  memory_limit_in_bytes=4:int64 oom_score_adj=5:int64 cpuset_cpus=6:string cpuset_mems=7:string
  hugepage_limits=8:HugepageLimit* unified=9:map<string,string>
  memory_swap_limit_in_bytes=10:int64
LinuxContainerSecurityContext capabilities=1:Capability privileged=2:bool
  namespace_options=3:NamespaceOption selinux_options=4:SELinuxOption run_as_user=5:Int64Value
  run_as_group=12:Int64Value run_as_username=6:string readonly_rootfs=7:bool
  supplemental_groups=8:int64* supplemental_groups_policy=17:SupplementalGroupsPolicy
  no_new_privs=11:bool apparmor_profile=9:string masked_paths=13:string* readonly_paths=14:string*
  seccomp=15:SecurityProfile apparmor=16:SecurityProfile
LinuxContainerUser uid=1:int64 gid=2:int64 supplemental_groups=3:int64*
LinuxPodSandboxConfig cgroup_parent=1:string security_context=2:LinuxSandboxSecurityContext
  sysctls=3:map<string,string> overhead=4:LinuxContainerResources
  resources=5:LinuxContainerResources
LinuxPodSandboxStatus namespaces=1:Namespace
LinuxSandboxSecurityContext namespace_options=1:NamespaceOption selinux_options=2:SELinuxOption
  run_as_user=3:Int64Value run_as_group=8:Int64Value readonly_rootfs=4:bool
  supplemental_groups=5:int64* supplemental_groups_policy=11:SupplementalGroupsPolicy
  privileged=6:bool seccomp=9:SecurityProfile apparmor=10:SecurityProfile
ListContainerStatsRequest filter=1:ContainerStatsFilter
ListContainerStatsResponse stats=1:ContainerStats*
ListContainersRequest filter=1:ContainerFilter
ListContainersResponse containers=1:Container*
ListImagesRequest filter=1:ImageFilter
ListImagesResponse images=1:Image*
ListPodSandboxRequest filter=1:PodSandboxFilter
ListPodSandboxResponse items=1:PodSandbox*
MemoryUsage timestamp=1:int64 working_set_bytes=2:UInt64Value available_bytes=3:UInt64Value
  usage_bytes=4:UInt64Value rss_bytes=5:UInt64Value page_faults=6:UInt64Value
  major_page_faults=7:UInt64Value psi=8:PsiStats
Mount container_path=1:string host_path=2:string readonly=3:bool propagation=5:MountPropagation
  uidMappings=6:IDMapping* gidMappings=7:IDMapping*
  recursive_read_only=8:bool image=9:ImageSpec image_sub_path=10:string
Namespace options=2:NamespaceOption
NamespaceOption network=1:NamespaceMode pid=2:NamespaceMode ipc=3:NamespaceMode target_id=4:string
  userns_options=5:UserNamespace
NetworkConfig pod_cidr=1:string
PodIP ip=1:string
PodSandbox id=1:string metadata=2:PodSandboxMetadata state=3:PodSandboxState created_at=4:int64
  labels=5:map<string,string> annotations=6:map<string,string> runtime_handler=7:string
PodSandboxConfig metadata=1:PodSandboxMetadata hostname=2:string log_directory=3:string
  dns_config=4:DNSConfig port_mappings=5:PortMapping* labels=6:map<string,string>
  annotations=7:map<string,string> linux=8:LinuxPodSandboxConfig
PodSandboxFilter id=1:string state=2:PodSandboxStateValue label_selector=3:map<string,string>
PodSandboxMetadata name=1:string uid=2:string namespace=3:string attempt=4:uint32
PodSandboxNetworkStatus ip=1:string additional_ips=2:PodIP*
PodSandboxStateValue state=1:PodSandboxState
PodSandboxStatus id=1:string metadata=2:PodSandboxMetadata state=3:PodSandboxState
  created_at=4:int64 network=5:PodSandboxNetworkStatus linux=6:LinuxPodSandboxStatus
  labels=7:map<string,string> annotations=8:map<string,string> runtime_handler=9:string
PodSandboxStatusRequest pod_sandbox_id=1:string verbose=2:bool
PodSandboxStatusResponse status=1:PodSandboxStatus info=2:map<string,string>
  containers_statuses=3:ContainerStatus* timestamp=4:int64
PortForwardRequest pod_sandbox_id=1:string port=2:int32*
PortForwardResponse url=1:string
PortMapping protocol=1:Protocol container_port=2:int32 host_port=3:int32 host_ip=4:string
PsiData Total=1:uint64 Avg10=2:double Avg60=3:double Avg300=4:double
PsiStats Full=1:PsiData Some=2:PsiData
PullImageRequest image=1:ImageSpec auth=2:AuthConfig sandbox_config=3:PodSandboxConfig
PullImageResponse image_ref=1:string
RemoveContainerRequest container_id=1:string
RemoveContainerResponse
RemoveImageRequest image=1:ImageSpec
RemoveImageResponse
RemovePodSandboxRequest pod_sandbox_id=1:string
RemovePodSandboxResponse
ReopenContainerLogRequest container_id=1:string
ReopenContainerLogResponse
RunPodSandboxRequest config=1:PodSandboxConfig runtime_handler=2:string
RunPodSandboxResponse pod_sandbox_id=1:string
RuntimeCondition type=1:string status=2:bool reason=3:string message=4:string
RuntimeConfig network_config=1:NetworkConfig
RuntimeFeatures supplemental_groups_policy=1:bool user_namespaces_host_network=2:bool
RuntimeHandler name=1:string features=2:RuntimeHandlerFeatures
RuntimeHandlerFeatures recursive_read_only_mounts=1:bool user_namespaces=2:bool
RuntimeStatus conditions=1:RuntimeCondition*
SELinuxOption user=1:string role=2:string type=3:string level=4:string
SecurityProfile profile_type=1:SecurityProfile.ProfileType localhost_ref=2:string
SnapshotMount type=1:string source=2:string target=3:string options=4:string*
SnapshotMountsResponse mounts=1:SnapshotMount*
SnapshotRequest snapshotter=1:string key=2:string
StartContainerRequest container_id=1:string
StartContainerResponse
StatusRequest verbose=1:bool
StatusResponse status=1:RuntimeStatus info=2:map<string,string> runtime_handlers=3:RuntimeHandler*
  features=4:RuntimeFeatures
StopContainerRequest container_id=1:string timeout=2:int64
StopContainerResponse
StopPodSandboxRequest pod_sandbox_id=1:string
StopPodSandboxResponse
SubscribeRequest filters=1:string*
SwapUsage timestamp=1:int64 swap_available_bytes=2:UInt64Value swap_usage_bytes=3:UInt64Value
TaskExit container_id=1:string id=2:string pid=3:uint32 exit_status=4:uint32 exited_at=5:Timestamp
TaskOOM container_id=1:string
Timestamp seconds=1:int64 nanos=2:int32
UInt64Value value=1:uint64
UpdateContainerResourcesRequest container_id=1:string linux=2:LinuxContainerResources
  annotations=4:map<string,string>
UpdateContainerResourcesResponse
UpdateRuntimeConfigRequest runtime_config=1:RuntimeConfig
UpdateRuntimeConfigResponse
UserNamespace mode=1:NamespaceMode uids=2:IDMapping* gids=3:IDMapping*
VersionRequest version=1:string
VersionResponse version=1:string runtime_name=2:string runtime_version=3:string
  runtime_api_version=4:string
ViewSnapshotRequest snapshotter=1:string key=2:string parent=3:string
"""


@cache
def codec() -> Codec:
    """Return the codec of the table; made at the first use."""
    return Codec(parse(TABLE))
