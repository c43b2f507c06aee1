"""What receives: subscriptions, getters, workers, servers and waiters."""

from __future__ import annotations

from typing import Any, AsyncIterator, Callable, Iterator, Optional, Set

from . import _loop
from ._errors import InvalidArgument, LeaseLost, MessageTooLarge, ServiceFailure, error_of
from ._handles import (
    SLICE, TIMED_OUT, Channel, Loan, Participant, in_loan_error, nanoseconds, pending,
)  # fmt: skip
from ._library import NULL, failure, ffi, lib, new_error
from ._types import numpy as numpy

_receive = lib.ipc_receive
_receive_many = lib.ipc_receive_many
_take = lib.ipc_take
_round = lib.ipc_round
_wait_since = lib.ipc_wait_since
_buffer = ffi.buffer
_TOO_LARGE = 10
_NOT_FOUND = 2
#: The first buffer for messages whose size varies, and the most that is allocated before it is known to be needed.
_SMALL, _LARGE = 4096, 1 << 20


class Reader(Participant):
    """Joins a channel to receive, or only observes it."""

    #: Whether something may have come before it was armed that does not make it ready.
    _looks_when_armed = False

    def __init__(self, channel: Channel, as_: Any = None, **options: Any) -> None:
        self._codec, self._style = channel._codec.checked_style(as_)
        super().__init__(channel, channel._open_reader(**options), lib.ipc_reader_close)
        # Observers are signalled by nobody.
        self._is_armable = not options.get("observe")
        self._futures: Set[Any] = set()

    def close(self) -> None:
        super().close()
        if self._futures:
            _loop.wake_all(self._futures)

    async def _until(self, attempt: Callable[[], Any], timeout: Optional[float]) -> Any:
        return await _loop.until(self, attempt, timeout)


def _nothing() -> Any:
    return None


class CopyingReader(Reader):
    """Receives copies of messages into one buffer."""

    def __init__(self, channel: Channel, as_: Any = None, **options: Any) -> None:
        super().__init__(channel, as_, **options)
        self._count = ffi.new("size_t *")
        self._loan: Optional[Loan] = None
        # Gives a message of this size, faster than by its count.
        self._whole: Callable[[], Any] = _nothing
        self._whole_size = -1
        codec, style = self._codec, self._style
        self._decode = codec.decoder(style)
        self._make_room(min(codec.size, _LARGE) if codec.is_fixed else _SMALL)

    def _make_room(self, capacity: int) -> None:
        self._buffer = ffi.new("char[]", max(capacity, 1))
        self._capacity = capacity
        content = _buffer(self._buffer, capacity)
        decode, view, codec = self._decode, memoryview(content), self._codec
        self._value: Callable[[int], Any] = lambda count: decode(view[:count])
        if codec.is_fixed and capacity == codec.size and capacity:
            self._whole_size = capacity
            self._value = codec.wrong_size
            if decode is bytes:
                self._whole = view.tobytes
            elif self._style == "numpy":
                dtype, from_buffer = codec.dtype, numpy.frombuffer
                self._whole = lambda: from_buffer(bytearray(view), dtype)[0]
            else:
                self._whole = lambda: decode(view)

    def _received(self) -> Any:
        count = self._count[0]
        return self._whole() if count == self._whole_size else self._value(count)

    def receive(self, timeout: Optional[float] = None) -> Any:
        """The next message, or the newest value that was not received yet. Waits for it, at most ``timeout`` seconds.

        Raises ``TimedOut``; ``Removed``; ``Corrupted``.
        """
        try:
            pointer = self._take()
        except IndexError:
            raise self._in_use() from None
        try:
            if self._loan is not None:
                self._settle()
            left = SLICE if timeout is None or timeout > 0.1 else nanoseconds(timeout)
            code = _receive(pointer, self._buffer, self._capacity, self._count, left, self._error)
            if code:
                self._receive_slowly(code, timeout, left)
            count = self._count[0]
            return self._whole() if count == self._whole_size else self._value(count)
        finally:
            self._give(pointer)

    def _receive_slowly(self, code: int, timeout: Optional[float], passed: int) -> None:
        """After a first attempt that failed with this code, and waited for so many nanoseconds."""
        if timeout is not None:
            timeout = max(timeout - passed / 1e9, 0)
        is_over = timeout == 0
        while code:
            if code == _TOO_LARGE and self._count[0] > self._capacity:
                # The message was not received.
                self._make_room(self._count[0])
            elif code != TIMED_OUT or is_over:
                raise self._failure(code)
            code = self._wait(
                lambda left, error: _receive(self._pointer, self._buffer, self._capacity, self._count, left, error),
                timeout,
            )
            is_over = True

    def _receive_now(self, pointer: Any, code: int) -> bool:
        """Whether there is a message, after an attempt that failed with this code.

        The attempt did not ask for the text of its error: mostly there is only nothing, and the text takes longer than that.
        """
        while code:
            if code == TIMED_OUT:
                return False
            if code == _TOO_LARGE and self._count[0] > self._capacity:
                self._make_room(self._count[0])
                code = _receive(pointer, self._buffer, self._capacity, self._count, 0, NULL)
                continue
            error = self._failure_without_text(
                code, "receive",
                lambda error: _receive(pointer, self._buffer, self._capacity, self._count, 0, error),
            )  # fmt: skip
            if error is not None:
                raise error
            return True
        return True

    def try_receive(self) -> Any:
        """The next message, or the newest value that was not received yet; None if there is none."""
        try:
            pointer = self._take()
        except IndexError:
            raise self._in_use() from None
        try:
            if self._loan is not None:
                self._settle()
            code = _receive(pointer, self._buffer, self._capacity, self._count, 0, NULL)
            if code and (code == TIMED_OUT or not self._receive_now(pointer, code)):
                return None
            count = self._count[0]
            return self._whole() if count == self._whole_size else self._value(count)
        finally:
            self._give(pointer)

    async def receive_async(self, timeout: Optional[float] = None) -> Any:
        """As ``receive``, in an event loop. If it is cancelled, nothing was received."""
        return await self._until(self._attempt, timeout)

    def _attempt(self) -> Any:
        if not self._acquire():
            raise self._in_use()
        try:
            if self._loan is not None:
                self._settle()
            code = _receive(self._pointer, self._buffer, self._capacity, self._count, 0, NULL)
            if code and (code == TIMED_OUT or not self._receive_now(self._pointer, code)):
                return _loop.NOTHING
            return self._received()
        finally:
            self._release()

    def _settle(self) -> None:
        """Ends a loan that the end of its block could not end. The token is taken."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self.receive()
        except InvalidArgument:
            if self.closed:
                raise StopIteration from None
            raise

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive_async()
        except InvalidArgument:
            if self.closed:
                raise StopAsyncIteration from None
            raise


class Subscription(CopyingReader):
    """Receives the messages of a topic. Iterating over it receives for ever, or until it is closed."""

    def receive_many(self, limit: int, timeout: Optional[float] = None, *, out: Any = None) -> Any:
        """At least one message by the time-out, and those that are there, at most ``limit``.

        The result is a NumPy array if messages are records or numbers; else a list of values. ``out`` is an array of the
        channel's ``dtype`` to receive into; the result is a part of it.
        """
        codec = self._codec
        is_array = codec.dtype is not None and (
            out is not None
            or self._style == "numpy"
            or (self._style == codec.default == "dict" and codec.is_natural)
        )
        if is_array:
            if out is None:
                array = numpy.empty(limit, codec.dtype)
            else:
                array = out[:limit]
                if array.dtype != codec.dtype or not array.flags.c_contiguous or not array.flags.writeable:
                    raise error_of(9, f"receive_many {self.name}: out has to be a contiguous array of {codec.dtype}")
            count = self._receive_into(ffi.from_buffer(array), len(array), timeout)
            # A small part keeps no large memory.
            return array[:count].copy() if out is None and count < limit // 2 else array[:count]
        if not codec.is_fixed:
            messages = [self.receive(timeout)]
            while len(messages) < limit:
                message = self._attempt()
                if message is _loop.NOTHING:
                    break
                messages.append(message)
            return messages
        size = codec.size
        limit = min(limit, max(_LARGE // max(size, 1), 1))
        room = ffi.new("char[]", max(size * limit, 1))
        count = self._receive_into(room, limit, timeout)
        view, decode = memoryview(_buffer(room)), codec.decoder(self._style)
        return [decode(view[index * size : (index + 1) * size]) for index in range(count)]

    def _receive_into(self, room: Any, limit: int, timeout: Optional[float]) -> int:
        if not self._acquire():
            raise self._in_use()
        try:
            if self._loan is not None:
                self._settle()
            left = SLICE if timeout is None or timeout > 0.1 else nanoseconds(timeout)
            code = _receive_many(self._pointer, room, limit, self._count, left, self._error)
            # What was received before a failure is not lost.
            if code and not self._count[0]:
                if code == TIMED_OUT and left == SLICE:
                    rest = None if timeout is None else timeout - left / 1e9
                    code = self._wait(
                        lambda left, error: _receive_many(self._pointer, room, limit, self._count, left, error), rest
                    )
                if code and not self._count[0]:
                    raise self._failure(code)
            return int(self._count[0])
        finally:
            self._release()

    def borrow(self, timeout: Optional[float] = None) -> "Borrowing":
        """The next message in the log itself, without a copy, as a read-only memoryview for the ``with`` block.

        After the block the view is a ``ValueError``. If an array or a slice still uses it then, the block ends with a
        ``BufferError``, and the message stays borrowed until they are gone.
        """
        return Borrowing(self, timeout)

    def missed(self) -> int:
        """How many messages were overwritten before they were received, since the previous call."""
        if not self._acquire():
            raise self._in_use()
        try:
            return int(lib.ipc_missed(self._pointer))
        finally:
            self._release()

    def _borrow(self, timeout: Optional[float]) -> memoryview:
        cell = ffi.new("void **")
        if not self._acquire():
            raise self._in_use()
        try:
            if self._loan is not None:
                self._settle()
            code = self._wait(
                lambda left, error: lib.ipc_borrow(self._pointer, cell, self._count, left, error), timeout
            )
            if code:
                raise self._failure(code)
            self._loan = Loan(cell[0], self._count[0], False)
            return self._loan.view
        finally:
            self._release()

    def _end_loan(self, is_failing: bool) -> None:
        if not self._acquire():
            raise self._in_use()
        try:
            if self._loan is None:
                return
            self._loan.is_over = True
            if self._loan.end():
                self._end_ended_loan()
                return
            # The log has to stay where it is for what still uses it.
            pending.add(self)
            self._finalizer.atexit = False
            self._loan.when_unused(self._loan_is_unused)
            if not is_failing:
                raise in_loan_error(self.name, "borrow")
        finally:
            self._release()

    def _end_ended_loan(self) -> None:
        self._loan = None
        pending.discard(self)
        self._finalizer.atexit = True
        code = lib.ipc_release(self._pointer, self._error)
        if code:
            raise self._failure(code)

    def _settle(self) -> None:
        if self._loan is not None:
            if not self._loan.is_over:
                raise error_of(9, f"receive {self.name}: a message is borrowed; end its block first")
            if not self._loan.end():
                raise in_loan_error(self.name, "receive")
            self._end_ended_loan()

    def _loan_is_unused(self) -> None:
        if self._acquire():
            try:
                if self._loan is not None and self._loan.end():
                    self._end_ended_loan()
            finally:
                self._release()

    def _finish_close(self) -> None:
        if self._loan is not None:
            if not self._loan.end():
                self._is_closing = False
                raise in_loan_error(self.name, "close")
            self._end_ended_loan()
        super()._finish_close()


class Borrowing:
    """The context manager of ``Subscription.borrow``."""

    def __init__(self, subscription: Subscription, timeout: Optional[float]) -> None:
        self._subscription = subscription
        self._timeout = timeout

    def __enter__(self) -> memoryview:
        return self._subscription._borrow(self._timeout)

    def __exit__(self, kind: Any, *_: object) -> None:
        self._subscription._end_loan(kind is not None)


_absent = object()


class Getter(CopyingReader):
    """Gets a latest value, or waits for the next one."""

    def get(self, default: Any = _absent) -> Any:
        """The newest value, also if it was received already.

        Raises ``NotFound`` if none was set yet, unless there is a default.
        """
        if not self._acquire():
            raise self._in_use()
        try:
            while True:
                code = lib.ipc_get(self._pointer, self._buffer, self._capacity, self._count, self._error)
                if code == 0:
                    return self._received()
                if code == _NOT_FOUND and default is not _absent:
                    return default
                if code != _TOO_LARGE or self._count[0] <= self._capacity:
                    raise self._failure(code)
                self._make_room(self._count[0])
        finally:
            self._release()

    def next(self, timeout: Optional[float] = None) -> Any:
        """The newest value that was not received yet. Waits for one."""
        return self.receive(timeout)

    async def next_async(self, timeout: Optional[float] = None) -> Any:
        """As ``next``, in an event loop. If it is cancelled, nothing was received."""
        return await self.receive_async(timeout)


class _Message:
    """A job or a call that was taken."""

    __slots__ = ("_pointer", "_reader", "_bytes", "_value", "attempt", "__weakref__")
    _noun = "job"

    def __init__(self, reader: "TakingReader", pointer: Any) -> None:
        self._pointer = pointer
        # Its reader, and by that its channel, stay open.
        self._reader = reader
        self._bytes: Optional[bytes] = None
        self._value: Any = _absent
        #: Which delivery this is, from 1 on.
        self.attempt: int = lib.ipc_message_attempt(pointer)

    @property
    def bytes(self) -> bytes:
        """A copy of its bytes. It stays when the job has ended."""
        if self._bytes is None:
            self._opened()
            count = self._reader._message_count
            content = lib.ipc_message_bytes(self._pointer, count)
            self._bytes = _buffer(content, count[0])[:] if content else b""
        return self._bytes

    @property
    def message(self) -> Any:
        """Its value."""
        if self._value is _absent:
            self._value = self._reader._decode(self.bytes)
        return self._value

    @property
    def ended(self) -> bool:
        return self._pointer is NULL

    def _opened(self) -> Any:
        pointer = self._pointer
        if pointer is NULL:
            raise error_of(9, f"use {self._reader.name}: this {self._noun} has ended; take another one")
        return pointer

    def _end(self, call: Any, *arguments: Any) -> None:
        pointer = self._opened()
        self.bytes
        # Each call ends it, whatever it returns.
        self._pointer = NULL
        error = new_error()
        code = call(pointer, *arguments, error)
        if code:
            raise failure(code, error)

    def give_back(self) -> None:
        """Gives it back as if it had never been taken: somebody else gets it."""
        self._end(lib.ipc_give_back)

    def __del__(self) -> None:
        if getattr(self, "_pointer", NULL) is not NULL:
            lib.ipc_reject(self._pointer, -1, NULL)

    def __enter__(self) -> Any:
        return self

    def __repr__(self) -> str:
        state = " (ended)" if self.ended else ""
        return f"<{type(self).__name__} of {self._reader.name}, attempt {self.attempt}{state}>"


class Job(_Message):
    """A job of a queue. It is acknowledged, rejected or given back; one that is dropped is rejected.

    With ``with`` it is acknowledged at the end of the block, and rejected if the block raises.
    """

    __slots__ = ()

    def acknowledge(self) -> None:
        """The job is done, and never comes again.

        Raises ``LeaseLost`` if another worker has it by now.
        """
        self._end(lib.ipc_acknowledge)

    def reject(self, delay: Optional[float] = None) -> None:
        """The job failed: it comes again, after ``delay`` seconds, or after the queue's own delay."""
        self._end(lib.ipc_reject, -1 if delay is None else nanoseconds(delay))

    def __exit__(self, kind: Any, *_: object) -> None:
        if not self.ended:
            if kind is None:
                self.acknowledge()
            else:
                self.reject()


class Call(_Message):
    """A call of a service. It is answered by a reply or a failure; one that is dropped is lost for its caller."""

    __slots__ = ()
    _noun = "call"

    @property
    def cancelled(self) -> bool:
        """Whether its caller no longer waits."""
        return self._pointer is not NULL and lib.ipc_message_is_cancelled(self._pointer) == 1

    def reply(self, value: Any = b"") -> None:
        """Answers with a value of the service's reply type."""
        content = self._reader.channel._codecs[1].encode(value)
        self._end_with(lib.ipc_reply, content)

    def fail(self, value: Any = b"") -> None:
        """Answers with a value of the service's failure type."""
        content = self._reader.channel._codecs[2].encode(value)
        self._end_with(lib.ipc_fail, content)

    def answer(self, value: Any, *, is_failure: bool = False) -> None:
        """As ``reply`` or ``fail``, if its caller still waits, and has room. What else it does is no error of the server."""
        try:
            self.fail(value) if is_failure else self.reply(value)
        except (MessageTooLarge, LeaseLost):
            pass  # the caller gets the first, and has ended the call in the second case

    def drop(self) -> None:
        """Gives the call up: its caller gets ``BrokenPipe``, or another server the call."""
        self._end(lib.ipc_reject, -1)

    def _end_with(self, call: Any, content: Any) -> None:
        data = content if type(content) is bytes else ffi.from_buffer(content)
        self._end(call, data, len(content))

    def __exit__(self, kind: Any, *_: object) -> None:
        if not self.ended:
            self.drop()


class TakingReader(Reader):
    _kind: Any = None

    def __init__(self, channel: Channel, as_: Any = None, **options: Any) -> None:
        super().__init__(channel, as_, **options)
        self._decode = self._codec.decoder(self._style)
        self._cell = ffi.new("void **")
        self._message_count = ffi.new("size_t *")

    def take(self, timeout: Optional[float] = None) -> Any:
        """The next one. Waits for it, at most ``timeout`` seconds. It has to be ended."""
        try:
            pointer = self._take()
        except IndexError:
            raise self._in_use() from None
        try:
            left = SLICE if timeout is None or timeout > 0.1 else nanoseconds(timeout)
            cell = self._cell
            code = _take(pointer, cell, left, self._error)
            if code:
                if code == TIMED_OUT and left == SLICE:
                    rest = None if timeout is None else max(timeout - left / 1e9, 0)
                    code = self._wait(lambda left, error: _take(self._pointer, cell, left, error), rest)
                if code:
                    raise self._failure(code)
            return self._kind(self, cell[0])
        finally:
            self._give(pointer)

    def try_take(self) -> Any:
        """The next one; None if there is none."""
        message = self._attempt()
        return None if message is _loop.NOTHING else message

    async def take_async(self, timeout: Optional[float] = None) -> Any:
        """As ``take``, in an event loop. If it is cancelled, nothing was taken."""
        return await self._until(self._attempt, timeout)

    def _attempt(self) -> Any:
        if not self._acquire():
            raise self._in_use()
        try:
            code = _take(self._pointer, self._cell, 0, NULL)
            if code == TIMED_OUT:
                return _loop.NOTHING
            if code:
                failed = self._failure_without_text(
                    code, "take", lambda error: _take(self._pointer, self._cell, 0, error)
                )
                if failed is not None:
                    raise failed
            return self._kind(self, self._cell[0])
        finally:
            self._release()


class _Taken:
    """Iterates over what a reader takes, in a thread or in an event loop, for ever or until it is closed."""

    def __init__(self, reader: TakingReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._reader.take()
        except InvalidArgument:
            if self._reader.closed:
                raise StopIteration from None
            raise

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._reader.take_async()
        except InvalidArgument:
            if self._reader.closed:
                raise StopAsyncIteration from None
            raise


class Worker(TakingReader):
    """Takes the jobs of a queue."""

    _kind = Job

    def jobs(self) -> _Taken:
        """All jobs, for ``for`` or ``async for``, for ever or until the worker is closed."""
        return _Taken(self)

    __iter__ = jobs
    __aiter__ = jobs


class Server(TakingReader):
    """Answers the calls of a service."""

    _kind = Call

    def calls(self) -> _Taken:
        """All calls, for ``for`` or ``async for``, for ever or until the server is closed."""
        return _Taken(self)

    __iter__ = calls
    __aiter__ = calls

    def serve(
        self, handler: Callable[[Any], Any], *, count: Optional[int] = None, timeout: Optional[float] = None
    ) -> None:
        """Answers calls with what ``handler`` returns for their requests.

        If it raises ``ServiceFailure``, the caller gets its value as a failure. Another exception ends this call, and the
        caller gets ``BrokenPipe``. Returns after ``count`` calls. Raises ``TimedOut`` if none comes for ``timeout`` seconds.
        """
        answered = 0
        while count is None or answered < count:
            try:
                call = self.take(timeout)
            except InvalidArgument:
                if self.closed:
                    return
                raise
            with call:
                try:
                    reply = handler(call.message)
                except ServiceFailure as error:
                    call.answer(error.value, is_failure=True)
                else:
                    call.answer(reply)
            answered += 1

    async def serve_async(self, handler: Callable[[Any], Any], *, count: Optional[int] = None) -> None:
        """As ``serve``, in an event loop; ``handler`` is a coroutine function."""
        answered = 0
        while count is None or answered < count:
            with await self.take_async() as call:
                try:
                    reply = await handler(call.message)
                except ServiceFailure as error:
                    call.answer(error.value, is_failure=True)
                else:
                    call.answer(reply)
            answered += 1


class Waiter(Reader):
    """Waits for the notices of an event."""

    # A notice to all.
    _looks_when_armed = True

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits for a notice, and takes it, or for the next one to all, at most ``timeout`` seconds.

        Raises ``TimedOut``.
        """
        if not self._acquire():
            raise self._in_use()
        try:
            # The wait consists of slices: a notice to all that comes between two of them ends it, too.
            begun = _round(self._pointer)
            code = self._wait(lambda left, error: _wait_since(self._pointer, begun, left, error), timeout)
            if code:
                raise self._failure(code)
        finally:
            self._release()

    def try_wait(self) -> bool:
        """Takes a notice; false if there is none."""
        return self._attempt(None)

    def _attempt(self, begun: Optional[int]) -> bool:
        """Takes a notice; also true if there was one to all since the round ``begun``."""
        if not self._acquire():
            raise self._in_use()
        try:
            since = _round(self._pointer) if begun is None else begun
            code = _wait_since(self._pointer, since, 0, NULL)
            if code and code != TIMED_OUT:
                failed = self._failure_without_text(
                    code, "wait", lambda error: _wait_since(self._pointer, since, 0, error)
                )
                if failed is not None:
                    raise failed
            return bool(code != TIMED_OUT)
        finally:
            self._release()

    async def wait_async(self, timeout: Optional[float] = None) -> None:
        """As ``wait``, in an event loop. If it is cancelled, no notice was taken."""
        if not self._acquire():
            raise self._in_use()
        begun = _round(self._pointer)
        self._release()
        await self._until(lambda: self._attempt(begun) or _loop.NOTHING, timeout)


__all__ = ["Borrowing", "Call", "Getter", "Job", "Server", "Subscription", "Waiter", "Worker"]
