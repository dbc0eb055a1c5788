"""Receive handlers are found in stripped binaries, and called what they are."""

from __future__ import annotations

import http.server
import lzma
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

pytest.importorskip("elftools", reason="pyelftools is not installed: pip install nfsleuth[path]")

from nfsleuth.errors import NfsleuthError
from nfsleuth.path import elf, handlers
from nfsleuth.path.functions import of_qemu, of_slirp
from nfsleuth.path.image import is_emulated
from nfsleuth.path.model import Role

QEMU = Path("/usr/bin/qemu-system-x86_64")
installed = pytest.mark.skipif(not QEMU.exists(), reason=f"{QEMU} is not installed")
compiles = pytest.mark.skipif(shutil.which("cc") is None or shutil.which("strip") is None, reason="no C compiler")

# Two NIC models, two backends, and what only looks like a table, laid out as QEMU's sources do.
PROGRAM = r"""
#include <stddef.h>
#include <stdio.h>
typedef long F(void *, const void *, size_t);
#ifdef NO_RAW
struct info { int type; size_t size; F *receive, *receive_iov; void (*f[11])(void); };
#else
struct info { int type; size_t size; F *receive, *receive_raw, *receive_iov; void (*f[11])(void); };
#endif
struct type { const char *name, *parent; size_t size, align; void (*init[3])(void); char abstract; size_t class_size;
              void (*class_init)(void *); };
#define BODY(n) { volatile int x = n; (void)a; (void)b; return x + c; }
static long card_receive(void *a, const void *b, size_t c) BODY(1)
static long other_receive(void *a, const void *b, size_t c) BODY(2)
static long other_receive_iov(void *a, const void *b, size_t c) BODY(3)
static long user_receive(void *a, const void *b, size_t c) BODY(4)
static long tap_receive(void *a, const void *b, size_t c) BODY(5)
static long tap_receive_iov(void *a, const void *b, size_t c) BODY(6)
static long no_handler(void *a, const void *b, size_t c) BODY(7)
static void cleanup(void) { puts("cleanup"); }
static struct info net_card_info = {1, 40, card_receive};
static struct info net_other_info = {1, 40, other_receive, .receive_iov = other_receive_iov};
static struct info net_user_info = {2, 400, user_receive, .f = {[CLEANUP] = cleanup}};
static struct info net_tap_info = {3, 600, tap_receive, .receive_iov = tap_receive_iov, .f = {[CLEANUP] = cleanup}};
struct info not_a_table = {2, 400, no_handler};
struct { size_t type, size; F *f; const char *text; } nor_this = {1, 40, no_handler, "text"};
void *volatile sink;
static void __attribute__((noinline)) card_realize(void *d) { sink = d; sink = &net_card_info; }
#ifdef LOADED
/* As gcc 14 does it: the pointer comes out of a table of constants, into half of a vector register. */
__attribute__((used)) static void (*const card_constant)(void *) = card_realize;
static void card_class_init(void *k) { sink = k; __asm__ volatile("movq card_constant(%%rip), %%xmm0" ::: "xmm0"); }
#else
static void card_class_init(void *k) { sink = k; sink = (void *)card_realize; }
#endif
static void __attribute__((noinline)) other_realize(void *d) { sink = d; sink = &net_other_info; }
static void __attribute__((noinline)) other_class_init(void *k) { sink = k; sink = (void *)other_realize; }
struct type card_type = {"card", "pci-device", 0, 0, {0}, 0, 0, card_class_init};
static struct type other_type = {"other-base", "pci-device"};
__attribute__((constructor)) static void other_register(void) { sink = (void *)other_class_init; sink = &other_type; }
int main(void)
{
    printf("QEMU emulator version " VERSION "\n");
    sink = &net_user_info; sink = &net_tap_info;
    return 0;
}
"""
TRUTH = {
    "card_receive": ("card:receive", True),
    "other_receive": ("other:receive", True),
    "other_receive_iov": ("other:receive_iov", True),
    "user_receive": ("user:receive", False),
    "tap_receive": ("tap:receive", False),
    "tap_receive_iov": ("tap:receive_iov", False),
}


def compiled(folder, version="7.2.22", cleanup=4, *macros):
    """The program with symbols, and stripped."""
    (folder / "x.c").write_text(PROGRAM)
    program, stripped = folder / "program", folder / "stripped"
    subprocess.run(
        [
            "cc",
            "-O2",
            "-fPIE",
            "-pie",
            f'-DVERSION="{version}"',
            f"-DCLEANUP={cleanup}",
            *(f"-D{macro}" for macro in macros),
            "-Wl,--build-id",
            "-o",
            program,
            folder / "x.c",
        ],
        check=True,
    )
    subprocess.run(["strip", "-o", stripped, program], check=True)
    return program, stripped


@compiles
@pytest.mark.parametrize(
    ("version", "cleanup", "macros"),
    [
        ("7.2.22", 4, ()), ("9.1.0", 4, ()), ("6.2.0", 1, ()), ("10.0.2", 4, ("NO_RAW",)),
        ("10.0.13", 4, ("NO_RAW", "LOADED")),
    ],
)  # fmt: skip
def test_handlers_are_those_of_the_symbol_table(tmp_path, version, cleanup, macros):
    program, stripped = compiled(tmp_path, version, cleanup, *macros)
    truth = elf.read(program).named()
    image = elf.read(stripped)
    assert "symbol table" not in image.sources
    found = {h.address: (h.name, h.nic) for h in handlers.find(image)}
    assert found == {truth[name]: what for name, what in TRUTH.items()}


@compiles
@pytest.mark.parametrize("version", ["4.2.0", "99.0.0"])
def test_versions_with_another_layout_are_left_alone(tmp_path, version):
    image = elf.read(compiled(tmp_path, version)[1])
    assert not handlers.is_known(handlers.version(image))
    assert handlers.find(image) == []


@compiles
def test_a_debug_file_gives_names_by_build_id(tmp_path, monkeypatch):
    program, stripped = compiled(tmp_path)
    build_id = elf.read(stripped).build_id
    debug = tmp_path / "debug"
    target = debug / build_id[:2] / f"{build_id[2:]}.debug"
    target.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", program, target], check=True)
    monkeypatch.setattr(elf, "DEBUG", debug)
    image = elf.read(stripped)
    assert image.named()["card_receive"] == elf.read(program).named()["card_receive"]
    assert "debug file" in image.sources


@compiles
def test_debuginfod_is_asked_where_it_is_named(tmp_path, monkeypatch):
    program, stripped = compiled(tmp_path)
    build_id = elf.read(stripped).build_id
    served = tmp_path / "buildid" / build_id / "debuginfo"
    served.parent.mkdir(parents=True)
    served.write_bytes(program.read_bytes())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DEBUGINFOD_URLS", f"http://127.0.0.1:1 http://127.0.0.1:{server.server_port}/")
        assert "card_receive" in elf.read(stripped).named()
        server.shutdown()
    assert "card_receive" in elf.read(stripped).named(), "kept"


def test_what_breaks_off_is_not_kept(tmp_path, monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"\x7fELF")

        def log_message(self, *args):
            pass

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DEBUGINFOD_URLS", f"http://127.0.0.1:{server.server_port}")
        assert elf.debug_file("ab" * 20) is None
        server.shutdown()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("content", [b"no xz", lzma.compress(b"names")[:-1], lzma.compress(bytes(2000))])
def test_a_compressed_section_that_is_damaged_or_grows(monkeypatch, content):
    monkeypatch.setattr(elf, "LONGEST_SECTION", 1000)
    with pytest.raises((ValueError, lzma.LZMAError)):
        elf._unpacked(content)
    assert elf._unpacked(lzma.compress(b"names")) == b"names"


@installed
def test_the_installed_binary():
    """Names that it exports agree with those that its tables give."""
    image = elf.read(QEMU)
    if not handlers.is_known(handlers.version(image)):
        pytest.skip(f"QEMU {handlers.version(image)} has another layout")
    found = {h.name: h.address for h in handlers.find(image)}
    assert {"rtl8139:receive", "e1000:receive", "virtio-net:receive", "user:receive", "tap:receive_iov"} <= found.keys()
    named = image.named()
    for name, exported in (("pcnet:receive", "pcnet_receive"), ("ne2k_pci:receive", "ne2000_receive")):
        if exported in named:
            assert found[name] == named[exported]
    watched = of_qemu(image, handlers.find(image))
    assert len({f.address for f in watched}) == len(watched)
    assert {f.role for f in watched} == {Role.NET, Role.NIC, Role.BACKEND, Role.HUB}


@installed
def test_the_installed_library():
    library = Path("/usr/lib/x86_64-linux-gnu/libslirp.so.0")
    if not library.exists():
        pytest.skip("no libslirp")
    assert {f.name for f in of_slirp(elf.read(library))} >= {"slirp_input", "slirp_pollfds_poll"}


@pytest.mark.parametrize(
    ("code", "emulated"),
    [
        ("55", True), ("4157", True), ("90", True), ("0f1f440000", True), ("660f1f840000000000", True), ("e900000000", True),
        ("7400", True), ("0f8400000000", True), ("4889f8", False), ("4883ec28", False), ("f30f1efa", False), ("c3", False),
        ("41ff", False), ("", False),
    ],
)  # fmt: skip
def test_first_instructions(code, emulated):
    assert is_emulated(bytes.fromhex(code)) is emulated


def test_what_is_no_program(tmp_path):
    (tmp_path / "x").write_bytes(b"\x7fELF and no more")
    with pytest.raises(NfsleuthError, match="x: is no ELF file"):
        elf.read(tmp_path / "x")
    with pytest.raises(NfsleuthError, match="cannot be read"):
        elf.read(tmp_path / "y")
