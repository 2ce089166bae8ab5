"""`kpy completion`: click knows the scripts; this prints them."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell: `source <(kpy completion bash)`."""
    from minikube_py.cli.main import program  # noqa: PLC0415 -- main imports this module

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(program, {}, "kpy", "_KPY_COMPLETE").source())
