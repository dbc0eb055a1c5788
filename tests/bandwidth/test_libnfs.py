"""The user-space client, against a library that keeps its files in memory and behaves as libnfs 4 and 6 do."""

import ctypes
import os

import pytest

from nfsleuth.bandwidth.active import libnfs, loop
from nfsleuth.bandwidth.active.libnfs import Export
from nfsleuth.bandwidth.active.stores import Cache
from nfsleuth.bandwidth.plan import file_name
from nfsleuth.errors import NfsleuthError

ENOENT, EIO, MOST_AT_ONCE = 2, 5, 1000


class Library:
    """As much of libnfs as is called. buffer_first: as from soname 16 on. most: bytes that a write can encode."""

    def __init__(self, buffer_first=False, most=MOST_AT_ONCE, mounted=True):
        self.buffer_first, self.most, self.mounted = buffer_first, most, mounted
        self.files, self.handles, self.error, self.fails = {}, {}, b"", False

    def nfs_init_context(self):
        return 1

    def nfs_parse_url_dir(self, context, url):
        return (
            ctypes.pointer(libnfs._Url(b"server", b"/export", None))
            if b"//" in url[6:] or url.count(b"/") > 2
            else None
        )

    def nfs_destroy_url(self, url):
        pass

    def nfs_destroy_context(self, context):
        self.closed = True

    def nfs_get_error(self, context):
        return self.error

    def nfs_mount(self, context, server, path):
        self.error = b"" if self.mounted else b"access denied"
        return 0 if self.mounted else -13

    def nfs_stat64(self, context, path, found):
        if path not in self.files:
            return -ENOENT
        found._obj.nfs_size = found._obj.nfs_used = len(self.files[path])
        return 0

    def nfs_statvfs64(self, context, path, room):
        room._obj.bavail, room._obj.frsize = 100, 4096
        return 0

    def nfs_open2(self, context, path, flags, mode, handle):
        assert flags & os.O_EXCL
        assert path not in self.files
        self.files[path] = b""
        return self.nfs_open(context, path, flags, handle)

    def nfs_open(self, context, path, flags, handle):
        handle._obj.value = len(self.handles) + 1
        self.handles[handle._obj.value] = [path, 0]
        return 0

    def nfs_close(self, context, handle):
        del self.handles[handle.value]

    def nfs_fsync(self, context, handle):
        return 0

    def nfs_unlink(self, context, path):
        return 0 if self.files.pop(path, None) is not None else -ENOENT

    def nfs_write(self, context, handle, *rest):
        data, count = rest if self.buffer_first else rest[::-1]
        assert isinstance(data, bytes)
        assert count.value == len(data)
        if len(data) > self.most:
            self.error = b"ZDR error: Failed to encode COMPOUND4args"
            return -1
        self.files[self.handles[handle.value][0]] += data
        return len(data)

    def nfs_read(self, context, handle, *rest):
        place, count = rest if self.buffer_first else rest[::-1]
        if self.fails:
            self.error = b"server rebooted"
            return -EIO
        path, at = self.handles[handle.value]
        data = self.files[path][at : at + count.value]
        ctypes.memmove(place, data, len(data))
        self.handles[handle.value][1] += len(data)
        return len(data)


@pytest.fixture(params=[False, True], ids=["libnfs 4", "libnfs 6"])
def library(request, monkeypatch):
    found = Library(request.param)
    monkeypatch.setattr(libnfs, "_load", lambda: (found, request.param))
    return found


def export() -> Export:
    return Export("nfs://server/export?version=4", 5.0)


def make(store: Export, size: int):
    return store.create(size, lambda _: None, lambda _: None)


def test_files_are_made_read_and_removed(library):
    store = export()
    assert store.find(5000) is None
    made = []
    file = store.create(5000, made.append, lambda _: None)
    assert made == [file.path] == ["/" + file_name(5000)]
    assert len(library.files[file.path.encode()]) == 5000, "in pieces that the library can encode"
    assert store.find(5000).stamp == store.stamp(file) == file.stamp
    into = loop.buffer(4096)
    assert store.read(file, into, Cache.KEEP, lambda _: None) > 0
    assert bytes(into[:904]) == library.files[file.path.encode()][4096:]
    store.remove(file.path)
    store.remove(file.path)
    assert library.files == {}
    assert library.handles == {}
    store.close()


def test_room_and_version_are_told(library):
    store = export()
    assert store.free() == 409_600
    assert store.filesystem == "libnfs, NFSv4"


def test_a_server_that_fails_is_an_error_of_the_system(library):
    store = export()
    file = make(store, 5000)
    library.fails = True
    with pytest.raises(OSError, match="server rebooted") as failed:
        store.read(file, loop.buffer(4096), Cache.KEEP, lambda _: None)
    assert failed.value.errno == EIO
    assert library.handles == {}


def test_a_file_that_ends_early_is_told(library):
    store = export()
    file = make(store, 5000)
    library.files[file.path.encode()] = b"short"
    with pytest.raises(loop.FileEndedError):
        store.read(file, loop.buffer(4096), Cache.KEEP, lambda _: None)


def test_a_write_that_cannot_be_encoded_at_all_is_told(library):
    library.most = 0
    with pytest.raises(OSError, match="encode"):
        make(export(), 5000)


def test_an_export_that_cannot_be_mounted_is_told(library):
    library.mounted = False
    with pytest.raises(NfsleuthError, match="access denied"):
        export()
    with pytest.raises(NfsleuthError, match="nfs://SERVER/EXPORT"):
        Export("nfs://", 5.0)


def test_a_library_that_is_not_there_is_told(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(NfsleuthError, match="apt install"):
        export()
