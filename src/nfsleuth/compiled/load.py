"""Machine code comes in from the kernel cache, a callable goes out; what is missing there is built first.

Two files per kernel and set of argument types: `NAME-DIGEST.json` says what it returns and how it is loaded, and
`NAME-DIGEST.image` is its machine code, ready for any address (`image`), or `NAME-DIGEST.o` an object file, which LLVM
links. The digest covers the types and the processor. What is damaged is built again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np

from nfsleuth import kernel_cache
from nfsleuth.compiled import image
from nfsleuth.digest import blake2b
from nfsleuth.errors import Exit, NfsleuthError

Kind = tuple[str, Any, int]  # ("array", dtype, dimensions), ("record", dtype, 0), ("bool" or "int", None, 0)
FORMAT = 2  # of the files in the cache
# On Linux: vendor, family and model of the processor, and every feature of it that the kernel knows of, by number.
PROCESSOR = "/sys/devices/system/cpu/modalias"
UNFIT = object()  # what machine code returns that is not for the dtypes of these arguments
_LOADING = threading.Lock()  # LLVM's linker is used by one thread at a time, and what is damaged is built by one


def kind_of(argument: Any) -> Kind:
    """The type of an argument, as far as it decides about machine code."""
    if isinstance(argument, np.ndarray):
        return ("array", argument.dtype, argument.ndim)
    if isinstance(argument, np.void):
        return ("record", argument.dtype, 0)
    if isinstance(argument, (bool, np.bool_)):
        return ("bool", None, 0)
    if isinstance(argument, (int, np.integer)):
        return ("int", None, 0)
    raise TypeError(f"a kernel takes arrays, records, ints and bools, not {type(argument).__name__}")


def spelled(kind: Kind) -> tuple[str, Any, bool, int]:
    """`kind` with its dtype in a form that can be written down: (kind, descriptor, aligned, dimensions)."""
    name, dtype, dimensions = kind
    if dtype is None:
        return (name, None, False, dimensions)
    return (name, _spelled_dtype(dtype), dtype.isalignedstruct, dimensions)


def _spelled_dtype(dtype: np.dtype[Any]) -> Any:
    """A dtype as nested lists of names, offsets and shapes."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["array", _spelled_dtype(base), list(shape)]
    if dtype.names is not None:
        assert dtype.fields is not None
        fields = [[name, dtype.fields[name][1], _spelled_dtype(dtype.fields[name][0])] for name in dtype.names]
        return ["record", dtype.itemsize, fields, dtype.isalignedstruct]
    return dtype.str


# The digest of each dtype by its id. A dtype is kept, so that its id stands for it: equal ones may differ in alignment.
_DIGESTS: dict[int, tuple[np.dtype[Any], str]] = {}


def _text(kind: Kind) -> str:
    """A kind in one line. Digests are remembered: a tracker's state is 20 kB of text, and four kernels take it."""
    name, dtype, dimensions = kind
    if dtype is None:
        return name
    if id(dtype) not in _DIGESTS:
        _DIGESTS[id(dtype)] = dtype, _digest(repr(spelled(("", dtype, 0))))
    return f"{name} {dimensions} {_DIGESTS[id(dtype)][1]}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()


class Entry:
    """A kernel whose machine code takes its place at the first call. Equal types of arguments share it."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.__name__ = name
        # By the types of arguments; machine code for one of them knows which dtypes it is for.
        self._bound: dict[tuple[type, ...], list[Callable[[Sequence[Any]], Any]]] = {}

    def __call__(self, *args: Any) -> Any:
        """Run the machine code; it is loaded, or compiled, the first time."""
        types = tuple(map(type, args))
        for call in self._bound.get(types, ()):
            result = call(args)
            if result is not UNFIT:
                return result
        with _LOADING:
            call = _load(self, tuple(map(kind_of, args)))
            self._bound.setdefault(types, []).append(call)
        return call(args)

    @property
    def qualified(self) -> str:
        """Module and name."""
        return f"{self.module}.{self.__name__}"


def _stem(entry: Entry, kinds: Sequence[Kind]) -> str:
    """The path of a kernel's files in the cache, without their endings."""
    digest = _digest(repr([FORMAT, _processor(), [_text(k) for k in kinds]]))
    return os.path.join(_folder(), f"{entry.qualified}-{digest}")


@cache
def _folder() -> str:
    """The kernel cache; without one, a folder of this process alone."""
    kernel_cache.prepare()
    folder = os.environ.get(kernel_cache.VARIABLE) or _passing()
    try:
        os.makedirs(folder, exist_ok=True)  # a user may name one that is not there yet
    except OSError as error:
        raise NfsleuthError(
            f"{folder}: no folder for compiled kernels can be made here ({error.strerror}); "
            f"name another in {kernel_cache.VARIABLE}",
            Exit.UNREADABLE,
        ) from error
    return folder


def _passing() -> str:
    """A folder of this process alone."""
    import tempfile

    return tempfile.mkdtemp(prefix="nfsleuth-kernels-")


@cache
def _processor() -> str:
    """The processor that the machine code is made for: a home directory may be shared between machines.

    The builder compiles for the processor that it runs on, as LLVM knows it: by vendor, family, model and features. The
    kernel says the same without LLVM.
    """
    if image.suits_here():
        with contextlib.suppress(OSError), open(PROCESSOR, encoding="utf-8", errors="replace") as file:
            return file.read()
    import llvmlite.binding as llvm

    return f"{llvm.get_default_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def build_missing(wanted: Sequence[tuple[Entry, Sequence[Kind]]]) -> None:
    """Compile those kernels that are not in the cache, in child processes side by side: one per module."""
    missing: dict[str, list[list[Any]]] = {}
    for entry, kinds in wanted:
        stem = _stem(entry, kinds)
        if not os.path.exists(stem + ".json"):
            job = [entry.__name__, [spelled(k) for k in kinds], stem]
            missing.setdefault(entry.module, []).append(job)
    if not missing:
        return
    import json
    import subprocess

    environment = {**os.environ, "NFSLEUTH_KERNELS": "build"}
    children = []
    for module, jobs in missing.items():
        child = subprocess.Popen(
            [sys.executable, "-m", "nfsleuth.compiled.build"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps([module, jobs]).encode())
        child.stdin.close()
        children.append(child)
    failures = []
    for child in children:
        assert child.stderr is not None
        words = child.stderr.read().decode(errors="replace").strip().splitlines()
        child.stderr.close()
        if child.wait() != 0:
            failures.append(words[-1] if words else f"exit code {child.returncode}")
    if failures:
        raise NfsleuthError(
            f"the kernels could not be compiled for this machine: {failures[0]}; "
            "try again with NFSLEUTH_KERNELS=numba in the environment",
            Exit.UNREADABLE,
        )


def _files(stem: str) -> tuple[dict[str, Any], bytes] | None:
    """What is said of a kernel, and its machine code; None: it is not there, or not as it was written."""
    try:
        about = msgspec.json.decode(_content(stem + ".json"), type=dict[str, Any])
        code = _content(os.path.join(os.path.dirname(stem), about["file"]))
        return (about, code) if blake2b(code).hexdigest() == about["digest"] else None
    except (FileNotFoundError, KeyError, TypeError, msgspec.DecodeError):
        return None


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _built(entry: Entry, kinds: Sequence[Kind]) -> tuple[dict[str, Any], bytes]:
    """The same of a kernel that is built if need be: also where a full disk or a power cut damaged a file."""
    stem = _stem(entry, kinds)
    build_missing([(entry, kinds)])
    files = _files(stem)
    if files is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(stem + ".json")
        build_missing([(entry, kinds)])
        files = _files(stem)
    if files is None:
        raise NfsleuthError(
            f"{stem}.json: a compiled kernel is damaged, and stays so when it is compiled again; "
            f"name another folder in {kernel_cache.VARIABLE}",
            Exit.UNREADABLE,
        )
    return files


def _load(entry: Entry, kinds: Sequence[Kind]) -> Callable[[Sequence[Any]], Any]:
    """The machine code of a kernel as a function of its argument list."""
    about, code = _built(entry, kinds)
    if "image" in about:
        address = image.load(code, about["image"]["outside"], _RAISED) + about["image"]["entry"]
    else:
        address = _link(code, **about["object"])
    types: list[Any] = [ctypes.c_void_p]
    # Arrays and records: where each is among the arguments, what it must be, what finds its bytes. The last one first.
    tables: list[tuple[int, Any, int, Callable[[Any], int]]] = []
    for at, (kind, dtype, dimensions) in enumerate(kinds, 1):
        if kind in ("array", "record"):
            types += [ctypes.c_void_p] + [ctypes.c_int64] * dimensions
            tables.insert(0, (at, dtype, dimensions, _array_address if kind == "array" else _record_address))
        else:
            types.append(ctypes.c_bool if kind == "bool" else ctypes.c_int64)
    native = ctypes.CFUNCTYPE(None, *types)(address)
    returns = about["returns"]
    results = ctypes.c_int64 * max(returns or 1, 1)

    def call(args: Sequence[Any]) -> Any:
        """What the kernel returns, or `UNFIT`. args: of the types that `kinds` were told from."""
        out = results()  # of this call alone: other threads may be in the same kernel
        words = [out, *args]
        for at, dtype, dimensions, find in tables:  # each becomes several words: what comes before it keeps its place
            table = words[at]
            if table.dtype is not dtype or table.ndim != dimensions:
                return UNFIT
            words[at : at + 1] = (find(table), *table.shape)
        native(*words)
        if returns is None:
            return None
        return out[0] if returns == 0 else tuple(out[:])

    return call


def _finder(head: int, sample: Any) -> Callable[[Any], int]:
    """A function that finds the bytes of an array or a record: it looks into the object.

    NumPy's own ways make several objects, which takes 1.5 us for each argument of each call. The address is a field of
    the object (`PyArrayObject_fields` in NumPy's ndarraytypes.h, `PyVoidScalarObject` in arrayscalars.h) behind `head`
    bytes, and `id` is where CPython has the object. Whether that is so here is tried with `sample`.
    """

    class Fields(ctypes.Structure):
        _fields_ = (("head", ctypes.c_char * head), ("data", ctypes.c_void_p))

    fields_at = Fields.from_address

    def look(table: Any) -> int:
        found: int = fields_at(id(table)).data
        return found

    def ask(table: Any) -> int:
        found: int = table.__array_interface__["data"][0]
        return found

    return look if look(sample) == ask(sample) else ask


_OBJECT_HEAD = object.__basicsize__
_VAR_HEAD = _OBJECT_HEAD + ctypes.sizeof(ctypes.c_ssize_t)  # PyObject_VAR_HEAD: objects that state how long they are
_array_address = _finder(_OBJECT_HEAD, np.empty(1))
_record_address = _finder(_VAR_HEAD, np.empty(1, [("number", np.int64)])[0])


@cache
def _engine() -> Any:
    """LLVM's in-memory linker."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def _link(code: bytes, symbol: str, never_called: Sequence[str]) -> int:
    """Address of `symbol` of an object file. `never_called`: what only the path of an exception would need."""
    import llvmlite.binding as llvm

    engine = _engine()
    for name in never_called:
        llvm.add_symbol(name, _RAISED)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address: int = engine.get_function_address(symbol)
    return address


def _give_up() -> None:
    """Kernels never raise. If one does all the same, nothing that it computed can be trusted."""
    os.write(2, b"nfsleuth: internal error: a kernel raised an exception; please report it with the capture\n")
    os._exit(70)


_kernel_raised = ctypes.CFUNCTYPE(None)(_give_up)
_RAISED = image.address(_kernel_raised)
