"""Tables, figures and the report of a run: an experiment, its timings and its conditions come in, text and images go
out. Pure: `pages` gives files by name; somebody else writes them.

The study is R. Jellinek, A. Vail, "NFS Trace Deconstruction" (2013). What was measured is printed as it is, also where
it does not agree with the study.
"""

from nfsleuth.lab.results.rates import counted
from nfsleuth.lab.results.report import conditions, pages
from nfsleuth.lab.results.study import Extra, is_study

__all__ = ["Extra", "conditions", "counted", "is_study", "pages"]
