"""Objects as upstream's messages print them: Go's own field names, zero values included.

A few messages show a whole structure of upstream's internal types (`pkg/apis/core/types.go`). The
text below lists the fields of these in Go's order. A field is written as its name in Go, with
`key@` before it where the key in JSON does not follow from that, and with what tells its form:

    Name        text, absent is ""        Name?       anything that may be null
    Name!       a boolean                 Name#       a number, or a number or text
    Name~       a quantity                Name$       a label selector
    Name:Type   a structure that may be null, or a list of structures
    Name=Type   a structure that is always there
    +Type       the fields of another structure in this place
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from minikube_py.api import selectors
from minikube_py.api.object import Obj

_STRUCTURES: Final = """\
PodTemplateSpec: +ObjectMeta Spec=PodSpec
PodSpec: Volumes:Volume InitContainers:Container Containers:Container
    EphemeralContainers:EphemeralContainer RestartPolicy TerminationGracePeriodSeconds?
    ActiveDeadlineSeconds? DNSPolicy NodeSelector? ServiceAccountName
    AutomountServiceAccountToken? NodeName SecurityContext:PodSecurityContext
    ImagePullSecrets:LocalObjectReference Hostname Subdomain SetHostnameAsFQDN?
    Affinity:Affinity SchedulerName Tolerations:Toleration HostAliases:HostAlias
    PriorityClassName Priority? PreemptionPolicy? DNSConfig:PodDNSConfig
    ReadinessGates:PodReadinessGate RuntimeClassName? Overhead? EnableServiceLinks?
    TopologySpreadConstraints:TopologySpreadConstraint OS:PodOS
    SchedulingGates:PodSchedulingGate ResourceClaims:PodResourceClaim
    Resources:ResourceRequirements HostnameOverride? SchedulingGroup:PodSchedulingGroup
Volume: Name +VolumeSource
VolumeSource: HostPath:HostPathVolumeSource EmptyDir:EmptyDirVolumeSource
    GCEPersistentDisk:GCEPersistentDiskVolumeSource
    AWSElasticBlockStore:AWSElasticBlockStoreVolumeSource GitRepo:GitRepoVolumeSource
    Secret:SecretVolumeSource NFS:NFSVolumeSource ISCSI:ISCSIVolumeSource
    Glusterfs:GlusterfsVolumeSource PersistentVolumeClaim:PersistentVolumeClaimVolumeSource
    RBD:RBDVolumeSource Quobyte:QuobyteVolumeSource FlexVolume:FlexVolumeSource
    Cinder:CinderVolumeSource cephfs@CephFS:CephFSVolumeSource Flocker:FlockerVolumeSource
    DownwardAPI:DownwardAPIVolumeSource FC:FCVolumeSource AzureFile:AzureFileVolumeSource
    ConfigMap:ConfigMapVolumeSource VsphereVolume:VsphereVirtualDiskVolumeSource
    AzureDisk:AzureDiskVolumeSource PhotonPersistentDisk:PhotonPersistentDiskVolumeSource
    Projected:ProjectedVolumeSource PortworxVolume:PortworxVolumeSource
    ScaleIO:ScaleIOVolumeSource storageos@StorageOS:StorageOSVolumeSource CSI:CSIVolumeSource
    Ephemeral:EphemeralVolumeSource Image:ImageVolumeSource
HostPathVolumeSource: Path Type?
EmptyDirVolumeSource: Medium SizeLimit?
GCEPersistentDiskVolumeSource: PDName FSType Partition# ReadOnly!
AWSElasticBlockStoreVolumeSource: VolumeID FSType Partition# ReadOnly!
GitRepoVolumeSource: Repository Revision Directory
SecretVolumeSource: SecretName Items:KeyToPath DefaultMode? Optional?
KeyToPath: Key Path Mode?
NFSVolumeSource: Server Path ReadOnly!
ISCSIVolumeSource: TargetPortal IQN Lun# ISCSIInterface FSType ReadOnly! Portals?
    chapAuthDiscovery@DiscoveryCHAPAuth! chapAuthSession@SessionCHAPAuth!
    SecretRef:LocalObjectReference InitiatorName?
LocalObjectReference: Name
GlusterfsVolumeSource: endpoints@EndpointsName Path ReadOnly!
PersistentVolumeClaimVolumeSource: ClaimName ReadOnly!
RBDVolumeSource: monitors@CephMonitors? image@RBDImage FSType pool@RBDPool user@RadosUser
    Keyring SecretRef:LocalObjectReference ReadOnly!
FlexVolumeSource: Driver FSType SecretRef:LocalObjectReference ReadOnly! Options?
CinderVolumeSource: VolumeID FSType ReadOnly! SecretRef:LocalObjectReference
CephFSVolumeSource: Monitors? Path User SecretFile SecretRef:LocalObjectReference ReadOnly!
FlockerVolumeSource: DatasetName DatasetUUID
DownwardAPIVolumeSource: Items:DownwardAPIVolumeFile DefaultMode?
DownwardAPIVolumeFile: Path FieldRef:ObjectFieldSelector ResourceFieldRef:ResourceFieldSelector
    Mode?
ObjectFieldSelector: APIVersion FieldPath
ResourceFieldSelector: ContainerName Resource Divisor~
FCVolumeSource: TargetWWNs? Lun? FSType ReadOnly! wwids@WWIDs?
AzureFileVolumeSource: SecretName ShareName ReadOnly!
ConfigMapVolumeSource: +LocalObjectReference Items:KeyToPath DefaultMode? Optional?
VsphereVirtualDiskVolumeSource: VolumePath FSType StoragePolicyName StoragePolicyID
QuobyteVolumeSource: Registry Volume ReadOnly! User Group Tenant
AzureDiskVolumeSource: DiskName diskURI@DataDiskURI CachingMode? FSType? ReadOnly? Kind?
PhotonPersistentDiskVolumeSource: PdID FSType
ProjectedVolumeSource: Sources:VolumeProjection DefaultMode?
VolumeProjection: Secret:SecretProjection DownwardAPI:DownwardAPIProjection
    ConfigMap:ConfigMapProjection ServiceAccountToken:ServiceAccountTokenProjection
    ClusterTrustBundle:ClusterTrustBundleProjection PodCertificate:PodCertificateProjection
SecretProjection: +LocalObjectReference Items:KeyToPath Optional?
DownwardAPIProjection: Items:DownwardAPIVolumeFile
ConfigMapProjection: +LocalObjectReference Items:KeyToPath Optional?
ServiceAccountTokenProjection: Audience ExpirationSeconds? Path
ClusterTrustBundleProjection: Name? SignerName? LabelSelector$ Optional? Path
PodCertificateProjection: SignerName KeyType MaxExpirationSeconds? CredentialBundlePath KeyPath
    CertificateChainPath UserAnnotations?
PortworxVolumeSource: VolumeID FSType ReadOnly!
ScaleIOVolumeSource: Gateway System SecretRef:LocalObjectReference SSLEnabled! ProtectionDomain
    StoragePool StorageMode VolumeName FSType ReadOnly!
StorageOSVolumeSource: VolumeName VolumeNamespace FSType ReadOnly!
    SecretRef:LocalObjectReference
CSIVolumeSource: Driver ReadOnly? FSType? VolumeAttributes?
    NodePublishSecretRef:LocalObjectReference
EphemeralVolumeSource: VolumeClaimTemplate:PersistentVolumeClaimTemplate
PersistentVolumeClaimTemplate: +ObjectMeta Spec=PersistentVolumeClaimSpec
PersistentVolumeClaimSpec: AccessModes? Selector$ Resources=VolumeResourceRequirements
    VolumeName StorageClassName? VolumeMode? DataSource:TypedLocalObjectReference
    DataSourceRef:TypedObjectReference VolumeAttributesClassName?
VolumeResourceRequirements: Limits? Requests?
TypedLocalObjectReference: APIGroup? Kind Name
TypedObjectReference: APIGroup? Kind Name Namespace?
ImageVolumeSource: Reference PullPolicy
Container: Name Image Command? Args? WorkingDir Ports:ContainerPort EnvFrom:EnvFromSource
    Env:EnvVar Resources=ResourceRequirements ResizePolicy:ContainerResizePolicy RestartPolicy?
    RestartPolicyRules:ContainerRestartRule VolumeMounts:VolumeMount VolumeDevices:VolumeDevice
    LivenessProbe:Probe ReadinessProbe:Probe StartupProbe:Probe Lifecycle:Lifecycle
    TerminationMessagePath TerminationMessagePolicy ImagePullPolicy
    SecurityContext:SecurityContext Stdin! StdinOnce! TTY!
ContainerPort: Name HostPort# ContainerPort# Protocol HostIP
EnvFromSource: Prefix ConfigMapRef:ConfigMapEnvSource SecretRef:SecretEnvSource
ConfigMapEnvSource: +LocalObjectReference Optional?
SecretEnvSource: +LocalObjectReference Optional?
EnvVar: Name Value ValueFrom:EnvVarSource
EnvVarSource: FieldRef:ObjectFieldSelector ResourceFieldRef:ResourceFieldSelector
    ConfigMapKeyRef:ConfigMapKeySelector SecretKeyRef:SecretKeySelector
    FileKeyRef:FileKeySelector
ConfigMapKeySelector: +LocalObjectReference Key Optional?
SecretKeySelector: +LocalObjectReference Key Optional?
FileKeySelector: VolumeName Path Key Optional?
ResourceRequirements: Limits? Requests? Claims:ResourceClaim
ResourceClaim: Name Request
ContainerResizePolicy: ResourceName RestartPolicy
ContainerRestartRule: Action ExitCodes:ContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes: Operator Values?
VolumeMount: Name ReadOnly! RecursiveReadOnly? MountPath SubPath MountPropagation? SubPathExpr
VolumeDevice: Name DevicePath
Probe: +ProbeHandler InitialDelaySeconds# TimeoutSeconds# PeriodSeconds# SuccessThreshold#
    FailureThreshold# TerminationGracePeriodSeconds?
ProbeHandler: Exec:ExecAction HTTPGet:HTTPGetAction TCPSocket:TCPSocketAction GRPC:GRPCAction
ExecAction: Command?
HTTPGetAction: Path Port# Host Scheme HTTPHeaders:HTTPHeader
HTTPHeader: Name Value
TCPSocketAction: Port# Host
GRPCAction: Port# Service?
Lifecycle: PostStart:LifecycleHandler PreStop:LifecycleHandler StopSignal?
LifecycleHandler: Exec:ExecAction HTTPGet:HTTPGetAction TCPSocket:TCPSocketAction
    Sleep:SleepAction
SleepAction: Seconds#
SecurityContext: Capabilities:Capabilities Privileged? SELinuxOptions:SELinuxOptions
    WindowsOptions:WindowsSecurityContextOptions RunAsUser? RunAsGroup? RunAsNonRoot?
    ReadOnlyRootFilesystem? AllowPrivilegeEscalation? ProcMount? SeccompProfile:SeccompProfile
    AppArmorProfile:AppArmorProfile
Capabilities: Add? Drop?
SELinuxOptions: User Role Type Level
WindowsSecurityContextOptions: GMSACredentialSpecName? GMSACredentialSpec? RunAsUserName?
    HostProcess?
SeccompProfile: Type LocalhostProfile?
AppArmorProfile: Type LocalhostProfile?
EphemeralContainer: +EphemeralContainerCommon TargetContainerName
EphemeralContainerCommon: Name Image Command? Args? WorkingDir Ports:ContainerPort
    EnvFrom:EnvFromSource Env:EnvVar Resources=ResourceRequirements
    ResizePolicy:ContainerResizePolicy RestartPolicy? RestartPolicyRules:ContainerRestartRule
    VolumeMounts:VolumeMount VolumeDevices:VolumeDevice LivenessProbe:Probe ReadinessProbe:Probe
    StartupProbe:Probe Lifecycle:Lifecycle TerminationMessagePath TerminationMessagePolicy
    ImagePullPolicy SecurityContext:SecurityContext Stdin! StdinOnce! TTY!
PodSecurityContext: HostNetwork! HostPID! HostIPC! ShareProcessNamespace? HostUsers?
    SELinuxOptions:SELinuxOptions WindowsOptions:WindowsSecurityContextOptions RunAsUser?
    RunAsGroup? RunAsNonRoot? SupplementalGroups? SupplementalGroupsPolicy? FSGroup?
    FSGroupChangePolicy? Sysctls:Sysctl SeccompProfile:SeccompProfile
    AppArmorProfile:AppArmorProfile SELinuxChangePolicy?
Sysctl: Name Value
Affinity: NodeAffinity:NodeAffinity PodAffinity:PodAffinity PodAntiAffinity:PodAntiAffinity
NodeAffinity: RequiredDuringSchedulingIgnoredDuringExecution:NodeSelector
    PreferredDuringSchedulingIgnoredDuringExecution:PreferredSchedulingTerm
NodeSelector: NodeSelectorTerms:NodeSelectorTerm
NodeSelectorTerm: MatchExpressions:NodeSelectorRequirement MatchFields:NodeSelectorRequirement
NodeSelectorRequirement: Key Operator Values?
PreferredSchedulingTerm: Weight# Preference=NodeSelectorTerm
PodAffinity: RequiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm
    PreferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm
PodAffinityTerm: LabelSelector$ Namespaces? TopologyKey NamespaceSelector$ MatchLabelKeys?
    MismatchLabelKeys?
WeightedPodAffinityTerm: Weight# PodAffinityTerm=PodAffinityTerm
PodAntiAffinity: RequiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm
    PreferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm
Toleration: Key Operator Value Effect TolerationSeconds?
HostAlias: IP Hostnames?
PodDNSConfig: Nameservers? Searches? Options:PodDNSConfigOption
PodDNSConfigOption: Name Value?
PodReadinessGate: ConditionType
TopologySpreadConstraint: MaxSkew# TopologyKey WhenUnsatisfiable LabelSelector$ MinDomains?
    NodeAffinityPolicy? NodeTaintsPolicy? MatchLabelKeys?
PodOS: Name
PodSchedulingGate: Name
PodResourceClaim: Name ResourceClaimName? ResourceClaimTemplateName?
PodSchedulingGroup: PodGroupName?
PersistentVolumeSource: GCEPersistentDisk:GCEPersistentDiskVolumeSource
    AWSElasticBlockStore:AWSElasticBlockStoreVolumeSource HostPath:HostPathVolumeSource
    Glusterfs:GlusterfsPersistentVolumeSource NFS:NFSVolumeSource RBD:RBDPersistentVolumeSource
    Quobyte:QuobyteVolumeSource ISCSI:ISCSIPersistentVolumeSource
    FlexVolume:FlexPersistentVolumeSource Cinder:CinderPersistentVolumeSource
    cephfs@CephFS:CephFSPersistentVolumeSource FC:FCVolumeSource Flocker:FlockerVolumeSource
    AzureFile:AzureFilePersistentVolumeSource VsphereVolume:VsphereVirtualDiskVolumeSource
    AzureDisk:AzureDiskVolumeSource PhotonPersistentDisk:PhotonPersistentDiskVolumeSource
    PortworxVolume:PortworxVolumeSource ScaleIO:ScaleIOPersistentVolumeSource
    Local:LocalVolumeSource storageos@StorageOS:StorageOSPersistentVolumeSource
    CSI:CSIPersistentVolumeSource
GlusterfsPersistentVolumeSource: endpoints@EndpointsName Path ReadOnly! EndpointsNamespace?
RBDPersistentVolumeSource: monitors@CephMonitors? image@RBDImage FSType pool@RBDPool
    user@RadosUser Keyring SecretRef:SecretReference ReadOnly!
SecretReference: Name Namespace
ISCSIPersistentVolumeSource: TargetPortal IQN Lun# ISCSIInterface FSType ReadOnly! Portals?
    chapAuthDiscovery@DiscoveryCHAPAuth! chapAuthSession@SessionCHAPAuth!
    SecretRef:SecretReference InitiatorName?
CinderPersistentVolumeSource: VolumeID FSType ReadOnly! SecretRef:SecretReference
CephFSPersistentVolumeSource: Monitors? Path User SecretFile SecretRef:SecretReference ReadOnly!
FlexPersistentVolumeSource: Driver FSType SecretRef:SecretReference ReadOnly! Options?
AzureFilePersistentVolumeSource: SecretName ShareName ReadOnly! SecretNamespace?
ScaleIOPersistentVolumeSource: Gateway System SecretRef:SecretReference SSLEnabled!
    ProtectionDomain StoragePool StorageMode VolumeName FSType ReadOnly!
LocalVolumeSource: Path FSType?
StorageOSPersistentVolumeSource: VolumeName VolumeNamespace FSType ReadOnly!
    SecretRef:ObjectReference
ObjectReference: Kind Namespace Name UID APIVersion ResourceVersion FieldPath
CSIPersistentVolumeSource: Driver VolumeHandle ReadOnly! FSType VolumeAttributes?
    ControllerPublishSecretRef:SecretReference NodeStageSecretRef:SecretReference
    NodePublishSecretRef:SecretReference ControllerExpandSecretRef:SecretReference
    NodeExpandSecretRef:SecretReference
Taint: Key Value Effect TimeAdded?
ServicePort: Name Protocol AppProtocol? Port# TargetPort# NodePort#
VolumeNodeAffinity: Required:NodeSelector
ScopeSelector: MatchExpressions:ScopedResourceSelectorRequirement
ScopedResourceSelectorRequirement: ScopeName Operator Values?
NodeAddress: Type Address
PodIP: IP
NodeConfigSource: ConfigMap:ConfigMapNodeConfigSource
ConfigMapNodeConfigSource: Namespace Name UID ResourceVersion KubeletConfigKey
PodFailurePolicy: Rules:PodFailurePolicyRule
PodFailurePolicyRule: Action OnExitCodes:PodFailurePolicyOnExitCodesRequirement
    OnPodConditions:PodFailurePolicyOnPodConditionsPattern
PodFailurePolicyOnExitCodesRequirement: ContainerName? Operator Values?
PodFailurePolicyOnPodConditionsPattern: Type Status
SuccessPolicy: Rules:SuccessPolicyRule
SuccessPolicyRule: SucceededIndexes? SucceededCount?
CSINodeDriver: Name NodeID TopologyKeys? Allocatable:VolumeNodeResources
VolumeNodeResources: Count?
VolumeAttachmentSpec: Attacher Source=VolumeAttachmentSource NodeName
VolumeAttachmentSource: PersistentVolumeName? InlineVolumeSpec:PersistentVolumeSpec
PersistentVolumeSpec: Capacity? +PersistentVolumeSource AccessModes?
    ClaimRef? PersistentVolumeReclaimPolicy StorageClassName MountOptions? VolumeMode?
    NodeAffinity:VolumeNodeAffinity VolumeAttributesClassName?
ResourceClaimTemplateSpec: +ObjectMeta Spec=ResourceClaimSpec
ResourceClaimSpec: Devices=DeviceClaim
DeviceClaim: Requests:DeviceRequest Constraints:DeviceConstraint Config:DeviceConfiguration
DeviceRequest: Name Exactly:ExactDeviceRequest FirstAvailable:DeviceSubRequest
ExactDeviceRequest: DeviceClassName Selectors:DeviceSelector AllocationMode Count#
    AdminAccess? Tolerations:DeviceToleration Capacity:CapacityRequirements
DeviceSubRequest: Name DeviceClassName Selectors:DeviceSelector AllocationMode Count#
    Tolerations:DeviceToleration Capacity:CapacityRequirements
DeviceSelector: cel@CEL:CELDeviceSelector
CELDeviceSelector: Expression
DeviceToleration: Key Operator Value Effect TolerationSeconds?
CapacityRequirements: Requests?
DeviceConstraint: Requests? MatchAttribute? DistinctAttribute?
DeviceConfiguration: Requests? Opaque:OpaqueDeviceConfiguration
OpaqueDeviceConfiguration: Driver Parameters?
"""

_METADATA: Final = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
)
"""Metadata is no internal type: it is printed as in JSON."""
_WORD = re.compile(r"(?:(\w+)@)?(\w+)([?!#~$:=]?)(\w*)")
_CAPITALS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]")
_ZEROS: Final[Mapping[str, Any]] = {"": "", "?": None, "!": False, "#": 0, "~": "0"}


class _Field(NamedTuple):
    name: str
    key: str
    form: str
    structure: str


@functools.cache
def _lines() -> Mapping[str, str]:
    joined = _STRUCTURES.replace("\n    ", " ")
    pairs = (line.partition(": ") for line in joined.splitlines())
    return {name: fields for name, _, fields in pairs}


@functools.cache
def _fields(structure: str) -> Sequence[_Field]:
    return tuple(_read(_lines()[structure]))


def _read(line: str) -> Iterator[_Field]:
    for word in line.split():
        if word == "+ObjectMeta":
            yield _Field("", "metadata", "", "")
        elif word.startswith("+"):
            yield from _fields(word[1:])
        elif match := _WORD.fullmatch(word):
            key, name, form, structure = match.groups()
            yield _Field(name, key or _key(name), form, structure)


def _key(name: str) -> str:
    """Return the usual key in JSON: `HTTPGet` is `httpGet`, `PodIP` is `podIP`."""
    return _CAPITALS.sub(lambda match: match[0].lower(), name, count=1)


def go_value(obj: Obj | None, structure: str) -> dict[str, Any] | None:
    """Return the object with Go's names, in Go's order."""
    if obj is None:
        return None
    shown: dict[str, Any] = {}
    if structure == "PodSpec":
        obj = _with_host_settings(obj)
    for name, key, form, inner in _fields(structure):
        if not name:
            shown |= _metadata(obj.get(key) or {})
        elif inner:
            value = obj.get(key) if form == ":" else obj.get(key) or {}
            shown[name] = _nested(value, inner)
        elif form == "$":
            shown[name] = selectors.shown(obj.get(key))
        else:
            value = obj.get(key)
            shown[name] = _ZEROS[form] if value is None else _sorted(value)
    return shown


def go_list(items: Sequence[Obj] | None, structure: str) -> list[Any] | None:
    """Return a list of structures with Go's names, or None where there is none."""
    return None if items is None else [go_value(item, structure) for item in items]


def _nested(value: Any, structure: str) -> Any:
    if value is None or isinstance(value, Mapping):
        return go_value(value, structure)
    return go_list(value, structure)


def _sorted(value: Any) -> Any:
    return dict(sorted(value.items())) if isinstance(value, Mapping) else value


def _metadata(metadata: Obj) -> dict[str, Any]:
    return {key: _sorted(metadata[key]) for key in _METADATA if metadata.get(key)}


_HOST: Final = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")


def _with_host_settings(spec: Obj) -> Obj:
    """Return the spec of a pod with what upstream keeps in the security context."""
    settings = {key: spec[key] for key in _HOST if key in spec}
    context = spec.get("securityContext")
    if context is None and not settings:
        return spec
    return {**spec, "securityContext": {**(context or {}), **settings}}
