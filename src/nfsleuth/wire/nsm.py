"""The network status monitor, version 1 (X/Open XNFS), as a table. Only NOTIFY travels between machines."""

from __future__ import annotations

from nfsleuth.wire.xdr import parse

TABLE = """
my_id = my_name:string<1024> my_prog:i32 my_vers:i32 my_proc:i32
mon_id = mon_name:string<1024>@MON_NAME my_id:my_id
sm_stat_res = res_stat:u32 state:i32

0 NULL       void -> void
1 STAT       mon_name:string<1024>@MON_NAME -> res:sm_stat_res
2 MON        mon_id:mon_id priv:opaque[16] -> res:sm_stat_res
3 UNMON      mon_id:mon_id -> state:i32
4 UNMON_ALL  my_id:my_id -> state:i32
5 SIMU_CRASH void -> void
6 NOTIFY     mon_name:string<1024>@MON_NAME state:i32 -> void
"""

NSM1 = parse("NSMv1", TABLE)
