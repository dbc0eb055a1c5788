"""Bytes come in, their BLAKE2 digest (RFC 7693) goes out.

It is `hashlib.blake2b`, taken from where `hashlib` takes it: importing `hashlib` loads OpenSSL for its other digests,
which takes 3 ms at every start.
"""

try:
    from _blake2 import blake2b
except ImportError:  # a Python that keeps it elsewhere
    from hashlib import blake2b

__all__ = ["blake2b"]
