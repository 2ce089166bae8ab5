"""Files in the volumes of a pod that stand in each other's way."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from minikube_py.api.fields import quote
from minikube_py.api.object import Obj, get

_CERTIFICATE_PATHS: Final = {
    "certificateChainPath": "PodCertificate chain",
    "keyPath": "PodCertificate key",
    "credentialBundlePath": "PodCertificate credential bundle",
}


_SOURCES: Final = (
    ("configMap", "ConfigMap", "name"),
    ("secret", "Secret", "secretName"),
    ("downwardAPI", "DownwardAPI", ""),
)
_WITH_FILES: Final = frozenset({"configMap", "secret", "downwardAPI", "projected"})


class _File(NamedTuple):
    path: str
    source: str = ""

    def __str__(self) -> str:
        return f"{quote(self.path)} ({self.source})" if self.source else quote(self.path)

    def overlaps(self, other: "_File") -> bool:
        """Tell whether one of the two is the other, or a directory that holds it."""
        own, its = f"{self.path}/", f"{other.path}/"
        return own.startswith(its) or its.startswith(own)


def warn_overlaps(volume: Obj) -> Iterator[str]:
    """Tell of files of one volume whose paths overlap."""
    if _WITH_FILES.isdisjoint(volume):
        return
    name = quote(volume.get("name") or "")
    for key, label, name_key in _SOURCES:
        if (source := volume.get(key)) is not None:
            title = f"{label} {quote(source.get(name_key) or '')}" if name_key else label
            for overlap in _overlaps(_files(source, "")):
                yield f"volume {name} ({title}): overlapping paths: {overlap}"
    files: list[_File] = []
    for projection in get(volume, "projected.sources") or ():
        if not projection:
            yield f"volume {name} (Projected) has no sources provided"
        files += _projected(projection)
    for overlap in _overlaps(files):
        yield f"volume {name} (Projected): overlapping paths: {overlap}"


def _files(source: Obj, title: str) -> list[_File]:
    return [
        _File((item.get("path") or "").rstrip("/"), title) for item in source.get("items") or ()
    ]


def _projected(projection: Obj) -> list[_File]:
    for key, label in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if (source := projection.get(key)) is not None:
            return _files(source, f"{label} {quote(source.get('name') or '')}")
    if (source := projection.get("downwardAPI")) is not None:
        return _files(source, "DownwardAPI")
    if (source := projection.get("serviceAccountToken")) is not None:
        return [_File((source.get("path") or "").rstrip("/"), "ServiceAccountToken")]
    if (source := projection.get("clusterTrustBundle")) is not None:
        title = quote(source.get("name") or source.get("signerName") or "")
        return [_File((source.get("path") or "").rstrip("/"), f"ClusterTrustBundle {title}")]
    certificate = projection.get("podCertificate") or {}
    return [
        _File(certificate[key].rstrip("/"), title)
        for key, title in _CERTIFICATE_PATHS.items()
        if certificate.get(key)
    ]


def _overlaps(files: Sequence[_File]) -> Iterator[str]:
    for index, file in enumerate(files):
        if not file.path:
            continue
        for other in files[:index]:
            if other.path and file.overlaps(other):
                yield f"{file} with {other}"
