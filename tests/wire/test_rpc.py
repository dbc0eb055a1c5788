"""What is taken for an RPC message, and what is not (RFC 5531)."""

from __future__ import annotations

import pytest
from headers import is_starttls, message_kind, record_kind
from hypothesis import given, settings
from hypothesis import strategies as st

import packets as p

CALL, REPLY = 0, 1
CALLS = {
    "null": p.call(1, credential=p.AUTH_NONE),
    "sys": p.call(1, procedure=3, arguments=p.lookup3()),
    "mount": p.call(1, p.MOUNT, 3, 1, p.opaque("/export")),
    "portmap": p.call(1, p.PORTMAP, 2, 3, p.u32(p.NFS, 3, 6, 0)),
    "gss": p.call(1, p.NFS, 4, 1, credential=p.auth_gss()),
    "tls": p.call(1, credential=p.AUTH_TLS),
    "callback": p.call(1, p.CALLBACK, 1, 1, credential=p.AUTH_NONE),
}
REPLIES = {
    "null": p.reply(1),
    "results": p.reply(1, p.u32(0) * 9),
    "error": p.reply(1, accept=3),
    "denied": p.denied(1),
    "gss": p.reply(1, p.u32(0), verifier=p.auth(6, bytes(28))),
    "starttls": p.reply(1, verifier=p.auth(0, p.STARTTLS)),
}
NEITHER = {
    "empty": b"",
    "zeros": bytes(64),
    "text": b"GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "another program": p.call(1, 200000, 1, 0),
    "rpc version 3": p.call(1)[:8] + p.u32(3) + p.call(1)[12:],
    "nfs version 5": p.call(1, version=5),
    "procedure 101": p.call(1, procedure=101),
    "flavor 9": p.call(1, credential=p.auth(9, bytes(4))),
    "credential of 404 bytes": p.call(1, credential=p.auth(1, bytes(404))),
    "credential of 3 bytes": p.call(1, credential=p.u32(1, 3) + bytes(400)),
    "reply state 2": p.u32(1, 1, 2, 0, 0, 0),
    "accept state 6": p.reply(1, accept=6),
    "reject state 2": p.u32(1, 1, 1, 2, 0, 0),
    "type 2": p.u32(1, 2, 0, 0, 0, 0),
}


def long(message):
    """As long as the shortest message that is looked at."""
    return message + bytes(max(24 - len(message), 0))


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    assert message_kind(CALLS[name]) == CALL
    assert record_kind(p.record(CALLS[name])) == CALL


@pytest.mark.parametrize("name", REPLIES)
def test_replies(name):
    assert message_kind(long(REPLIES[name])) == REPLY
    assert record_kind(p.record(long(REPLIES[name]))) == REPLY


@pytest.mark.parametrize("name", NEITHER)
def test_neither(name):
    assert message_kind(NEITHER[name]) == -1
    assert record_kind(p.record(NEITHER[name])) == -1


@pytest.mark.parametrize("mark", [0x20, 0x80000017, 0x81000001, 0xFFFFFFFF])
def test_record_marks_that_are_not_believed(mark):
    """Not the last fragment, shorter than a header, longer than 16 MiB."""
    assert record_kind(p.u32(mark) + CALLS["sys"]) == -1


@pytest.mark.parametrize("message", [CALLS["sys"], long(REPLIES["null"])])
def test_every_prefix_of_a_header_is_no_message(message):
    for end in range(24):
        assert message_kind(message[:end]) == -1
        assert record_kind(p.record(message)[: end + 4]) == -1


def test_the_reply_after_which_all_is_encrypted():
    """RFC 9289 section 4.1."""
    assert is_starttls(REPLIES["starttls"])
    assert not is_starttls(REPLIES["starttls"][:27])
    assert not any(is_starttls(REPLIES[name]) for name in REPLIES if name != "starttls")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80))
def test_random_bytes_are_safe_and_rarely_rpc(data):
    assert message_kind(data) in (-1, CALL, REPLY)
    assert record_kind(data) in (-1, CALL, REPLY)
