"""What commands share: the text of their JSON."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.cli.options import json_text
from nfsleuth.evidence.model import State
from nfsleuth.report.json_report import rounded

# Whatever a capture may say is in a document: lone surrogates (of a file's name on the command line), C1 control
# characters, DEL.
TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(["\x1b[2J", "\x9b2J", "\x7f", "\ud800", "\U0001f980", ""])
NUMBERS = st.integers() | st.floats()
ROUNDED = st.builds(rounded, st.floats(-1, 1) | st.floats(0, 1e300), st.sampled_from([3, 4, 6]))  # rates, weights, ...


def documents(numbers):
    return st.recursive(
        st.none() | st.booleans() | numbers | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=20,
    )


DOCUMENTS = documents(NUMBERS)


@given(DOCUMENTS)
def test_json_is_what_python_makes_of_it(document):
    assert json_text(document) == json.dumps(document, indent=2) + "\n"


@given(documents(st.integers() | ROUNDED))
def test_json_of_a_report_is_what_python_makes_of_it(document):
    assert json_text(document, reported=True) == json.dumps(document, indent=2) + "\n"


def test_small_numbers_of_a_report_are_written_as_python_does():
    assert [rounded(p) for p in (0.00002, 1.5e16, 0.5)] == [0.00002, 1.5e16, 0.5]
    assert (
        json_text([rounded(p) for p in (0.00002, 1.5e16, 0.5)], reported=True) == "[\n  2e-05,\n  1.5e+16,\n  0.5\n]\n"
    )


@given(DOCUMENTS)
def test_json_sends_nothing_to_a_terminal_but_ascii(document):
    assert all(" " <= character <= "~" for line in json_text(document).split("\n") for character in line)


def test_json_of_numbers_that_json_lacks():
    assert json_text([math.nan, math.inf]) == "[\n  NaN,\n  Infinity\n]\n"


def test_states_are_text_in_json():
    assert json_text({State.NATIVE: State.UNKNOWN}) == '{\n  "native": "unknown"\n}\n'
