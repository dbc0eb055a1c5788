"""Tests of fusion, verdicts and hosts."""
