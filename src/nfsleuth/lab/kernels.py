"""Kernels for guests: a name comes in, a kernel file and its modules as an archive go out.

Debian's packages are fetched with apt and unpacked into the user's cache; nothing is installed. `generic` and `cloud`
are the newest of the release, as its meta packages say; `backports` is the newest series that apt knows, whether it
comes with backports or as a security update.

QEMU boots the unpacked kernel (`unpacked`): in a processor that is emulated unpacking it takes longer than all else
until a guest mounts, 6 of 13 seconds with Debian's 6.1.
"""

from __future__ import annotations

import functools
import gzip
import json
import lzma
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.kernel_cache import user_cache
from nfsleuth.lab import cpio
from nfsleuth.lab.run import run

# What guests load: drivers of all NIC models that QEMU offers, NFS clients and server, and what reaches the host.
DRIVERS = (
    "virtio_pci", "virtio_net", "e1000", "e1000e", "igb", "8139too", "8139cp", "vmxnet3", "pcnet32", "ne2k-pci",
    "tulip", "e100",
)  # fmt: skip
NFS = ("nfsv3", "nfsv4", "nfsd", "ipv6", "af_packet")
# The kernel's part of RPCSEC_GSS, and what its encryption type is made of where that is not built in: AES in mode CTS
# over CBC, with an HMAC (RFC 3962).
KERBEROS = ("rpcsec_gss_krb5", "cts", "cbc", "hmac")
# "linux-image-6.1.0-56-amd64", "linux-image-6.12.117+deb12-amd64"; not -cloud-, not -rt-.
PACKAGE = re.compile(r"linux-image-(\d[^a-z]*(?:\+deb\d+|\+bpo)?)-amd64")
META = {"generic": "linux-image-amd64", "cloud": "linux-image-cloud-amd64"}
UML = "uml"
UML_KERNEL = Path("/usr/bin/linux.uml")
UML_MODULES = Path("/usr/lib/uml/modules")
FORMAT = "2"  # of the cache: counted up when what is kept of a package changes
# A bzImage (Documentation/x86/boot.rst): setup_sects, header's mark, payload_offset and payload_length.
SETUP_SECTS, MARK, PAYLOAD = 0x1F1, 0x202, 0x248
SECTOR = 512
XZ, ZSTD = b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"  # how compressed data begins
LARGEST_KERNEL = 1 << 28  # bytes, unpacked
# The note by which an ELF kernel says where to enter it: "Xen", XEN_ELFNOTE_PHYS32_ENTRY (xen/interface/elfnote.h).
PVH_NOTES = tuple(struct.pack("<III4s", 4, size, 18, b"Xen") for size in (4, 8))


@dataclass(frozen=True)
class Kernel:
    """What a guest boots: the kernel, and its modules as a compressed archive, see `modules_archive`."""

    kernel: Path
    modules: Path
    release: str  # as `uname -r` says it
    package: str


def cache_folder() -> Path:
    """Where unpacked kernels are kept: below the user's cache."""
    return Path(user_cache(), "nfsleuth", "lab", FORMAT)


def kernel(name: str) -> Kernel:
    """The kernel called `name`, from the cache or from apt. Raises NfsleuthError if apt does not know it."""
    if name == UML:
        return _user_mode_linux()
    package = package_of(name)
    version = _candidate(package)
    kept = cache_folder() / f"{package}_{version}".replace(":", ".")
    if not (kept / "kernel.json").exists():
        _fetch(package, kept)
    return _read(kept)


def package_of(name: str) -> str:
    """The package that `name` stands for: the newest that apt offers, never a revision written down here."""
    if name in META:
        found = re.search(r"Depends: (linux-image-\S+)", _apt("depends", "--important", META[name]))
        package = found[1] if found else None
    else:
        listed = _apt("search", "--names-only", r"^linux-image-[0-9][^ ]*-amd64$").splitlines()
        known = [found for line in listed if (found := PACKAGE.fullmatch(line.split()[0]))]
        package = max(known, key=lambda found: _numbers(found[1]))[0] if known else None
    if not package:
        raise NfsleuthError(f"apt offers no kernel for {name!r}; run apt-get update", Exit.PARTS_MISSING)
    return package


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _candidate(package: str) -> str:
    found = re.search(r"^Version: (\S+)$", _apt("show", package), re.MULTILINE)
    if not found:
        raise NfsleuthError(f"apt knows no package {package}; run apt-get update", Exit.PARTS_MISSING)
    return found[1]


@functools.cache  # apt takes a second to open its lists
def _apt(*words: str) -> str:
    try:
        return subprocess.run(["apt-cache", *words], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise NfsleuthError(
            "kernels come from Debian's packages, and this machine has no apt-cache; run the lab on Debian",
            Exit.PARTS_MISSING,
        ) from None


def _read(kept: Path) -> Kernel:
    told = json.loads((kept / "kernel.json").read_text())
    return Kernel(bootable(kept), kept / "modules.cpio.gz", told["release"], told["package"])


def bootable(kept: Path) -> Path:
    """The kernel unpacked, once; as it came if we cannot unpack it or QEMU could not boot what comes out."""
    image, target = kept / "vmlinuz", kept / "vmlinux"
    if target.exists():
        return target
    content = unpacked(image.read_bytes())
    if content is None:
        return image
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=kept) as name:
        done = Path(name) / target.name
        done.write_bytes(content)
        done.chmod(0o644)  # guests run as nobody
        return done.replace(target)


def unpacked(image: bytes) -> bytes | None:
    """The ELF file that a compressed kernel (bzImage) holds; None if it has none that QEMU boots by its PVH entry."""
    if len(image) < PAYLOAD + 8 or image[MARK : MARK + 4] != b"HdrS":
        return None
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    start = ((image[SETUP_SECTS] or 4) + 1) * SECTOR + offset
    content = _decompressed(image[start : start + length])
    return content if content.startswith(b"\x7fELF") and any(note in content for note in PVH_NOTES) else None


def _decompressed(payload: bytes) -> bytes:
    """What is in it, without what the kernel puts behind the compressed data (its length); nothing if we cannot tell.

    Debian's kernels are xz, newer ones zstd, and those for clouds lz4, which takes a guest little time.
    """
    if payload.startswith(XZ):
        try:
            return lzma.LZMADecompressor().decompress(payload, LARGEST_KERNEL)
        except lzma.LZMAError:
            return b""
    if payload.startswith(ZSTD):
        import zstandard

        try:
            return zstandard.ZstdDecompressor().stream_reader(payload).read(LARGEST_KERNEL)
        except zstandard.ZstdError:
            return b""
    return b""


def _fetch(package: str, kept: Path) -> None:
    """Fetch, unpack, keep what guests need."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=kept.parent) as name:
        work = Path(name)
        # As another user apt could not write here.
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
        (package_file,) = work.glob("*.deb")
        run("dpkg-deb", "-x", package_file, work / "tree")
        (tree,) = (work / "tree").glob("**/lib/modules/*")  # below /usr since Debian 13
        (image,) = (work / "tree/boot").glob("vmlinuz-*")
        done = work / "done"
        done.mkdir()
        shutil.move(image, done / "vmlinuz")
        (done / "modules.cpio.gz").write_bytes(modules_archive(tree))
        (done / "kernel.json").write_text(json.dumps({"release": tree.name, "package": package_file.stem}))
        try:
            done.rename(kept)
        except OSError:
            if not (kept / "kernel.json").exists():  # else the other lab was faster
                raise


def _user_mode_linux() -> Kernel:
    if not UML_KERNEL.exists() or not UML_MODULES.is_dir():
        raise NfsleuthError("no User-Mode Linux here; apt-get install user-mode-linux", Exit.PARTS_MISSING)
    (tree,) = UML_MODULES.iterdir()
    kept = cache_folder() / f"uml-{tree.name}"
    kept.mkdir(parents=True, exist_ok=True)
    modules = kept / "modules.cpio.gz"
    if not modules.exists():
        with tempfile.NamedTemporaryFile(dir=kept, delete=False) as file:
            file.write(modules_archive(tree))
        Path(file.name).chmod(0o644)
        Path(file.name).replace(modules)
    return Kernel(UML_KERNEL, modules, tree.name, f"user-mode-linux {tree.name}")


def modules_archive(tree: Path) -> bytes:
    """An archive of the modules in `tree` (lib/modules/RELEASE); `/modules/NAME.order` lists what to load for NAME."""
    files: dict[str, cpio.Entry] = {}
    for name in (*NFS, *KERBEROS, *DRIVERS):
        found = list(_closure(tree, name))
        files |= {f"modules/{_plain(path)}.ko": cpio.Entry(_content(path)) for path in found}
        order = "".join(f"{_plain(path)}\n" for path in found)
        files[f"modules/{name}.order"] = cpio.Entry(order.encode())
    return gzip.compress(cpio.archive(files), compresslevel=3, mtime=0)


def _closure(tree: Path, wanted: str) -> Iterator[Path]:
    """Module files, each after those it depends on; nothing for a module that the kernel has built in or lacks."""
    files = {_plain(path): path for path in tree.rglob("*.ko*")}
    seen: set[str] = set()

    def visit(name: str) -> Iterator[Path]:
        if name in seen or name not in files:
            return
        seen.add(name)
        for needed in _needs(_content(files[name])):
            yield from visit(needed.replace("-", "_"))
        yield files[name]

    yield from visit(wanted.replace("-", "_"))


def _needs(module: bytes) -> list[str]:
    """What the module says of itself in .modinfo: modules that must, and that should be loaded before it."""
    depends = [word for found in re.findall(rb"\0depends=([^\0]*)\0", module) for word in found.split(b",")]
    before = [word for found in re.findall(rb"\0softdep=pre: ([^\0]*)\0", module) for word in found.split()]
    return [word.decode() for word in (*depends, *before) if word and not word.endswith(b":")]


def _plain(module: Path) -> str:
    return module.name.split(".ko")[0].replace("-", "_")


def _content(module: Path) -> bytes:
    content = module.read_bytes()
    if module.suffix == ".xz":
        return lzma.decompress(content)
    if module.suffix == ".zst":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    return content
