"""NFS version 4, minor versions 0 (RFC 7531), 1 (RFC 5662, RFC 8881) and 2 (RFC 7863, RFC 8276): operations as tables.

A number means the same operation in every minor version, so that one table serves all. Also here: which operation a
COMPOUND is about, the names of the status codes, and `decode_compound`.
"""

from __future__ import annotations

import numpy as np

from nfsleuth.wire.xdr import ENTRIES, MALFORMED, Protocol, Value, XdrError, decode, parse

# enum nfsstat4 of RFC 7863 and RFC 8276
STATUS = {
    0: "NFS4_OK",
    1: "NFS4ERR_PERM",
    2: "NFS4ERR_NOENT",
    5: "NFS4ERR_IO",
    6: "NFS4ERR_NXIO",
    13: "NFS4ERR_ACCESS",
    17: "NFS4ERR_EXIST",
    18: "NFS4ERR_XDEV",
    20: "NFS4ERR_NOTDIR",
    21: "NFS4ERR_ISDIR",
    22: "NFS4ERR_INVAL",
    27: "NFS4ERR_FBIG",
    28: "NFS4ERR_NOSPC",
    30: "NFS4ERR_ROFS",
    31: "NFS4ERR_MLINK",
    63: "NFS4ERR_NAMETOOLONG",
    66: "NFS4ERR_NOTEMPTY",
    69: "NFS4ERR_DQUOT",
    70: "NFS4ERR_STALE",
    10001: "NFS4ERR_BADHANDLE",
    10003: "NFS4ERR_BAD_COOKIE",
    10004: "NFS4ERR_NOTSUPP",
    10005: "NFS4ERR_TOOSMALL",
    10006: "NFS4ERR_SERVERFAULT",
    10007: "NFS4ERR_BADTYPE",
    10008: "NFS4ERR_DELAY",
    10009: "NFS4ERR_SAME",
    10010: "NFS4ERR_DENIED",
    10011: "NFS4ERR_EXPIRED",
    10012: "NFS4ERR_LOCKED",
    10013: "NFS4ERR_GRACE",
    10014: "NFS4ERR_FHEXPIRED",
    10015: "NFS4ERR_SHARE_DENIED",
    10016: "NFS4ERR_WRONGSEC",
    10017: "NFS4ERR_CLID_INUSE",
    10018: "NFS4ERR_RESOURCE",
    10019: "NFS4ERR_MOVED",
    10020: "NFS4ERR_NOFILEHANDLE",
    10021: "NFS4ERR_MINOR_VERS_MISMATCH",
    10022: "NFS4ERR_STALE_CLIENTID",
    10023: "NFS4ERR_STALE_STATEID",
    10024: "NFS4ERR_OLD_STATEID",
    10025: "NFS4ERR_BAD_STATEID",
    10026: "NFS4ERR_BAD_SEQID",
    10027: "NFS4ERR_NOT_SAME",
    10028: "NFS4ERR_LOCK_RANGE",
    10029: "NFS4ERR_SYMLINK",
    10030: "NFS4ERR_RESTOREFH",
    10031: "NFS4ERR_LEASE_MOVED",
    10032: "NFS4ERR_ATTRNOTSUPP",
    10033: "NFS4ERR_NO_GRACE",
    10034: "NFS4ERR_RECLAIM_BAD",
    10035: "NFS4ERR_RECLAIM_CONFLICT",
    10036: "NFS4ERR_BADXDR",
    10037: "NFS4ERR_LOCKS_HELD",
    10038: "NFS4ERR_OPENMODE",
    10039: "NFS4ERR_BADOWNER",
    10040: "NFS4ERR_BADCHAR",
    10041: "NFS4ERR_BADNAME",
    10042: "NFS4ERR_BAD_RANGE",
    10043: "NFS4ERR_LOCK_NOTSUPP",
    10044: "NFS4ERR_OP_ILLEGAL",
    10045: "NFS4ERR_DEADLOCK",
    10046: "NFS4ERR_FILE_OPEN",
    10047: "NFS4ERR_ADMIN_REVOKED",
    10048: "NFS4ERR_CB_PATH_DOWN",
    10049: "NFS4ERR_BADIOMODE",  # from here on minor version 1
    10050: "NFS4ERR_BADLAYOUT",
    10051: "NFS4ERR_BAD_SESSION_DIGEST",
    10052: "NFS4ERR_BADSESSION",
    10053: "NFS4ERR_BADSLOT",
    10054: "NFS4ERR_COMPLETE_ALREADY",
    10055: "NFS4ERR_CONN_NOT_BOUND_TO_SESSION",
    10056: "NFS4ERR_DELEG_ALREADY_WANTED",
    10057: "NFS4ERR_BACK_CHAN_BUSY",
    10058: "NFS4ERR_LAYOUTTRYLATER",
    10059: "NFS4ERR_LAYOUTUNAVAILABLE",
    10060: "NFS4ERR_NOMATCHING_LAYOUT",
    10061: "NFS4ERR_RECALLCONFLICT",
    10062: "NFS4ERR_UNKNOWN_LAYOUTTYPE",
    10063: "NFS4ERR_SEQ_MISORDERED",
    10064: "NFS4ERR_SEQUENCE_POS",
    10065: "NFS4ERR_REQ_TOO_BIG",
    10066: "NFS4ERR_REP_TOO_BIG",
    10067: "NFS4ERR_REP_TOO_BIG_TO_CACHE",
    10068: "NFS4ERR_RETRY_UNCACHED_REP",
    10069: "NFS4ERR_UNSAFE_COMPOUND",
    10070: "NFS4ERR_TOO_MANY_OPS",
    10071: "NFS4ERR_OP_NOT_IN_SESSION",
    10072: "NFS4ERR_HASH_ALG_UNSUPP",
    10074: "NFS4ERR_CLIENTID_BUSY",
    10075: "NFS4ERR_PNFS_IO_HOLE",
    10076: "NFS4ERR_SEQ_FALSE_RETRY",
    10077: "NFS4ERR_BAD_HIGH_SLOT",
    10078: "NFS4ERR_DEADSESSION",
    10079: "NFS4ERR_ENCR_ALG_UNSUPP",
    10080: "NFS4ERR_PNFS_NO_LAYOUT",
    10081: "NFS4ERR_NOT_ONLY_OP",
    10082: "NFS4ERR_WRONG_CRED",
    10083: "NFS4ERR_WRONG_TYPE",
    10084: "NFS4ERR_DIRDELEG_UNAVAIL",
    10085: "NFS4ERR_REJECT_DELEG",
    10086: "NFS4ERR_RETURNCONFLICT",
    10087: "NFS4ERR_DELEG_REVOKED",
    10088: "NFS4ERR_PARTNER_NOTSUPP",  # from here on minor version 2
    10089: "NFS4ERR_PARTNER_NO_AUTH",
    10090: "NFS4ERR_UNION_NOTSUPP",
    10091: "NFS4ERR_OFFLOAD_DENIED",
    10092: "NFS4ERR_WRONG_LFS",
    10093: "NFS4ERR_BADLABEL",
    10094: "NFS4ERR_OFFLOAD_NO_REQS",
    10095: "NFS4ERR_NOXATTR",
    10096: "NFS4ERR_XATTR2BIG",
}

TABLE = """
# RFC 7531: basic data types
bitmap4 = u32<>
nfs_fh4 = opaque<128>
verifier4 = opaque[8]
component4 = opaque<>
linktext4 = opaque<>
sec_oid4 = opaque<>
sessionid4 = opaque[16]
deviceid4 = opaque[16]
nfstime4 = seconds:i64 nseconds:u32
specdata4 = specdata1:u32 specdata2:u32
fattr4 = attrmask:bitmap4 attr_vals:opaque<>
change_info4 = atomic:bool before:u64 after:u64
stateid4 = seqid:u32 other:opaque[12]
netaddr4 = r_netid:string<>@NETID r_addr:string<>@ADDR
cb_client4 = cb_program:u32@CB_PROGRAM cb_location:netaddr4
nfs_client_id4 = verifier:verifier4@VERIFIER id:opaque<1024>@CLIENT_ID
state_owner4 = clientid:u64@CLIENTID owner:opaque<1024>@OWNER
open_owner4 = state_owner4
lock_owner4 = state_owner4
nfsace4 = type:u32 flag:u32 access_mask:u32 who:opaque<>

# COMPOUND and CB_COMPOUND, up to the count of their operations
COMPOUND4args = tag:opaque<> minorversion:u32
COMPOUND4res = status:u32 tag:opaque<>
CB_COMPOUND4args = tag:opaque<> minorversion:u32 callback_ident:u32

# RFC 7531: CREATE
NF4BLK = 3
NF4CHR = 4
NF4LNK = 5
createtype4 = type:u32 {NF4LNK: linkdata:linktext4; NF4BLK NF4CHR: devdata:specdata4; else: void}

# RFC 7531: LOCK
open_to_lock_owner4 = open_seqid:u32 open_stateid:stateid4 lock_seqid:u32 lock_owner:lock_owner4
exist_lock_owner4 = lock_stateid:stateid4 lock_seqid:u32
locker4 = new_lock_owner:bool {TRUE: open_owner:open_to_lock_owner4; FALSE: lock_owner:exist_lock_owner4}
LOCK4denied = offset:u64 length:u64 locktype:u32 owner:lock_owner4

# RFC 7531: OPEN; modes, claims and delegations of RFC 5662
UNCHECKED4 = 0
GUARDED4 = 1
EXCLUSIVE4 = 2
EXCLUSIVE4_1 = 3
creatverfattr = cva_verf:verifier4@EXCL_VERIFIER cva_attrs:fattr4
createhow4 = mode:u32 {UNCHECKED4 GUARDED4: createattrs:fattr4; EXCLUSIVE4: createverf:verifier4@EXCL_VERIFIER;
    EXCLUSIVE4_1: ch_createboth:creatverfattr}
OPEN4_CREATE = 1
openflag4 = opentype:u32 {OPEN4_CREATE: how:createhow4; else: void}
CLAIM_NULL = 0
CLAIM_PREVIOUS = 1
CLAIM_DELEGATE_CUR = 2
CLAIM_DELEGATE_PREV = 3
CLAIM_FH = 4
CLAIM_DELEG_CUR_FH = 5
CLAIM_DELEG_PREV_FH = 6
open_claim_delegate_cur4 = delegate_stateid:stateid4 file:component4@NAME
open_claim4 = claim:u32 {CLAIM_NULL: file:component4@NAME; CLAIM_PREVIOUS: delegate_type:u32;
    CLAIM_DELEGATE_CUR: delegate_cur_info:open_claim_delegate_cur4;
    CLAIM_DELEGATE_PREV: file_delegate_prev:component4@NAME; CLAIM_FH CLAIM_DELEG_PREV_FH: void;
    CLAIM_DELEG_CUR_FH: oc_delegate_stateid:stateid4}
nfs_modified_limit4 = num_blocks:u32 bytes_per_block:u32
NFS_LIMIT_SIZE = 1
NFS_LIMIT_BLOCKS = 2
nfs_space_limit4 = limitby:u32 {NFS_LIMIT_SIZE: filesize:u64; NFS_LIMIT_BLOCKS: mod_blocks:nfs_modified_limit4}
open_read_delegation4 = stateid:stateid4 recall:bool permissions:nfsace4
open_write_delegation4 = stateid:stateid4 recall:bool space_limit:nfs_space_limit4 permissions:nfsace4
WND4_CONTENTION = 1
WND4_RESOURCE = 2
open_none_delegation4 = ond_why:u32 {WND4_CONTENTION: ond_server_will_push_deleg:bool;
    WND4_RESOURCE: ond_server_will_signal_avail:bool; else: void}
OPEN_DELEGATE_NONE = 0
OPEN_DELEGATE_READ = 1
OPEN_DELEGATE_WRITE = 2
OPEN_DELEGATE_NONE_EXT = 3
OPEN_DELEGATE_READ_ATTRS_DELEG = 4                    # 4 and 5: RFC 9754
OPEN_DELEGATE_WRITE_ATTRS_DELEG = 5
open_delegation4 = delegation_type:u32 {OPEN_DELEGATE_NONE: void;
    OPEN_DELEGATE_READ OPEN_DELEGATE_READ_ATTRS_DELEG: read:open_read_delegation4;
    OPEN_DELEGATE_WRITE OPEN_DELEGATE_WRITE_ATTRS_DELEG: write:open_write_delegation4;
    OPEN_DELEGATE_NONE_EXT: od_whynone:open_none_delegation4}

# RFC 7531: READDIR, SECINFO
entry4 = cookie:u64 name:component4 attrs:fattr4
dirlist4 = entries:entry4* eof:bool
RPCSEC_GSS = 6
rpcsec_gss_info = oid:sec_oid4 qop:u32 service:u32
secinfo4 = flavor:u32 {RPCSEC_GSS: flavor_info:rpcsec_gss_info; else: void}

# RFC 7531: the operations of minor version 0
3 ACCESS          access:u32 => supported:u32 access:u32
4 CLOSE           seqid:u32 open_stateid:stateid4 => open_stateid:stateid4
5 COMMIT          offset:u64@OFFSET count:u32@COUNT => writeverf:verifier4
6 CREATE          objtype:createtype4 objname:component4@NAME createattrs:fattr4 => cinfo:change_info4 attrset:bitmap4
7 DELEGPURGE      clientid:u64@CLIENTID => void
8 DELEGRETURN     deleg_stateid:stateid4 => void
9 GETATTR         attr_request:bitmap4 => obj_attributes:fattr4
10 GETFH          void => object:nfs_fh4@HANDLE
11 LINK           newname:component4@NAME => cinfo:change_info4
12 LOCK           locktype:u32 reclaim:bool offset:u64 length:u64 locker:locker4
                  => lock_stateid:stateid4; NFS4ERR_DENIED: denied:LOCK4denied
13 LOCKT          locktype:u32 offset:u64 length:u64 owner:lock_owner4 => void; NFS4ERR_DENIED: denied:LOCK4denied
14 LOCKU          locktype:u32 seqid:u32 lock_stateid:stateid4 offset:u64 length:u64 => lock_stateid:stateid4
15 LOOKUP         objname:component4@NAME => void
16 LOOKUPP        void => void
17 NVERIFY        obj_attributes:fattr4 => void
18 OPEN           seqid:u32 share_access:u32 share_deny:u32 owner:open_owner4 openhow:openflag4 claim:open_claim4
                  => stateid:stateid4 cinfo:change_info4 rflags:u32 attrset:bitmap4 delegation:open_delegation4
19 OPENATTR       createdir:bool => void
20 OPEN_CONFIRM   open_stateid:stateid4 seqid:u32 => open_stateid:stateid4
21 OPEN_DOWNGRADE open_stateid:stateid4 seqid:u32 share_access:u32 share_deny:u32 => open_stateid:stateid4
22 PUTFH          object:nfs_fh4@HANDLE => void
23 PUTPUBFH       void => void
24 PUTROOTFH      void => void
25 READ           stateid:stateid4 offset:u64@OFFSET count:u32@COUNT => eof:bool data:opaque<>@COUNT
26 READDIR        cookie:u64 cookieverf:verifier4 dircount:u32 maxcount:u32 attr_request:bitmap4
                  => cookieverf:verifier4 reply:dirlist4
27 READLINK       void => link:linktext4
28 REMOVE         target:component4@NAME => cinfo:change_info4
29 RENAME         oldname:component4@NAME newname:component4@NAME2
                  => source_cinfo:change_info4 target_cinfo:change_info4
30 RENEW          clientid:u64@CLIENTID => void
31 RESTOREFH      void => void
32 SAVEFH         void => void
33 SECINFO        name:component4@NAME => resok4:secinfo4<>
34 SETATTR        stateid:stateid4 obj_attributes:fattr4 => attrsset:bitmap4; else: attrsset:bitmap4
35 SETCLIENTID    client:nfs_client_id4 callback:cb_client4 callback_ident:u32
                  => clientid:u64@CLIENTID setclientid_confirm:verifier4; NFS4ERR_CLID_INUSE: client_using:netaddr4
36 SETCLIENTID_CONFIRM clientid:u64@CLIENTID setclientid_confirm:verifier4 => void
37 VERIFY         obj_attributes:fattr4 => void
38 WRITE          stateid:stateid4 offset:u64@OFFSET stable:u32 data:opaque<>@COUNT
                  => count:u32@COUNT committed:u32 writeverf:verifier4
39 RELEASE_LOCKOWNER lock_owner:lock_owner4 => void
10044 ILLEGAL     void => void

# RFC 5662: sessions
AUTH_NONE = 0
AUTH_SYS = 1
authsys_parms = stamp:u32@SEC_STAMP machinename:string<255>@SEC_MACHINE uid:u32 gid:u32 gids:u32<16>
gss_cb_handles4 = gcbp_service:u32 gcbp_handle_from_server:opaque<> gcbp_handle_from_client:opaque<>
callback_sec_parms4 = cb_secflavor:u32 {AUTH_NONE: void; AUTH_SYS: cbsp_sys_cred:authsys_parms;
    RPCSEC_GSS: cbsp_gss_handles:gss_cb_handles4}
client_owner4 = co_verifier:verifier4@VERIFIER co_ownerid:opaque<1024>@CLIENT_ID
server_owner4 = so_minor_id:u64 so_major_id:opaque<1024>
nfs_impl_id4 = nii_domain:opaque<>@IMPL_DOMAIN nii_name:opaque<>@IMPL_NAME nii_date:nfstime4@IMPL_DATE
SP4_NONE = 0
SP4_MACH_CRED = 1
SP4_SSV = 2
state_protect_ops4 = spo_must_enforce:bitmap4 spo_must_allow:bitmap4
ssv_sp_parms4 = ssp_ops:state_protect_ops4 ssp_hash_algs:sec_oid4<> ssp_encr_algs:sec_oid4<> ssp_window:u32
    ssp_num_gss_handles:u32
state_protect4_a = spa_how:u32 {SP4_NONE: void; SP4_MACH_CRED: spa_mach_ops:state_protect_ops4;
    SP4_SSV: spa_ssv_parms:ssv_sp_parms4}
ssv_prot_info4 = spi_ops:state_protect_ops4 spi_hash_alg:u32 spi_encr_alg:u32 spi_ssv_len:u32 spi_window:u32
    spi_handles:opaque<><>
state_protect4_r = spr_how:u32 {SP4_NONE: void; SP4_MACH_CRED: spr_mach_ops:state_protect_ops4;
    SP4_SSV: spr_ssv_info:ssv_prot_info4}
channel_attrs4 = ca_headerpadsize:u32 ca_maxrequestsize:u32 ca_maxresponsesize:u32 ca_maxresponsesize_cached:u32
    ca_maxoperations:u32 ca_maxrequests:u32 ca_rdma_ird:u32<1>

40 BACKCHANNEL_CTL bca_cb_program:u32@CB_PROGRAM bca_sec_parms:callback_sec_parms4<> => void
41 BIND_CONN_TO_SESSION bctsa_sessid:sessionid4@SESSION bctsa_dir:u32 bctsa_use_conn_in_rdma_mode:bool
                  => bctsr_sessid:sessionid4@SESSION bctsr_dir:u32 bctsr_use_conn_in_rdma_mode:bool
42 EXCHANGE_ID    eia_clientowner:client_owner4 eia_flags:u32@FLAGS eia_state_protect:state_protect4_a
                  eia_client_impl_id:nfs_impl_id4<1>
                  => eir_clientid:u64@CLIENTID eir_sequenceid:u32 eir_flags:u32@FLAGS
                  eir_state_protect:state_protect4_r eir_server_owner:server_owner4 eir_server_scope:opaque<1024>
                  eir_server_impl_id:nfs_impl_id4<1>
43 CREATE_SESSION csa_clientid:u64@CLIENTID csa_sequence:u32 csa_flags:u32 csa_fore_chan_attrs:channel_attrs4
                  csa_back_chan_attrs:channel_attrs4 csa_cb_program:u32@CB_PROGRAM
                  csa_sec_parms:callback_sec_parms4<>
                  => csr_sessionid:sessionid4@SESSION csr_sequence:u32 csr_flags:u32
                  csr_fore_chan_attrs:channel_attrs4 csr_back_chan_attrs:channel_attrs4
44 DESTROY_SESSION dsa_sessionid:sessionid4@SESSION => void
45 FREE_STATEID   fsa_stateid:stateid4 => void

# RFC 5662: directory delegations, pNFS
GDD4_OK = 0
GDD4_UNAVAIL = 1
GET_DIR_DELEGATION4resok = gddr_cookieverf:verifier4 gddr_stateid:stateid4 gddr_notification:bitmap4
    gddr_child_attributes:bitmap4 gddr_dir_attributes:bitmap4
GET_DIR_DELEGATION4res_non_fatal = gddrnf_status:u32 {GDD4_OK: gddrnf_resok4:GET_DIR_DELEGATION4resok;
    GDD4_UNAVAIL: gddrnf_will_signal_deleg_avail:bool}
layout_content4 = loc_type:u32 loc_body:opaque<>
layout4 = lo_offset:u64 lo_length:u64 lo_iomode:u32 lo_content:layout_content4
device_addr4 = da_layout_type:u32 da_addr_body:opaque<>
layoutupdate4 = lou_type:u32 lou_body:opaque<>
newtime4 = nt_timechanged:bool {TRUE: nt_time:nfstime4; FALSE: void}
newoffset4 = no_newoffset:bool {TRUE: no_offset:u64; FALSE: void}
newsize4 = ns_sizechanged:bool {TRUE: ns_size:u64; FALSE: void}
LAYOUTRETURN4_FILE = 1
layoutreturn_file4 = lrf_offset:u64 lrf_length:u64 lrf_stateid:stateid4 lrf_body:opaque<>
layoutreturn4 = lr_returntype:u32 {LAYOUTRETURN4_FILE: lr_layout:layoutreturn_file4; else: void}
layoutreturn_stateid = lrs_present:bool {TRUE: lrs_stateid:stateid4; FALSE: void}
deleg_claim4 = dc_claim:u32 {CLAIM_FH CLAIM_DELEG_PREV_FH: void; CLAIM_PREVIOUS: dc_delegate_type:u32}

46 GET_DIR_DELEGATION gdda_signal_deleg_avail:bool gdda_notification_types:bitmap4 gdda_child_attr_delay:nfstime4
                  gdda_dir_attr_delay:nfstime4 gdda_child_attributes:bitmap4 gdda_dir_attributes:bitmap4
                  => gddr_res_non_fatal4:GET_DIR_DELEGATION4res_non_fatal
47 GETDEVICEINFO  gdia_device_id:deviceid4 gdia_layout_type:u32 gdia_maxcount:u32 gdia_notify_types:bitmap4
                  => gdir_device_addr:device_addr4 gdir_notification:bitmap4; NFS4ERR_TOOSMALL: gdir_mincount:u32
48 GETDEVICELIST  gdla_layout_type:u32 gdla_maxdevices:u32 gdla_cookie:u64 gdla_cookieverf:verifier4
                  => gdlr_cookie:u64 gdlr_cookieverf:verifier4 gdlr_deviceid_list:deviceid4<> gdlr_eof:bool
49 LAYOUTCOMMIT   loca_offset:u64 loca_length:u64 loca_reclaim:bool loca_stateid:stateid4
                  loca_last_write_offset:newoffset4 loca_time_modify:newtime4 loca_layoutupdate:layoutupdate4
                  => locr_newsize:newsize4
50 LAYOUTGET      loga_signal_layout_avail:bool loga_layout_type:u32 loga_iomode:u32 loga_offset:u64 loga_length:u64
                  loga_minlength:u64 loga_stateid:stateid4 loga_maxcount:u32
                  => logr_return_on_close:bool logr_stateid:stateid4 logr_layout:layout4<>;
                  NFS4ERR_LAYOUTTRYLATER: logr_will_signal_layout_avail:bool
51 LAYOUTRETURN   lora_reclaim:bool lora_layout_type:u32 lora_iomode:u32 lora_layoutreturn:layoutreturn4
                  => lorr_stateid:layoutreturn_stateid
52 SECINFO_NO_NAME secinfo_style:u32 => resok4:secinfo4<>
53 SEQUENCE       sa_sessionid:sessionid4@SESSION sa_sequenceid:u32 sa_slotid:u32 sa_highest_slotid:u32
                  sa_cachethis:bool
                  => sr_sessionid:sessionid4@SESSION sr_sequenceid:u32 sr_slotid:u32 sr_highest_slotid:u32
                  sr_target_highest_slotid:u32 sr_status_flags:u32
54 SET_SSV        ssa_ssv:opaque<> ssa_digest:opaque<> => ssr_digest:opaque<>
55 TEST_STATEID   ts_stateids:stateid4<> => tsr_status_codes:u32<>
56 WANT_DELEGATION wda_want:u32 wda_claim:deleg_claim4 => wdr_resok4:open_delegation4
57 DESTROY_CLIENTID dca_clientid:u64@CLIENTID => void
58 RECLAIM_COMPLETE rca_one_fs:bool => void

# RFC 7863
NL4_NAME = 1
NL4_URL = 2
NL4_NETADDR = 3
netloc4 = nl_type:u32 {NL4_NAME: nl_name:opaque<>; NL4_URL: nl_url:opaque<>; NL4_NETADDR: nl_addr:netaddr4}
write_response4 = wr_callback_id:stateid4<1> wr_count:u64 wr_committed:u32 wr_writeverf:verifier4
copy_requirements4 = cr_consecutive:bool cr_synchronous:bool
device_error4 = de_deviceid:deviceid4 de_status:u32 de_opnum:u32
io_info4 = ii_count:u64 ii_bytes:u64
data4 = d_offset:u64 d_data:opaque<>@COUNT
data_info4 = di_offset:u64 di_length:u64
NFS4_CONTENT_DATA = 0
NFS4_CONTENT_HOLE = 1
read_plus_content = rpc_content:u32 {NFS4_CONTENT_DATA: rpc_data:data4; NFS4_CONTENT_HOLE: rpc_hole:data_info4;
    else: void}
app_data_block4 = adb_offset:u64 adb_block_size:u64 adb_block_count:u64 adb_reloff_blocknum:u64 adb_block_num:u32
    adb_reloff_pattern:u64 adb_pattern:opaque<>

59 ALLOCATE       aa_stateid:stateid4 aa_offset:u64 aa_length:u64 => void
60 COPY           ca_src_stateid:stateid4 ca_dst_stateid:stateid4 ca_src_offset:u64 ca_dst_offset:u64 ca_count:u64
                  ca_consecutive:bool ca_synchronous:bool ca_source_server:netloc4<>
                  => cr_response:write_response4 cr_requirements:copy_requirements4;
                  NFS4ERR_OFFLOAD_NO_REQS: cr_requirements:copy_requirements4
61 COPY_NOTIFY    cna_src_stateid:stateid4 cna_destination_server:netloc4
                  => cnr_lease_time:nfstime4 cnr_stateid:stateid4 cnr_source_server:netloc4<>
62 DEALLOCATE     da_stateid:stateid4 da_offset:u64 da_length:u64 => void
63 IO_ADVISE      iaa_stateid:stateid4 iaa_offset:u64 iaa_count:u64 iaa_hints:bitmap4 => ior_hints:bitmap4
64 LAYOUTERROR    lea_offset:u64 lea_length:u64 lea_stateid:stateid4 lea_errors:device_error4<> => void
65 LAYOUTSTATS    lsa_offset:u64 lsa_length:u64 lsa_stateid:stateid4 lsa_read:io_info4 lsa_write:io_info4
                  lsa_deviceid:deviceid4 lsa_layoutupdate:layoutupdate4 => void
66 OFFLOAD_CANCEL oca_stateid:stateid4 => void
67 OFFLOAD_STATUS osa_stateid:stateid4 => osr_count:u64 osr_complete:u32<1>
68 READ_PLUS      rpa_stateid:stateid4 rpa_offset:u64@OFFSET rpa_count:u32@COUNT
                  => rpr_eof:bool rpr_contents:read_plus_content<>
69 SEEK           sa_stateid:stateid4 sa_offset:u64 sa_what:u32 => sr_eof:bool sr_offset:u64
70 WRITE_SAME     wsa_stateid:stateid4 wsa_stable:u32 wsa_adb:app_data_block4 => resok4:write_response4
71 CLONE          cl_src_stateid:stateid4 cl_dst_stateid:stateid4 cl_src_offset:u64 cl_dst_offset:u64 cl_count:u64
                  => void

# RFC 8276
72 GETXATTR       gxa_name:component4 => gxr_value:opaque<>
73 SETXATTR       sxa_option:u32 sxa_key:component4 sxa_value:opaque<> => sxr_info:change_info4
74 LISTXATTRS     lxa_cookie:u64 lxa_maxcount:u32 => lxr_cookie:u64 lxr_names:component4<> lxr_eof:bool
75 REMOVEXATTR    rxa_name:component4 => rxr_info:change_info4
"""

CALLBACK_TABLE = """
LAYOUTRECALL4_FILE = 1
LAYOUTRECALL4_FSID = 2
LAYOUTRECALL4_ALL = 3
fsid4 = major:u64 minor:u64
layoutrecall_file4 = lor_fh:nfs_fh4 lor_offset:u64 lor_length:u64 lor_stateid:stateid4
layoutrecall4 = lor_recalltype:u32 {LAYOUTRECALL4_FILE: lor_layout:layoutrecall_file4;
    LAYOUTRECALL4_FSID: lor_fsid:fsid4; LAYOUTRECALL4_ALL: void}
notify4 = notify_mask:bitmap4 notify_vals:opaque<>
referring_call4 = rc_sequenceid:u32 rc_slotid:u32
referring_call_list4 = rcl_sessionid:sessionid4 rcl_referring_calls:referring_call4<>

# RFC 7531
3 CB_GETATTR      fh:nfs_fh4@HANDLE attr_request:bitmap4 => obj_attributes:fattr4
4 CB_RECALL       stateid:stateid4 truncate:bool fh:nfs_fh4@HANDLE => void
10044 CB_ILLEGAL  void => void
# RFC 5662
5 CB_LAYOUTRECALL clora_type:u32 clora_iomode:u32 clora_changed:bool clora_recall:layoutrecall4 => void
6 CB_NOTIFY       cna_stateid:stateid4 cna_fh:nfs_fh4@HANDLE cna_changes:notify4<> => void
7 CB_PUSH_DELEG   cpda_fh:nfs_fh4@HANDLE cpda_delegation:open_delegation4 => void
8 CB_RECALL_ANY   craa_objects_to_keep:u32 craa_type_mask:bitmap4 => void
9 CB_RECALLABLE_OBJ_AVAIL craa_objects_to_keep:u32 craa_type_mask:bitmap4 => void
10 CB_RECALL_SLOT rsa_target_highest_slotid:u32 => void
11 CB_SEQUENCE    csa_sessionid:sessionid4@SESSION csa_sequenceid:u32 csa_slotid:u32 csa_highest_slotid:u32
                  csa_cachethis:bool csa_referring_call_lists:referring_call_list4<>
                  => csr_sessionid:sessionid4@SESSION csr_sequenceid:u32 csr_slotid:u32 csr_highest_slotid:u32
                  csr_target_highest_slotid:u32
12 CB_WANTS_CANCELLED cwca_contended_wants_cancelled:bool cwca_resourced_wants_cancelled:bool => void
13 CB_NOTIFY_LOCK cnla_fh:nfs_fh4@HANDLE cnla_lock_owner:lock_owner4 => void
14 CB_NOTIFY_DEVICEID cnda_changes:notify4<> => void
# RFC 7863
offload_info4 = coa_status:u32 {NFS4_OK: coa_resok4:write_response4; else: coa_bytes_copied:u64}
15 CB_OFFLOAD     coa_fh:nfs_fh4@HANDLE coa_stateid:stateid4 coa_offload_info:offload_info4 => void
"""

_CODES = {name: number for number, name in STATUS.items()}
NFS4 = parse("NFSv4", TABLE, constants=_CODES)
CALLBACK = parse("NFSv4 callback", CALLBACK_TABLE, Protocol("", NFS4.types, NFS4.constants, {}))

# What a COMPOUND is about: the operation with the highest rank, the first of equals. Operations not named have rank 5.
_RANKS = {
    10: "EXCHANGE_ID SETCLIENTID CREATE_SESSION",  # who the client is, whatever comes with it
    9: "READ WRITE READ_PLUS WRITE_SAME COPY CLONE",
    8: "OPEN CREATE REMOVE RENAME LINK LOCK LOCKU LOCKT CLOSE READDIR SETATTR COMMIT",
    7: "LOOKUP LOOKUPP READLINK OPEN_DOWNGRADE OPEN_CONFIRM DELEGRETURN SETXATTR REMOVEXATTR",
    4: "LAYOUTGET LAYOUTRETURN LAYOUTCOMMIT LAYOUTSTATS LAYOUTERROR SECINFO SECINFO_NO_NAME VERIFY NVERIFY OPENATTR",
    3: "ACCESS",
    2: "GETATTR",
    1: "SEQUENCE PUTFH PUTROOTFH PUTPUBFH SAVEFH RESTOREFH GETFH",
}


def _main_rank() -> np.ndarray:
    ranks = np.zeros(ENTRIES, np.uint8)
    numbers = {p.name: p.number for p in NFS4.procedures.values()}
    ranks[[number for number in numbers.values() if number < ENTRIES]] = 5
    for rank, names in _RANKS.items():
        ranks[[numbers[name] for name in names.split()]] = rank
    return ranks


MAIN_RANK = _main_rank()  # uint8[ENTRIES]; 0 where there is no operation


def decode_compound(
    buf: bytes | memoryview, at: int, end: int, *, results: bool = False, callback: bool = False
) -> tuple[dict[str, Value], int]:
    """Decode the arguments or the results of a COMPOUND or CB_COMPOUND (RFC 7530 section 15.2, RFC 8881 section 16.2).

    Returns a dict named as in the RFCs and the offset behind it; ``argarray`` or ``resarray`` is a list of operations,
    each a dict that begins with its number ``op``. Raises XdrError for bytes that end too soon or cannot be, among them
    an operation without a table.
    """
    head = "COMPOUND4res" if results else "CB_COMPOUND4args" if callback else "COMPOUND4args"
    procedures = (CALLBACK if callback else NFS4).procedures
    compound, at = decode(NFS4.types[head], buf, at, end)
    count, at = decode(NFS4.types["u32"], buf, at, end)
    operations = compound["resarray" if results else "argarray"] = []
    for _ in range(count):
        number, at = decode(NFS4.types["u32"], buf, at, end)
        if number not in procedures:
            raise XdrError(MALFORMED, at - 4)
        operation = procedures[number]
        value, at = decode(operation.results if results else operation.args, buf, at, end)
        operations.append({"op": number, **value})
    return compound, at
