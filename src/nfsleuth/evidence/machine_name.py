"""What the client calls itself.

What it sees: AUTH_SYS machine names, NLM caller names and session machine names.
Why it tells clients apart: clouds, container engines and installers give names by habit (ip-10-0-0-1, 9f3c1d2e77aa).
Known confusions: names are free to set and outlive a move from one machine to another; so their weight stays small.
Example: 9f3c1d2e77aa is a container id; web01 says nothing.
Source: patterns in data/names.csv and in the user's rule files; weights are priors.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import NamePattern, Rules
from nfsleuth.evidence.weights import Weight, as_guest

RULE = "machine_name"
GROUP = Group.IDENTITY
# Nats at most for any name: whoever sets the name decides what it says.
MOST = 3.0
WEIGHTS: dict[str, Weight] = {}  # the weights stand beside the patterns
NAMES_READ = 8  # names of one client that are compared


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row per pattern that one of the client's names fits."""
    names = client.names + client.nlm_callers
    told: set[str] = set()
    for name in list(names)[:NAMES_READ]:
        pattern = next((p for p in rules.names if p.matches(name)), None)
        if pattern is not None and pattern.pattern not in told:
            told.add(pattern.pattern)
            yield _weight(pattern).evidence(RULE, GROUP, name[:64], names.frames(name))


def _weight(pattern: NamePattern) -> Weight:
    virtual = max(-MOST, min(MOST, pattern.virtual))
    toward: dict[State, float] = dict(as_guest(virtual)) if virtual else {}
    if pattern.state is not None:
        toward[pattern.state] = max(-MOST, min(MOST, pattern.weight))
    platform = {pattern.platform: min(MOST, pattern.platform_weight)} if pattern.platform else {}
    return Weight(pattern.says, toward, pattern.source, platform, virtual)
