"""``vllm-predict`` with pipes, forked from a process that has imported what it needs.

Starting the program takes seconds, most of them to import torch; a fork takes milliseconds. This
process has one thread and opens nothing: what it forks is as fresh as a new program.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

PIPES = ("stdin", "stdout", "stderr")
WAYS = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


class Forking:
    """The process that forks, as its user sees it."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.train.forked_commands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def told(self):
        return int(self._process.stdout.readline())

    def close(self):
        self._process.communicate()


class Forked:
    """A command, with what ``subprocess.Popen`` has; one at a time."""

    def __init__(self, forking, words, folder):
        paths = [folder / name for name in PIPES]
        for path in paths:
            os.mkfifo(path)
        forking.ask({"words": [str(word) for word in words], "pipes": list(map(str, paths))})
        self._forking, self._code = forking, None
        self._number = forking.told()
        self.stdin, self.stdout, self.stderr = map(open, paths, ("wb", "rb", "rb"))

    def send_signal(self, number):
        os.kill(self._number, number)

    def kill(self):
        if self._code is None:
            self.send_signal(9)

    def wait(self, _timeout=None):
        """Return the exit code."""
        if self._code is None:
            self._code = self._forking.told()
        return self._code


def serve():
    from train.predict import command, live

    assert command
    assert live
    for line in sys.stdin:
        if (number := os.fork()) == 0:
            become(**json.loads(line))
        tell(number)
        tell(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]))


def tell(number):
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def become(words, pipes):
    """Be the command; never return."""
    from train.predict_cli import main

    for place, (path, way) in enumerate(zip(pipes, WAYS, strict=True)):
        os.dup2(os.open(path, way), place)
    sys.argv = words
    main()


if __name__ == "__main__":
    serve()
