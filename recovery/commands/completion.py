"""`rowback completion`: what a shell needs to complete verbs, options and cases."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_ROWBACK_COMPLETE"


@click.command(epilog='Example: eval "$(rowback completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: put it where that shell reads it at its start.

    bash: eval "$(rowback completion bash)" in ~/.bashrc. zsh: the same in ~/.zshrc, behind compinit.
    fish: rowback completion fish > ~/.config/fish/completions/rowback.fish
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None
    root = click.get_current_context().find_root().command
    click.echo(completion_class(root, {}, "rowback", VARIABLE).source())
