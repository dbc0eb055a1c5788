"""NFS version 2 (RFC 1094): its procedures as a table."""

from __future__ import annotations

from nfsleuth.wire.xdr import parse

TABLE = """
fhandle = opaque[32]
filename = string<255>
path = string<1024>
timeval = seconds:u32 useconds:u32
fattr = type:u32 mode:u32 nlink:u32 uid:u32 gid:u32 size:u32 blocksize:u32 rdev:u32 blocks:u32 fsid:u32 fileid:u32
    atime:timeval mtime:timeval ctime:timeval
sattr = mode:u32 uid:u32 gid:u32 size:u32 atime:timeval mtime:timeval
diropargs = dir:fhandle@HANDLE name:filename@NAME
newname = dir:fhandle name:filename@NAME2             # the second diropargs of a procedure
entry = fileid:u32 name:filename cookie:opaque[4]

# RFC 1094 section 2.2
0 NULL        void -> void
1 GETATTR     file:fhandle@HANDLE => attributes:fattr
2 SETATTR     file:fhandle@HANDLE attributes:sattr => attributes:fattr
3 ROOT        void -> void                            # obsolete
4 LOOKUP      what:diropargs => file:fhandle@HANDLE attributes:fattr
5 READLINK    file:fhandle@HANDLE => data:path
6 READ        file:fhandle@HANDLE offset:u32@OFFSET count:u32@COUNT totalcount:u32
              => attributes:fattr data:opaque<8192>@COUNT
7 WRITECACHE  void -> void                            # never used
8 WRITE       file:fhandle@HANDLE beginoffset:u32 offset:u32@OFFSET totalcount:u32 data:opaque<8192>@COUNT
              => attributes:fattr
9 CREATE      where:diropargs attributes:sattr => file:fhandle@HANDLE attributes:fattr
10 REMOVE     what:diropargs => void
11 RENAME     from:diropargs to:newname => void
12 LINK       from:fhandle@HANDLE to:diropargs => void
13 SYMLINK    from:diropargs to:path attributes:sattr => void
14 MKDIR      where:diropargs attributes:sattr => file:fhandle@HANDLE attributes:fattr
15 RMDIR      what:diropargs => void
16 READDIR    dir:fhandle@HANDLE cookie:opaque[4] count:u32 => entries:entry* eof:bool
17 STATFS     file:fhandle@HANDLE => tsize:u32 bsize:u32 blocks:u32 bfree:u32 bavail:u32
"""

NFS2 = parse("NFSv2", TABLE)
