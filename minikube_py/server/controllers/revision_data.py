"""What a controller revision keeps of a workload: the patch that brings its pod template back.

Clients find the revision of a workload by the text of that patch (kubectl rollout undo compares it
with what Go's encoding/json makes of the workload). So it is written as Go writes a map: names in
order, and what means something in HTML escaped. We ourselves compare what it means.
"""

import orjson

from minikube_py.api.object import Obj
from minikube_py.api.raw_text import RawText

_ESCAPED = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def data_of(workload: Obj) -> Obj:
    """Return what a revision of the workload's template holds."""
    patch = {"spec": {"template": {**workload["spec"]["template"], "$patch": "replace"}}}
    text = orjson.dumps(patch, option=orjson.OPT_SORT_KEYS).decode()
    in_order, escaped = orjson.loads(text), text.translate(_ESCAPED)
    ordered: Obj = in_order if escaped == text else RawText(in_order, escaped)
    return ordered


def same_data(revision: Obj, data: Obj) -> bool:
    """Tell whether a revision holds that data, in whatever order and writing."""
    sort = orjson.OPT_SORT_KEYS
    return orjson.dumps(revision.get("data"), option=sort) == orjson.dumps(data, option=sort)
