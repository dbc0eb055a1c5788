"""The beginning of an RPC message comes in, its single fields go out: header, credentials, arguments, results.

A reply is read with what is known of its call. Messages may be cut anywhere; what is there is read. Paths begin with
the protocol and its version, ``nfs4.SETCLIENTID.client.id``, results go on with ``reply``; fields of RPC itself with
``rpc.nfs4``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from nfsleuth.contrast.leaves import Leaf, Reader, leaves, opaque, reader, u32
from nfsleuth.wire import rpc
from nfsleuth.wire.nfs4 import CALLBACK, NFS4
from nfsleuth.wire.programs import NFS_CB, NFS_CB_LAST, PROTOCOLS, program_name, table_of
from nfsleuth.wire.xdr import CUT, VOID, Opaque, Procedure, Protocol, XdrError, decode, parse

CREDENTIALS = parse(  # RFC 5531 appendix A; RFC 2203 section 5.3.1
    "credentials",
    """
authsys_parms = stamp:u32 machinename:string<255> uid:u32 gid:u32 gids:u32<16>
rpc_gss_cred = version:u32 gss_proc:u32 seq_num:u32 service:u32 handle:opaque<>
""",
).types
NULL = Procedure(0, "NULL", VOID, VOID)
_AUTH_BODY = Opaque(rpc.MOST_AUTH, fixed=False)
_GSS_INTEGRITY_HEAD = 8  # length of databody_integ and its sequence number, RFC 2203 section 5.3.3.4.2


class Method(NamedTuple):
    """What a call calls. `protocol`: "nfs4"; "other" where there is no table for it."""

    protocol: str
    table: Protocol | None
    procedure: int
    compound: bool
    callback: bool


UNKNOWN = Method("other", None, 0, compound=False, callback=False)


@dataclass(slots=True)
class Reading:
    """What was read of one message.

    fields: in the order of the wire. contexts: the messages and operations that were there, which say where a field
    could have been seen. cut: the context that the capture does not hold to its end, "" none. malformed: it ended in
    bytes that cannot be.
    """

    fields: list[Leaf] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    cut: str = ""
    malformed: bool = False

    def enter(self, context: str) -> str:
        """The fields that follow belong to `context`, which is returned."""
        self.contexts.append(context)
        return context

    def stop(self, error: XdrError) -> None:
        """Reading ended early."""
        if error.status == CUT:
            self.cut = self.contexts[-1]
        else:
            self.malformed = True


@dataclass(slots=True)
class Call(Reading):
    """A call. `hidden`: its arguments are encrypted. `integrity`: they stand in an envelope, and so will the results.

    operations: of a COMPOUND, as far as they were read, or its procedure; names such as "nfs4.READ".
    """

    xid: int = 0
    method: Method = UNKNOWN
    hidden: bool = False
    integrity: bool = False
    operations: list[str] = field(default_factory=list)


def read_call(buf: bytes) -> Call | None:
    """The call that begins `buf`; None if it is no call."""
    if len(buf) < 24 or int.from_bytes(buf[4:8], "big") != rpc.CALL:
        return None
    xid, version_of_rpc, program, version, procedure = (int.from_bytes(buf[i : i + 4], "big") for i in _HEADER)
    if version_of_rpc != rpc.RPC_VERSION:
        return None
    call = Call(xid=xid, method=_method(program, version, procedure))
    path = call.enter(f"rpc.{call.method.protocol}")
    call.fields.append((f"{path}.xid", xid))
    try:
        at = _credentials(call, path, buf)
        if not call.hidden:
            _arguments(call, buf, at)
    except XdrError as error:
        call.stop(error)
    return call


_HEADER = (0, 8, 12, 16, 20)  # xid, rpcvers, prog, vers, proc


@lru_cache(maxsize=1 << 10)
def _method(program: int, version: int, procedure: int) -> Method:
    table = table_of(program, version)
    if table is None:
        return Method("other", None, procedure, compound=False, callback=False)
    callback = NFS_CB <= program <= NFS_CB_LAST
    protocol = PROTOCOLS[table]
    name = "nfs_cb" if callback else f"{program_name(program)}{version}"
    return Method(name, protocol, procedure, callback or protocol is NFS4, callback)


def _credentials(call: Call, path: str, buf: bytes) -> int:
    """Credential and verifier; returns where the arguments begin."""
    end = len(buf)
    flavor = u32(buf, 24, end)
    call.fields.append((f"{path}.cred.flavor", flavor))
    body, at = opaque(_AUTH_BODY, buf, 28, end)
    if flavor == rpc.AUTH_SYS:
        leaves(CREDENTIALS["authsys_parms"], body, 0, len(body), f"{path}.cred", call.fields)
    elif flavor == rpc.RPCSEC_GSS:
        gss, _ = decode(CREDENTIALS["rpc_gss_cred"], body, 0, len(body))
        leaves(CREDENTIALS["rpc_gss_cred"], body, 0, len(body), f"{path}.cred", call.fields)
        data = gss["gss_proc"] == rpc.GSS_DATA
        call.integrity = data and gss["service"] == rpc.GSS_INTEGRITY
        call.hidden = not data or gss["service"] == rpc.GSS_PRIVACY
    call.fields.append((f"{path}.verf.flavor", u32(buf, at, end)))
    _, at = opaque(_AUTH_BODY, buf, at + 4, end)
    return at + _GSS_INTEGRITY_HEAD if call.integrity else at


def _arguments(call: Call, buf: bytes, at: int) -> None:
    method = call.method
    if method.table is None:
        return
    if method.compound and method.procedure == 1:
        path = call.enter(f"{method.protocol}.COMPOUND")
        head = "CB_COMPOUND4args" if method.callback else "COMPOUND4args"
        at = leaves(NFS4.types[head], buf, at, len(buf), path, call.fields)
        _operations(call, path, method, buf, at, replied=False)
        call.operations = [c for c in call.contexts if c.startswith(f"{method.protocol}.") and c != path]
        if not call.cut:
            call.fields.append((f"{path}.operations", _short(call.operations)))
    elif (procedure := _procedure(method)) is not None:
        path = call.enter(f"{method.protocol}.{procedure.name}")
        call.operations.append(path)
        leaves(procedure.args, buf, at, len(buf), path, call.fields)


def _procedure(method: Method) -> Procedure | None:
    if method.procedure == 0:
        return NULL
    return method.table.procedures.get(method.procedure) if method.table and not method.compound else None


def _short(operations: list[str]) -> str:
    return " ".join(name.partition(".")[2] for name in operations)


def _operations(reading: Reading, path: str, method: Method, buf: bytes, at: int, *, replied: bool) -> None:
    """The operations of a COMPOUND, or their results."""
    end = len(buf)
    count = u32(buf, at, end)
    at += 4
    reading.fields.append((f"{path}.{'resarray' if replied else 'argarray'}.count", count))
    try:
        for _ in range(count):
            operation = _operation(method.protocol, u32(buf, at, end), callback=method.callback, replied=replied)
            if operation is None:
                reading.malformed = True
                return
            inner, read = operation
            reading.enter(inner)
            at = read(buf, at + 4, end, reading.fields)
    except XdrError as error:
        reading.stop(error)


@lru_cache(maxsize=1 << 10)  # numbers are the wire's
def _operation(protocol: str, number: int, *, callback: bool, replied: bool) -> tuple[str, Reader] | None:
    """The context of an operation of a COMPOUND and what reads its arguments or results; None if there is no such."""
    operation = (CALLBACK if callback else NFS4).procedures.get(number)
    if operation is None:
        return None
    context = f"{protocol}.{operation.name}{'.reply' if replied else ''}"
    return context, reader(operation.results if replied else operation.args, context)


def read_reply(call: Call, buf: bytes) -> Reading:
    """The reply in `buf`, which answers `call`."""
    reply, method = Reading(), call.method
    path = reply.enter(f"rpc.{method.protocol}.reply")
    end = len(buf)
    try:
        status = u32(buf, 8, end)
        reply.fields.append((f"{path}.reply_stat", status))
        if status == rpc.DENIED:
            return reply
        reply.fields.append((f"{path}.verf.flavor", u32(buf, 12, end)))
        _, at = opaque(_AUTH_BODY, buf, 16, end)
        accepted = u32(buf, at, end)
        at += 4
        reply.fields.append((f"{path}.accept_stat", accepted))
        if accepted == 0 and not call.hidden:
            _results(reply, method, buf, at + _GSS_INTEGRITY_HEAD if call.integrity else at)
    except XdrError as error:
        reply.stop(error)
    return reply


def _results(reply: Reading, method: Method, buf: bytes, at: int) -> None:
    if method.compound and method.procedure == 1:
        path = reply.enter(f"{method.protocol}.COMPOUND.reply")
        at = leaves(NFS4.types["COMPOUND4res"], buf, at, len(buf), path, reply.fields)
        _operations(reply, path, method, buf, at, replied=True)
    elif (procedure := _procedure(method)) is not None:
        path = reply.enter(f"{method.protocol}.{procedure.name}.reply")
        leaves(procedure.results, buf, at, len(buf), path, reply.fields)
