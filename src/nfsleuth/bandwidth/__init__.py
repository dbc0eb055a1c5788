"""How fast a client reads: timed by reading (`active`), or told from a capture and compared with known clients.

Timings and `clients.rates.Rates` come in; intervals, profiles and likelihoods go out. The modules of this folder are
pure; `active` creates files, drops caches and reads them against the clock.
"""
