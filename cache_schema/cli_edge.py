"""The one place where errors become a sentence on stderr and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 some videos failed, 130 interrupted,
143 stopped by SIGTERM with everything saved.
"""

import atexit
import gc
import os
import signal
import sys
import traceback

import click

from cache_schema.errors import PipelineError

__all__ = ["run"]

DISTRIBUTION = "video-feature-llm"
"""Name under which all packages of this repository are installed."""

YOUNG_OBJECTS = 10_000
"""New objects after which Python looks for garbage among them (700 by itself)."""


def run(
    command: click.Command,
    *,
    interrupted: str = "What was committed is kept; run the same again to go on.",
) -> None:
    """Run a command with the arguments of this process, and leave the process.

    A command says what it returns with ``context.exit(code)``. ``--version`` is added to it, and
    ``--debug`` to it and its sub-commands.

    Args:
        command: What to run.
        interrupted: What to say after Ctrl-C.
    """
    _open_closed_streams()
    _collect_rarely()
    debug = _Debug()
    debug.add_to(command)
    _add_version(command)
    sys.exit(_exit_code(command, debug, interrupted))


def _add_version(command: click.Command) -> None:
    click.version_option(
        package_name=DISTRIBUTION, message="%(prog)s %(version)s", help="Show the version."
    )(command)


def _open_closed_streams() -> None:
    """Send what a closed standard stream would take to nowhere, and read nothing from it.

    Python has None in its place then, which many a library asks whether it is a terminal; and the
    next file that is opened would get its number, and with it what libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free number: that of the stream, since those below are open.
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            stream = os.fdopen(descriptor, mode, encoding="utf-8", errors="backslashreplace")
            setattr(sys, name, stream)


def _collect_rarely() -> None:
    """Have Python look for garbage less often, and not at its end.

    torch and transformers make a million objects that stay. To look through them again and again
    is a tenth of importing them; at the end Python does so several times more, and a user waits for
    up to a second.
    """
    gc.set_threshold(YOUNG_OBJECTS)
    atexit.register(gc.freeze)


def _exit_code(command: click.Command, debug: "_Debug", interrupted: str) -> int:
    try:
        result = command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        # Pressed again, it would break off what is done at the end, such as closing workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        click.echo(f"Interrupted. {interrupted}", err=True)
        return 130
    except (PipelineError, OSError) as error:
        if debug.is_on:
            traceback.print_exc()
        title = error.title if isinstance(error, PipelineError) else PipelineError.title
        click.echo(f"{title}: {error}", err=True)
        return error.exit_code if isinstance(error, PipelineError) else 1
    return result if isinstance(result, int) else 0


class _Debug:
    """Whether ``--debug`` was given."""

    def __init__(self) -> None:
        self.is_on = False

    def add_to(self, command: click.Command) -> None:
        command.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=self._switch,
                help="Show where an error came from.",
            )
        )
        for child in command.commands.values() if isinstance(command, click.Group) else ():
            self.add_to(child)

    def _switch(self, context: click.Context, parameter: click.Parameter, value: bool) -> None:
        self.is_on |= value
