"""The tables of a trace as Polars frames: arrays of `trace.tables` come in, frames that need no explanation go out.

Numbers that stand for something become its name, addresses and MACs become text, times become ``Datetime[ns, UTC]``,
and a value that means "none" becomes null. The columns are described where users meet them, in
`nfsleuth.api.TraceTables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import polars as pl

from nfsleuth.clients.text import address_text, decode, mac_text
from nfsleuth.trace import tables as t
from nfsleuth.wire import nfs3, nfs4, programs

TIME = pl.Datetime("ns", "UTC")
Array = np.ndarray[Any, Any]

_SIDES = ("client", "server")  # names of the directions t.CLIENT and t.SERVER
_ACCEPT = {
    1: "PROG_UNAVAIL",
    2: "PROG_MISMATCH",
    3: "PROC_UNAVAIL",
    4: "GARBAGE_ARGS",
    5: "SYSTEM_ERR",
}  # RFC 5531 section 9
NOT_DECODED = "not decoded"  # status_name of a reply whose status was not read
_CALL_FLAGS = {
    "from_server": t.CALL_FROM_SERVER,
    "cut": t.CALL_CUT,
    "hidden": t.CALL_HIDDEN,
    "reply_cut": t.CALL_REPLY_CUT,
    "retransmitted": t.CALL_RETRANSMITTED,
}
_SYN_FLAGS = {"df": 1, "id_nonzero": 2, "ecn": 4, "malformed": 8, "timestamp_zero": 16}


CALLS: dict[str, pl.DataType | type[pl.DataType]] = {
    "time": TIME,
    "client": pl.String,
    "client_port": pl.UInt16,
    "server": pl.String,
    "uid": pl.Int64,
    "xid": pl.UInt32,
    "program": pl.String,
    "version": pl.UInt32,
    "minor": pl.UInt8,
    "operation": pl.String,
    "operations": pl.List(pl.String),
    "operations_count": pl.UInt16,
    "flavor": pl.String,
    "name": pl.String,
    "handle": pl.String,
    "offset": pl.UInt64,
    "count": pl.UInt32,
    "bytes": pl.UInt32,
    "status": pl.Int32,
    "status_name": pl.String,
    "latency": pl.Int64,
    "call_bytes": pl.UInt32,
    "reply_bytes": pl.UInt32,
    "call_frame": pl.Int64,
    "reply_frame": pl.Int64,
    "reply_time": TIME,
    "from_server": pl.Boolean,
    "cut": pl.Boolean,
    "hidden": pl.Boolean,
    "reply_cut": pl.Boolean,
    "retransmitted": pl.Boolean,
}  # columns of `calls`


def connections(rows: Array) -> pl.DataFrame:
    """CONNECTION[n] as a frame of n rows."""
    columns: dict[str, pl.Series] = {"uid": pl.Series(rows["uid"])}
    columns["client"] = _addresses(rows["client_hi"], rows["client_lo"])
    columns["client_port"] = pl.Series(rows["client_port"])
    columns["server"] = _addresses(rows["server_hi"], rows["server_lo"])
    columns["server_port"] = pl.Series(rows["server_port"])
    columns["transport"] = _named(rows["transport"], lambda n: {6: "tcp", 17: "udp"}.get(n, str(n)))
    columns["role"] = _enum(rows["role"], t.Role)
    columns["vlan"] = _none_at(rows["vlan"], 0)
    for name in ("client_mac", "server_mac", "client_mac_last"):
        columns[name] = _macs(rows[name])
    columns["mac_changes"] = pl.Series(rows["mac_changes"])
    columns["programs"] = _flags(rows["programs"], t.Program)
    columns["versions"] = _lists(rows["versions"], _versions)
    columns["flavors"] = _flags(rows["flavors"], t.Flavor)
    for name in ("ttl_min", "ttl_max"):
        for side, suffix in enumerate(_SIDES):
            columns[f"{name}_{suffix}"] = _none_at(rows[name][:, side], 0)
    seen = rows["syn_frame"] > 0
    columns["syn_frame"] = _none_at(rows["syn_frame"], 0)
    columns["syn_time"] = _times(rows["syn_time"], seen)
    columns["syns"] = pl.Series(rows["syns"])
    columns["syn_ttl"] = _where(rows["syn_ttl"], seen)
    columns["syn_window"] = _where(rows["syn_window"], seen)
    columns["syn_wscale"] = _where(rows["syn_wscale"], seen & (rows["syn_wscale"] != 255))
    columns["syn_mss"] = _where(rows["syn_mss"], seen & (rows["syn_mss"] != 0))
    columns["syn_flags"] = _bits(rows["syn_flags"], _SYN_FLAGS)
    columns["syn_options"] = _where(rows["syn_options"], seen)
    columns["handshake"] = _none_at(rows["handshake"], -1)
    columns["first"] = _times(rows["first"])
    columns["last"] = _times(rows["last"])
    columns["last_call"] = _times(rows["last_call"], rows["last_call"] > 0)
    for name in ("first_frame", "last_frame"):
        columns[name] = pl.Series(rows[name])
    for name in ("frames", "payload", "retransmitted", "keepalives", "zero_windows", "gaps"):
        for side, suffix in enumerate(_SIDES):
            columns[f"{name}_{suffix}"] = pl.Series(np.ascontiguousarray(rows[name][:, side]))
    for name in ("calls", "replies", "nfs_calls", "errors", "reads", "read_bytes", "read_busy"):
        columns[name] = pl.Series(rows[name])
    for name in ("writes", "write_bytes", "write_busy", "untimed", "untimed_bytes"):
        columns[name] = pl.Series(rows[name])
    return pl.DataFrame(columns)


def calls(rows: Array, text: bytes, ends: pl.DataFrame | None = None) -> pl.DataFrame:
    """CALL[n] as a frame of n rows, in their order.

    text: the arena that the names lie in. ends: frame with `uid`, `client`, `client_port` and `server` of the
    connections, such as `connections` gives; without it these columns are null.
    """
    columns: dict[str, pl.Series] = {
        "time": _times(rows["call_time"]),
        "uid": pl.Series(rows["uid"]),
        "xid": pl.Series(rows["xid"]),
    }
    columns["program"] = _named(rows["program"], programs.program_name)
    columns["version"] = pl.Series(rows["version"])
    columns["minor"] = _where(rows["minor"], (rows["version"] == 4) & (rows["program"] == programs.NFS))
    procedure = _procedures(rows)
    columns["operation"] = _main_operations(rows, procedure)
    columns["operations"] = _operations(rows, procedure)
    columns["operations_count"] = pl.Series(rows["ops_count"])
    columns["flavor"] = _flags(rows["flavor"], t.Flavor).list.first()
    columns["name"] = _texts(rows["name_at"], rows["name_length"], text)
    columns["handle"] = _named(rows["handle"], lambda n: f"{n:016x}" if n else None)
    moves = rows["count"] != 0
    columns["offset"] = _where(rows["offset"], moves)
    columns["count"] = _where(rows["count"], moves)
    columns["bytes"] = pl.Series(rows["bytes"])
    columns["status"] = _where(rows["status"], rows["status"] >= 0)
    columns["status_name"] = _statuses(rows)
    answered = rows["reply_frame"] > 0
    columns["latency"] = _where(rows["reply_time"] - rows["call_time"], answered)
    for name in ("call_bytes", "reply_bytes", "call_frame"):
        columns[name] = pl.Series(rows[name])
    columns["reply_frame"] = _none_at(rows["reply_frame"], 0)
    columns["reply_time"] = _times(rows["reply_time"], answered)
    for name, bit in _CALL_FLAGS.items():
        columns[name] = pl.Series((rows["flags"] & bit) != 0)
    return _with_ends(pl.DataFrame(columns), ends)


def identities(rows: Array, text: bytes) -> pl.DataFrame:
    """IDENTITY[n] as a frame of n rows. text: the arena that the texts lie in."""
    has_text = ~np.isin(rows["kind"], (t.Identity.SESSION, t.Identity.CLIENTID, t.Identity.EXCLUSIVE_VERIFIER))
    raw = [text[at : at + length] for at, length in zip(rows["at"].tolist(), rows["length"].tolist(), strict=True)]
    return pl.DataFrame(
        {
            "uid": pl.Series(rows["uid"]),
            "kind": _enum(rows["kind"], t.Identity),
            "text": _texts(rows["at"], rows["length"], text, has_text),
            "raw": pl.Series(raw, dtype=pl.Binary),
            "a": pl.Series(rows["a"]),
            "b": pl.Series(rows["b"]),
            "from_client": pl.Series(rows["from_client"] != 0),
            "cut": pl.Series(rows["cut"] != 0),
            "frame": pl.Series(rows["frame"]),
            "time": _times(rows["time"]),
        }
    )


def neighbours(rows: Array) -> pl.DataFrame:
    """NEIGHBOUR[n] as a frame of n rows."""
    address = _addresses(rows["hi"], rows["lo"])
    return pl.DataFrame(
        {
            "mac": _macs(rows["mac"]),
            "address": address.set(pl.Series((rows["hi"] == 0) & (rows["lo"] == 0)), None),
            "kind": _enum(rows["kind"], t.Neighbour),
            "ttl_min": _none_at(rows["ttl_min"], 0),
            "ttl_max": _none_at(rows["ttl_max"], 0),
            "frames": pl.Series(rows["frames"]),
            "first_frame": pl.Series(rows["first_frame"]),
        }
    )


def oddities(found: Mapping[str, tuple[int, int]]) -> pl.DataFrame:
    """Counts and first frames by name as a frame, the most frequent first."""
    ranked = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return pl.DataFrame(
        {
            "name": pl.Series([name for name, _ in ranked], dtype=pl.String),
            "count": pl.Series([count for _, (count, _) in ranked], dtype=pl.Int64),
            "first_frame": pl.Series([frame or None for _, (_, frame) in ranked], dtype=pl.Int64),
        }
    )


def status_name(program: int, version: int, status: int) -> str:
    """Name of a CALL row's status: the RFC's for NFS, words where there is none."""
    if status == -1:
        return "no reply"
    if status == -200:
        return "DENIED"
    if status <= -100:
        return _ACCEPT.get(-100 - status, f"accept_stat {-100 - status}")
    if status < 0:
        return NOT_DECODED
    if (program == programs.NFS and version == 4) or program >= programs.NFS_CB:
        return nfs4.STATUS.get(status, str(status))
    if program in (programs.NFS, programs.NFSACL):
        return nfs3.STATUS.get(status, str(status))
    return "OK" if status == 0 else str(status)


def _statuses(rows: Array) -> pl.Series:
    """Names of the status, made once per combination of program, version and status."""
    key = np.stack(
        [rows["program"].astype(np.int64), rows["version"].astype(np.int64), rows["status"].astype(np.int64)], 1
    )
    distinct, index = np.unique(key, axis=0, return_inverse=True)
    return _gathered([status_name(*row) for row in distinct.tolist()], index, pl.String)


def _procedures(rows: Array) -> pl.Series:
    """Names of the RPC procedures."""
    key = np.stack(
        [rows["program"].astype(np.int64), rows["version"].astype(np.int64), rows["procedure"].astype(np.int64)], 1
    )
    distinct, index = np.unique(key, axis=0, return_inverse=True)
    return _gathered([programs.procedure_name(*row) for row in distinct.tolist()], index, pl.String)


def _main_operations(rows: Array, procedure: pl.Series) -> pl.Series:
    """What a call is about: the main operation of a COMPOUND, else the procedure."""
    callback = (rows["flags"] & t.CALL_FROM_SERVER) != 0
    key = rows["main"].astype(np.int64) | np.where(callback, 256, 0)
    names = _named(key, lambda n: programs.operation_name(n & 255, callback=n > 255) if n & 255 else None)
    return names.fill_null(procedure)


def _operations(rows: Array, procedure: pl.Series) -> pl.Series:
    """Operations of a COMPOUND as a list, the procedure alone for other calls. The same lists recur: made once each."""
    kept = np.minimum(rows["ops_count"], t.MAX_OPS)
    callback = (rows["flags"] & t.CALL_FROM_SERVER) != 0
    key = np.concatenate([rows["ops"], kept[:, None].astype(np.uint8), callback[:, None].astype(np.uint8)], axis=1)
    shapes = np.ascontiguousarray(key).view(f"V{key.shape[1]}").ravel()
    seen: dict[bytes, int] = {}
    index = np.array([seen.setdefault(shape, len(seen)) for shape in shapes.tolist()], np.int64)
    lists = [[programs.operation_name(op, callback=bool(s[-1])) for op in s[: s[-2]] if op] or None for s in seen]
    return (
        _gathered(lists, index, pl.List(pl.String))
        .to_frame("ops")
        .with_columns(pl.coalesce("ops", pl.concat_list(procedure)))["ops"]
    )


def _with_ends(frame: pl.DataFrame, ends: pl.DataFrame | None) -> pl.DataFrame:
    """The frame with the addresses of each call's connection behind the time."""
    who = {"client": pl.String, "client_port": pl.UInt16, "server": pl.String}
    if ends is None:
        ends = pl.DataFrame(schema={"uid": pl.Int64, **who})
    known = ends.select("uid", *who).unique("uid", keep="last")
    joined = frame.join(known, on="uid", how="left", maintain_order="left")
    return joined.select("time", *who, pl.exclude("time", *who))


def _gathered(values: Sequence[object], index: Array, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    return pl.Series(values, dtype=dtype, strict=True).gather(index.ravel())


def _named(values: Array, name: Callable[[int], str | None]) -> pl.Series:
    """Text for each number, made once per distinct number."""
    distinct, index = np.unique(values, return_inverse=True)
    return _gathered([name(n) for n in distinct.tolist()], index, pl.String)


def _lists(values: Array, names: Callable[[int], list[str]]) -> pl.Series:
    distinct, index = np.unique(values, return_inverse=True)
    return _gathered([names(n) for n in distinct.tolist()], index, pl.List(pl.String))


def _enum(values: Array, kinds: type[IntEnum]) -> pl.Series:
    """Names of an enumeration in small letters, as a Polars Enum; null for a number that it does not have."""
    names = {int(kind): kind.name.lower() for kind in kinds}
    return _named(values, names.get).cast(pl.Enum(list(names.values())))


def _flags(values: Array, kinds: Iterable[IntFlag]) -> pl.Series:
    return _lists(values, lambda n: [kind.name.lower() for kind in kinds if kind & n and kind.name])


def _bits(values: Array, names: Mapping[str, int]) -> pl.Series:
    return _lists(values, lambda n: [name for name, bit in names.items() if bit & n])


def _versions(bits: int) -> list[str]:
    return [v.name[1:].replace("_", ".") for v in t.Version if v & bits and v.name]


def _addresses(hi: Array, lo: Array) -> pl.Series:
    return pl.Series([address_text(h, low) for h, low in zip(hi.tolist(), lo.tolist(), strict=True)], dtype=pl.String)


def _macs(values: Array) -> pl.Series:
    return _named(values, lambda n: None if n == int(t.NO_MAC) else mac_text(n))


def _times(values: Array, known: Array | None = None) -> pl.Series:
    """ns since 1970 as a time; null where it is 0 or not `known`."""
    known = values != 0 if known is None else known & (values != 0)
    return _where(values, known).cast(TIME)


def _where(values: Array, known: Array) -> pl.Series:
    """`values` where `known`, else null."""
    return pl.Series(np.ascontiguousarray(values)).set(pl.Series(~known), None)


def _none_at(values: Array, none: int) -> pl.Series:
    return _where(values, values != none)


def _texts(at: Array, length: Array, arena: bytes, known: Array | None = None) -> pl.Series:
    """Texts of an arena; null where the length is 0 or they are not `known`. Two texts in one have a space between."""
    known = length > 0 if known is None else known
    texts: list[str | None] = [None] * len(at)
    made: dict[bytes, str] = {}
    for row in np.flatnonzero(known).tolist():
        raw = arena[int(at[row]) : int(at[row]) + int(length[row])]
        text = made.get(raw)
        if text is None:
            text = made[raw] = decode(raw).replace("\0", " ")
        texts[row] = text
    return pl.Series(texts, dtype=pl.String)
