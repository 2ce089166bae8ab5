"""An option stands once: flag, KPY_* variable, file key, default and help come from one line.

A configuration is a frozen dataclass whose fields are made by `option`; `cli.config` reads them.
"""

from dataclasses import field
from typing import Any


def option(
    default: Any,
    help: str,  # noqa: A002
    *,
    flag: str = "",
    secret: bool = False,
    whole: bool = False,
) -> Any:
    """Declare a field of a configuration dataclass.

    `default` is the value where nothing is given; a tuple makes an option that may be repeated.
    `flag` is the name on the command line where it is not the field's name with dashes.
    A secret is never shown in logs or `--help` defaults. The values of one that may be repeated
    stand apart by commas, unless they are `whole`.
    """
    metadata = {"help": help, "flag": flag, "secret": secret, "whole": whole}
    return field(default=default, metadata=metadata)
