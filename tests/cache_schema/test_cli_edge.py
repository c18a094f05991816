import signal
import subprocess
import sys
from importlib.metadata import entry_points, version

import click
import pytest

from cache_schema.cli_edge import run
from cache_schema.errors import ConfigError, StoreError, VideoError


def exit_code(monkeypatch, body, *args):
    @click.command()
    def command():
        body()

    monkeypatch.setattr(sys, "argv", ["vllm-x", *args])
    with pytest.raises(SystemExit) as error:
        run(command)
    return error.value.code


def raising(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no such table"), 2),
        (VideoError("no such table"), 3),
        (StoreError("no such table"), 1),
        (OSError("no such table"), 1),
    ],
)
def test_an_error_is_one_sentence_and_its_exit_code(monkeypatch, capsys, error, code):
    assert exit_code(monkeypatch, raising(error)) == code
    assert capsys.readouterr().err == "Error: no such table\n"


def test_debug_shows_where_an_error_came_from(monkeypatch, capsys):
    assert exit_code(monkeypatch, raising(StoreError("gone")), "--debug") == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("Error: gone\n")


def test_every_command_tells_the_installed_version(monkeypatch, capsys):
    def body():
        pytest.fail("the command has run")

    assert exit_code(monkeypatch, body, "--version") == 0
    assert capsys.readouterr().out == f"vllm-x {version('video-feature-llm')}\n"
    names = []
    monkeypatch.setattr("cache_schema.cli_edge.run", lambda command, **_: names.append(command))
    scripts = [one for one in entry_points(group="console_scripts") if one.name[:5] == "vllm-"]
    for script in scripts:
        script.load()()
    assert len(names) == 7


@pytest.fixture
def hears_ctrl_c():
    """Hear it in later tests, too."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_an_interrupt_is_one_line_and_130(monkeypatch, capsys):
    assert exit_code(monkeypatch, raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.strip().startswith("Interrupted.")


PRESSES_IT_THRICE = """
import atexit, os, signal
import click
from cache_schema.cli_edge import run

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever this process inherited

def press():
    os.kill(os.getpid(), signal.SIGINT)

@atexit.register
def close_workers():
    press()
    print("workers closed", flush=True)
    press()

@click.command()
def command():
    press()

run(command)
"""


def test_an_interrupt_that_is_repeated_leaves_the_end_to_be_done():
    done = subprocess.run(
        [sys.executable, "-c", PRESSES_IT_THRICE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, "workers closed\n")
    assert (
        done.stderr.strip()
        == "Interrupted. What was committed is kept; run the same again to go on."
    )


def test_wrong_usage_is_2_and_names_the_option(monkeypatch, capsys):
    assert exit_code(monkeypatch, lambda: None, "--speed") == 2
    assert "No such option" in capsys.readouterr().err


def test_an_error_of_the_program_itself_keeps_its_traceback(monkeypatch):
    @click.command()
    def command():
        raise KeyError("a mistake")

    monkeypatch.setattr(sys, "argv", ["vllm-x"])
    with pytest.raises(KeyError, match="a mistake"):
        run(command)


@pytest.mark.parametrize("code", [0, 3])
def test_a_commands_own_exit_code_is_kept(monkeypatch, code):
    assert exit_code(monkeypatch, lambda: click.get_current_context().exit(code)) == code


LEAVES_GARBAGE = """
import click
from cache_schema.cli_edge import run

class Looked:
    def __del__(self):
        print("looked for garbage")

@click.command()
def command():
    garbage = Looked()
    garbage.itself = garbage

{start}
"""


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("run(command)", ""),
        ("command(standalone_mode=False)", "looked for garbage\n"),
    ],
)
def test_python_does_not_look_through_all_objects_before_it_ends(start, said):
    script = LEAVES_GARBAGE.format(start=start)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


WRITES = """
import os, sys
import click
from cache_schema.cli_edge import run

@click.command()
def command():
    with open("written", "w") as file:
        for descriptor in (1, 2):
            os.write(descriptor, b"a library's words")
        print(sys.stdin.read(), sys.stderr.isatty(), file=file)
    click.echo("a name that is no text: \\udcff", err=True)
    click.get_current_context().exit(3)

run(command)
"""


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_takes_nothing_from_a_command(tmp_path, closed):
    shell = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, WRITES]
    done = subprocess.run(shell, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 3, done.stderr
    assert (tmp_path / "written").read_text() == " False\n"
