"""What calls raise: one class for each kind of failure."""

from __future__ import annotations

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
