"""Facts of a household come in, a `model.Report` goes out: what each client is, how sure, why, and who shares a host.

`conclude` is the way in; `fuse` weighs, `hosts` groups, `explain` says why, `paper` is the 2013 study to compare with.
"""

from nfsleuth.verdict.conclude import conclude

__all__ = ["conclude"]
