"""Machine code gets the addresses, lengths and dtypes of what it is called with, whatever it was called with before."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numba
import numpy as np
import pytest

from nfsleuth.compiled import build, lean, load

TABLE = np.dtype([("base", np.int64)])
WIDE = np.dtype([("before", np.int64, 3), ("base", np.int64)])


def total(values: Any, table: Any, n: int, twice: bool) -> tuple[int, int]:
    """A kernel: every element of an array of any shape, a field of a record, a number and a flag."""
    result = n + table["base"]
    for value in values.flat:
        result += value * (2 if twice else 1)
    values.flat[0] = n
    return result, values.size


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """`total` as an entry, and the list of what it was compiled for."""
    made: list[Any] = []

    def built(_: Any, kinds: Any) -> Any:
        stem = tmp_path / f"total-{len(made)}"
        made.append(kinds)
        compiled = numba.njit(error_model="numpy")(total)
        build.compile_kernel(compiled, [load.spelled(k) for k in kinds], stem, lean._optimise)
        return load._files(str(stem))

    monkeypatch.setattr(load, "_built", built)
    return load.Entry("tests", "total"), made


def record(dtype: np.dtype[np.void] = TABLE, base: int = 5) -> np.void:
    table = np.zeros(2, dtype)
    table["base"] = base
    made: np.void = table[1]
    return made


def agree(entry: Any, values: np.ndarray, *rest: Any) -> None:
    """Machine code returns what Python does, and writes what Python writes, into the array that it was given."""
    twin = values.copy()
    expected = total(twin, *rest)
    assert entry(values, *rest) == tuple(map(int, expected))
    assert np.array_equal(values, twin)


def test_each_dtype_and_number_of_dimensions_has_machine_code_of_its_own(entry):
    call, made = entry
    arrays = [
        np.arange(12, dtype=t).reshape(s) for t in (np.int64, np.int32, np.uint8) for s in (12, (3, 4), (2, 3, 2))
    ]
    for _ in range(2):
        for values in arrays:
            for dtype in (TABLE, WIDE):
                agree(call, values, record(dtype), 7, False)
    assert len(made) == len({(v[1], v[2], r[1]) for v, r, *_ in made}) == 18


def test_numbers_and_flags_of_python_and_of_numpy(entry):
    call, made = entry
    for n in (-3, np.int64(9), np.uint8(200)):
        for twice in (False, True, np.bool_(True)):
            agree(call, np.arange(4), record(), n, twice)
    assert {tuple(kind[0] for kind in kinds) for kinds in made} == {("array", "record", "int", "bool")}


def test_views_begin_where_they_begin(entry):
    call, made = entry
    whole = np.arange(40)
    for start in (0, 3, 39):
        agree(call, whole[start:], record(), 1, True)
    assert len(made) == 1


def test_subclasses_of_arrays_and_records(entry, tmp_path):
    call, _ = entry
    mapped = np.memmap(tmp_path / "bytes", np.int64, "w+", shape=6)
    mapped[:] = range(6)
    rows = np.zeros(3, TABLE).view(np.recarray)
    rows["base"] = (1, 2, 3)
    assert type(rows[1]) is np.record
    agree(call, mapped, rows[1], 4, False)
    agree(call, np.arange(6), rows[2], 4, False)
    agree(call, np.arange(6), record(), 4, False)


def test_an_array_that_was_given_new_memory(entry):
    call, _ = entry
    values = np.arange(3)
    agree(call, values, record(), 2, False)
    values.resize(100_000, refcheck=False)
    agree(call, values, record(), 2, False)


def test_nothing_is_kept_alive(entry):
    call, _ = entry
    values, owner = np.arange(5), np.zeros(1, TABLE)
    call(values, owner[0], 1, False)
    gone = [weakref.ref(values), weakref.ref(owner)]
    del values, owner
    assert [ref() for ref in gone] == [None, None]


def test_threads_in_one_kernel_at_once(entry):
    call, _ = entry
    wrong: list[int] = []

    def work(number: int) -> None:
        table = record(base=number)
        for size in range(1, 400):
            values = np.full(size, number)
            if call(values, table, size, False) != (size + number + number * size, size):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_no_array_where_an_array_belongs_is_refused(entry):
    call, _ = entry
    call(np.arange(3), record(), 1, False)
    with pytest.raises(TypeError, match="a kernel takes arrays"):
        call([1, 2], record(), 1, False)


@pytest.mark.parametrize("sample", [np.arange(3), record()], ids=["array", "record"])
def test_where_objects_are_not_as_expected_numpy_is_asked(sample):
    address = sample.__array_interface__["data"][0]
    known = load._array_address if isinstance(sample, np.ndarray) else load._record_address
    assert known.__name__ == "look"
    for head in (8, 16, 24, 32):
        assert load._finder(head, sample)(sample) == known(sample) == address
