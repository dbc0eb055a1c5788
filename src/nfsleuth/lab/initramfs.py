"""What a guest boots besides its kernel: programs, modules and its job come in, one file goes out.

A kernel unpacks all archives that follow each other in that file (see `cpio`). So the modules are packed once per
kernel, the programs once per lab, and the job, whatever its length, is a small archive at the end.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.lab import cpio
from nfsleuth.lab.kernels import Kernel
from nfsleuth.lab.run import run

BUSYBOX = Path("/bin/busybox")
CLIENT_PROGRAMS = ("/sbin/mount.nfs", "/bin/dd")
KERBEROS_PROGRAMS = ("/usr/sbin/rpc.gssd",)
SERVER_PROGRAMS = ("/usr/sbin/exportfs", "/usr/sbin/rpc.nfsd", "/usr/sbin/rpc.mountd", "/sbin/rpcbind")
# libtirpc looks transports and programs up in them.
TABLES = ("netconfig", "protocols", "services", "rpc")


def programs(wanted: tuple[str, ...], root: Path = Path("/")) -> bytes:
    """An archive of busybox, the agent, and the programs `wanted`, of `root` if they are there, and their libraries."""
    members = {
        "init": cpio.program(files("nfsleuth.lab").joinpath("agent.sh").read_bytes()),
        "bin/busybox": cpio.program(_content(BUSYBOX)),
        "etc/mtab": cpio.link("/proc/mounts"),
        "etc/passwd": cpio.Entry(b"root:x:0:0:root:/:/bin/sh\n_rpc:x:0:0:rpcbind:/:/bin/sh\n"),
        "etc/group": cpio.Entry(b"root:x:0:\n_rpc:x:0:\n"),
    }
    for name in TABLES:
        if Path("/etc", name).exists():
            members[f"etc/{name}"] = cpio.Entry(Path("/etc", name).read_bytes())
    for name in wanted:
        unpacked = root / name.lstrip("/")
        path = unpacked if unpacked.exists() else Path(name)
        members[f"sbin/{path.name}"] = cpio.program(_content(path))
        for library in _libraries(path):
            members[str(library).lstrip("/")] = cpio.program(_content(library))
    return cpio.archive(members)


def write(target: Path, kernel: Kernel, base: bytes, settings: Mapping[str, object], job: Mapping[str, bytes]) -> None:
    """Write the initramfs of one guest: modules, `base` of `programs`, and /job with `settings` and the files `job`."""
    told = {"job/settings": cpio.Entry(shell(settings).encode())}
    told |= {f"job/{name}": cpio.Entry(content) for name, content in job.items()}
    modules = kernel.modules.read_bytes()
    padding = bytes(-len(modules) % cpio.ALIGNED)
    target.write_bytes(modules + padding + base + cpio.archive(told))


def shell(settings: Mapping[str, object]) -> str:
    """`settings` as lines that a shell reads."""
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items())


def _content(path: Path) -> bytes:
    try:
        return path.resolve().read_bytes()
    except OSError:
        message = f"{path} is missing, which guests need; `nfsleuth lab check` says what brings it"
        raise NfsleuthError(message, Exit.PARTS_MISSING) from None


def _libraries(program: Path) -> list[Path]:
    """The shared libraries and the loader of `program`, as ldd names them."""
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", run("ldd", program))]
