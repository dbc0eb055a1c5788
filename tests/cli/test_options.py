"""What commands share: the text of their JSON."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from nfsleuth.cli.options import json_text
from nfsleuth.evidence.model import State

# Whatever a capture may say is in a document: lone surrogates (of a file's name on the command line), C1 control
# characters, DEL.
TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(["\x1b[2J", "\x9b2J", "\x7f", "\ud800", "\U0001f980", ""])
NUMBERS = st.integers() | st.floats()
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_json_is_what_python_makes_of_it(document):
    assert json_text(document) == json.dumps(document, indent=2) + "\n"


@given(DOCUMENTS)
def test_json_sends_nothing_to_a_terminal_but_ascii(document):
    assert all(" " <= character <= "~" for line in json_text(document).split("\n") for character in line)


def test_json_of_numbers_that_json_lacks():
    assert json_text([math.nan, math.inf]) == "[\n  NaN,\n  Infinity\n]\n"


def test_states_are_text_in_json():
    assert json_text({State.NATIVE: State.UNKNOWN}) == '{\n  "native": "unknown"\n}\n'
