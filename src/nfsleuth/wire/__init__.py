"""Bytes of one protocol layer come in, its fields go out: one module per layer, pure, compiled.

The NFS programs are tables (`nfs3`, `nfs4`, ...) that one interpreter (`walk`) and one decoder (`xdr`) read.
"""
