"""What protocol tables mark for the tracker: numbers of the rows that `walk` reports.

They stand apart from `xdr`, which only the compiler of kernels and the full decoder need.
"""

from __future__ import annotations

from enum import IntEnum


class Mark(IntEnum):
    """What the tracker wants to find: rows of the `marks` table of `walk`."""

    STATUS = 0  # first number of results
    HANDLE = 1  # file handle: PUTFH, object or directory of NFSv2 and v3, NLM; in results, the one that the server gave
    OFFSET = 2  # READ, WRITE, COMMIT
    COUNT = 3  # the same: bytes asked for; in results, bytes read or written (for NFSv4 READ, the length of the data)
    NAME = 4  # component that is looked up, opened, made, removed, or the old name
    NAME2 = 5  # the new name of RENAME
    OWNER = 6  # open_owner4 or lock_owner4; in results, that of a conflicting lock
    CLIENTID = 7  # clientid4
    VERIFIER = 8  # SETCLIENTID, EXCHANGE_ID: boot instance of the client
    EXCL_VERIFIER = 9  # createverf3, createverf of OPEN
    CLIENT_ID = 10  # nfs_client_id4.id, co_ownerid
    NETID = 11  # SETCLIENTID r_netid
    ADDR = 12  # SETCLIENTID r_addr
    CB_PROGRAM = 13  # SETCLIENTID, CREATE_SESSION, BACKCHANNEL_CTL
    IMPL_DOMAIN = 14  # nfs_impl_id4: of the client in arguments, of the server in results
    IMPL_NAME = 15
    IMPL_DATE = 16  # its seconds, 64 bits
    SESSION = 17  # sessionid4, 16 bytes
    SEC_MACHINE = 18  # machinename in csa_sec_parms
    SEC_STAMP = 19  # stamp there
    FLAGS = 20  # eia_flags, eir_flags
    PATH = 21  # MOUNT dirpath
    CALLER = 22  # NLM caller_name, name of FREE_ALL
    OH = 23  # NLM owner handle
    SVID = 24  # NLM svid
    MON_NAME = 25  # NSM


N_MARKS = len(Mark)
FOUND = N_MARKS  # the row behind them: bit m of its first number is set if mark m was found
SHAPE = (N_MARKS + 1, 3)  # of the `marks` table
