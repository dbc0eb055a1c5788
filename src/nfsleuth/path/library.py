"""Build libslirp anew from the distribution's own source package: nothing comes in, the folder of a library goes out.

It is put into a guest by LD_LIBRARY_PATH. `instrumented` notes every call of its functions (see recorder.c); `plain` is
an ordinary build that keeps its symbols, for uprobes and samples inside libslirp. Sources are fetched with apt, into a
folder of our own and with lists of our own: the machine's configuration is read, not changed. Results are kept in the
user's cache, named after all that they depend on.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from nfsleuth.errors import Exit, NfsleuthError
from nfsleuth.path.elf import cache
from nfsleuth.path.packages import source_of

SONAME = "libslirp.so.0"
BINARY_PACKAGE = "libslirp0"
APT = Path("/etc/apt")
WRAPPED = (
    "send", "recv", "sendto", "recvfrom", "sendmsg", "recvmsg", "readv", "writev", "socket", "connect", "bind",
    "shutdown", "close", "setsockopt", "getsockopt",
)  # fmt: skip
FLAGS = ("-O2", "-g", "-fPIC", "-shared", "-std=gnu99", '-DG_LOG_DOMAIN="Slirp"', "-w")
# Its exports are those of the map file; these come in addition.
EXPORTS = "\nNFSLEUTH { global: nfsleuth_*; };\n"
GLIB = "apt-get install libglib2.0-dev"  # what to do if it is not found
TOOLS = {"cc": "gcc", "pkg-config": "pkg-config", "dpkg-source": "dpkg-dev", "apt-get": "apt"}
PATIENCE = 300  # seconds for any one command


def build(kind: str) -> Path:
    """The folder with the library, built now or before. Raises NfsleuthError with what is missing."""
    package, version = source_of(BINARY_PACKAGE)
    if not version:
        raise NfsleuthError(f"{BINARY_PACKAGE} is not installed, or this is no Debian; only its package is rebuilt")
    recorder = files("nfsleuth.path").joinpath("recorder.c").read_bytes()
    words = " ".join((*FLAGS, *WRAPPED, EXPORTS))
    stamp = hashlib.sha256(recorder + words.encode()).hexdigest()[:12]
    kept = cache() / f"{package}_{version}_{kind}_{stamp}".replace(":", ".")
    if (kept / SONAME).exists():
        return kept
    for program, brings in TOOLS.items():
        if shutil.which(program) is None:
            raise NfsleuthError(
                f"{program} is missing, which builds libslirp; apt-get install {brings}", Exit.PARTS_MISSING
            )
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=kept.parent) as name:
        folder = Path(name)
        sources = _sources(folder, package, version)
        done = folder / "done"
        done.mkdir()
        _compile(sources, done / SONAME, kind, recorder)
        try:
            done.rename(kept)
        except OSError:
            if not (kept / SONAME).exists():  # else another build won
                raise
    return kept


def _sources(folder: Path, package: str, version: str) -> Path:
    """Fetch and unpack the source package."""
    parts, lists = folder / "parts", folder / "lists"
    parts.mkdir()
    (lists / "partial").mkdir(parents=True)
    for number, (name, text) in enumerate(source_entries(APT)):
        (parts / f"{number}{name}").write_text(text)
    options = [
        f"Dir::Etc::SourceParts={parts}", "Dir::Etc::SourceList=/dev/null", f"Dir::State::Lists={lists}",
        f"Dir::Cache={folder}", "APT::Sandbox::User=root",
    ]  # fmt: skip
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    _run([*apt, "update"], folder)
    _run([*apt, "source", f"{package}={version}"], folder)
    found = [path for path in folder.iterdir() if (path / "src" / "libslirp.map").exists()]
    if len(found) != 1:
        raise NfsleuthError(f"the source package {package} {version} is not laid out as libslirp 4 is; it is not built")
    return found[0]


def source_entries(apt: Path) -> Iterator[tuple[str, str]]:
    """apt's sources, turned to source packages: (ending, content) of each file; sources.list(5)."""
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if path.suffix == ".sources":
            yield ".sources", re.sub(r"(?m)^Types:.*$", "Types: deb-src", text)
        else:
            lines = (line for line in text.splitlines() if re.match(r"\s*deb\s", line))
            yield ".list", "".join(re.sub(r"^\s*deb\s", "deb-src ", line) + "\n" for line in lines)


def _compile(sources: Path, target: Path, kind: str, recorder: bytes) -> None:
    source = sources / "src"
    number = re.search(r"version : '(\d+)\.(\d+)\.(\d+)'", (sources / "meson.build").read_text())
    if not number:
        raise NfsleuthError("the source package of libslirp says no version; it is not built")
    header = (source / "libslirp-version.h.in").read_text()
    for place, value in zip(("MAJOR", "MINOR", "MICRO"), number.groups(), strict=True):
        header = header.replace(f"@SLIRP_{place}_VERSION@", value)
    header = header.replace("@SLIRP_VERSION_STRING@", '"' + ".".join(number.groups()) + '-nfsleuth"')
    (source / "libslirp-version.h").write_text(header)
    with (source / "libslirp.map").open("a") as file:
        file.write(EXPORTS)
    words = ["cc", *FLAGS, f"-Wl,-soname,{SONAME}", f"-Wl,--version-script={source / 'libslirp.map'}", f"-I{source}"]
    if kind == "instrumented":
        notes = sources / "nfsleuth-recorder.c"
        notes.write_bytes(recorder)
        words += ["-finstrument-functions", *(f"-Wl,--wrap={name}" for name in WRAPPED), str(notes)]
    glib = shlex.split(_run(["pkg-config", "--cflags", "--libs", "glib-2.0"], sources, GLIB))
    _run([*words, *sorted(map(str, source.glob("*.c"))), "-o", str(target), *glib], sources)


def _run(words: list[str], folder: Path, cure: str = "") -> str:
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, errors="replace", check=False, timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NfsleuthError(f"{words[0]} took longer than {PATIENCE} s; try again") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise NfsleuthError("; ".join(filter(None, (f"{words[0]}: {said[-1] if said else 'failed'}", cure))))
    return done.stdout
