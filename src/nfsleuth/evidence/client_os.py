"""Which NFS client software is it? Facts come in, a name with its reasons goes out.

Source ports and SYNs mean something only against what the client's own software would do, so `source_port` and
`syn_fingerprint` ask here first. Nothing below NFS is used: behind a user-mode network those layers are the host's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.clients.text import decode
from nfsleuth.evidence.addresses import parse
from nfsleuth.evidence.once import once_per_client

KERNELS = ("linux", "macos", "freebsd", "windows", "esxi", "solaris")

# Owner strings. Linux: fs/nfs/nfs4proc.c; libnfs: lib/nfs_v4.c; Ganesha: FSAL_PROXY_V4 (seen in the lab); the ESXi
# ones are not published: the product's name in the text is taken as its word. Patterns that few captures ask for are
# text, which `re` compiles at the first use.
OWNERS = (
    (rb"^(GNU/)?Linux NFSv4\.", "linux"),
    (rb"^Libnfs pid:", "libnfs"),
    (rb"GANESHA NFSv4 Proxy", "ganesha"),
    (rb"VMkernel|VMware ESX|\bESXi?\b", "esxi"),
    (rb"(?i)pynfs|python", "python"),
    (rb"(?i)nfs4j|dCache", "java"),
)
IMPLEMENTATIONS = (
    ("Linux ", "linux"),
    ("FreeBSD", "freebsd"),
    ("Darwin", "macos"),
    ("SunOS", "solaris"),
    ("illumos", "solaris"),
    ("VMkernel", "esxi"),
    ("VMware", "esxi"),
    ("Windows", "windows"),
    ("libnfs", "libnfs"),
    ("nfs4j", "java"),
)
# FreeBSD: 8 bytes of the mount's file system id, then the host's UUID as text (sys/fs/nfsclient/nfs_clstate.c).
FREEBSD_OWNER = re.compile(rb"^.{8}[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.DOTALL)
LINUX_OWNER = rb"(?s)(?:GNU/)?Linux NFSv4\.(\d) (.*)"
OLD_LINUX_OWNER = rb" (?:tcp|udp|rdma)6?$"
NLM_OWNER = rb"^\d+@."  # fs/lockd/clntproc.c: pid@nodename
SHOWN = tuple(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in range(256))  # how `short` writes each byte
UPTIME_SLACK = 3.0  # s between a stamp that counts seconds and the capture's clock: stamps are whole seconds


class ClientOs(Struct, frozen=True):
    """The client software. `sure`: its own words say so; otherwise its habits suggest it. "" name: not known."""

    name: str
    sure: bool
    reasons: tuple[str, ...]

    @property
    def is_kernel(self) -> bool:
        """Whether an operating system's own client mounts here, not a program."""
        return self.name in KERNELS

    def __str__(self) -> str:
        return (self.name if self.sure else f"perhaps {self.name}") if self.name else "not known"


def client_os(client: Facts) -> ClientOs:
    """The software of `client`, from the best sign to the weakest."""
    words = list(_by_word(client))
    for name in dict.fromkeys(name for name, _ in words):
        return ClientOs(name, True, tuple(reason for other, reason in words if other == name))
    return _by_habit(client)


@once_per_client
def software(client: Facts, around: Household) -> ClientOs:
    """`client_os`, for the heuristics: they all ask."""
    return client_os(client)


def _by_word(client: Facts) -> Iterator[tuple[str, str]]:
    """What the client says of itself."""
    for owner in dict.fromkeys(record.owner for record in client.client_ids):
        name = owner_os(owner)
        if name:
            yield name, f"owner string {short(owner)}"
    for domain, implementation in client.implementations:
        for start, name in IMPLEMENTATIONS:
            if implementation.startswith(start):
                yield name, f"implementation id {domain} {implementation[:40]}"
    if any(o.startswith(b"open id:") for o in client.open_owners.sightings):
        yield "linux", "open owners begin with 'open id:'"
    if any(o.startswith(b"lock id:") for o in client.lock_owners.sightings):
        yield "linux", "lock owners begin with 'lock id:'"
    if "libnfs" in client.names:
        yield "libnfs", "AUTH_SYS machine name libnfs"
    if any(re.match(NLM_OWNER, o) for o in client.nlm_owners.sightings):
        yield "linux", "NLM owners are pid@name"


def _by_habit(client: Facts) -> ClientOs:
    """What the client does, where it does not say."""
    zero = [name for name, stamp in client.stamps if stamp == 0 and name]
    if zero and "nfsacl" in client.programs:
        # Since Linux 5.1 the stamp is 0 (net/sunrpc/auth_unix.c); its kernel probes for NFSACL at every v3 mount.
        return ClientOs("linux", True, ("AUTH_SYS stamp 0 and an NFSACL probe",))
    if zero and any(v.startswith("4") for v in client.versions):
        return ClientOs("linux", True, ("AUTH_SYS stamp 0 on NFSv4",))
    if not client.stamps and "nfsacl" in client.programs:
        return ClientOs("linux", False, ("an NFSACL probe",))  # Solaris and illumos have the protocol too
    if _counts_uptime(client):
        return ClientOs("linux", True, ("AUTH_SYS stamps count seconds since boot, as Linux before 5.1",))
    if zero and client.mount_ports and client.syns:
        return ClientOs("user-space", False, ("a whole v3 mount without an NFSACL probe",))
    if zero:
        return ClientOs("linux", False, ("AUTH_SYS stamp 0",))
    if any(name for name, stamp in client.stamps if stamp):
        return ClientOs("user-space", False, ("AUTH_SYS stamp that stands still",))
    return ClientOs("", False, ())


def _counts_uptime(client: Facts) -> bool:
    """Whether stamps grow by one a second and are no wall clock (jiffies/HZ, Linux before 5.1)."""
    points = sorted(
        (sighting.first / 1e9, stamp) for (_, stamp), sighting in client.stamps.sightings.items() if 0 < stamp < 10**9
    )
    if len(points) < 3:
        return False
    (t0, s0), rest = points[0], points[1:]
    moves = points[-1][1] - s0 >= 2
    return moves and all(abs((stamp - s0) - (time - t0)) <= UPTIME_SLACK for time, stamp in rest)


def owner_os(owner: bytes) -> str:
    """The software that writes owner strings such as `owner`, or ""."""
    for pattern, name in OWNERS:
        if re.search(pattern, owner[:1024]):
            return name
    if macos_mac(owner) is not None:
        return "macos"
    return "freebsd" if FREEBSD_OWNER.match(owner) else ""


def host_name(owner: bytes) -> str:
    """The host's name in an owner string of Linux, or "".

    fs/nfs/nfs4proc.c, nfs4_init_*_client_string: "Linux NFSv4.1 [ID/]NAME", "Linux NFSv4.0 NAME[/ID]/SERVER's address",
    with `migration` "Linux NFSv4.0 [ID/]NAME". Before 4.13 "Linux NFSv4.0 ADDRESS/ADDRESS tcp", without a name.
    """
    found = re.fullmatch(LINUX_OWNER, owner[:1024])
    if not found or re.search(OLD_LINUX_OWNER, found[2]):
        return ""
    first, *rest = decode(found[2]).split("/")
    by_server = found[1] == b"0" and rest and parse(rest[-1]) is not None
    return first if by_server or not rest else rest[-1]


def macos_mac(owner: bytes) -> bytes | None:
    """The MAC of en0 in a macOS SETCLIENTID id, or None.

    XNU bsd/nfs nfs4_init_clientid: 4 bytes counter, 6 bytes MAC, the server's sockaddr (length, family, ...), then the
    mount's names, each ended by NUL.
    """
    if len(owner) < 26 or (owner[10], owner[11]) not in ((16, 2), (28, 30)):
        return None
    names = owner[10 + owner[10] :]
    return owner[4:10] if names.count(b"\0") >= 1 else None


def short(text: bytes, most: int = 48) -> str:
    """Bytes as printable text, cut to `most` characters."""
    head = text[: most + 1]
    shown = head.decode("latin-1")
    if not (head.isascii() and shown.isprintable()):
        shown = "".join([SHOWN[b] for b in head])
    return shown if len(shown) <= most else shown[: most - 1] + "…"
