"""Options from four places: flag before KPY_* variable before configuration file before default.

Everything comes from the fields that `lib.options.option` made, so that an option stands once. A
value is text until here, wherever it was given; each error names the place and what to do.
"""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import click

from minikube_py.lib.errors import StartError
from minikube_py.lib.log import LEVELS
from minikube_py.lib.options import option

DEFAULT_FILE = Path("/etc/kpy/config.yaml")
YES = ("true", "yes", "on", "1")
NO = ("false", "no", "off", "0", "")


@dataclass(frozen=True, kw_only=True)
class ProgramConfig:
    """What every long-running command is told."""

    log_level: str = option("info", f"what is logged at least: {', '.join(LEVELS)}")


@dataclass(frozen=True)
class Option:
    """One option, as all four places know it."""

    field: Field[Any]
    type: Any

    @property
    def name(self) -> str:
        """The key in files: `https_listen_port`."""
        return self.field.name

    @property
    def flag(self) -> str:
        """`--https-listen-port`."""
        return self.field.metadata["flag"] or f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """`KPY_HTTPS_LISTEN_PORT`."""
        return f"KPY_{self.name.upper()}"

    @property
    def repeats(self) -> bool:
        """Whether it takes several values."""
        return bool(self.type == tuple[str, ...])

    def convert(self, values: Sequence[str], place: str) -> Any:
        """Make the option's value of texts.

        Raises:
            StartError: they are not of its type.

        """
        if self.repeats and self.field.metadata["whole"]:
            return tuple(filter(None, values))
        if self.repeats:
            return tuple(part for value in values for part in value.split(",") if part)
        if len(values) != 1:
            raise StartError(f"{place} takes one value, not {len(values)}")
        (text,) = values
        if self.type is bool:
            return _convert_bool(text, place)
        if self.type is int:
            return _convert_int(text, place)
        return Path(text) if self.type is Path else text


def _convert_bool(text: str, place: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise StartError(f"{place} is {text!r}; say true or false")
    return text.lower() in YES


def _convert_int(text: str, place: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise StartError(f"{place} is {text!r}; give a whole number") from None


def options_of(*configs: type) -> dict[str, Option]:
    """Return the options of configuration classes by name."""
    found = {}
    for config in configs:
        hints = get_type_hints(config)
        for field in fields(config):
            found[field.name] = Option(field, hints[field.name])
    return found


def parameters(*configs: type) -> list[click.Parameter]:
    """Return the flags of a command, `--config` among them."""
    flags: list[click.Parameter] = [_flag(known) for known in options_of(*configs).values()]
    file = click.Option(
        ["--config", "-c", "config"],
        metavar="FILE",
        envvar="KPY_CONFIG",
        help=f"configuration file (default: {DEFAULT_FILE} where it is there)",
    )
    return [*flags, file]


def _flag(known: Option) -> click.Option:
    text = known.field.metadata["help"]
    default = known.field.default
    shown = default is not MISSING and default not in ("", (), False)
    if shown and not known.field.metadata["secret"] and "default:" not in text:
        text = f"{text} (default: {default})"
    if default is True:  # can only be turned off: --leader-elect=false, as upstream's flags
        return click.Option(
            [known.flag, known.name],
            is_flag=False,
            flag_value="true",
            default=None,
            metavar="[true|false]",
            help=text,
        )
    if known.type is bool:
        return click.Option([known.flag, known.name], is_flag=True, default=None, help=text)
    metavar = {int: "NUMBER", Path: "PATH"}.get(known.type, "TEXT")
    return click.Option(
        [known.flag, known.name], multiple=known.repeats, default=None, metavar=metavar, help=text
    )


def load(
    *configs: type, given: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> tuple[Any, ...]:
    """Return an instance of each class; `given` is what the flags said, by field name.

    Raises:
        StartError: a value, a variable or the file is not as it must be.

    """
    known = options_of(*configs)
    environ = os.environ if environ is None else environ
    values = dict(_from_file(given.get("config"), known))
    for name, item in known.items():
        if item.variable in environ:
            values[name] = item.convert([environ[item.variable]], item.variable)
    for name, item in known.items():
        flag = given.get(name)
        if isinstance(flag, bool):
            values[name] = flag
        elif flag not in (None, ()):
            values[name] = item.convert([flag] if isinstance(flag, str) else flag, item.flag)
    return tuple(
        config(**{f.name: values[f.name] for f in fields(config) if f.name in values})
        for config in configs
    )


def _from_file(path: str | None, known: Mapping[str, Option]) -> Iterator[tuple[str, Any]]:
    file = Path(path) if path else DEFAULT_FILE
    try:
        text = file.read_text()
    except FileNotFoundError:
        if path:
            raise StartError(f"there is no configuration file {file}; check --config") from None
        return
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read configuration file {file}: {error}") from error
    seen: set[str] = set()
    for place, key, values in _entries(file, text):
        name = key.replace("-", "_")
        if name not in known:
            raise StartError(f"{place}: unknown key {key!r}{_nearest(name, known)}")
        if name in seen:
            raise StartError(f"{place}: key {key!r} stands there twice; remove one")
        seen.add(name)
        yield name, known[name].convert(values, f"{place}: {key}")


def _nearest(name: str, known: Mapping[str, Option]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"; the nearest known one is {close[0]!r}" if close else ""


def _entries(file: Path, text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield place, key and values of each entry of a file, as the texts that stand there.

    What YAML would make of a text is not asked: a mode of 0644 stays what its writer meant.
    """
    import yaml  # noqa: PLC0415 -- 20 ms that a start without a file can spare

    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise StartError(f"{file}:{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise StartError(f"{file}: not valid YAML: {error}") from error
    if document is None:
        return
    if not isinstance(document, yaml.MappingNode):
        raise StartError(f"{file}:1: not a list of `key: value` lines")
    for key, value in document.value:
        place = f"{file}:{key.start_mark.line + 1}"
        if isinstance(value, yaml.ScalarNode):
            yield place, str(key.value), [value.value]
        elif isinstance(value, yaml.SequenceNode) and all(
            isinstance(item, yaml.ScalarNode) for item in value.value
        ):
            yield place, str(key.value), [item.value for item in value.value]
        else:
            raise StartError(f"{place}: {key.value} must be a value or a list of values")
