"""What calls raise: one class for each kind of failure."""

from __future__ import annotations

import re
from typing import Any, Dict, Type


class IPCError(Exception):
    """A call failed. The text says what was attempted, on what, what is wrong, and what to do.

    ``code`` is the number of ipc.h, ``system_error`` the errno of the
    system call that failed, or 0.
    """

    code: int = 99
    system_error: int = 0


class TimedOut(IPCError, TimeoutError):
    """There was nothing to receive, or no room, by the time-out."""

    code = 1


class NotFound(IPCError):
    """No channel has this name, or no value was set yet."""

    code = 2


class AlreadyExists(IPCError):
    """A channel of this name exists."""

    code = 3


class WrongType(IPCError):
    """The channel has another pattern, or another type, than was asked for."""

    code = 4


class IncompatibleOptions(IPCError):
    """The channel exists with other options."""

    code = 5


class PermissionDenied(IPCError, PermissionError):
    """This user may not use the channel in this way."""

    code = 6


class LimitReached(IPCError):
    """All slots of the channel are taken."""

    code = 7


class AddressInUse(IPCError):
    """Another process is the only writer that the channel may have."""

    code = 8


class InvalidArgument(IPCError, ValueError):
    """An argument outside of what the call takes, or an object that was closed."""

    code = 9


class MessageTooLarge(IPCError):
    """The message does not fit."""

    code = 10


class Removed(IPCError):
    """The channel was removed: open it again."""

    code = 11


class Corrupted(IPCError):
    """What is in shared memory cannot be what a participant writes."""

    code = 12


class LeaseLost(IPCError):
    """Another process has the job by now, or has ended the call."""

    code = 13


class BrokenPipe(IPCError, BrokenPipeError):
    """The server of a call died, or dropped the call."""

    code = 14


class Overloaded(IPCError):
    """As many calls wait as the service allows."""

    code = 15


class NotReady(IPCError):
    """A server or a worker is required, and none has joined."""

    code = 16


class Inherited(IPCError):
    """The channel is the parent's: this process was forked from it."""

    code = 17


class NoSpace(IPCError):
    """No space is left."""

    code = 18


class Unsupported(IPCError):
    """The system or the channel lacks the operation."""

    code = 19


class ServiceFailure(Exception):
    """The error of a service. Its server raises it with a value; its client gets it with the same value."""

    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value


_classes: Dict[int, Type[IPCError]] = {
    kind.code: kind
    for kind in (
        TimedOut, NotFound, AlreadyExists, WrongType, IncompatibleOptions, PermissionDenied, LimitReached, AddressInUse,
        InvalidArgument, MessageTooLarge, Removed, Corrupted, LeaseLost, BrokenPipe, Overloaded, NotReady, Inherited,
        NoSpace, Unsupported,
    )
}  # fmt: skip

FORK_ADVICE = (
    'a child of fork cannot use its parent\'s channels; with multiprocessing, use the start method "spawn"'
    " (multiprocessing.get_context(\"spawn\")), and open the channel in the child"
)


def error_of(code: int, text: str, system_error: int = 0) -> IPCError:
    kind = _classes.get(code, IPCError)
    if kind is Inherited:
        text = f"{text}; {FORK_ADVICE}" if text else FORK_ADVICE
    error = kind(text)
    error.code = code
    error.system_error = system_error
    return error


# ---- The library's texts, in the words of Python ----

#: What options, arguments and values are called here.
_words = {
    "maximumReaders": "maximum_readers", "maximumServers": "maximum_readers", "maximumParticipants": "maximum_readers",
    "maximumWriters": "maximum_writers", "maximumClients": "maximum_writers", "maximumAttempts": "maximum_attempts",
    "maximumWaiting": "maximum_waiting", "subscriberPermissions": "subscriber_permissions",
    "whileUsed": "while_used", "syncedWhenAsked": "synced_when_asked", "syncedEvery(bytes: ": "synced_every (",
    "shared writers": 'writers="shared"', "overflow overwrite": 'overflow="overwrite"', "overflow block": 'overflow="block"',
    "lifetime kept": 'lifetime="kept"', "(requiresServer: false)": "(requires_server=False)",
    "(requiresWorker: false)": "(requires_worker=False)", "or nil for": "or None for", "by ipc_receive": "by next()",
    "start at .oldest": 'start at "oldest"', 
    "before the deadline": "by the time-out",
    "work queue": "queue",
}  # fmt: skip
_all_words = re.compile("|".join(map(re.escape, sorted(_words, key=len, reverse=True))))
#: Swift's types, innermost first.
_types = [
    (re.compile(r"\bInlineString<(\d+)>"), r"Text[\1]"), (re.compile(r"\bInlineList<([^<>]+), (\d+)>"), r"List[\1, \2]"),
    (re.compile(r"\bInlineArray<(\d+), ([^<>]+)>"), r"Array[\2, \1]"),
    (re.compile(r"\bOptional<([^<>]+)>"), r"Optional[\1]"), (re.compile(r"\bFramed<([^<>]+)>"), r"Framed.of(\1)"),
]  # fmt: skip
_simple_types = {"Float16": "f16", "Float": "f32", "Double": "f64", "Bool": "bool", "Unicode.Scalar": "char", "RawBytes": "bytes"}
_simple_type = re.compile(r"\b(U?)Int(8|16|32|64|128)\b|\b(Float16|Float|Double|Bool|Unicode\.Scalar|RawBytes)\b")
#: What was attempted, and on what.
_subject = re.compile(r'([^":]*)(?: "([^"]*)")?: ')
#: Errors that name types, and so perhaps fields, which are nobody's options.
_of_types = (4, 12)


def in_python(code: int, text: str, name: str = "") -> str:
    """A text of the library with the names that this package has. ``name`` is that of the channel, if the library has none."""
    match = _subject.match(text)
    if match is None:
        return text
    operation, resource, advice = match[1], match[2], text[match.end() :]
    if operation.startswith("ipc_"):
        operation = operation[4:].replace("_or_create", "").replace("_", " ")
    if resource == "channel" and name:
        resource = name
    operation = operation.replace("work queue", "queue")
    if code not in _of_types:
        advice = _all_words.sub(lambda word: _words[word[0]], advice)
        if advice.endswith("; allow more"):
            advice += " by reply_limit="
    else:
        advice = advice.replace("work queue", "queue")
    if code in (*_of_types, 9):
        advice = _simple_type.sub(
            lambda word: _simple_types[word[3]] if word[3] else ("u" if word[1] else "i") + word[2], advice
        )
        before = ""
        while before != advice:
            before = advice
            for pattern, form in _types:
                advice = pattern.sub(form, advice)
    return f'{operation} "{resource}": {advice}' if resource is not None else f"{operation}: {advice}"
