"""Reads and changes of files come in, per physical host; out goes which bytes a host was sent more than once.

`tally.Tally` eats EVENT rows in the order of time and keeps bounded state. `result.Sharing` says per host and per file
what was sent, what of it was distinct, what several guests read, and what a cache of any size on the host would have
saved: an LRU's miss-ratio curve in one pass, exact or from a spatial sample (Waldspurger et al., SHARDS, FAST '15).
"""
