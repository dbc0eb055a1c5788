"""The command line in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nfsleuth import cli, kernel_cache

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process: its exit code, standard output and standard error."""
    monkeypatch.setattr(kernel_cache, "is_compiled", lambda: True)
    monkeypatch.setattr(kernel_cache, "mark_compiled", lambda: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run
