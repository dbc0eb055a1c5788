"""What the 2013 study printed, to be shown beside a run: R. Jellinek and A. Vail, "NFS Trace Deconstruction".

A run's label comes in, the name of the study's configuration goes out. The figures of the study are curves without
printed values, so of its figures only what Table 2 says of them can be drawn here.
"""

from __future__ import annotations

from nfsleuth.verdict import paper

TABLE_2 = {name: mean for name, (mean, _) in paper.TABLE_2.items()}
"""Mean read bandwidth in MB/s per configuration, the fastest first."""


def configuration(label: str) -> str | None:
    """The configuration of Table 2 that a run's label names: "native", "virtio bridged", "rtl8139 user", ..."""
    text = label.lower()
    if "native" in text:
        return "native"
    nic = "virtio" if "virtio" in text else "RTL8139" if "rtl8139" in text or "8139" in text else ""
    nat = any(word in text for word in ("nat", "user", "slirp"))
    bridged = any(word in text for word in ("bridge", "tap"))
    if not nic or nat == bridged:
        return None
    return f"{nic}, {'NAT' if nat else 'bridged'}"
