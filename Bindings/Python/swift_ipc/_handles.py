"""Channels, readers and writers as the library has them: opened, used by one thread at a time, and closed in order."""

from __future__ import annotations

import json
import os
import weakref
from time import monotonic, monotonic_ns, sleep
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

from . import _types as types
from ._errors import FORK_ADVICE, IPCError, error_of
from ._library import NULL, check, failure, ffi, lib, new_error, take_text, text_argument
from ._values import Codec

TIMED_OUT = 1
#: A wait is cut into parts of this many nanoseconds, so that handlers of signals run.
SLICE = 100_000_000

PATTERNS = {1: "topic", 2: "queue", 3: "service", 4: "latest", 5: "event"}
_articles = {1: "a topic", 2: "a queue", 3: "a service", 4: "a latest value", 5: "an event"}

_choices: Dict[str, Dict[str, int]] = {
    "writers": {"exclusive": 1, "shared": 2},
    "overflow": {"block": 1, "overwrite": 2},
    "lifetime": {"while_used": 1, "kept": 2},
    "durability": {"none": 1, "synced_when_asked": 2, "synced_every": 3},
}


def nanoseconds(timeout: float) -> int:
    """A time-out in seconds as the library has it."""
    try:
        if timeout <= 0:
            return 0
        return int(timeout * 1_000_000_000) if timeout < 4e9 else 4_000_000_000_000_000_000
    except (TypeError, ValueError, OverflowError):
        raise error_of(9, f"timeout: it is {timeout!r}; give seconds as a number, or None for no limit") from None


def sliced(attempt: Callable[[int, Any], int], timeout: Optional[float], error: Any) -> int:
    """Waits in slices.

    ``attempt`` gets nanoseconds and an error to fill, and returns a code. It has to find what came between two slices. A
    failure is not repeated: it may be told only once.
    """
    if timeout is None:
        while True:
            code = attempt(SLICE, error)
            if code != TIMED_OUT:
                return code
    left = nanoseconds(timeout)
    end = monotonic_ns() + left if left > SLICE else 0
    while left > SLICE:
        code = attempt(SLICE, error)
        if code != TIMED_OUT:
            return code
        left = end - monotonic_ns()
    return attempt(max(left, 0), error)


def options_of(root: Optional[str], options: Dict[str, Any]) -> Tuple[Any, Any]:
    """The options of C, and what they point to."""
    result = ffi.new("ipc_options *")
    result.size = ffi.sizeof("ipc_options")
    path: Any = None
    if root is not None:
        path = ffi.new("char[]", text_argument(os.fspath(root), "root"))
        result.root = path
    for name, value in options.items():
        if value is None:
            continue
        if name in _choices:
            if name == "durability" and isinstance(value, (tuple, list)) and len(value) == 2:
                value, result.sync_bytes = value
            number = _choices[name].get(value) if isinstance(value, str) else None
            if number is None:
                raise error_of(9, f"{name}={value!r}: there are {', '.join(map(repr, _choices[name]))}")
            setattr(result, name, number)
        elif name in ("capacity", "maximum_readers", "maximum_writers", "permissions", "subscriber_permissions",
                      "maximum_attempts", "maximum_waiting"):  # fmt: skip
            try:
                setattr(result, name, value)
            except (TypeError, OverflowError):
                raise error_of(9, f"{name}={value!r}: a number that is not negative is needed") from None
        else:
            raise TypeError(f"unexpected option {name!r}")
    return result, path


class Resource:
    """Something of the library that has to be closed: by ``close``, by ``with``, or when it is not used any more."""

    def __init__(self, pointer: Any, close: Callable[[Any], None], name: str) -> None:
        self.name = name
        self._pointer = pointer
        self._kept = pointer
        self._process = os.getpid()
        self._close_call = close
        # A thread takes the token out of the list to call: so one at a time does. It is cheaper than a lock.
        self._tokens = [pointer]
        self._take = self._tokens.pop
        self._give: Callable[[Any], None] = self._tokens.append
        self._error = new_error()
        self._is_closing = False
        # Called at the exit of the interpreter in the reverse order of their making: readers and writers before channels.
        self._finalizer = weakref.finalize(self, _finish, close, self._tokens)

    @property
    def closed(self) -> bool:
        return self._pointer is NULL or self._is_closing

    def close(self) -> None:
        """Closes it. Closing twice is allowed. A call of another thread that waits ends with ``InvalidArgument``."""
        self._is_closing = True
        # A call under way, perhaps of this very thread below a signal's handler, closes it itself at its next slice.
        if taken(self._tokens) is not None:
            try:
                self._finish_close()
            finally:
                self._release()

    def _finish_close(self) -> None:
        """Closes it. The token is taken, and does not come back."""
        self._pointer = NULL
        self._give = _discard
        if self._finalizer.detach() is not None:
            self._close_call(self._kept)

    def _acquire(self) -> bool:
        """Takes the token; false if another thread has it."""
        try:
            self._take()
            return True
        except IndexError:
            return False

    def _release(self) -> None:
        self._give(self._kept)

    def _in_use(self) -> IPCError:
        if self.closed:
            return self._closed_error()
        if os.getpid() != self._process:
            return error_of(17, f"use {self.name}: {FORK_ADVICE}")
        return error_of(
            9, f"use {self.name}: another thread is in a call of this {type(self).__name__}; open one for each thread"
        )

    def _closed_error(self) -> IPCError:
        return error_of(9, f"use {self.name}: this {type(self).__name__} was closed; open another one")

    def _failure(self, code: int) -> IPCError:
        """The exception of a failed call. The token is taken."""
        if self._is_closing or self._pointer is NULL:
            if self._is_closing and self._pointer is not NULL:
                self._finish_close()
            return self._closed_error()
        return failure(code, self._error, self.name)

    def _failure_without_text(self, code: int, what: str, again: Callable[[Any], int]) -> Optional[IPCError]:
        """The exception of an attempt that did not ask for the text of its error, which takes longer to write than to find nothing.

        ``again`` repeats it for the text. If that has another result, the kind of the first is what counts. None if it
        succeeds. The token is taken.
        """
        repeated = again(self._error)
        if repeated == 0:
            return None
        if repeated == code or self.closed:
            return self._failure(code)
        return error_of(code, f"{what} {self.name}: {bytes(ffi.string(lib.ipc_code_name(code))).decode()}; try again")

    def _wait(self, attempt: Callable[[int, Any], int], timeout: Optional[float]) -> int:
        """Waits in slices until there is a result, or this was closed. The token is taken."""

        def unless_closed(left: int, error: Any) -> int:
            return 9 if self._is_closing else attempt(left, error)

        return sliced(unless_closed, timeout, self._error)


def _discard(_: Any) -> None:
    """In place of giving back the token of what was closed."""


def taken(tokens: List[Any], seconds: float = 3 * SLICE / 1e9) -> Any:
    """The token, once the call that has it ends; None if that takes too long."""
    end = monotonic() + seconds
    while True:
        try:
            return tokens.pop()
        except IndexError:
            if monotonic() >= end:
                return None
            sleep(0.001)


def _finish(close: Callable[[Any], None], tokens: List[Any]) -> None:
    # A daemon thread may still be in a call: then the end of the process closes it.
    pointer = taken(tokens)
    if pointer is not None:
        close(pointer)


class Channel(Resource):
    """What all patterns have in common."""

    _pattern = 0

    def __init__(self, pointer: Any, root: Optional[str], codecs: List[Codec]) -> None:
        super().__init__(pointer, lib.ipc_channel_close, bytes(ffi.string(lib.ipc_channel_name(pointer))).decode())
        self.root = root
        self._codecs = codecs
        self._codec = codecs[0]

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{' (closed)' if self.closed else ''}>"

    def _opened(self) -> Any:
        if self._pointer is NULL:
            raise self._closed_error()
        if os.getpid() != self._process:
            raise error_of(17, f"use {self.name}: {FORK_ADVICE}")
        return self._pointer

    @property
    def schema(self) -> Any:
        """The channel's type, as the JSON of the library."""
        return json.loads(bytes(ffi.string(lib.ipc_channel_schema(self._opened()))))

    @property
    def dtype(self) -> Any:
        """NumPy's type of a message, or of a request; None if there is none."""
        return self._codec.dtype

    def to_json(self, message: Any) -> str:
        """A message, or a request, as JSON by the library, checked field by field."""
        content = ffi.from_buffer(self._codec.encode(message))
        cell, error = ffi.new("char **"), new_error()
        check(lib.ipc_to_json(self._opened(), content, len(content), cell, error), error)
        return take_text(cell)

    def from_json(self, text: str) -> bytes:
        """The bytes of a message, or a request, from JSON."""
        cell, count, error = ffi.new("void **"), ffi.new("size_t *"), new_error()
        check(lib.ipc_from_json(self._opened(), text_argument(text, "json"), cell, count, error), error)
        try:
            return bytes(ffi.buffer(cell[0], count[0]))
        finally:
            lib.ipc_free(cell[0])

    def describe(self) -> Any:
        """What the channel is and who uses it, as ``ipc info NAME --format json`` prints it."""
        return describe(self.name, root=self.root)

    def remove(self) -> None:
        """Removes the channel, also while it is used: its participants get ``Removed``."""
        remove(self.name, root=self.root)

    def _open_reader(self, start: Any = "next", spins: Optional[int] = 2000, observe: bool = False) -> Any:
        options = ffi.new("ipc_reader_options *")
        options.size = ffi.sizeof("ipc_reader_options")
        if isinstance(start, (tuple, list)) and len(start) == 2 and start[0] == "last":
            options.start = 2
            try:
                options.count = start[1]
            except (TypeError, OverflowError):
                raise error_of(9, f"start={start!r}: the count must be 0 to 4294967295") from None
        elif start in ("next", "oldest"):
            options.start = 0 if start == "next" else 1
        else:
            raise error_of(9, f'start={start!r}: there are "next", "oldest" and ("last", n)')
        options.spins = -1 if spins is None else spins
        options.observe = 1 if observe else 0
        cell, error = ffi.new("void **"), new_error()
        check(lib.ipc_reader_open(self._opened(), options, cell, error), error)
        return cell[0]

    def _open_writer(self) -> Any:
        cell, error = ffi.new("void **"), new_error()
        check(lib.ipc_writer_open(self._opened(), cell, error), error)
        return cell[0]


class Participant(Resource):
    """A reader or a writer of a channel."""

    def __init__(self, channel: Channel, pointer: Any, close: Callable[[Any], None]) -> None:
        # It keeps its channel open.
        self.channel = channel
        super().__init__(pointer, close, channel.name)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name}{' (closed)' if self.closed else ''}>"

    def _call(self, attempt: Callable[[Any], int]) -> None:
        """A call that does not wait."""
        if not self._acquire():
            raise self._in_use()
        try:
            code = attempt(self._error)
            if code:
                raise self._failure(code)
        finally:
            self._release()


#: Participants whose message in the log is still used by an array or a memoryview.
pending: Set[Any] = set()


class Loan:
    """Bytes of the log that Python code sees for a while, as a memoryview, and not after it."""

    __slots__ = ("view", "is_over", "_base", "_then")

    def __init__(self, pointer: Any, count: int, is_writable: bool) -> None:
        base = ffi.buffer(pointer, count)
        view = memoryview(base)
        self.view = view if is_writable else view.toreadonly()
        #: Whether its block has ended.
        self.is_over = False
        self._base = weakref.ref(base)
        self._then: Any = None

    def end(self) -> bool:
        """Takes the view away; false if something that was made of it is still there."""
        try:
            self.view.release()
        except BufferError:
            return False
        # Slices are views of their own: they keep the base.
        return self._base() is None

    def when_unused(self, then: Callable[[], None]) -> None:
        base = self._base()
        if base is not None:
            self._then = weakref.ref(base, lambda _: then())


def in_loan_error(name: str, what: str) -> BufferError:
    return BufferError(
        f"{what} {name}: an array or a memoryview still uses the message in the log; copy what you keep, and delete the"
        " rest before the block ends"
    )


# ---- Opening ----


def _schema_text(nodes: List[types.Node]) -> str:
    if len(nodes) == 1:
        return json.dumps({"message": nodes[0].form()})
    request, reply, failure_node = nodes
    return json.dumps({"request": request.form(), "reply": reply.form(), "failure": failure_node.form()})


def _opening(name: str, root: Optional[str], timeout: Optional[float]) -> Any:
    error, cell = new_error(), ffi.new("void **")
    encoded = text_argument(name, "name")
    options, kept = options_of(root, {})
    code = sliced(lambda left, error: lib.ipc_open(encoded, options, left, cell, error), timeout, error)
    check(code, error)
    return cell[0]


def open_channel(
    cls: Any, name: str, nodes: Optional[List[types.Node]], text: Optional[str], root: Optional[str], create: bool,
    timeout: Optional[float], given: Dict[str, Any],
) -> Any:  # fmt: skip
    """Opens a channel of whatever type if there are neither nodes nor text, else one of this type."""
    if not isinstance(name, str):
        raise error_of(9, f"open {name!r}: a name is a string, such as \"market/quotes\"")
    pattern = cls._pattern
    options, kept = options_of(root, given)
    encoded = text_argument(name, "name")
    error, cell = new_error(), ffi.new("void **")
    if nodes is None and text is None:
        useless = [option for option, value in given.items() if value is not None]
        if useless:
            raise error_of(
                9, f'open "{name}": {", ".join(useless)}: without a type, a channel is opened as it is; give its type too,'
                " or leave this out")
        pointer = _opening(name, root, timeout)
    else:
        schema = text_argument(text if text is not None else _schema_text(nodes or []), "schema")
        if not create:
            # Wait for it; then compare the types.
            lib.ipc_channel_close(_opening(name, root, timeout))
        check(lib.ipc_open_or_create(pattern, encoded, schema, options, cell, error), error)
        pointer = cell[0]
    try:
        found = lib.ipc_channel_pattern(pointer)
        if found != pattern:
            raise error_of(
                4, f"open {name}: expected {_articles[pattern]}, found {_articles.get(found, 'something else')}; use"
                f" swift_ipc.{PATTERNS.get(found, '?')}, or another name"
            )  # fmt: skip
        if nodes is None:
            form = json.loads(bytes(ffi.string(lib.ipc_channel_schema(pointer))))
            keys = ("request", "reply", "failure") if pattern == 3 and "request" in form else ("message",)
            nodes = [types.node_of_form(form[key]) for key in keys]
            if pattern == 3 and len(nodes) == 1:
                nodes = [nodes[0], types.Bytes(), types.Bytes()]
        return cls(pointer, root, [Codec(node) for node in nodes])
    except BaseException:
        lib.ipc_channel_close(pointer)
        raise


def remove(name: str, *, root: Optional[Union[str, "os.PathLike[str]"]] = None) -> None:
    """Removes a channel, also while it is used: its participants get ``Removed``."""
    error = new_error()
    path = text_argument(os.fspath(root) if root is not None else None, "root")
    check(lib.ipc_remove(text_argument(name, "name"), path, error), error)


def describe(name: str, *, root: Optional[Union[str, "os.PathLike[str]"]] = None) -> Any:
    """What a channel is and who uses it, as ``ipc info NAME --format json`` prints it. It is not joined."""
    cell, error = ffi.new("char **"), new_error()
    path = text_argument(os.fspath(root) if root is not None else None, "root")
    check(lib.ipc_describe(text_argument(name, "name"), path, cell, error), error)
    return json.loads(take_text(cell))
