"""The MOUNT protocol, versions 1 (RFC 1094 appendix A), 2 (X/Open XNFS) and 3 (RFC 1813 section 5), as tables."""

from __future__ import annotations

from nfsleuth.wire.xdr import parse

TABLE1 = """
fhandle = opaque[32]
dirpath = string<1024>
name = string<255>
mountbody = ml_hostname:name ml_directory:dirpath
groupnode = gr_name:name
exportnode = ex_dir:dirpath ex_groups:groupnode*

0 NULL      void -> void
1 MNT       dirpath:dirpath@PATH => fhs_fhandle:fhandle@HANDLE
2 DUMP      void -> mountlist:mountbody*
3 UMNT      dirpath:dirpath@PATH -> void
4 UMNTALL   void -> void
5 EXPORT    void -> exports:exportnode*
6 EXPORTALL void -> exports:exportnode*
"""

TABLE2 = """
# all of it is 10 words of limits, which nobody here reads
7 PATHCONF  dirpath:dirpath@PATH -> ppathcnf:opaque[40]
"""

TABLE3 = """
fhandle3 = opaque<64>
dirpath = string<1024>
name = string<255>
mountbody = ml_hostname:name ml_directory:dirpath
groupnode = gr_name:name
exportnode = ex_dir:dirpath ex_groups:groupnode*

0 NULL      void -> void
1 MNT       dirpath:dirpath@PATH => fhandle:fhandle3@HANDLE auth_flavors:u32<>
2 DUMP      void -> mountlist:mountbody*
3 UMNT      dirpath:dirpath@PATH -> void
4 UMNTALL   void -> void
5 EXPORT    void -> exports:exportnode*
"""

MOUNT1 = parse("MOUNTv1", TABLE1)
MOUNT2 = parse("MOUNTv2", TABLE2, base=MOUNT1)
MOUNT3 = parse("MOUNTv3", TABLE3)
