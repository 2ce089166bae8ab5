"""Content negotiation: what the client accepts, and which form of an object it wants."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from minikube_py.api.errors import NotAcceptableError

Format = Literal["json", "yaml", "protobuf"]
View = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]

MEDIA_TYPES: Mapping[str, Format] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/vnd.kubernetes.protobuf": "protobuf",
}
CONTENT_TYPES: Mapping[Format, str] = {form: media for media, form in MEDIA_TYPES.items()}
_AVAILABLE = ", ".join(
    [
        *MEDIA_TYPES,
        "application/json;stream=watch",
        "application/vnd.kubernetes.protobuf;stream=watch",
    ]
)


@dataclass(frozen=True)
class Accepted:
    """The form to answer in."""

    format: Format = "json"
    view: View = ""
    view_group: str = ""
    view_version: str = ""

    @property
    def content_type(self) -> str:
        """The Content-Type of the answer."""
        return CONTENT_TYPES[self.format]

    @property
    def is_plain_json(self) -> bool:
        """Whether stored bytes can be sent as they are."""
        return self.format == "json" and not self.view


@lru_cache(maxsize=1024)
def accepted(header: str) -> Accepted:
    """Choose from an Accept header; raises NotAcceptableError where nothing fits."""
    for clause in _clauses(header or "*/*"):
        media, parameters = clause
        form = _format(media)
        if form is None:
            continue
        view = parameters.get("as", "")
        if not view:
            return Accepted(form)
        group, version = parameters.get("g", ""), parameters.get("v", "")
        if _known_view(view, group, version) and form != "protobuf":
            return Accepted(form, view, group, version)  # type: ignore[arg-type]
        if _known_view(view, group, version):
            raise NotAcceptableError(
                f"only the following media types are accepted: {', '.join(MEDIA_TYPES)}"
            )
    raise NotAcceptableError(
        f"406: Not Acceptable\n\nAvailable representations: {_AVAILABLE}", details={}
    )


def _known_view(view: str, group: str, version: str) -> bool:
    known = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
    return view in known and group == "meta.k8s.io" and version in ("v1", "v1beta1")


def _format(media: str) -> Format | None:
    if media in ("*/*", "application/*"):
        return "json"
    return MEDIA_TYPES.get(media)


def _clauses(header: str) -> list[tuple[str, dict[str, str]]]:
    """Return media types with their parameters, most wanted first."""
    clauses = []
    for place, part in enumerate(header.split(",")):
        media, *pairs = (piece.strip() for piece in part.split(";"))
        parameters = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        clauses.append((_quality(parameters), -place, media.lower(), parameters))
    clauses.sort(key=lambda clause: clause[:2], reverse=True)
    return [(media, parameters) for quality, _, media, parameters in clauses if quality > 0]


def _quality(parameters: Mapping[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 1.0
