"""Chunks come in, rows go out: connections followed, calls matched to replies, and what clients say of themselves.

The tracker does no I/O: whoever has chunks, from a file, a pipe or a live interface, feeds it.
"""
