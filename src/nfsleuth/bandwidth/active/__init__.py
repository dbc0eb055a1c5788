"""The active timing: a `Plan` and a target come in, files are made there and read against the clock, `Timings` go out.

The work is done in a child process (`worker`), which the caller (`supervise.measure`) watches: a mount that hangs
blocks a process beyond the reach of any signal, so the one that waits for it must be one that can be left behind.
"""

from nfsleuth.bandwidth.active.supervise import Job, Progress, measure

__all__ = ["Job", "Progress", "measure"]
