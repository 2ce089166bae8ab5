"""Tables of protobuf messages as text, for lib/protowire.py.

One line is one message: `field=number:type`; a line that begins with blanks goes on. A `*` after
the type means repeated, a `!` that the field is one of several of which one is set: it is sent
whenever the dict has it. `enum NAME` is followed by `WORD=number`.
"""

from minikube_py.lib.protowire import Messages

LABELS = {"*": "repeated", "!": "oneof"}


def parse(text: str) -> Messages:
    """Return the table of a text; raises ValueError for a field that is not `name=number:type`."""
    messages: dict[str, dict[str, object]] = {}
    for line in text.replace("\n  ", " ").splitlines():
        name, *fields = line.split()
        if name == "enum":
            values = dict(field.split("=") for field in fields[1:])
            messages[fields[0]] = {"enum": {word: int(number) for word, number in values.items()}}
        else:
            messages[name] = dict(_field(field) for field in fields)
    return messages


def _field(text: str) -> tuple[str, tuple[int | str, ...]]:
    name, _, rest = text.partition("=")
    number, _, kind = rest.partition(":")
    label = LABELS.get(kind[-1:])
    if label is None:
        return name, (int(number), kind)
    return name, (int(number), kind[:-1], label)
