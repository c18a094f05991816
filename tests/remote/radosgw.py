"""A real S3 server: Ceph's gateway over one monitor and one store in memory, as child processes.

Nothing outside one temporary folder, nothing left when the block ends. Debian's packages are
installed if they are missing (root or sudo).
"""

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.object_servers import CREDENTIALS, make_bucket
from tests.remote.free_ports import answers, free_ports

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "ceph", "ceph-authtool", "monmaptool")
PACKAGES = ("radosgw", "ceph-mon", "ceph-osd", "ceph-common")
MAY = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    "client.gateway": ("mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd"),
}
SETTINGS = """
[global]
fsid = {cluster}
mon host = v2:127.0.0.1:{monitor}
public addr = 127.0.0.1
# One copy of everything: there is one disk, and it is memory.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
# A monitor ends where 95 % of a disk are used, whatever is left: the tests need a few megabytes.
mon data avail crit = 0
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 1073741824
ms bind port min = {first}
ms bind port max = {last}
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
mon data = {folder}/mon
osd data = {folder}/osd
mgr data = {folder}/mgr
rgw data = {folder}/gateway
keyring = {folder}/keyring
[client.gateway]
# Small answers wait 40 ms for the client's acknowledgement otherwise.
rgw frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw dns name = 127.0.0.1
rgw thread pool size = 16
rgw run sync thread = false
"""


@contextmanager
def radosgw_server() -> Iterator[str]:
    """Give the URL of the server, with one bucket."""
    _install()
    with tempfile.TemporaryDirectory(prefix="ceph-") as name, ExitStack() as stack:
        cluster = _Cluster(Path(name), stack)
        cluster.start()
        make_bucket(cluster.endpoint)
        yield cluster.endpoint


def _install() -> None:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if all(map(shutil.which, PROGRAMS)):
        return
    root = [] if os.geteuid() == 0 else ["sudo"]
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    for command in (["apt-get", "update", "-qq"], install):
        subprocess.run([*root, *command], check=True, stdout=subprocess.DEVNULL)


class _Cluster:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._settings = folder / "ceph.conf"
        first = free_ports(30)
        self._cluster = str(uuid.uuid4())
        self._monitor, gateway = first, first + 1
        self.endpoint = f"http://127.0.0.1:{gateway}"
        text = SETTINGS.format(
            cluster=self._cluster,
            monitor=first,
            gateway=gateway,
            first=first + 2,
            last=first + 29,
            folder=folder,
        )
        self._settings.write_text(text)

    def start(self) -> None:
        self._keys()
        self._run(
            "monmaptool", "--create", "--fsid", self._cluster, "--addv", "a",
            f"[v2:127.0.0.1:{self._monitor}]", f"{self._folder}/monmap", bare=True,
        )  # fmt: skip
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{self._folder}/monmap")
        self._child("ceph-mon", "-i", "a")
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._child("ceph-osd", "-i", "0")
        self._until(lambda: "1 up" in self._run("ceph", "osd", "stat"))
        self._child("radosgw", "-n", "client.gateway")
        self._until(lambda: answers(self.endpoint))
        key, secret = CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
        self.user("tests", key, secret)
        self.user("stranger", "stranger", "secret-of-the-stranger")

    def user(self, name: str, key: str, secret: str) -> None:
        self._run(
            "radosgw-admin", "-n", "client.gateway", "user", "create", f"--uid={name}",
            f"--display-name={name}", f"--access-key={key}", f"--secret-key={secret}",
        )  # fmt: skip

    def _keys(self) -> None:
        ring = f"{self._folder}/keyring"
        self._run("ceph-authtool", "--create-keyring", ring, bare=True)
        for name, may in MAY.items():
            caps = [
                word for kind, what in zip(may[::2], may[1::2], strict=True)
                for word in ("--cap", kind, what)
            ]  # fmt: skip
            self._run("ceph-authtool", ring, "--gen-key", "-n", name, *caps, bare=True)
        for name in ("mon", "osd", "mgr", "gateway"):
            (self._folder / name).mkdir()

    def _run(self, program: str, *arguments: str, bare: bool = False) -> str:
        settings = [] if bare else ["-c", str(self._settings)]
        done = subprocess.run(
            [program, *settings, *arguments],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _child(self, program: str, *arguments: str) -> None:
        command = [program, "-f", "-c", str(self._settings), *arguments]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._stack.callback(child.wait)
        self._stack.callback(child.kill)  # nothing of it is to outlive the tests

    def _until(self, condition, seconds=90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = sorted(self._folder.glob("*.log"))
                raise TimeoutError("".join(log.read_text(errors="replace")[-2000:] for log in logs))
            time.sleep(0.2)
