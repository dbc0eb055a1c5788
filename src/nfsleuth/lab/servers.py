"""The NFS server of a lab: files and a lease come in, a server that answers goes out.

`ganesha`  NFS-Ganesha in namespaces of its own, with rpcbind for NFSv3
`kernel`   the kernel's server in a guest, driven by nfs-kernel-server's programs (fetched from Debian, not installed)

Both serve /export, which holds `tree/` (small files), `files/` (those of the workloads) and `outbox/` (to write into).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab.agents import end
from nfsleuth.lab.kerberos import Realm
from nfsleuth.lab.model import FLAVOURS, SYS, Client, Experiment, PathRecording
from nfsleuth.lab.network import Namespace
from nfsleuth.lab.run import run

STARTS = 30  # seconds until it answers
TREE = 12  # small files at least
TREE_FOLDER = 6  # of them in a folder
SMALL = 900  # bytes of a small file
PIECE = 1 << 20  # bytes that a large file repeats

# READ_PLUS of Ganesha 4.3 never reports the end of a file, so clients that use it (Linux 6.12 on 4.2) must mount
# another minor version; `checks` refuses them.
GANESHA = """
NFS_CORE_PARAM {{ Protocols = 3, 4; Mount_Path_Pseudo = true; MNT_Port = 20048; Enable_NLM = false;
                 Enable_RQUOTA = false; }}
NFSv4 {{ Graceless = true; Lease_Lifetime = {lease}; Minor_Versions = 0, 1, 2; }}
EXPORT {{ Export_Id = 1; Path = {share}; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash;
         SecType = {flavours}; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
"""
KERBEROS = """
NFS_KRB5 {{ Active_krb5 = true; PrincipalName = nfs; KeytabPath = {keytab}; CCacheDir = /run/ganesha; }}
"""
APART = (
    "unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
)  # fmt: skip


def tree(experiment: Experiment) -> dict[str, int]:
    """Small files that clients walk and read: path below /export -> bytes."""
    count = max([TREE, *(workload.small for workload in experiment.workloads)])
    return {f"tree/part{number // TREE_FOLDER:03d}/item{number:04d}.txt": SMALL for number in range(count)}


def files(experiment: Experiment) -> dict[str, int]:
    """The files of the workloads of all clients, and the one of recordings: path below /export -> bytes."""
    path = experiment.path
    recorded = {recorded_file(path): path.file} if path else {}
    ours = {name: size for client in experiment.clients for name, size in files_of(experiment, client).items()}
    return ours | recorded


def recorded_file(path: PathRecording) -> str:
    """The file that guests read while they are recorded: its path below /export."""
    return f"files/recorded/{path.file}"


def files_of(experiment: Experiment, client: Client) -> dict[str, int]:
    """The files that `client` reads, in order: path below /export -> bytes."""
    workload = experiment.workload(client)
    owner = "shared" if workload.shared else client.name
    return {f"files/{owner}/{octets}": octets for octets in workload.files}


def fill(share: Path, experiment: Experiment) -> None:
    """Write the share: text in which every line of a piece differs; nothing of this machine."""
    wanted = {**tree(experiment), **files(experiment)}
    share.mkdir(parents=True, exist_ok=True)
    if sum(wanted.values()) > shutil.disk_usage(share).free:
        message = f"{share} has no room for {sum(wanted.values()) / 1e6:,.0f} MB; set TMPDIR to a folder that has"
        raise NfsleuthError(message, Exit.LAB_FAILED)
    for path, octets in wanted.items():
        target = share / path
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{path} line {number:08d}\n" for number in range(min(octets, PIECE) // 16 + 1)).encode()
        piece = lines[:PIECE]
        with target.open("wb") as file:
            for at in range(0, octets, len(piece)):
                file.write(piece[: octets - at])
    outbox = share / "outbox"
    outbox.mkdir(exist_ok=True)
    outbox.chmod(0o777)


@dataclass(frozen=True)
class Ganesha:
    """A running NFS-Ganesha."""

    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it."""
        end(self.process)


def ganesha(
    here: Namespace, experiment: Experiment, share: Path, folder: Path, logs: Path, realm: Realm | None
) -> Ganesha:
    """Serve `share` from the machine `here`, with the KDC of `realm` beside it.

    NfsleuthError if it does not answer within STARTS seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    config = folder / "ganesha.conf"
    config.write_text(_configuration(experiment, share, realm))
    told = [experiment.server.name, str(config), str(logs / "ganesha.log"), *([str(realm.folder)] if realm else [])]
    launcher = [sys.executable, "-m", "nfsleuth.lab.serve", *told]
    with (logs / "server.log").open("wb") as output:
        process = subprocess.Popen(
            here.command(*APART, *launcher), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + STARTS
    while not _answers(here):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NfsleuthError("NFS-Ganesha does not answer; see ganesha.log among the logs", Exit.LAB_FAILED)
        time.sleep(0.2)
    return Ganesha(process)


def _configuration(experiment: Experiment, share: Path, realm: Realm | None) -> str:
    flavours = FLAVOURS if realm else (SYS,)
    text = GANESHA.format(share=share, lease=experiment.server.lease, flavours=", ".join(flavours))
    return text + KERBEROS.format(keytab=realm.keytab(experiment.server.name)) if realm else text


def _answers(here: Namespace) -> bool:
    """Whether the server listens and rpcbind knows it, as an NFSv3 client will ask."""
    if ":2049" not in here.run("ss", "-Hltn"):
        return False
    probe = here.command("rpcinfo", "-t", "127.0.0.1", "nfs", "3")
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


def unpacked(package: str, cache: Path) -> Path:
    """Fetch a Debian package and unpack it below `cache`, once; returns the root of its files."""
    root = cache / package
    if root.exists():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        work = Path(name)
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
        (file,) = work.glob("*.deb")
        run("dpkg-deb", "-x", file, work / "root")
        try:
            (work / "root").rename(root)
        except OSError:
            if not root.exists():  # else another lab was faster
                raise
    return root
