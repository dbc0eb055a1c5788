"""Facts of a household of clients come in, `Evidence` rows go out: one file per heuristic.

A heuristic is a module of this package with a docstring in five sections and a function ``observe(client, around)``;
being in the folder is the registration. `gate` says whose MAC is seen and is asked by the rules that need it.
"""

from __future__ import annotations

from types import ModuleType

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.model import HYPOTHESES, Evidence, Group, State
from nfsleuth.evidence.registry import modules_with
from nfsleuth.evidence.rules import Rules

__all__ = ["HYPOTHESES", "Evidence", "Group", "Rules", "State", "heuristics", "weigh"]


def heuristics() -> dict[str, ModuleType]:
    """Every heuristic's module by name, in alphabetical order."""
    return modules_with("observe", __name__)


def weigh(client: Facts, around: Household, rules: Rules) -> list[Evidence]:
    """All evidence about `client`, counted and set aside, in the order of the rules' names."""
    return [e for module in heuristics().values() for e in module.observe(client, around, rules)]
