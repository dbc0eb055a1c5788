"""Fields out of bytes: every table's values, cut anywhere; headers of frames; what a sketch keeps."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import packets
from contrast import plant
from nfsleuth.contrast.headers import read_headers
from nfsleuth.contrast.leaves import bitmap_text, leaves
from nfsleuth.contrast.messages import read_call, read_reply
from nfsleuth.contrast.observe import syns
from nfsleuth.contrast.sketch import LONGEST, MOST_FIELDS, MOST_VALUES, Profile, Sketch, entropy
from nfsleuth.contrast.whose import halves
from nfsleuth.wire.programs import PROTOCOLS
from nfsleuth.wire.xdr import CUT, MALFORMED, Array, Chain, Maybe, Struct, XdrError, decode

TYPES = [
    pytest.param(kind, id=f"{protocol.title} {procedure.name} {way}")
    for protocol in PROTOCOLS
    for procedure in protocol.procedures.values()
    for way, kind in (("args", procedure.args), ("results", procedure.results))
    if kind.fields
]


def value_of(kind) -> bytes:
    return plant.encode(kind, "x", plant.Values("a", 1, 0, "", 7))


def flattened(kind, value, path):
    """The leaves that the decoded value holds, in the naive way; only numbers and bytes, without counts."""
    if isinstance(kind, Struct):
        for field in kind.fields:
            yield from flattened(field.type, value[field.name], f"{path}.{field.name}")
        if kind.is_union:
            arm = kind.arms.get(int(value[kind.fields[-1].name]), kind.default)
            yield from flattened(arm, value, path)
    elif isinstance(kind, Array | Chain):
        for item in value:
            yield from flattened(kind.item, item, f"{path}[]")
    elif isinstance(kind, Maybe):
        if value is not None:
            yield from flattened(kind.item, value, path)
    else:
        yield path, value


@pytest.mark.parametrize("kind", TYPES)
def test_leaves_are_what_the_decoder_reads(kind):
    data = value_of(kind)
    out = []
    assert leaves(kind, data, 0, len(data), "x", out) == len(data)
    expected, end = decode(kind, data, 0, len(data))
    assert end == len(data)
    plain = [(p, v) for p, v in flattened(kind, expected, "x") if ".attr" not in p and "createattrs" not in p]
    found = dict(out)
    for path, value in plain:
        if path in found and isinstance(value, int | bytes):
            assert value in [v for p, v in out if p == path]


@pytest.mark.parametrize("kind", TYPES)
def test_every_prefix_gives_the_fields_that_it_holds(kind):
    data = value_of(kind)
    whole = []
    leaves(kind, data, 0, len(data), "x", whole)
    before = 0
    for end in range(len(data)):
        out = []
        with pytest.raises(XdrError) as caught:
            leaves(kind, data, 0, end, "x", out)
        assert caught.value.status == CUT
        assert out == whole[: len(out)]
        assert len(out) >= before
        before = len(out)


@given(data=st.binary(max_size=200), which=st.sampled_from(TYPES))
def test_any_bytes_are_safe(data, which):
    out = []
    try:
        end = leaves(which.values[0], data, 0, len(data), "x", out)
    except XdrError as error:
        assert error.status in (CUT, MALFORMED)
    else:
        assert 0 <= end <= len(data)
    assert len(out) <= 2 * len(data) + 64


@given(data=st.binary(max_size=300))
def test_any_message_is_safe(data):
    head = packets.call(7, arguments=b"", version=4, procedure=1)[:24]
    call = read_call(head + data)
    assert call is not None
    read_reply(call, data)
    assert read_call(data) is None or data[4:8] == bytes(4)


def test_a_compound_by_its_operations():
    body = packets.compound(packets.putfh(), packets.read4(4096, 512), minor=2, tag="t")
    call = read_call(packets.call(7, version=4, procedure=1, arguments=body))
    fields = dict(call.fields)
    assert call.operations == ["nfs4.PUTFH", "nfs4.READ"]
    assert fields["nfs4.COMPOUND.minorversion"] == 2
    assert fields["nfs4.COMPOUND.operations"] == "PUTFH READ"
    assert (fields["nfs4.READ.offset"], fields["nfs4.READ.count"]) == (4096, 512)
    assert fields["rpc.nfs4.cred.machinename"] == b"web01"
    reply = packets.reply(7, packets.compound_results(packets.ok(22), packets.read4_result(b"12345")))
    found = dict(read_reply(call, reply).fields)
    assert found["nfs4.READ.reply.data.length"] == 5
    assert "nfs4.READ.reply.data" not in found


def test_the_callback_address_has_the_path_that_the_rfc_gives_it():
    body = packets.compound(packets.setclientid(1, "me", addr="10.0.2.15.3.9"))
    fields = dict(read_call(packets.call(1, version=4, procedure=1, arguments=body)).fields)
    assert fields["nfs4.SETCLIENTID.callback.cb_location.r_addr"] == b"10.0.2.15.3.9"


def test_attributes_by_their_names():
    assert bitmap_text((1 << 1 | 1 << 4, 1 << 1)) == "type size mode"
    body = packets.u32(9, 1, 1 << 1 | 1 << 4)
    call = read_call(packets.call(1, version=4, procedure=1, arguments=packets.compound(body)))
    assert dict(call.fields)["nfs4.GETATTR.attr_request"] == "type size"
    result = packets.u32(9, 0, 1, 1 << 1 | 1 << 4, 12, 2) + packets.u64(4096)
    found = dict(read_reply(call, packets.reply(1, packets.compound_results(result))).fields)
    assert (found["nfs4.GETATTR.reply.obj_attributes.type"], found["nfs4.GETATTR.reply.obj_attributes.size"]) == (
        2,
        4096,
    )


def test_a_cut_message_names_what_is_cut():
    body = packets.compound(packets.putfh(), packets.read4())
    message = packets.call(7, version=4, procedure=1, arguments=body)
    assert read_call(message[:-4]).cut == "nfs4.READ"
    assert read_call(message).cut == ""


@pytest.mark.parametrize("vlans", [(), (7,)])
@pytest.mark.parametrize("six", [False, True])
def test_headers_of_a_syn(vlans, six):
    segment = packets.tcp(b"", 777, 2049, flags=packets.SYN, options=packets.LINUX_SYN, window=64240)
    network = packets.ipv6(segment) if six else packets.ipv4(segment, ttl=61)
    frame = packets.ethernet(network, vlans=vlans)
    fields = dict(read_headers(frame, packets.ETHERNET))
    assert fields["tcp.syn.options"] == "mss,sok,ts,nop,ws"
    assert (fields["tcp.syn.mss"], fields["tcp.syn.wscale"], fields["tcp.syn.window"]) == (1460, 7, 64240)
    assert fields["tcp.syn.window / mss"] == "44.00"
    assert fields["ip.ttl"] == (64 if six else 61)
    assert fields["eth.src"] == packets.CLIENT_MAC
    index, senders = syns(packets.chunk([packets.Frame(b""), packets.Frame(frame)]))
    assert index.tolist() == [1]
    assert senders == [(*halves("fd00::7" if six else "10.0.0.7"), 777)]
    assert all(read_headers(frame[:end], packets.ETHERNET) is None for end in range(len(frame) - len(segment) + 20))


@given(data=st.binary(max_size=120), link=st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276, 147]))
def test_any_frame_is_safe(data, link):
    read_headers(data, link)
    index, senders = syns(packets.chunk([packets.Frame(data, link=link)]))
    assert len(index) == len(senders) <= 1


def test_a_sketch_is_bounded():
    sketch = Sketch()
    for number in range(1000):
        sketch.see(number, number)
        sketch.see(bytes([number % 256]) * 5000)
    assert len(sketch.values) == MOST_VALUES
    assert sketch.more == sketch.seen - sum(count for count, _ in sketch.values.values())
    assert max(len(v) for v in sketch.values if isinstance(v, bytes)) <= LONGEST + 16
    profile = Profile("c", "x")
    profile.see((f"p{n}", n) for n in range(MOST_FIELDS + 5))
    assert (len(profile.fields), profile.dropped) == (MOST_FIELDS, 5)


def test_shapes():
    def of(*values):
        sketch = Sketch()
        for value in values:
            sketch.see(value)
        return sketch.shape()

    assert of(8, 9, 10) == "4 bits, counts by 1"
    assert of(9, 9) == "4 bits, constant"
    assert of(b"abcd") == "4 bytes, text, 2 bits per byte"
    assert of(bytes(8)) == "8 bytes, binary, 0 bits per byte"
    rng = random.Random(1)
    assert of(rng.randbytes(64), rng.randbytes(64)) == "64 bytes, binary, 6 bits per byte"
    assert entropy(b"") == 0
