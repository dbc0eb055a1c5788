"""Make a bootable guest out of a Debian kernel package: a kernel and an initramfs that mounts NFS.

Comes in: the name of a kernel package (`linux-image-*`, fetched with apt and unpacked, never installed), or of
User-Mode Linux as installed. Goes out: an `Image`. The initramfs holds busybox, mount.nfs with its libraries, the
modules for NFS and for the emulated NICs, and `guest-init.sh`.
Needs: Debian 12, apt-get, dpkg, busybox-static, nfs-common, user-mode-linux for `user_mode_linux()`.
"""

import gzip
import lzma
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NFS = ("nfsv3", "nfsv4")
NICS = ("virtio_pci", "virtio_net", "e1000", "e1000e", "vmxnet3")
UML_KERNEL = Path("/usr/bin/linux.uml")
UML_MODULES = Path("/usr/lib/uml/modules")


@dataclass(frozen=True)
class Image:
    """What a guest boots."""

    kernel: Path
    initramfs: Path
    release: str  # as `uname -r` says it


def debian(package: str, folder: Path) -> Image:
    """Fetch the kernel `package` with apt, unpack it below `folder`, build its initramfs."""
    tree = folder / package
    if not tree.exists():
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", archive, tree], check=True)
    (modules,) = (tree / "lib/modules").iterdir()
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    return Image(kernel, _initramfs(modules, folder / f"{package}.cpio.gz", (*NFS, *NICS)), modules.name)


def user_mode_linux(folder: Path) -> Image:
    """The installed User-Mode Linux with an initramfs in `folder`; its NIC driver is built in."""
    (modules,) = UML_MODULES.iterdir()
    return Image(UML_KERNEL, _initramfs(modules, folder / "user-mode-linux.cpio.gz", NFS), modules.name)


def _initramfs(modules: Path, target: Path, wanted: tuple[str, ...]) -> Path:
    root = target.with_suffix("").with_suffix("")
    root = root.with_name(f"{root.name}.root")
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("bin", "sbin", "etc", "modules", "run"):
        (root / folder).mkdir(parents=True)
    _copy(Path("/bin/busybox"), root / "bin/busybox")
    _copy(Path(__file__).with_name("guest-init.sh"), root / "init")
    for helper in ("mount.nfs", "umount.nfs"):
        _copy(Path("/sbin") / helper, root / "sbin" / helper)
    for library in _libraries(Path("/sbin/mount.nfs")):
        _copy(library, root / library.relative_to("/"))
    for name in ("netconfig", "protocols", "services", "rpc"):  # libtirpc looks transports and programs up in them
        if Path("/etc", name).exists():
            _copy(Path("/etc", name), root / "etc" / name)
    (root / "etc/mtab").symlink_to("/proc/mounts")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    order = [_unpack(found, root / "modules") for found in _closure(modules, wanted)]
    (root / "modules/order").write_text("\n".join(order) + "\n")
    names = "\n".join(str(path.relative_to(root)) for path in [root, *sorted(root.rglob("*"))])
    archive = subprocess.run(
        ["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(), check=True, capture_output=True
    )
    target.write_bytes(gzip.compress(archive.stdout, compresslevel=1))
    shutil.rmtree(root)
    return target


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.resolve(), target)
    target.chmod(0o755)


def _libraries(program: Path) -> list[Path]:
    """The shared libraries and the loader of `program`, as ldd names them."""
    listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listing)]


def _closure(modules: Path, wanted: tuple[str, ...]) -> Iterator[Path]:
    """Module files, each after those it depends on; names that the kernel has built in are left out."""
    files = {path.name.split(".ko")[0].replace("-", "_"): path for path in modules.rglob("*.ko*")}
    seen: set[str] = set()

    def visit(name: str) -> Iterator[Path]:
        if name in seen or name not in files:
            return
        seen.add(name)
        depends = re.search(rb"\0depends=([^\0]*)\0", _content(files[name]))
        for needed in (depends[1].decode() if depends else "").split(","):
            yield from visit(needed.replace("-", "_"))
        yield files[name]

    for name in wanted:
        yield from visit(name)


def _content(module: Path) -> bytes:
    return lzma.decompress(module.read_bytes()) if module.suffix == ".xz" else module.read_bytes()


def _unpack(module: Path, folder: Path) -> str:
    name = module.name.split(".ko")[0] + ".ko"
    (folder / name).write_bytes(_content(module))
    return name
