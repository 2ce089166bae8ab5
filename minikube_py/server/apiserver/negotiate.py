"""Content negotiation: what the client accepts, and which form of an object it wants.

Upstream decides twice. Its router (go-restful) compares the bare media types of the Accept header
with what a route produces; then the handler takes the clause that the client wants most and that
it can serve with all its parameters (`as`, `g`, `v` for a view, `stream`, `pretty`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from minikube_py.api.errors import NotAcceptableError
from minikube_py.lib.memo import remembered

Format = Literal["json", "yaml", "protobuf"]
View = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]

MEDIA_TYPES: Mapping[str, Format] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/vnd.kubernetes.protobuf": "protobuf",
}
CONTENT_TYPES: Mapping[Format, str] = {form: media for media, form in MEDIA_TYPES.items()}
STREAMS = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
"""How a watch can be sent: YAML has no frames."""
_VIEWS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_BROWSERS = ("Mozilla/5.0", "curl", "Wget")


@dataclass(frozen=True)
class Accepted:
    """The form to answer in."""

    format: Format = "json"
    view: View = ""
    view_group: str = ""
    view_version: str = ""
    pretty: bool = False
    """Whether the media type itself asks for indentation (`;pretty=1`)."""

    @property
    def content_type(self) -> str:
        """The Content-Type of the answer."""
        return CONTENT_TYPES[self.format]

    @property
    def is_plain_json(self) -> bool:
        """Whether stored bytes can be sent as they are."""
        return self.format == "json" and not self.view


class Wanted(NamedTuple):
    """The view that a clause asks for."""

    kind: str
    group: str
    version: str


class Clause(NamedTuple):
    """One media range of an Accept header."""

    main: str
    sub: str
    parameters: Mapping[str, str]
    quality: float

    def fits(self, media: str) -> bool:
        """Tell whether a media type is in this range."""
        main, _, sub = media.partition("/")
        if self.main == main:
            return self.sub in (sub, "*")
        return self.main == "*" and self.sub == "*"

    @property
    def wanted(self) -> Wanted | None:
        """The view, None where the clause names none."""
        named = self.parameters
        if not named.keys() & {"as", "g", "v"}:
            return None
        return Wanted(named.get("as", ""), named.get("g", ""), named.get("v", ""))

    def comes_before(self, other: "Clause") -> bool:
        """Tell whether this range is tried before another, by goautoneg's order."""
        if self.quality > other.quality:
            return True
        if self.main != "*" and other.main == "*":
            return True
        return self.sub != "*" and other.sub == "*"


def clauses(header: str) -> list[Clause]:
    """Return the media ranges of an Accept header, most wanted first."""
    found: list[Clause] = []
    for part in header.split(","):
        clause = _clause(part)
        if clause is None:
            continue
        place = len(found)
        while place and clause.comes_before(found[place - 1]):
            place -= 1
        found.insert(place, clause)
    return found


def _clause(text: str) -> Clause | None:
    media, *pairs = (piece.strip() for piece in text.split(";"))
    main, slash, sub = media.partition("/")
    if not slash and main == "*":
        sub = "*"
    elif not slash:
        return None
    named = [pair.split("=", 1) for pair in pairs if "=" in pair]
    parameters = {name.strip(): value.strip() for name, value in named}
    return Clause(main.strip(), sub.strip(), parameters, _quality(parameters.pop("q", "1")))


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def check_produced(header: str, produced: Sequence[str]) -> None:
    """Raise NotAcceptableError where a route produces nothing that the client names."""
    for part in (header or "*/*").split(","):
        media = part.partition(";")[0].strip()
        if media == "*/*" or media in produced:
            return
    raise NotAcceptableError(
        f"406: Not Acceptable\n\nAvailable representations: {', '.join(produced)}", details={}
    )


def not_acceptable(known: Sequence[str]) -> NotAcceptableError:
    """Make the error of a handler that can serve none of the clauses."""
    return NotAcceptableError(f"only the following media types are accepted: {', '.join(known)}")


def objects_view(media: str, wanted: Wanted | None) -> bool:
    """Tell whether objects and lists can be shown that way: tables have no protobuf message."""
    if wanted is None:
        return True
    if wanted.group != "meta.k8s.io" or wanted.version not in ("v1", "v1beta1"):
        return False
    if wanted.kind == "Table":
        return MEDIA_TYPES[media] != "protobuf"
    return wanted.kind in _VIEWS


def custom_view(media: str, wanted: Wanted | None) -> bool:
    """Tell the same of custom kinds: they have no protobuf message, only their metadata has.

    So who takes JSON as well, as every client of built-in kinds does, is answered in JSON.
    """
    if wanted is None:
        return MEDIA_TYPES[media] != "protobuf"
    return objects_view(media, wanted)


def no_view(_media: str, wanted: Wanted | None) -> bool:
    """Tell that a document has no other view."""
    return wanted is None


def choose(
    header: str, offered: Sequence[str], allows: Callable[[str, Wanted | None], bool]
) -> tuple[str, Clause | None] | None:
    """Return the media type to serve and the clause that chose it; None where nothing fits."""
    if not header:
        return offered[0], None
    for clause in clauses(header):
        for media in offered:
            if not clause.fits(media):
                continue
            stream = clause.parameters.get("stream", "")
            if stream and (stream != "watch" or media == "application/yaml"):
                continue
            if allows(media, clause.wanted):
                return media, clause
    return None


@remembered(1024)
def accepted(header: str, *, custom: bool = False) -> Accepted:
    """Choose the form of an object or a list; raises NotAcceptableError where nothing fits."""
    chosen = choose(header, tuple(MEDIA_TYPES), custom_view if custom else objects_view)
    if chosen is None:
        raise not_acceptable(tuple(MEDIA_TYPES))
    return _accepted(*chosen)


@remembered(1024)
def accepted_stream(header: str, *, custom: bool = False) -> Accepted:
    """Choose the form of a watch's events; raises NotAcceptableError where nothing fits."""
    chosen = choose(header, tuple(MEDIA_TYPES), custom_view if custom else objects_view)
    if chosen is None or MEDIA_TYPES[chosen[0]] == "yaml":
        raise not_acceptable(STREAMS)
    return _accepted(*chosen)


@remembered(1024)
def accepted_document(header: str) -> Accepted:
    """Choose the form of a document that has no other view (discovery); raises the same."""
    chosen = choose(header, tuple(MEDIA_TYPES), no_view)
    if chosen is None:
        raise not_acceptable(tuple(MEDIA_TYPES))
    return _accepted(*chosen)


@remembered(1024)
def negotiated(header: str, verb: str, *, custom: bool) -> Accepted:
    """Choose the form in which a verb on resources answers; raises NotAcceptableError.

    Upstream's router knows nothing of custom kinds, so that it looks at no header of theirs.
    """
    if not custom:
        many = verb in ("list", "watch")
        check_produced(header, (*MEDIA_TYPES, *STREAMS) if many else tuple(MEDIA_TYPES))
    choice = accepted_stream if verb == "watch" else accepted
    return choice(header, custom=custom)


def _accepted(media: str, clause: Clause | None) -> Accepted:
    form = MEDIA_TYPES[media]
    if clause is None:
        return Accepted(form)
    pretty = clause.parameters.get("pretty") == "1"
    wanted = clause.wanted
    if wanted is None:
        return Accepted(form, pretty=pretty)
    return Accepted(form, cast("View", wanted.kind), wanted.group, wanted.version, pretty)


def wants_pretty(query: Mapping[str, str], user_agent: str) -> bool:
    """Tell whether an answer is indented: where it is asked for, and for people with a browser."""
    asked = query.get("pretty")
    return asked in _TRUE if asked else user_agent.startswith(_BROWSERS)
