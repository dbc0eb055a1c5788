"""The rows that a trace is made of: their dtypes, and the enumerations that they use.

Kernels fill these tables, Python and Polars read them. Addresses are 128 bits in two `uint64` halves (IPv4 as
``::ffff:a.b.c.d``), a MAC is the low 48 bits of a `uint64` (`NO_MAC` where no link layer was seen), times are ns since
1970 UTC, frame numbers are Wireshark's. Text lies in a byte arena beside the table: `at` and `length` say where.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

NO_MAC = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
CLIENT, SERVER = 0, 1  # index of a direction: what the client sent, what the server sent


class Role(IntEnum):
    """How it is known which end is the client; a later value is the better knowledge."""

    GUESS = 0  # the end that was seen first, or the one without the port 2049
    SYN = 1  # it sent the SYN
    RPC = 2  # it sent an RPC call that was not an NFSv4 callback


class Program(IntEnum):
    """Bits of the RPC programs seen on a connection (RFC 5531 section 13.1; numbers assigned by IANA)."""

    PORTMAP = 1  # 100000
    NFS = 2  # 100003
    MOUNT = 4  # 100005
    NLM = 8  # 100021
    NSM = 16  # 100024
    NFSACL = 32  # 100227
    CALLBACK = 64  # 0x40000000 to 0x5fffffff, NFSv4 callbacks: called by the server
    OTHER = 128


class Version(IntEnum):
    """Bits of the NFS versions seen on a connection."""

    V2 = 1
    V3 = 2
    V4_0 = 4
    V4_1 = 8
    V4_2 = 16


class Flavor(IntEnum):
    """Bits of the RPC credential flavours seen (RFC 5531 section 8.2, RFC 2203, RFC 9289)."""

    NONE = 1
    SYS = 2
    SHORT = 4
    DH = 8
    GSS = 16  # RPCSEC_GSS
    TLS = 32  # AUTH_TLS probe: what follows is encrypted
    GSS_HIDDEN = 64  # RPCSEC_GSS with privacy: arguments not read
    OTHER = 128


CONNECTION = np.dtype(
    [
        ("uid", np.int64),  # number of the connection in this trace, from 0
        ("client_hi", np.uint64),  # address of the client
        ("client_lo", np.uint64),
        ("server_hi", np.uint64),
        ("server_lo", np.uint64),
        ("client_port", np.uint16),
        ("server_port", np.uint16),
        ("transport", np.uint8),  # IP protocol: 6 TCP, 17 UDP
        ("role", np.uint8),  # Role
        ("vlan", np.uint16),  # innermost 802.1Q VLAN, 0 none
        ("client_mac", np.uint64),  # source of the client's first frame
        ("server_mac", np.uint64),
        ("client_mac_last", np.uint64),  # source of its last frame: differs if the address moved
        ("mac_changes", np.int32),  # times that the client's source MAC changed
        ("programs", np.uint16),  # Program
        ("versions", np.uint8),  # Version
        ("flavors", np.uint8),  # Flavor
        ("ttl_min", np.uint8, 2),  # smallest TTL or hop limit seen per direction; 0 none
        ("ttl_max", np.uint8, 2),
        ("syn_frame", np.int64),  # frame of the client's first SYN; 0 none
        ("syn_time", np.int64),
        ("syns", np.int32),  # SYNs with a sequence number of their own: above 1, the ports were used again
        ("syn_ttl", np.uint8),
        ("syn_wscale", np.uint8),  # 255: no option
        ("syn_window", np.uint16),
        ("syn_mss", np.uint16),  # 0: no option
        ("syn_flags", np.uint8),  # 1 DF, 2 IP id not 0, 4 ECN, 8 options malformed, 16 TS option with value 0
        ("syn_options", np.uint64),  # option kinds in order, one nibble each from the lowest, 0xF ends; see wire.tcp
        ("handshake", np.int64),  # ns from SYN-ACK to the client's ACK; -1 not seen
        ("first", np.int64),  # time of first and last frame
        ("last", np.int64),
        ("first_frame", np.int64),
        ("last_frame", np.int64),
        ("frames", np.int64, 2),  # per direction
        ("payload", np.int64, 2),  # bytes above TCP or UDP as on the wire, retransmissions included
        ("retransmitted", np.int64, 2),  # segments that brought nothing new
        ("keepalives", np.int64, 2),  # keep-alive probes (RFC 9293 section 3.8.4)
        ("zero_windows", np.int64, 2),
        ("gaps", np.int64, 2),  # times that bytes were missing where a record mark could have been
        ("calls", np.int64),  # RPC calls and replies decoded, callbacks not included
        ("replies", np.int64),  # of these, matched to a call
        ("nfs_calls", np.int64),  # calls of the NFS program
        ("errors", np.int64),  # replies with an NFS status other than 0
        ("reads", np.int64),  # READ operations answered
        ("read_bytes", np.int64),  # bytes that the server returned for them
        ("read_busy", np.int64),  # ns with at least one READ outstanding
        ("writes", np.int64),
        ("write_bytes", np.int64),
        ("write_busy", np.int64),
        ("last_call", np.int64),  # time of the client's last RPC call, 0 none: keep-alives and the server do not count
        ("untimed", np.int64),  # stretches with RPC that became no INTERVAL: too short, unanswered, messages missing
        ("untimed_bytes", np.int64),  # of RPC messages in these
    ],
    align=True,
)


class Identity(IntEnum):
    """What an IDENTITY row holds: its text, and its numbers `a` and `b`."""

    MACHINE_NAME = 1  # AUTH_SYS machinename; a = stamp, b = uid
    CLIENT_ID = 2  # SETCLIENTID nfs_client_id4.id; a = verifier
    CALLBACK = 3  # SETCLIENTID r_netid NUL r_addr; a = callback program
    CLIENT_OWNER = 4  # EXCHANGE_ID co_ownerid; a = verifier, b = flags
    IMPLEMENTATION = 5  # EXCHANGE_ID nii_domain NUL nii_name, of the client; a = nii_date seconds
    SERVER_IMPLEMENTATION = 6  # the same, of the server
    SESSION_MACHINE = 7  # CREATE_SESSION callback AUTH_SYS machinename; a = stamp
    SESSION = 8  # SEQUENCE sessionid; a, b = its halves; no text
    CLIENTID = 9  # clientid4 in RENEW, OPEN, SETCLIENTID_CONFIRM, CREATE_SESSION; a = clientid; no text
    OPEN_OWNER = 10  # OPEN open_owner4.owner; a = clientid
    LOCK_OWNER = 11  # LOCK lock_owner4.owner; a = clientid
    NLM_CALLER = 12  # NLM caller_name; a = svid
    NLM_OWNER = 13  # NLM oh
    MOUNT_PATH = 14  # MNT dirpath
    FILE_NAME = 15  # a name looked up, opened, made, removed or renamed; a = procedure or operation
    EXCLUSIVE_VERIFIER = 16  # createverf3 or createverf of OPEN; a = verifier; no text
    NSM_NAME = 17  # SM_NOTIFY or SM_MON mon_name


IDENTITY = np.dtype(
    [
        ("uid", np.int64),  # connection
        ("kind", np.uint8),  # Identity
        ("from_client", np.uint8),  # 1 sent by the client, 0 by the server
        ("cut", np.uint8),  # 1 the text is longer than what was captured
        ("length", np.int32),
        ("at", np.int64),  # of the text in the arena
        ("a", np.uint64),
        ("b", np.uint64),
        ("frame", np.int64),
        ("time", np.int64),
    ],
    align=True,
)

MAX_OPS = 16  # operations of a COMPOUND that a CALL row names

CALL = np.dtype(
    [
        ("uid", np.int64),  # connection
        ("xid", np.uint32),
        ("program", np.uint32),
        ("version", np.uint32),
        ("procedure", np.uint32),
        ("minor", np.uint8),  # NFSv4 minor version
        ("main", np.uint8),  # the operation that the COMPOUND is about (NFSv4), 0 otherwise
        ("ops_count", np.uint16),  # operations that the COMPOUND announces (at most 65535)
        ("ops", np.uint8, MAX_OPS),  # the first of them; 255: number above 254, 0: not read
        ("flavor", np.uint8),  # Flavor bit
        ("flags", np.uint8),  # CALL_ flags below
        ("status", np.int32),  # NFS status; -1 no reply, -2 not decoded, -(100 + accept_stat), -200 denied
        ("handle", np.uint64),  # hash of the file handle that the main operation works on; 0 none
        ("object", np.uint64),  # hash of what GETFH or LOOKUP brought, which the next two are of; 0: of `handle`
        ("fsid", np.uint64),  # file system: NFSv3's number, a hash of NFSv4's two
        ("change", np.uint64),  # NFSv4 change attribute, NFSv3 mtime (seconds << 32 | ns)
        ("offset", np.uint64),  # READ, WRITE, COMMIT
        ("count", np.uint32),  # bytes asked for
        ("bytes", np.uint32),  # bytes read or written according to the reply
        ("call_bytes", np.uint32),  # lengths of the RPC messages
        ("reply_bytes", np.uint32),
        ("call_frame", np.int64),  # frame in which the message begins
        ("reply_frame", np.int64),  # 0 none
        ("call_time", np.int64),  # when the call's first byte was captured
        ("reply_time", np.int64),
        ("name_at", np.int64),  # file name in the arena
        ("name_length", np.int32),
    ],
    align=True,
)
CALL_FROM_SERVER = 1  # a callback
CALL_CUT = 2  # arguments not captured or not decoded to their end
CALL_HIDDEN = 4  # RPCSEC_GSS with privacy
CALL_REPLY_CUT = 8  # results not captured or not decoded to their end
CALL_RETRANSMITTED = 16  # the same xid was seen outstanding before
CALL_SETS_SIZE = 32  # SETATTR that makes the file shorter or longer, as far as can be told
CALL_CHANGE = 64  # `change` is known. This and the next only where calls are kept
CALL_FSID = 128  # `fsid` is known

NEIGHBOUR = np.dtype(
    [
        ("mac", np.uint64),  # source MAC
        ("hi", np.uint64),  # source address that it sent from; both halves 0 for a BRIDGE
        ("lo", np.uint64),
        ("kind", np.uint8),  # Neighbour
        ("ttl_min", np.uint8),
        ("ttl_max", np.uint8),
        ("frames", np.int64),
        ("first_frame", np.int64),
    ],
    align=True,
)


class Neighbour(IntEnum):
    """How a MAC and an address were seen together."""

    IP = 1  # source of an IP packet
    ARP = 2  # sender of an ARP packet: the address is on this link
    ND = 3  # IPv6 neighbour discovery, hop limit 255: on this link
    BRIDGE = 4  # bridge id of a spanning-tree frame (802.1D): a switch or a hypervisor's bridge
    ROUTER = 5  # sender of VRRP, HSRP, CARP, router advertisements or a routing protocol


class Spent(IntEnum):
    """What the time of an INTERVAL went by with, as far as the stream alone tells: index of `INTERVAL.spent`."""

    SERVER = 0  # calls are there, and of their replies nothing comes
    WIRE = 1  # a reply comes, and the client's window has room: the pace of the wire, or of the congestion window
    RECOVERY = 2  # from a retransmission until all that was sent before it is acknowledged
    WINDOW = 3  # the client's window is full
    UNACKED = 4  # the server sent all that it was asked for, and not all of it is acknowledged
    TURN = 5  # everything is acknowledged, nothing is asked for: until the next call, which comes soon
    IDLE = 6  # the same, but the next call comes late
    SEND = 7  # a call comes, and the server's window has room
    SERVER_WINDOW = 8  # a call comes, and the server's window is full


class Pace(IntEnum):
    """What follows each other: index of `INTERVAL.pace_...`."""

    ACKS = 0  # the client's acknowledgments while data is under way
    CALL = 1  # segments inside a call


INTERVAL = np.dtype(
    [
        ("uid", np.int64),  # connection
        ("begin", np.int64),  # of its first call
        ("end", np.int64),
        ("idle", np.int64),  # ns since the end of the interval before it; -1 it is the connection's first
        ("bytes", np.int64, 2),  # of RPC messages, per direction
        ("squares", np.float64, 2),  # sum of the squares of their lengths: tells large messages among small ones
        ("calls", np.int64),  # answered
        ("spent", np.int64, len(Spent)),  # ns; the sum is at most end - begin
        ("acks", np.int64),  # of the client, that acknowledged something new
        ("acked", np.int64),  # bytes that these acknowledged
        ("pace_count", np.int32, len(Pace)),
        ("pace_time", np.int64, len(Pace)),  # ns from one to the next, summed up
        ("pace_steady", np.int64, len(Pace)),  # of this, where the rate was that of the one before within a third
        ("drains", np.int64),  # times that UNACKED ended in everything being acknowledged
        ("shortest_ack", np.int64),  # ns from data or SYN to its acknowledgment, the least so far; -1 unknown
        ("peak", np.int32),  # most calls outstanding at a time
        ("at_peak", np.int64),  # ns of SERVER with that many outstanding
        ("waited", np.int64),  # sum over calls of the ns that they waited for the first byte of their reply
        (
            "shortest_wait",
            np.int64,
        ),  # the least such wait of a call that was alone, on this connection so far; -1 unknown
        ("zero_windows", np.int32),  # frames of the client that said so
        ("retransmitted", np.int32),  # segments of either direction
    ],
    align=True,
)
"""A stretch of time in which a connection moved file data (`trace.flows`)."""


CLOCK = np.dtype(
    [
        ("uid", np.int64),  # connection
        ("time", np.int64),
        ("frame", np.int64),
        ("value", np.uint32),  # TSval, RFC 7323 section 3.2: the sender's clock, in ticks
        ("port", np.uint16),  # that it was sent from: who the client is may show later
    ],
    align=True,
)
"""A sample of a client's TCP clock (`trace.clocks`)."""


class Oddity(IntEnum):
    """Why something was skipped or not decoded. Counted, with the first frame, and always shown."""

    FRAME_CUT = 0  # headers incomplete: snaplen too small for them
    LINK_UNKNOWN = 1  # link type that nfsleuth does not read
    NOT_IP = 2  # counted, not odd: ARP, STP and the like
    IP_MALFORMED = 3
    IP_FRAGMENT_LATER = 4  # later fragment whose first one was not seen
    TRANSPORT_OTHER = 5  # IP, but neither TCP nor UDP
    TCP_MALFORMED = 6
    TCP_OPTIONS_MALFORMED = 7
    SEGMENT_REPEATED = 8  # retransmission or duplicate
    SEGMENT_HELD = 9  # out of order, put right
    GAP = 10  # bytes missing from the capture where a record mark could be
    RESYNCHRONISED = 11  # a record was found again after a gap or a start in the middle
    RECORD_MARK_INSANE = 12  # length above the limit, or no RPC header behind it
    RECORD_CUT = 13  # an RPC message whose decoding ended at the snaplen or a gap
    NOT_RPC = 14  # connection given up: no RPC in it
    RPC_MALFORMED = 15
    RPC_PROGRAM_OTHER = 16  # RPC of a program that nfsleuth does not decode
    OPERATION_UNKNOWN = 17  # ended the decoding of a COMPOUND
    XDR_MALFORMED = 18  # lengths or values that cannot be
    BODY_HIDDEN = 19  # RPCSEC_GSS with privacy
    TLS = 20  # connection encrypted after AUTH_TLS
    REPLY_UNMATCHED = 21  # reply without a call in the capture
    CALL_UNANSWERED = 22  # call without a reply in the capture
    CALL_RETRANSMITTED = 23
    CONNECTIONS_DROPPED = 24  # least recently used, when the budget was full
    CALLS_DROPPED = 25  # pending calls given up, when the budget was full
    HELD_DROPPED = 26  # out-of-order segments given up, when the budget was full
    IDENTITIES_DROPPED = 27  # texts not looked at, when a connection's budget was full
    NEIGHBOURS_DROPPED = 28
    TIME_BACKWARDS = 29  # a frame older than the one before it
    TUNNEL = 30  # GRE, IP in IP, VXLAN, Geneve: not followed
    REPLY_EARLY = 31  # before its call in the capture, put right
