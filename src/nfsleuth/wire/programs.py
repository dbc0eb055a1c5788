"""RPC programs by number, the table of each version, and all tables compiled to one code array with its entry tables.

Numbers come in, entries for `walk` come out. This module costs a few milliseconds when it is imported and does not need
numba.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from nfsleuth.wire.mount import MOUNT1, MOUNT2, MOUNT3
from nfsleuth.wire.nfs2 import NFS2
from nfsleuth.wire.nfs3 import NFS3
from nfsleuth.wire.nfs4 import CALLBACK, NFS4
from nfsleuth.wire.nfsacl import NFSACL2, NFSACL3
from nfsleuth.wire.nlm import NLM3, NLM4
from nfsleuth.wire.nsm import NSM1
from nfsleuth.wire.portmap import PORTMAP2, RPCBIND3, RPCBIND4
from nfsleuth.wire.xdr import ENTRIES, Compiler, Protocol, entry_tables

# Numbers are assigned by IANA (RFC 5531 section 13)
PORTMAP = 100000
NFS = 100003
MOUNT = 100005
RQUOTA = 100011
NLM = 100021
NSM = 100024
NFSACL = 100227
NFS_CB = 0x40000000  # NFSv4 callbacks: the client chooses from here to 0x5fffffff, the transient programs
NFS_CB_LAST = 0x5FFFFFFF

NAMES = {
    PORTMAP: "portmap",
    NFS: "nfs",
    MOUNT: "mount",
    RQUOTA: "rquota",
    NLM: "nlm",
    NSM: "nsm",
    NFSACL: "nfsacl",
}


def program_name(program: int) -> str:
    """Name of an RPC program: one of NAMES, ``nfs_cb``, or its number."""
    if NFS_CB <= program <= NFS_CB_LAST:
        return "nfs_cb"
    return NAMES.get(program, str(program))


class Table(IntEnum):
    """A protocol version: row of ARGS and RESULTS."""

    NFS2 = 0
    NFS3 = 1
    NFS4 = 2  # operations, not procedures
    CALLBACK = 3  # operations of CB_COMPOUND
    MOUNT1 = 4
    MOUNT2 = 5
    MOUNT3 = 6
    NLM3 = 7  # and 1, 2
    NLM4 = 8
    NSM1 = 9
    PORTMAP2 = 10
    RPCBIND3 = 11
    RPCBIND4 = 12
    NFSACL2 = 13
    NFSACL3 = 14


PROTOCOLS: tuple[Protocol, ...] = (
    NFS2,
    NFS3,
    NFS4,
    CALLBACK,
    MOUNT1,
    MOUNT2,
    MOUNT3,
    NLM3,
    NLM4,
    NSM1,
    PORTMAP2,
    RPCBIND3,
    RPCBIND4,
    NFSACL2,
    NFSACL3,
)

# (program, version) -> table. Callback programs have a number of their own each: `table_of` knows them.
_TABLES = {
    (NFS, 2): Table.NFS2,
    (NFS, 3): Table.NFS3,
    (NFS, 4): Table.NFS4,
    (MOUNT, 1): Table.MOUNT1,
    (MOUNT, 2): Table.MOUNT2,
    (MOUNT, 3): Table.MOUNT3,
    (NLM, 1): Table.NLM3,
    (NLM, 2): Table.NLM3,
    (NLM, 3): Table.NLM3,
    (NLM, 4): Table.NLM4,
    (NSM, 1): Table.NSM1,
    (PORTMAP, 2): Table.PORTMAP2,
    (PORTMAP, 3): Table.RPCBIND3,
    (PORTMAP, 4): Table.RPCBIND4,
    (NFSACL, 2): Table.NFSACL2,
    (NFSACL, 3): Table.NFSACL3,
}


def table_of(program: int, version: int) -> Table | None:
    """The table of an RPC program's version, or None if nfsleuth does not decode it."""
    if NFS_CB <= program <= NFS_CB_LAST:
        return Table.CALLBACK
    return _TABLES.get((program, version))


def procedure_name(program: int, version: int, procedure: int) -> str:
    """Name of an RPC procedure (``COMPOUND`` for NFSv4), or its number."""
    table = table_of(program, version)
    if table in (Table.NFS4, Table.CALLBACK):
        return {0: "NULL", 1: "COMPOUND"}.get(procedure, str(procedure))
    found = None if table is None else PROTOCOLS[table].procedures.get(procedure)
    return found.name if found else str(procedure)


def operation_name(number: int, *, callback: bool = False) -> str:
    """Name of an NFSv4 operation, or its number."""
    found = (CALLBACK if callback else NFS4).procedures.get(number)
    return found.name if found else str(number)


def _compile() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    compiler = Compiler()
    args = np.empty((len(PROTOCOLS), ENTRIES), np.int32)
    results = np.empty((len(PROTOCOLS), ENTRIES), np.int32)
    for row, protocol in enumerate(PROTOCOLS):
        args[row], results[row] = entry_tables(compiler, protocol.procedures)
    return compiler.array(), args, results


# CODE: int32[n], the code of all tables. ARGS and RESULTS: int32[len(Table), ENTRIES], where the code of a procedure or
# operation begins, -1 if there is none.
CODE, ARGS, RESULTS = _compile()

# int64[n, 3]: program, version, row of ARGS and RESULTS; for `walk.row_of`. Callbacks are not among them.
VERSIONS = np.array([(program, version, table) for (program, version), table in _TABLES.items()], np.int64)

NFS2_ARGS, NFS2_RESULTS = ARGS[Table.NFS2], RESULTS[Table.NFS2]
NFS3_ARGS, NFS3_RESULTS = ARGS[Table.NFS3], RESULTS[Table.NFS3]
NFS4_ARGS, NFS4_RESULTS = ARGS[Table.NFS4], RESULTS[Table.NFS4]
CB_ARGS, CB_RESULTS = ARGS[Table.CALLBACK], RESULTS[Table.CALLBACK]
MOUNT3_ARGS, MOUNT3_RESULTS = ARGS[Table.MOUNT3], RESULTS[Table.MOUNT3]
OP_ILLEGAL = 10044  # beyond the entry tables: no arguments, and results that are a status only
ILLEGAL_RESULT = int(NFS4_RESULTS[16])  # LOOKUPP answers with a status, too
