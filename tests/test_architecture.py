"""The folders keep their promises: data flows one way through them, and the pure ones cannot reach a file or a clock.

Only the imports are read (with `ast`), nothing is run, so an import inside a function counts as well.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "nfsleuth"
FLOW = (
    "capture", "wire", "trace", "clients", "bandwidth", "evidence", "hosts", "verdict", "sharing", "contrast", "report",
    "path", "api", "lab", "cli",
)  # fmt: skip
PURE = ("wire", "trace", "clients", "bandwidth", "evidence", "hosts", "verdict", "sharing", "contrast", "report")
# A folder inside a pure one that does I/O: it creates files and times how they are read.
NOT_PURE = "bandwidth/active"
# Of `path`, which looks at running programs, what only computes.
PURE_PATH = {
    f"path.{name}"
    for name in (
        "calls",
        "compare",
        "exports",
        "figures",
        "functions",
        "handlers",
        "image",
        "model",
        "shares",
        "study",
        "text",
        "tree",
    )
}
# Beside the flow, for everybody: the error that a user sees, and how kernels are compiled (a child process, once per
# machine) and called, how bytes are digested, and names that are imported late. None knows of NFS.
FREE = ("errors", "compiled", "digest", "later", "__version__")
# On the way of `identify`, whose start-up is most of its time on a small capture: classes that cost no compiling.
QUICK = ("capture", "wire", "trace", "clients", "bandwidth", "evidence", "hosts", "verdict", "report", "api")
START = ("__init__", "__main__", "kernel_cache")  # what starts a process

# Everything that a pure package may import from elsewhere: libraries that compute.
COMPUTES = {
    "__future__", "array", "bisect", "collections", "contextlib", "csv", "dataclasses", "datetime", "difflib", "enum",
    "functools", "hashlib", "heapq", "html", "inspect", "ipaddress", "itertools", "json", "keyword", "math", "operator", "random",
    "re", "statistics", "string", "struct",
    "textwrap", "tomllib", "types", "typing", "unicodedata",
    "xml", "jinja2", "markupsafe", "matplotlib", "msgspec", "numba", "numpy", "polars",
}  # fmt: skip
# (module, import) -> why it is no I/O, or which I/O it is.
EXCEPTIONS = {
    ("trace.state", "os"): "the seed of the hash tables: one read of the system's random source per tracker",
    ("sharing.tally", "secrets"): "the seed of its hash table, as of the tracker's",
    ("evidence.registry", "importlib"): "finds the heuristics: modules of the packages themselves",
    ("evidence.registry", "pkgutil"): "the same",
    ("evidence.data", "pkgutil"): "the tables that come with the package, read as resources",
    ("report.csv_report", "io"): "StringIO, text in memory",
    ("report.figures", "io"): "BytesIO and StringIO, files in memory",
}  # fmt: skip
BUILTINS = {"open", "print", "input", "exec", "eval", "breakpoint"}
# Functions of libraries above that read or write files or look at the clock.
REACHES_OUT = {"load", "dump", "fromfile", "tofile", "memmap", "genfromtxt", "loadtxt", "savetxt"}
REACHES_OUT |= {"now", "today", "utcnow"}
REACHES_OUT |= {"savefig", "read_csv", "read_parquet", "scan_parquet", "write_csv", "write_parquet", "sink_parquet"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(source: str) -> set[str]:
    """Full names of what is imported; a name imported from nfsleuth's modules with the module that it is from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            inside = node.module == "nfsleuth" or node.module in {f"nfsleuth.{p}" for p in PACKAGES}
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if inside else {node.module}
    return found


def modules(*folders: str) -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).with_suffix("").parts[0] in folders)


def pure() -> list[Path]:
    folders = [p for p in modules(*PURE) if not p.relative_to(PACKAGE).as_posix().startswith(NOT_PURE)]
    return folders + [p for p in modules("path") if module_name(p) in PURE_PATH]


def backward(name: str, source: str) -> set[str]:
    """Imports of nfsleuth that go against the flow, from the module called `name`."""
    folder = name.partition(".")[0]
    inner = {i.split(".")[1] for i in imports(source) if i.startswith("nfsleuth.")} - set(FREE)
    later = {i for i in inner if i in FLOW and FLOW.index(i) > FLOW.index(folder)}
    return later | (inner - set(FLOW) if folder in PURE else set())


def impure(name: str, source: str) -> set[str]:
    """Imports and calls that would let the module called `name` do I/O."""
    outside = {i.split(".")[0] for i in imports(source) if not i.startswith("nfsleuth")}
    found = {i for i in outside - COMPUTES if (name, i) not in EXCEPTIONS}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
                found.add(node.func.id)
            elif isinstance(node.func, ast.Attribute) and node.func.attr in REACHES_OUT:
                found.add(node.func.attr)
    return found


PACKAGES = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}


@pytest.mark.parametrize("path", modules(*FLOW), ids=module_name)
def test_data_flows_one_way(path):
    assert not backward(module_name(path), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", pure(), ids=module_name)
def test_pure_packages_do_no_io(path):
    assert not impure(module_name(path), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", pure(), ids=module_name)
def test_of_the_readers_pure_packages_know_only_the_shape_of_frames(path):
    """`capture` reads files; its `frames` module says in which shape they arrive."""
    used = {i for i in imports(path.read_text(encoding="utf-8")) if i.startswith("nfsleuth.capture")}
    assert used <= {"nfsleuth.capture.frames"}


@pytest.mark.parametrize("path", pure(), ids=module_name)
def test_pure_modules_do_not_time_files(path):
    assert not [i for i in imports(path.read_text(encoding="utf-8")) if i.startswith("nfsleuth.bandwidth.active")]


@pytest.mark.parametrize("path", [p for p in modules(*QUICK) if NOT_PURE not in p.as_posix()], ids=module_name)
def test_on_the_way_of_identify_classes_are_structs(path):
    assert "dataclasses" not in imports(path.read_text(encoding="utf-8")), "msgspec.Struct: a tenth of the time to make"


def test_every_module_is_in_the_flow():
    """A folder that is new must find its place in FLOW, or the tests above would pass it by."""
    tops = {p.relative_to(PACKAGE).with_suffix("").parts[0] for p in PACKAGE.rglob("*.py")}
    assert tops == {*FLOW, *START, *FREE} - {"__version__"}


def test_exceptions_are_needed():
    """An exception whose reason has gone must go too."""
    used = {(module_name(p), i.split(".")[0]) for p in pure() for i in imports(p.read_text(encoding="utf-8"))}
    assert set(EXCEPTIONS) <= used


def test_the_checks_find_what_they_look_for():
    assert impure("wire.x", "def f():\n    import os.path\n    return open('x')\n") == {"os", "open"}
    assert impure("verdict.x", "from time import time\nfrom datetime import datetime\nt = datetime.now()\n") == {
        "time",
        "now",
    }
    assert impure("trace.x", "import secrets\n") == {"secrets"}
    assert backward("clients.x", "from nfsleuth.evidence.model import State\n") == {"evidence"}
    assert backward("wire.x", "from nfsleuth import kernel_cache\n") == {"kernel_cache"}
    assert not backward("report.x", "from nfsleuth.verdict.model import Report\nfrom nfsleuth.errors import Exit\n")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_name)
def test_every_module_says_what_it_is_for(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module begins with a docstring: what comes in, what goes out"
