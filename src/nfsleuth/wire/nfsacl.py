"""NFSACL, Sun's side protocol for POSIX ACLs beside NFSv2 and v3, as tables.

No RFC holds it; it is what Solaris (`nfs_acl.x`), Linux and Wireshark agree on.
"""

from __future__ import annotations

from nfsleuth.wire.nfs2 import NFS2
from nfsleuth.wire.nfs3 import NFS3
from nfsleuth.wire.xdr import Protocol, parse

_SECATTR = """
aclent = type:u32 id:u32 perm:u32
secattr = mask:u32 aclcnt:u32 aclent:aclent<1024> dfaclcnt:u32 dfaclent:aclent<1024>
0 NULL        void -> void
"""

TABLE2 = """
1 GETACL      fh:fhandle@HANDLE mask:u32 => attr:fattr acl:secattr
2 SETACL      fh:fhandle@HANDLE acl:secattr => attr:fattr
3 GETATTR     fh:fhandle@HANDLE => attr:fattr
4 ACCESS      fh:fhandle@HANDLE access:u32 => attr:fattr access:u32
5 GETXATTRDIR fh:fhandle@HANDLE create:bool => fh:fhandle@HANDLE attr:fattr
"""

TABLE3 = """
1 GETACL      fh:nfs_fh3@HANDLE mask:u32 => attr:post_op_attr acl:secattr; else: attr:post_op_attr
2 SETACL      fh:nfs_fh3@HANDLE acl:secattr => attr:post_op_attr; else: attr:post_op_attr
3 GETXATTRDIR fh:nfs_fh3@HANDLE create:bool => fh:nfs_fh3@HANDLE attr:post_op_attr
"""


def _types_of(protocol: Protocol) -> Protocol:
    """The types of `protocol` without its procedures."""
    return Protocol(protocol.title, protocol.types, protocol.constants, {})


NFSACL2 = parse("NFSACLv2", _SECATTR + TABLE2, base=_types_of(NFS2))
NFSACL3 = parse("NFSACLv3", _SECATTR + TABLE3, base=_types_of(NFS3))
