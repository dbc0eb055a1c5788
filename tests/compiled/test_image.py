"""Machine code that is loaded without LLVM does the same as what LLVM links, and is never written to while it can run."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.compiled import build, image, lean, load
from nfsleuth.compiled.flatten import RELOCATION, UnsuitableError, flatten
from nfsleuth.errors import NfsleuthError

pytestmark = pytest.mark.skipif(not image.suits_here(), reason="images are made on Linux on x86-64 only")

# work(out, n): a switch of many cases and a table of constants, a call of a part, memset and memcpy of n bytes.
WORK = """
@table = internal constant [8 x i64] [i64 11, i64 -7, i64 5, i64 900, i64 2, i64 31, i64 77, i64 -4]
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @never()
{declared}

define internal i64 @part(i64 %n) noinline {{
  switch i64 %n, label %other [ {cases} ]
{blocks}
other:
  ret i64 -1
}}

define void @work(ptr %out, i64 %n) {{
  %bad = icmp slt i64 %n, 0
  br i1 %bad, label %raise, label %go
raise:
  call void @never()
  ret void
go:
  %masked = and i64 %n, 7
  %place = getelementptr [8 x i64], ptr @table, i64 0, i64 %masked
  %constant = load i64, ptr %place
  %chosen = call i64 @part(i64 %n)
  store i64 %constant, ptr %out
  %second = getelementptr i64, ptr %out, i64 1
  store i64 %chosen, ptr %second
  %third = getelementptr i64, ptr %out, i64 2
  call void @llvm.memset.p0.i64(ptr %third, i8 7, i64 %n, i1 false)
  %fourth = getelementptr i64, ptr %out, i64 10
  call void @llvm.memcpy.p0.p0.i64(ptr %fourth, ptr %out, i64 %n, i1 false)
  {added}
  ret void
}}
"""
CASES = 40


def work(declared: str = "", added: str = "") -> Any:
    """The module above. Each case does something of its own, so that no table of results takes the place of jumps."""
    kinds = ("mul", "add", "xor", "sub")
    blocks = "".join(f"c{i}:\n  %r{i} = {kinds[i % 4]} i64 %n, {i * i + 3}\n  ret i64 %r{i}\n" for i in range(CASES))
    cases = " ".join(f"i64 {i}, label %c{i}" for i in range(CASES))
    return llvm.parse_assembly(WORK.format(declared=declared, added=added, cases=cases, blocks=blocks))


def made(module: Any) -> tuple[str, bytes, dict[str, Any]]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return build.machine_code(llvm, module, "work", ["never"])


def run(address: int) -> list[list[int]]:
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)
    results = []
    for n in range(CASES + 3):
        out = np.zeros(20, np.int64)
        function(out.ctypes.data, n)
        results.append(out.tolist())
    return results


def loaded(code: bytes, about: dict[str, Any]) -> int:
    return image.load(code, about["image"]["outside"], load._RAISED) + about["image"]["entry"]


def object_file(module: Any) -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return build._object_code(llvm, module, "pic", "small")


def test_an_image_does_what_llvm_would_have_linked(monkeypatch):
    ending, code, about = made(work())
    assert ending == ".image"
    assert {"memset", "memcpy", "never"} <= set(about["image"]["outside"])
    monkeypatch.setattr(image, "suits_here", lambda: False)
    other, linked, said = made(work())
    assert other == ".o"
    expected = run(load._link(linked, **said["object"]))
    assert len({row[1] for row in expected}) > CASES / 2
    assert run(loaded(code, about)) == expected


def test_an_image_can_lie_anywhere():
    _, code, about = made(work())
    assert run(loaded(code, about)) == run(loaded(code, about))


def test_what_can_run_cannot_be_written_to():
    _, code, about = made(work())
    address = loaded(code, about)
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if begin <= address < end:
            assert line.split()[1] == "r-xp"
            return
    pytest.fail("nothing is mapped there")


@pytest.mark.parametrize("refused", ["mmap", "mprotect"])
def test_a_system_that_runs_no_new_code_is_named(monkeypatch, refused):
    _, code, about = made(work())
    system = image._system()

    class Strict:
        def __getattr__(self, name):
            return (lambda *_: 2**64 - 1) if name == refused else getattr(system, name)

    monkeypatch.setattr(image, "_system", Strict)
    with pytest.raises(NfsleuthError, match="does not let compiled kernels be run"):
        loaded(code, about)


@pytest.mark.parametrize(
    ("declared", "added", "why"),
    [
        ("declare i64 @labs(i64)", "call i64 @labs(i64 %n)", "relocation"),  # a function that nobody expects
        ("@kept = internal global i64 5", "store i64 %n, ptr @kept", "section"),  # data that is written to
        ("@a = internal constant [2 x ptr] [ptr @a, ptr @never]", "store ptr @a, ptr %third", "section"),  # absolute
        ("@t = thread_local global i64 0", "store i64 %n, ptr @t", "section"),
    ],
)
def test_what_is_not_known_is_left_to_llvm(declared, added, why):
    ending, code, about = made(work(declared, added))
    assert ending == ".o"
    assert why in about["why_not_image"]
    if "@t" not in declared:  # LLVM's linker has no storage per thread
        assert run(load._link(code, **about["object"]))[3][:2] == [900, 3 - 12]


def test_an_unknown_type_of_relocation_is_unsuitable():
    content = bytearray(object_file(work()))
    types = sorted({int.from_bytes(content[at + 8 : at + 12], "little") for at in relocations(bytes(content))})
    assert types == [2, 4]  # R_X86_64_PC32 and R_X86_64_PLT32: what LLVM emits
    for at in relocations(bytes(content)):
        content[at + 8 : at + 12] = (1).to_bytes(4, "little")  # R_X86_64_64
    with pytest.raises(UnsuitableError, match="relocation of type 1 "):
        flatten(bytes(content), "work", [*image.KNOWN, "never"])


def relocations(content: bytes) -> list[int]:
    """Where the relocations of what is loaded lie in an object file, found again by their bytes."""
    from nfsleuth.compiled.flatten import RELA, _sections

    found = []
    for section in _sections(content):
        if section.kind == RELA and "eh_frame" not in section.name:
            begin = content.index(section.content)
            found += range(begin, begin + section.size, RELOCATION.size)
    return found


OBJECT = object_file(work()) if image.suits_here() else b""


@given(st.data())
def test_a_damaged_object_file_is_unsuitable_or_an_image(data):
    content = bytearray(OBJECT)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = flatten(bytes(content[: data.draw(st.integers(0, len(content)))]), "work", [*image.KNOWN, "never"])
    except UnsuitableError:
        return
    assert 0 <= found.entry <= len(found.code)


def test_every_prefix_of_an_object_file_is_unsuitable():
    for end in range(0, len(OBJECT), 7):
        with pytest.raises(UnsuitableError):
            flatten(OBJECT[:end], "work", [*image.KNOWN, "never"])


def total(values: Any, table: Any, n: int) -> tuple[int, int]:
    """A kernel: an array, a record and a number."""
    result = 0
    for i in range(n):
        values[i] = (i * 7 + table["base"]) % 13
        if values[i] == 3:
            result += 100
        result += values[i]
    return result, table["base"]


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Compiles `total` into a folder; gives its entry, kinds and stem."""
    table = np.zeros(1, [("base", np.int64)])[0]
    kinds = tuple(load.kind_of(a) for a in (np.zeros(3, np.int64), table, 3))
    monkeypatch.setattr(load, "_stem", lambda *_: str(tmp_path / "total-1"))
    built = []

    def build_missing(_wanted: Any) -> None:
        if not (tmp_path / "total-1.json").exists():
            built.append(1)
            compiled = numba.njit(error_model="numpy")(total)
            build.compile_kernel(compiled, [load.spelled(k) for k in kinds], tmp_path / "total-1", lean._optimise)

    monkeypatch.setattr(load, "build_missing", build_missing)
    return load.Entry("tests", "total"), kinds, tmp_path / "total-1", built


def called(entry: Any) -> tuple[list[int], Any]:
    values, table = np.zeros(40, np.int64), np.zeros(1, [("base", np.int64)])[0]
    table["base"] = 5
    return values.tolist(), entry(values, table, 40)


@pytest.mark.parametrize("way", ["image", "object"])
def test_both_ways_give_what_python_gives(kernel, monkeypatch, way):
    monkeypatch.setattr(image, "suits_here", lambda: way == "image")
    entry, _, stem, _ = kernel
    assert called(entry) == called(total)
    assert way in json.loads(stem.with_name(stem.name + ".json").read_text())


@pytest.mark.parametrize("damage", ["short", "zeros", "missing", "no json", "other json"])
def test_a_damaged_file_is_built_again(kernel, damage):
    entry, kinds, stem, built = kernel
    load._load(entry, kinds)
    assert len(built) == 1
    code, about = (stem.with_name(stem.name + ending) for ending in (".image", ".json"))
    content = code.read_bytes()
    if damage == "short":
        code.write_bytes(content[:-1])
    elif damage == "zeros":
        code.write_bytes(bytes(len(content)))
    elif damage == "missing":
        code.unlink()
    else:
        about.write_text("{" if damage == "no json" else '{"file": 3}')
    assert called(entry) == called(total)
    assert len(built) == 2


def test_what_stays_damaged_is_named(kernel, monkeypatch):
    entry, _, stem, _ = kernel
    monkeypatch.setattr(load, "build_missing", lambda _: stem.with_name(stem.name + ".json").write_text("{}"))
    with pytest.raises(NfsleuthError, match=r"total-1\.json: a compiled kernel is damaged"):
        called(entry)


def test_the_processor_is_told_without_llvm(monkeypatch, tmp_path):
    load._processor.cache_clear()
    modalias = tmp_path / "modalias"
    modalias.write_text("cpu:type:x86,ven0000fam0006mod0055:feature:,0000\n")
    monkeypatch.setattr(load, "PROCESSOR", str(modalias))
    assert load._processor() == modalias.read_text()
    load._processor.cache_clear()
    modalias.unlink()
    assert llvm.get_host_cpu_name() in load._processor()
    load._processor.cache_clear()
