"""NFS version 3 (RFC 1813): its procedures as a table, and the names of its status codes."""

from __future__ import annotations

from nfsleuth.wire.xdr import parse

# RFC 1813 section 2.6
STATUS = {
    0: "NFS3_OK",
    1: "NFS3ERR_PERM",
    2: "NFS3ERR_NOENT",
    5: "NFS3ERR_IO",
    6: "NFS3ERR_NXIO",
    13: "NFS3ERR_ACCES",
    17: "NFS3ERR_EXIST",
    18: "NFS3ERR_XDEV",
    19: "NFS3ERR_NODEV",
    20: "NFS3ERR_NOTDIR",
    21: "NFS3ERR_ISDIR",
    22: "NFS3ERR_INVAL",
    27: "NFS3ERR_FBIG",
    28: "NFS3ERR_NOSPC",
    30: "NFS3ERR_ROFS",
    31: "NFS3ERR_MLINK",
    63: "NFS3ERR_NAMETOOLONG",
    66: "NFS3ERR_NOTEMPTY",
    69: "NFS3ERR_DQUOT",
    70: "NFS3ERR_STALE",
    71: "NFS3ERR_REMOTE",
    99: "NFSERR_WFLUSH",  # version 2 only (RFC 1094 section 2.3.1)
    10001: "NFS3ERR_BADHANDLE",
    10002: "NFS3ERR_NOT_SYNC",
    10003: "NFS3ERR_BAD_COOKIE",
    10004: "NFS3ERR_NOTSUPP",
    10005: "NFS3ERR_TOOSMALL",
    10006: "NFS3ERR_SERVERFAULT",
    10007: "NFS3ERR_BADTYPE",
    10008: "NFS3ERR_JUKEBOX",
}

TABLE = """
# RFC 1813 section 2.5 and 2.6
filename3 = string<>
nfspath3 = string<>
nfs_fh3 = opaque<64>
cookieverf3 = opaque[8]
createverf3 = opaque[8]
writeverf3 = opaque[8]
nfstime3 = seconds:u32 nseconds:u32
specdata3 = specdata1:u32 specdata2:u32
fattr3 = type:u32 mode:u32 nlink:u32 uid:u32 gid:u32 size:u64 used:u64 rdev:specdata3 fsid:u64 fileid:u64
    atime:nfstime3 mtime:nfstime3 ctime:nfstime3
post_op_attr = fattr3?
wcc_attr = size:u64 mtime:nfstime3 ctime:nfstime3
pre_op_attr = wcc_attr?
wcc_data = before:pre_op_attr after:post_op_attr
post_op_fh3 = nfs_fh3?
SET_TO_CLIENT_TIME = 2
set_atime = set_it:u32 {SET_TO_CLIENT_TIME: atime:nfstime3; else: void}
set_mtime = set_it:u32 {SET_TO_CLIENT_TIME: mtime:nfstime3; else: void}
sattr3 = mode:u32? uid:u32? gid:u32? size:u64? atime:set_atime mtime:set_mtime
diropargs3 = dir:nfs_fh3@HANDLE name:filename3@NAME
newname3 = dir:nfs_fh3 name:filename3@NAME2           # the second diropargs3 of RENAME

UNCHECKED = 0
GUARDED = 1
EXCLUSIVE = 2
createhow3 = mode:u32 {UNCHECKED GUARDED: obj_attributes:sattr3; EXCLUSIVE: verf:createverf3@EXCL_VERIFIER}
symlinkdata3 = symlink_attributes:sattr3 symlink_data:nfspath3
devicedata3 = dev_attributes:sattr3 spec:specdata3
NF3BLK = 3
NF3CHR = 4
NF3SOCK = 6
NF3FIFO = 7
mknoddata3 = type:u32 {NF3CHR NF3BLK: device:devicedata3; NF3SOCK NF3FIFO: pipe_attributes:sattr3; else: void}
entry3 = fileid:u64 name:filename3 cookie:u64
dirlist3 = entries:entry3* eof:bool
entryplus3 = fileid:u64 name:filename3 cookie:u64 name_attributes:post_op_attr name_handle:post_op_fh3
dirlistplus3 = entries:entryplus3* eof:bool

# RFC 1813 section 3.3
0 NULL         void -> void
1 GETATTR      object:nfs_fh3@HANDLE => obj_attributes:fattr3
2 SETATTR      object:nfs_fh3@HANDLE new_attributes:sattr3 guard:nfstime3?
               => obj_wcc:wcc_data; else: obj_wcc:wcc_data
3 LOOKUP       what:diropargs3
               => object:nfs_fh3@HANDLE obj_attributes:post_op_attr dir_attributes:post_op_attr;
               else: dir_attributes:post_op_attr
4 ACCESS       object:nfs_fh3@HANDLE access:u32
               => obj_attributes:post_op_attr access:u32; else: obj_attributes:post_op_attr
5 READLINK     symlink:nfs_fh3@HANDLE
               => symlink_attributes:post_op_attr data:nfspath3; else: symlink_attributes:post_op_attr
6 READ         file:nfs_fh3@HANDLE offset:u64@OFFSET count:u32@COUNT
               => file_attributes:post_op_attr count:u32@COUNT eof:bool data:opaque<>;
               else: file_attributes:post_op_attr
7 WRITE        file:nfs_fh3@HANDLE offset:u64@OFFSET count:u32@COUNT stable:u32 data:opaque<>
               => file_wcc:wcc_data count:u32@COUNT committed:u32 verf:writeverf3; else: file_wcc:wcc_data
8 CREATE       where:diropargs3 how:createhow3
               => obj:post_op_fh3 obj_attributes:post_op_attr dir_wcc:wcc_data; else: dir_wcc:wcc_data
9 MKDIR        where:diropargs3 attributes:sattr3
               => obj:post_op_fh3 obj_attributes:post_op_attr dir_wcc:wcc_data; else: dir_wcc:wcc_data
10 SYMLINK     where:diropargs3 symlink:symlinkdata3
               => obj:post_op_fh3 obj_attributes:post_op_attr dir_wcc:wcc_data; else: dir_wcc:wcc_data
11 MKNOD       where:diropargs3 what:mknoddata3
               => obj:post_op_fh3 obj_attributes:post_op_attr dir_wcc:wcc_data; else: dir_wcc:wcc_data
12 REMOVE      object:diropargs3 => dir_wcc:wcc_data; else: dir_wcc:wcc_data
13 RMDIR       object:diropargs3 => dir_wcc:wcc_data; else: dir_wcc:wcc_data
14 RENAME      from:diropargs3 to:newname3
               => fromdir_wcc:wcc_data todir_wcc:wcc_data; else: fromdir_wcc:wcc_data todir_wcc:wcc_data
15 LINK        file:nfs_fh3@HANDLE link:diropargs3
               => file_attributes:post_op_attr linkdir_wcc:wcc_data;
               else: file_attributes:post_op_attr linkdir_wcc:wcc_data
16 READDIR     dir:nfs_fh3@HANDLE cookie:u64 cookieverf:cookieverf3 count:u32
               => dir_attributes:post_op_attr cookieverf:cookieverf3 reply:dirlist3;
               else: dir_attributes:post_op_attr
17 READDIRPLUS dir:nfs_fh3@HANDLE cookie:u64 cookieverf:cookieverf3 dircount:u32 maxcount:u32
               => dir_attributes:post_op_attr cookieverf:cookieverf3 reply:dirlistplus3;
               else: dir_attributes:post_op_attr
18 FSSTAT      fsroot:nfs_fh3@HANDLE
               => obj_attributes:post_op_attr tbytes:u64 fbytes:u64 abytes:u64 tfiles:u64 ffiles:u64 afiles:u64
               invarsec:u32; else: obj_attributes:post_op_attr
19 FSINFO      fsroot:nfs_fh3@HANDLE
               => obj_attributes:post_op_attr rtmax:u32 rtpref:u32 rtmult:u32 wtmax:u32 wtpref:u32 wtmult:u32
               dtpref:u32 maxfilesize:u64 time_delta:nfstime3 properties:u32; else: obj_attributes:post_op_attr
20 PATHCONF    object:nfs_fh3@HANDLE
               => obj_attributes:post_op_attr linkmax:u32 name_max:u32 no_trunc:bool chown_restricted:bool
               case_insensitive:bool case_preserving:bool; else: obj_attributes:post_op_attr
21 COMMIT      file:nfs_fh3@HANDLE offset:u64@OFFSET count:u32@COUNT
               => file_wcc:wcc_data verf:writeverf3; else: file_wcc:wcc_data
"""

NFS3 = parse("NFSv3", TABLE)
