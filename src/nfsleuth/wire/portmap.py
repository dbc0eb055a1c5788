"""The port mapper (version 2) and rpcbind (versions 3 and 4), as tables (RFC 1833)."""

from __future__ import annotations

from nfsleuth.wire.xdr import parse

TABLE2 = """
# RFC 1833 section 3
mapping = prog:u32 vers:u32 prot:u32 port:u32

0 NULL    void -> void
1 SET     mapping:mapping -> done:bool
2 UNSET   mapping:mapping -> done:bool
3 GETPORT mapping:mapping -> port:u32
4 DUMP    void -> list:mapping*
5 CALLIT  prog:u32 vers:u32 proc:u32 args:opaque<> -> port:u32 res:opaque<>
"""

TABLE3 = """
# RFC 1833 section 2.1
rpcb = r_prog:u32 r_vers:u32 r_netid:string<> r_addr:string<> r_owner:string<>
netbuf = maxlen:u32 buf:opaque<>
rmtcallargs = prog:u32 vers:u32 proc:u32 args:opaque<>

0 NULL        void -> void
1 SET         rpcb:rpcb -> done:bool
2 UNSET       rpcb:rpcb -> done:bool
3 GETADDR     rpcb:rpcb -> addr:string<>
4 DUMP        void -> list:rpcb*
5 CALLIT      call:rmtcallargs -> addr:string<> results:opaque<>
6 GETTIME     void -> time:u32
7 UADDR2TADDR uaddr:string<> -> taddr:netbuf
8 TADDR2UADDR taddr:netbuf -> uaddr:string<>
"""

TABLE4 = """
rpcb_entry = r_maddr:string<> r_nc_netid:string<> r_nc_semantics:u32 r_nc_protofmly:string<> r_nc_proto:string<>
rpcbs_addrlist = prog:u32 vers:u32 success:i32 failure:i32 netid:string<>
rpcbs_rmtcalllist = prog:u32 vers:u32 proc:u32 success:i32 failure:i32 indirect:i32 netid:string<>
rpcb_stat = info:opaque[52] setinfo:i32 unsetinfo:i32 addrinfo:rpcbs_addrlist* rmtinfo:rpcbs_rmtcalllist*

5 BCAST        call:rmtcallargs -> addr:string<> results:opaque<>
9 GETVERSADDR  rpcb:rpcb -> addr:string<>
10 INDIRECT    call:rmtcallargs -> addr:string<> results:opaque<>
11 GETADDRLIST rpcb:rpcb -> list:rpcb_entry*
12 GETSTAT     void -> version2:rpcb_stat version3:rpcb_stat version4:rpcb_stat
"""

PORTMAP2 = parse("PORTMAPv2", TABLE2)
RPCBIND3 = parse("RPCBINDv3", TABLE3)
RPCBIND4 = parse("RPCBINDv4", TABLE4, base=RPCBIND3)
