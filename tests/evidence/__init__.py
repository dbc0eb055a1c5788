"""Tests of the heuristics: each has an example and a confusion."""
