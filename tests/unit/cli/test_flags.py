"""Switches that are on by default can be turned off on the command line."""

from dataclasses import dataclass

import click
from click.testing import CliRunner

from minikube_py.cli.config import load, parameters
from minikube_py.lib.options import option


@dataclass(frozen=True, kw_only=True)
class Switches:
    elect: bool = option(default=True, help="on by default")
    quiet: bool = option(default=False, help="off by default")


def given(*line: str) -> Switches:
    found = []

    def keep(**flags: object) -> None:
        found.extend(load(Switches, given=flags, environ={}))

    command = click.Command("c", callback=keep, params=parameters(Switches))
    done = CliRunner().invoke(command, line)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return found[0]


def test_a_switch_that_is_on_takes_a_value() -> None:
    assert given() == Switches()
    assert given("--elect").elect
    assert given("--elect", "--quiet") == Switches(elect=True, quiet=True)
    assert not given("--elect=false", "--quiet").elect
