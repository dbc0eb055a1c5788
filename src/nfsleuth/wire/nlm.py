"""The network lock manager, versions 1 to 3 (X/Open XNFS) and 4 (RFC 1813 appendix II), as tables.

Version 4 widens offsets and lengths; all else is the same, so that both are made of one text.
"""

from __future__ import annotations

from nfsleuth.wire.xdr import parse

# Offset and length of a lock, which come before this, are of the type `span`.
_TABLE = """
netobj = opaque<1024>
holder = exclusive:bool svid:i32 oh:netobj l_offset:span l_len:span
lock = caller_name:string<1024>@CALLER fh:netobj@HANDLE oh:netobj@OH svid:i32@SVID l_offset:span l_len:span
testargs = cookie:netobj exclusive:bool alock:lock
lockargs = cookie:netobj block:bool exclusive:bool alock:lock reclaim:bool state:i32
cancargs = cookie:netobj block:bool exclusive:bool alock:lock
unlockargs = cookie:netobj alock:lock
share = caller_name:string<1024>@CALLER fh:netobj@HANDLE oh:netobj@OH mode:u32 access:u32
shareargs = cookie:netobj share:share reclaim:bool
shareres = cookie:netobj stat:u32 sequence:i32
NLM_DENIED = 1
testres = cookie:netobj stat:u32 {NLM_DENIED: holder:holder; else: void}
res = cookie:netobj stat:u32

0 NULL         void -> void
1 TEST         args:testargs -> res:testres
2 LOCK         args:lockargs -> res:res
3 CANCEL       args:cancargs -> res:res
4 UNLOCK       args:unlockargs -> res:res
5 GRANTED      args:testargs -> res:res
6 TEST_MSG     args:testargs -> void                  # answered by a call of TEST_RES the other way, and so on
7 LOCK_MSG     args:lockargs -> void
8 CANCEL_MSG   args:cancargs -> void
9 UNLOCK_MSG   args:unlockargs -> void
10 GRANTED_MSG args:testargs -> void
11 TEST_RES    res:testres -> void
12 LOCK_RES    res:res -> void
13 CANCEL_RES  res:res -> void
14 UNLOCK_RES  res:res -> void
15 GRANTED_RES res:res -> void
20 SHARE       args:shareargs -> res:shareres         # from version 3 on
21 UNSHARE     args:shareargs -> res:shareres
22 NM_LOCK     args:lockargs -> res:res
23 FREE_ALL    name:string<1024>@CALLER state:i32 -> void
"""

NLM3 = parse("NLMv3", "span = u32" + _TABLE)
NLM4 = parse("NLMv4", "span = u64" + _TABLE)
