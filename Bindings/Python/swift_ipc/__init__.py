"""Channels between processes: topics, queues, services, latest values and events of swift-ipc.

    import swift_ipc as ipc
    quotes = ipc.topic("market/quotes")
    for quote in quotes.subscribe():
        print(quote["price"])

Time-outs are in seconds; None waits for ever. A channel may be used by all threads; each thread opens a publisher, a subscription
and so on of its own.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Dict, List as _List, Optional, Tuple, Union

from . import _types
from ._errors import (
    AddressInUse, AlreadyExists, BrokenPipe, Corrupted, IncompatibleOptions, Inherited, InvalidArgument, IPCError,
    LeaseLost, LimitReached, MessageTooLarge, NoSpace, NotFound, NotReady, Overloaded, PermissionDenied, Removed,
    ServiceFailure, TimedOut, Unsupported, WrongType, error_of,
)  # fmt: skip
from ._handles import Channel, describe, open_channel, remove
from ._library import lib as _lib
from ._readers import Call, Getter, Job, Server, Subscription, Waiter, Worker
from ._types import (
    Array, Framed, List, Text, case, char, f16, f32, f64, i8, i16, i32, i64, i128, u8, u16, u32, u64, u128,
)  # fmt: skip
from ._writers import Client, Notifier, Producer, Publisher, Setter

__version__ = "0.2.0"

_Root = Optional[Union[str, "os.PathLike[str]"]]
#: "next", "oldest", or ("last", n).
Start = Union[str, Tuple[str, int]]


def library_version() -> int:
    """The version of the library: 200 for 0.2.0."""
    return int(_lib.ipc_version())


@dataclasses.dataclass
class CommandFailure:
    """The failure of a service of bytes: the exit code of the command that answered, with ``ipc service serve``."""

    code: i32


class Topic(Channel):
    """Messages for all subscribers."""

    _pattern = 1

    def publisher(self) -> Publisher:
        """Joins to publish."""
        return Publisher(self)

    def subscribe(self, start: Start = "next", *, as_: Any = None, spins: Optional[int] = 2000) -> Subscription:
        """Joins to receive, from the ``"next"`` message, the ``"oldest"`` that is there, or ``("last", n)``.

        ``as_`` is how messages are given: "numpy", "dict", "tuple", "bytes" or a dataclass. It polls about ``spins``
        times, then sleeps; None polls only, which takes a whole processor.
        """
        return Subscription(self, as_, start=start, spins=spins)

    def observe(self, start: Start = "next", *, as_: Any = None, spins: Optional[int] = 2000) -> Subscription:
        """Receives without joining: it takes no slot, and publishers do not wait for it."""
        return Subscription(self, as_, start=start, spins=spins, observe=True)


class Queue(Channel):
    """Jobs, each for one worker."""

    _pattern = 2

    def producer(self) -> Producer:
        """Joins to send jobs."""
        return Producer(self)

    def worker(self, *, as_: Any = None, spins: Optional[int] = 2000) -> Worker:
        """Joins to take jobs."""
        return Worker(self, as_, spins=spins)


class Service(Channel):
    """Calls that servers answer."""

    _pattern = 3

    def client(self, *, as_: Any = None) -> Client:
        """Joins to call. ``as_`` is how replies are given."""
        return Client(self, as_)

    def server(self, *, as_: Any = None, spins: Optional[int] = 2000) -> Server:
        """Joins to answer calls. ``as_`` is how requests are given."""
        return Server(self, as_, spins=spins)


class Latest(Channel):
    """A value of which only the newest matters."""

    _pattern = 4

    def setter(self) -> Setter:
        """Joins to set the value."""
        return Setter(self)

    def getter(self, *, as_: Any = None, spins: Optional[int] = 2000) -> Getter:
        """Joins to get the value."""
        return Getter(self, as_, spins=spins)

    def observe(self, *, as_: Any = None, spins: Optional[int] = 2000) -> Getter:
        """Gets the value without joining."""
        return Getter(self, as_, spins=spins, observe=True)


class Event(Channel):
    """Something to wait for."""

    _pattern = 5
    _notifier: Optional[Notifier] = None
    _waiter: Optional[Waiter] = None

    def notifier(self) -> Notifier:
        """Joins to notify."""
        return Notifier(self)

    def waiter(self, *, spins: Optional[int] = 2000) -> Waiter:
        """Joins to wait."""
        return Waiter(self, spins=spins)

    def notify(self, count: int = 1) -> None:
        """Ends ``count`` waits, now or later, by a notifier of its own that is opened at the first call."""
        self._opened()
        if self._notifier is None:
            self._notifier = Notifier(self)
        self._notifier.notify(count)

    def notify_all(self) -> None:
        """Ends all waits that are in progress."""
        self._opened()
        if self._notifier is None:
            self._notifier = Notifier(self)
        self._notifier.notify_all()

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits for a notice, and takes it, by a waiter of its own that is opened at the first call.

        Raises ``TimedOut``.
        """
        self._opened()
        if self._waiter is None:
            self._waiter = Waiter(self)
        self._waiter.wait(timeout)

    async def wait_async(self, timeout: Optional[float] = None) -> None:
        """As ``wait``, in an event loop."""
        self._opened()
        if self._waiter is None:
            self._waiter = Waiter(self)
        await self._waiter.wait_async(timeout)

    def close(self) -> None:
        for participant in (self._notifier, self._waiter):
            if participant is not None:
                participant.close()
        self._notifier = self._waiter = None
        super().close()


def _type_of(type: Any, dtype: Any, schema: Any, name: Optional[str]) -> Optional[Tuple[Optional[_List[Any]], Any]]:
    """The node of what was given as the type, or the text of a schema; None if nothing was."""
    given = [value for value in (type, dtype, schema) if value is not None]
    if not given:
        if name is not None:
            raise error_of(9, f"name={name!r}: it names a type, and none is given")
        return None
    if len(given) > 1:
        raise error_of(9, "give one of a type, dtype= and schema=")
    value = given[0]
    if dtype is not None and _types.numpy is not None:
        value = _types.numpy.dtype(dtype)
    if isinstance(value, (str, dict)) and name is None:
        # The library reads and checks it.
        text = _schema_text(value)
        return None, text
    return [_types.node_of_type(value, name)], None


def _schema_text(schema: Any) -> str:
    import json

    if isinstance(schema, str):
        if schema == "bytes" or schema in _types._simple:
            return json.dumps({"message": schema})
        text = schema.lstrip()
        if text.startswith('{"message"') or text.startswith('{"request"'):
            return schema
        try:
            value = json.loads(schema)
        except (ValueError, RecursionError):
            return schema
        if isinstance(value, dict) and ("message" in value or "request" in value):
            return schema
        return '{"message":' + schema + "}"
    try:
        return json.dumps(schema if "message" in schema or "request" in schema else {"message": schema})
    except (TypeError, ValueError, RecursionError) as error:
        raise error_of(9, f"read schema: it is not JSON: {error}") from None


def _open(
    cls: Any, channel: str, given: Optional[Tuple[Optional[_List[Any]], Any]], root: _Root, create: bool,
    timeout: Optional[float], options: Dict[str, Any],
) -> Any:  # fmt: skip
    nodes, text = given if given is not None else (None, None)
    path = os.fspath(root) if root is not None else None
    return open_channel(cls, channel, nodes, text, path, create, timeout, options)


def topic(
    channel: str, type: Any = None, /, *, dtype: Any = None, schema: Any = None, name: Optional[str] = None,
    root: _Root = None, create: bool = True, timeout: Optional[float] = None, writers: Optional[str] = None,
    overflow: Optional[str] = None, lifetime: Optional[str] = None, durability: Any = None,
    capacity: Optional[int] = None, maximum_readers: Optional[int] = None, maximum_writers: Optional[int] = None,
    permissions: Optional[int] = None, subscriber_permissions: Optional[int] = None,
) -> Topic:  # fmt: skip
    """Opens a topic.

    With a type, as ``type``, ``dtype`` or ``schema``, it is created if there is none, unless ``create`` is false; an existing
    one must have this type. Types are dataclasses, NumPy's types with the name of the structure as ``name``, schemas of JSON,
    and ``bytes``. Without a type, an existing one is opened, and waited for until the time-out.

    What is not given of the options is not asked for: an existing channel is taken as it is, and a new one has the defaults of
    Swift: one publisher at a time, for example, unless ``writers`` is "shared".
    """
    options = dict(
        writers=writers, overflow=overflow, lifetime=lifetime, durability=durability, capacity=capacity,
        maximum_readers=maximum_readers, maximum_writers=maximum_writers, permissions=permissions,
        subscriber_permissions=subscriber_permissions,
    )  # fmt: skip
    return _open(Topic, channel, _type_of(type, dtype, schema, name), root, create, timeout, options)  # type: ignore


def queue(
    channel: str, type: Any = None, /, *, dtype: Any = None, schema: Any = None, name: Optional[str] = None,
    root: _Root = None, create: bool = True, timeout: Optional[float] = None, writers: Optional[str] = None,
    overflow: Optional[str] = None, lifetime: Optional[str] = None, durability: Any = None,
    capacity: Optional[int] = None, maximum_readers: Optional[int] = None, maximum_writers: Optional[int] = None,
    permissions: Optional[int] = None, maximum_attempts: Optional[int] = None,
) -> Queue:  # fmt: skip
    """Opens a queue, as ``topic`` opens a topic.

    ``maximum_attempts`` is how often a job is delivered before it goes to the queue ``NAME/dead-letters``.
    """
    options = dict(
        writers=writers, overflow=overflow, lifetime=lifetime, durability=durability, capacity=capacity,
        maximum_readers=maximum_readers, maximum_writers=maximum_writers, permissions=permissions,
        maximum_attempts=maximum_attempts,
    )  # fmt: skip
    return _open(Queue, channel, _type_of(type, dtype, schema, name), root, create, timeout, options)  # type: ignore


def service(
    channel: str, request: Any = None, reply: Any = None, failure: Any = None, /, *, schema: Any = None,
    root: _Root = None, create: bool = True, timeout: Optional[float] = None, lifetime: Optional[str] = None,
    capacity: Optional[int] = None, maximum_readers: Optional[int] = None, maximum_writers: Optional[int] = None,
    permissions: Optional[int] = None, maximum_waiting: Optional[int] = None,
) -> Service:  # fmt: skip
    """Opens a service, as ``topic`` opens a topic, with the types of its requests, replies and failures.

    A reply that is not given is ``bytes``, and so is a failure. But if requests and replies are bytes, it is ``CommandFailure``,
    as in Swift and C, and in what ``ipc service serve`` serves. ``maximum_waiting`` is how many calls may wait.
    """
    options = dict(
        lifetime=lifetime, capacity=capacity, maximum_readers=maximum_readers, maximum_writers=maximum_writers,
        permissions=permissions, maximum_waiting=maximum_waiting,
    )  # fmt: skip
    given: Optional[Tuple[Optional[_List[Any]], Any]] = None
    if schema is not None:
        if request is not None or reply is not None or failure is not None:
            raise error_of(9, "give the types, or schema=, and not both")
        given = (None, _schema_text(schema))
    elif request is not None:
        if reply is None:
            reply = bytes
        if failure is None:
            failure = CommandFailure if request is bytes and reply is bytes else bytes
        given = ([_types.node_of_type(part) for part in (request, reply, failure)], None)
    elif reply is not None or failure is not None:
        raise error_of(9, "give the type of the requests too")
    return _open(Service, channel, given, root, create, timeout, options)  # type: ignore


def latest(
    channel: str, type: Any = None, /, *, dtype: Any = None, schema: Any = None, name: Optional[str] = None,
    root: _Root = None, create: bool = True, timeout: Optional[float] = None, writers: Optional[str] = None,
    lifetime: Optional[str] = None, capacity: Optional[int] = None, maximum_readers: Optional[int] = None,
    maximum_writers: Optional[int] = None, permissions: Optional[int] = None,
    subscriber_permissions: Optional[int] = None,
) -> Latest:  # fmt: skip
    """Opens a latest value, as ``topic`` opens a topic."""
    options = dict(
        writers=writers, lifetime=lifetime, capacity=capacity, maximum_readers=maximum_readers,
        maximum_writers=maximum_writers, permissions=permissions, subscriber_permissions=subscriber_permissions,
    )  # fmt: skip
    return _open(Latest, channel, _type_of(type, dtype, schema, name), root, create, timeout, options)  # type: ignore


def event(
    channel: str, /, *, root: _Root = None, create: bool = True, timeout: Optional[float] = None,
    lifetime: Optional[str] = None, maximum_readers: Optional[int] = None, permissions: Optional[int] = None,
) -> Event:  # fmt: skip
    """Opens an event, and creates it if there is none, unless ``create`` is false."""
    options = dict(lifetime=lifetime, maximum_readers=maximum_readers, permissions=permissions)
    given: Any = ([_types.Bytes()], None)
    return _open(Event, channel, given, root, create, timeout, options)  # type: ignore


__all__ = [
    "AddressInUse", "AlreadyExists", "Array", "BrokenPipe", "Call", "Channel", "Client", "CommandFailure", "Corrupted", "Event", "Framed",
    "Getter", "IPCError", "IncompatibleOptions", "Inherited", "InvalidArgument", "Job", "Latest", "LeaseLost",
    "LimitReached", "List", "MessageTooLarge", "NoSpace", "NotFound", "NotReady", "Notifier", "Overloaded",
    "PermissionDenied", "Producer", "Publisher", "Queue", "Removed", "Server", "Service", "ServiceFailure", "Setter",
    "Subscription", "Text", "TimedOut", "Topic", "Unsupported", "Waiter", "Worker", "WrongType", "case", "char",
    "describe", "event", "f16", "f32", "f64", "i128", "i16", "i32", "i64", "i8", "latest", "library_version", "queue",
    "remove", "service", "topic", "u128", "u16", "u32", "u64", "u8",
]  # fmt: skip
