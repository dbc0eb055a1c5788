"""The attributes of NFSv4 by number: names and XDR types (RFC 7531, RFC 5662, RFC 7862), in the notation of `wire.xdr`.

Only `contrast` looks into attributes: the tracker passes them over.
"""

from __future__ import annotations

from nfsleuth.wire.nfs4 import NFS4
from nfsleuth.wire.xdr import Type, parse

# One statement per attribute: its number stands where a table of procedures has the procedure's number.
TABLE = """
utf8str = opaque<>
fsid4 = major:u64 minor:u64
pathname4 = utf8str<>
fs_location4 = server:utf8str<> rootpath:pathname4
fs_locations4 = fs_root:pathname4 locations:fs_location4<>
SET_TO_CLIENT_TIME4 = 1
settime4 = set_it:u32 {SET_TO_CLIENT_TIME4: time:nfstime4; else: void}
threshold_item4 = thi_layout_type:u32 thi_hintset:bitmap4 thi_hintlist:opaque<>
mdsthreshold4 = mth_hints:threshold_item4<>
layouthint4 = loh_type:u32 loh_body:opaque<>
fs4_status = fss_absent:bool fss_type:u32 fss_source:utf8str fss_current:utf8str fss_age:i32 fss_version:nfstime4
retention_get4 = rg_duration:u64 rg_begin_time:nfstime4<1>
retention_set4 = rs_enable:bool rs_duration:u64<1>
mode_masked4 = mm_value_to_set:u32 mm_mask_bits:u32
chg_policy4 = cp_major:u64 cp_minor:u64
nfsacl41 = na41_flag:u32 na41_aces:nfsace4<>
labelformat = lfs_lfs:u32 lfs_pi:u32 slai_data:opaque<>

0 supported_attrs    v:bitmap4 -> void
1 type               v:u32 -> void
2 fh_expire_type     v:u32 -> void
3 change             v:u64 -> void
4 size               v:u64 -> void
5 link_support       v:bool -> void
6 symlink_support    v:bool -> void
7 named_attr         v:bool -> void
8 fsid               v:fsid4 -> void
9 unique_handles     v:bool -> void
10 lease_time        v:u32 -> void
11 rdattr_error      v:u32 -> void
12 acl               v:nfsace4<> -> void
13 aclsupport        v:u32 -> void
14 archive           v:bool -> void
15 cansettime        v:bool -> void
16 case_insensitive  v:bool -> void
17 case_preserving   v:bool -> void
18 chown_restricted  v:bool -> void
19 filehandle        v:nfs_fh4 -> void
20 fileid            v:u64 -> void
21 files_avail       v:u64 -> void
22 files_free        v:u64 -> void
23 files_total       v:u64 -> void
24 fs_locations      v:fs_locations4 -> void
25 hidden            v:bool -> void
26 homogeneous       v:bool -> void
27 maxfilesize       v:u64 -> void
28 maxlink           v:u32 -> void
29 maxname           v:u32 -> void
30 maxread           v:u64 -> void
31 maxwrite          v:u64 -> void
32 mimetype          v:utf8str -> void
33 mode              v:u32 -> void
34 no_trunc          v:bool -> void
35 numlinks          v:u32 -> void
36 owner             v:utf8str -> void
37 owner_group       v:utf8str -> void
38 quota_avail_hard  v:u64 -> void
39 quota_avail_soft  v:u64 -> void
40 quota_used        v:u64 -> void
41 rawdev            v:specdata4 -> void
42 space_avail       v:u64 -> void
43 space_free        v:u64 -> void
44 space_total       v:u64 -> void
45 space_used        v:u64 -> void
46 system            v:bool -> void
47 time_access       v:nfstime4 -> void
48 time_access_set   v:settime4 -> void
49 time_backup       v:nfstime4 -> void
50 time_create       v:nfstime4 -> void
51 time_delta        v:nfstime4 -> void
52 time_metadata     v:nfstime4 -> void
53 time_modify       v:nfstime4 -> void
54 time_modify_set   v:settime4 -> void
55 mounted_on_fileid v:u64 -> void
56 dir_notif_delay   v:nfstime4 -> void
57 dirent_notif_delay v:nfstime4 -> void
58 dacl              v:nfsacl41 -> void
59 sacl              v:nfsacl41 -> void
60 change_policy     v:chg_policy4 -> void
61 fs_status         v:fs4_status -> void
62 fs_layout_type    v:u32<> -> void
63 layout_hint       v:layouthint4 -> void
64 layout_type       v:u32<> -> void
65 layout_blksize    v:u32 -> void
66 layout_alignment  v:u32 -> void
67 fs_locations_info v:opaque<> -> void
68 mdsthreshold      v:mdsthreshold4 -> void
69 retention_get     v:retention_get4 -> void
70 retention_set     v:retention_set4 -> void
71 retentevt_get     v:retention_get4 -> void
72 retentevt_set     v:retention_set4 -> void
73 retention_hold    v:u64 -> void
74 mode_set_masked   v:mode_masked4 -> void
75 suppattr_exclcreat v:bitmap4 -> void
76 fs_charset_cap    v:u32 -> void
77 clone_blksize     v:u32 -> void
78 space_freed       v:u64 -> void
79 change_attr_type  v:u32 -> void
80 sec_label         v:labelformat -> void
81 mode_umask        v:mode_masked4 -> void
82 xattr_support     v:bool -> void
"""

_PARSED = parse("NFSv4 attributes", TABLE, NFS4._replace(procedures={}))
# fs_locations_info is a long structure that no client is told apart by: it ends what is read.
_UNREAD = {67}
ATTRIBUTES: dict[int, Type] = {
    number: attribute.args.fields[0].type for number, attribute in _PARSED.procedures.items() if number not in _UNREAD
}
_NAMES = {number: attribute.name for number, attribute in _PARSED.procedures.items()}


def attribute_name(number: int) -> str:
    """Name of an attribute, or its number."""
    return _NAMES.get(number, str(number))
