"""Label files, as the lab writes them beside its captures, come in; their JSON goes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST_LABELS = 1 << 24  # bytes of a label file that are read


def label_document(file: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The JSON of a label file, of which no more than MOST_LABELS bytes are read. Raises OSError, ValueError,
    RecursionError."""
    with file.open("rb") as stream:
        return json.loads(stream.read(MOST_LABELS))
