"""The folder of the compiled kernels: its name changes with whatever changes them, and nobody else can write to it."""

from __future__ import annotations

import ast
import os
import stat
import time
from pathlib import Path

import pytest

from nfsleuth import kernel_cache
from nfsleuth.compiled import load
from nfsleuth.errors import NfsleuthError

PACKAGE = Path(kernel_cache.__file__).parent


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for folder in ("wire", "cli"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("x = 1")
    return tmp_path


def test_the_name_follows_the_sources_that_kernels_are_made_of(package: Path) -> None:
    before = kernel_cache.fingerprint(str(package))
    assert before == kernel_cache.fingerprint(str(package))
    (package / "cli" / "a.py").write_text("x = 2")
    assert kernel_cache.fingerprint(str(package)) == before
    (package / "wire" / "a.py").write_text("x = 2")
    assert kernel_cache.fingerprint(str(package)) != before


def test_the_name_follows_the_settings_of_numba(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_BOUNDSCHECK", raising=False)
    before = kernel_cache.fingerprint(str(package))
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert kernel_cache.fingerprint(str(package)) != before


def imported(path: Path) -> set[Path]:
    """Files of nfsleuth that a module imports from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    files = [PACKAGE.joinpath(*name.split(".")[1:]) for name in found if name.startswith("nfsleuth.")]
    return {f for place in files for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()}


def test_kernels_take_nothing_from_files_that_the_fingerprint_leaves_out() -> None:
    covered = {
        *map(Path, kernel_cache._sources(str(PACKAGE))),
        Path(kernel_cache.__file__),
    }  # which only `load` asks for the folder
    assert {p for p in PACKAGE.rglob("*.py") if "nfsleuth.compiled import" in p.read_text()} <= covered
    packages = {PACKAGE / "sharing" / "__init__.py"}  # holds a docstring
    for path in covered:
        assert imported(path) <= covered | packages, path


def test_the_folder_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(kernel_cache.VARIABLE)
    monkeypatch.setattr(kernel_cache, "user_cache", lambda: str(tmp_path))
    kernel_cache.prepare()
    folder = Path(os.environ[kernel_cache.VARIABLE])
    assert folder == tmp_path / "nfsleuth" / kernel_cache.fingerprint(str(PACKAGE))
    assert folder.is_dir()


def test_a_folder_that_the_user_chose_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path / "mine"))
    kernel_cache.prepare()
    assert os.environ[kernel_cache.VARIABLE] == str(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs users and modes as POSIX has them")
def test_without_a_home_the_folder_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tempfile

    monkeypatch.delenv(kernel_cache.VARIABLE)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setattr(kernel_cache, "user_cache", lambda: str(blocked))
    kernel_cache.prepare()
    home = Path(os.environ[kernel_cache.VARIABLE]).parent
    assert home == tmp_path / f"nfsleuth-{os.getuid()}"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    home.chmod(0o777)  # somebody else may have put code there
    monkeypatch.delenv(kernel_cache.VARIABLE)
    kernel_cache.prepare()
    assert Path(os.environ[kernel_cache.VARIABLE]).parent != home


def test_old_folders_go_when_nobody_has_used_them_for_a_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "nfsleuth"
    ages = {"0" * 32: 9, "1" * 32: 3, "2" * 32: 5, "3" * 32: 0.5, "not-ours": 99}
    for name, days in ages.items():
        (home / name).mkdir(parents=True)
        (home / name / "k.nbi").touch()
        then = time.time() - days * kernel_cache.DAY
        os.utime(home / name, (then, then))
    monkeypatch.delenv(kernel_cache.VARIABLE)
    monkeypatch.setattr(kernel_cache, "user_cache", lambda: str(tmp_path))
    kernel_cache.prepare()
    here = Path(os.environ[kernel_cache.VARIABLE]).name
    assert {p.name for p in home.iterdir()} == {here, "3" * 32, "not-ours"}


def test_compiled_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path))
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    assert not kernel_cache.is_compiled()
    kernel_cache.mark_compiled()
    assert kernel_cache.is_compiled()
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path / "gone"))
    kernel_cache.mark_compiled()
    assert not kernel_cache.is_compiled()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert kernel_cache.is_compiled()


def test_a_folder_that_the_user_names_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path / "not" / "there"))
    load._folder.cache_clear()
    try:
        assert load._folder() == str(tmp_path / "not" / "there")
        assert (tmp_path / "not" / "there").is_dir()
        (tmp_path / "file").touch()
        monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path / "file" / "below"))
        load._folder.cache_clear()
        with pytest.raises(NfsleuthError, match="name another in NUMBA_CACHE_DIR"):
            load._folder()
    finally:
        load._folder.cache_clear()
