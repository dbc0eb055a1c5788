"""The one error that a user sees.

Three kinds of trouble take three routes. A mistake or an unreadable file raises `NfsleuthError`, which the command line
catches once and prints as one line. Odd traffic is never an error: it is counted (`trace.tables.Oddity`) and shown. A
bug of ours is a traceback.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every nfsleuth command."""

    DONE = 0
    WRONG_USE = 2  # the command line, a rule file or an option is wrong
    UNREADABLE = 3  # an input cannot be read; the message names file, byte and cure
    NO_NFS = 4  # the input was read and holds no NFS
    PARTS_MISSING = 5  # the machine lacks a program, a kernel feature or a right; the message says what brings it
    LAB_FAILED = 6  # a guest, a server or the network of a lab did not do what was asked; the message names its log


class NfsleuthError(Exception):
    """Something that the person at the keyboard can put right.

    `message` names the thing, the place and the cure, in one line: ``office.pcap: packet 1843 at byte 127904 is cut
    short; copy the file again or capture with -U``. `exit_code` is what the process returns.
    """

    def __init__(self, message: str, exit_code: Exit = Exit.WRONG_USE) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
