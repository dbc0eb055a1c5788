"""The native client's own part: what it hands the pieces of a file to."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfsleuth.lab import experiment, native

PIECES = (b"first piece", b"second")


class Share:
    """Stands for a mounted share: hands over the pieces of one file."""

    def read(self, path: str, block: int, order: list[int] | None, consume: native.Consumer) -> int:
        for piece in PIECES:
            consume(memoryview(piece))
        return sum(map(len, PIECES))


@pytest.mark.parametrize("name", ["", "gzip", "sha256"])
def test_whatever_an_experiment_may_name_takes_pieces(name: str) -> None:
    if name:
        text = f'title = "x"\n[[natives]]\nname = "n"\nconsumer = "{name}"\n'
        assert experiment.read(text, "x").natives[0].consumer == name
    consume = native.CONSUMERS[name]()
    for piece in PIECES:
        consume(memoryview(piece))


def test_each_file_has_a_consumer_of_its_own(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[bytes]] = []

    def consumer() -> native.Consumer:
        taken.append([])
        return lambda piece: taken[-1].append(bytes(piece))

    monkeypatch.setitem(native.CONSUMERS, "gzip", consumer)
    read = native.steps(Share(), tmp_path, "n", "gzip")["read"]
    read("files/a", "4096")
    read("files/b", "4096")
    assert taken == [list(PIECES)] * 2
    assert "@lab read files/b 17 " in capsys.readouterr().out
