"""Has azure-cli's own parser read commands, and runs none: az_parse.py FILE

FILE is JSON: a list of commands, each a list of words that begins with "az". Ends with 0 only when all can be read.
"""

import json
import sys

from azure.cli.core import get_default_cli
from azure.cli.core.commands import AzCliCommandInvoker


def read(cli, words):
    """Parses one command as AzCliCommandInvoker.execute does before it validates and runs."""
    invocation = AzCliCommandInvoker(
        cli_ctx=cli,
        parser_cls=cli.parser_cls,
        commands_loader_cls=cli.commands_loader_cls,
        help_cls=cli.help_cls,
    )
    cli.invocation = invocation
    loader = invocation.commands_loader
    loader.load_command_table(words)
    command = invocation._rudimentary_get_command(words)  # pylint: disable=protected-access
    if command not in loader.command_table:
        raise SystemExit(f"there is no command {command!r}")
    invocation.data["command_string"] = command
    loader.command_table = {command: loader.command_table[command]}
    loader.load_arguments(command)
    invocation.parser.load_command_table(loader)
    invocation.parser.parse_args(words)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        commands = json.load(file)
    cli = get_default_cli()
    refused = 0
    for words in commands:
        try:
            read(cli, words[1:])
        except SystemExit as exit_:
            if exit_.code != 0:
                refused += 1
                print("REFUSED", words, exit_.code)
    print(f"{len(commands)} commands, {refused} refused")
    sys.exit(refused != 0)


main()
