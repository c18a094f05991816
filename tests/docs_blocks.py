"""The code blocks of a page of docs/, run in order in one namespace."""

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from extract.cli import extract_command
from extract.tools.cli import store_command
from train.cli import train as train_command
from train.predict_cli import predict as predict_command
from train.score_cli import command as score_command

DOCS = Path(__file__).parent.parent / "docs"
COMMANDS = {
    "vllm-extract": extract_command,
    "vllm-predict": predict_command,
    "vllm-score": score_command,
    "vllm-store": store_command,
    "vllm-train": train_command,
}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
SECTION = re.compile(r"^## (.*)$", re.MULTILINE)
FILE = re.compile(r"# ([\w.]+)\n")


@dataclass(frozen=True)
class Block:
    section: str
    language: str
    text: str
    line: int

    @property
    def file(self) -> str:
        """Name of the file that the block shows; empty if it is none."""
        match = FILE.match(self.text)
        return match[1] if match else ""


def blocks_of(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [
        Block(
            section=SECTION.findall(text, 0, match.start())[-1],
            language=match[1],
            text=match[2],
            line=text.count("\n", 0, match.start()) + 2,
        )
        for match in BLOCK.finditer(text)
    ]


def run_python(block: Block, page: str, names: dict[str, object]) -> list[str]:
    """Write a block that begins with a file's name to that file; run any other.

    Returns the lines it prints.
    """
    if block.file:
        Path(block.file).write_text(block.text.partition("\n")[2], encoding="utf-8")
        return []
    code = compile("\n" * (block.line - 1) + block.text, str(DOCS / page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return printed.getvalue().splitlines()


def promised(block: Block) -> list[str]:
    """Return what stands in the comments behind prints; rounds of a loop are parted by `` | ``."""
    return [line for said in PRINTED.findall(block.text) for line in said.split(" | ")]


def run_commands(block: Block) -> None:
    """Run each line as its command would."""
    for line in block.text.splitlines():
        name, *args = shlex.split(line)
        code = COMMANDS[name].main(args, standalone_mode=False)
        assert not code, line
