"""What sends: publishers, producers, clients, setters and notifiers."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from time import monotonic_ns, sleep
from typing import Any, Callable, Optional

from ._errors import IPCError, ServiceFailure, error_of
from ._handles import SLICE, TIMED_OUT, Channel, Loan, Participant, in_loan_error, nanoseconds, pending, taken
from ._library import NULL, failure, ffi, lib, new_error
from ._types import numpy as numpy

_write = lib.ipc_write
_from_buffer = ffi.from_buffer


class Writer(Participant):
    """Joins a channel to send."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel, channel._open_writer(), lib.ipc_writer_close)
        self._codec = channel._codec
        self._encode = self._codec.encode

    def _write_value(self, value: Any, timeout: Optional[float]) -> None:
        data = value if type(value) is bytes else self._encode(value)
        count = len(data)
        if type(data) is not bytes:
            data = _from_buffer(data)
            count = len(data)
        try:
            pointer = self._take()
        except IndexError:
            raise self._in_use() from None
        try:
            left = SLICE if timeout is None or timeout > 0.1 else nanoseconds(timeout)
            code = _write(pointer, data, count, left, self._error)
            if code:
                self._write_slowly(code, data, count, timeout, left)
        finally:
            self._give(pointer)

    def _write_slowly(self, code: int, data: Any, count: int, timeout: Optional[float], passed: int) -> None:
        """After a first attempt that failed with this code, and waited for so many nanoseconds."""
        if code == TIMED_OUT and passed == SLICE:
            rest = None if timeout is None else max(timeout - passed / 1e9, 0)
            code = self._wait(lambda left, error: _write(self._pointer, data, count, left, error), rest)
        if code:
            raise self._failure(code)

    async def _write_value_async(self, value: Any, timeout: Optional[float]) -> None:
        await _without_blocking(lambda: self._write_value(value, 0), timeout)

    def sync(self, timeout: Optional[float] = None) -> None:
        """Waits until all that was sent before is on the disk, of a durable channel."""
        if not self._acquire():
            raise self._in_use()
        try:
            code = self._wait(lambda left, error: lib.ipc_sync(self._pointer, left, error), timeout)
            if code:
                raise self._failure(code)
        finally:
            self._release()


async def _without_blocking(attempt: Callable[[], Any], timeout: Optional[float]) -> None:
    """Attempts again and again while there is no room: the library tells readers alone when to go on."""
    loop = asyncio.get_running_loop()
    end = None if timeout is None else loop.time() + timeout
    pause = 0.0005
    while True:
        try:
            attempt()
            return
        except TimeoutError:
            left = pause if end is None else min(pause, end - loop.time())
            if left <= 0:
                raise
            await asyncio.sleep(left)
            pause = min(pause * 2, 0.02)


class Publisher(Writer):
    """Publishes the messages of a topic."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._reserved: Optional[Loan] = None

    def publish(self, message: Any, timeout: Optional[float] = None) -> None:
        """Publishes a record, a tuple, a dict, a dataclass, or bytes. Waits for room, at most ``timeout`` seconds.

        Raises ``TimedOut``, and nothing was published.
        """
        # As _write_value, without one more call.
        if type(message) is bytes:
            data, count = message, len(message)
        else:
            data = self._encode(message)
            if type(data) is not bytes:
                data = _from_buffer(data)
            count = len(data)
        try:
            pointer = self._take()
        except IndexError:
            raise self._in_use() from None
        try:
            left = SLICE if timeout is None or timeout > 0.1 else nanoseconds(timeout)
            code = _write(pointer, data, count, left, self._error)
            if code:
                self._write_slowly(code, data, count, timeout, left)
        finally:
            self._give(pointer)

    async def publish_async(self, message: Any, timeout: Optional[float] = None) -> None:
        """As ``publish``, in an event loop."""
        await self._write_value_async(message, timeout)

    def publish_many(self, messages: Any, timeout: Optional[float] = None) -> int:
        """Publishes an array of NumPy, an iterable of messages, or bytes of whole messages. Waits for room.

        Returns how many were published: all, or fewer if ``timeout`` passed first. Raises ``TimedOut`` if none was.
        """
        codec = self._codec
        if not codec.is_fixed or not codec.size:
            return self._publish_each(messages, timeout)
        if numpy is not None and isinstance(messages, numpy.ndarray):
            if codec.dtype is not None and messages.dtype != codec.dtype:
                messages = _converted(messages, codec.dtype)
            content: Any = numpy.ascontiguousarray(messages)
        elif isinstance(messages, (bytes, bytearray, memoryview)):
            content = messages
        else:
            content = b"".join(map(bytes, map(self._encode, messages)))
        data = _from_buffer(content)
        size = codec.size
        if len(data) % size:
            raise error_of(9, f"publish {self.name}: there are {len(data)} bytes, and each message has {size}")
        return self._write_many(data, len(data) // size, timeout)

    def _write_many(self, data: Any, total: int, timeout: Optional[float]) -> int:
        if not total:
            return 0
        cell = ffi.new("size_t *")
        done = 0
        size = self._codec.size

        def attempt(left: int, error: Any) -> int:
            nonlocal done
            code = lib.ipc_write_many(self._pointer, data + done * size, total - done, cell, left, error)
            done += cell[0]
            return int(code)

        if not self._acquire():
            raise self._in_use()
        try:
            code = self._wait(attempt, timeout)
            if code and not (code == TIMED_OUT and done):
                raise self._failure(code)
        finally:
            self._release()
        return done

    def _publish_each(self, messages: Any, timeout: Optional[float]) -> int:
        count = 0
        for message in messages:
            try:
                self.publish(message, timeout)
            except TimeoutError:
                if not count:
                    raise
                break
            count += 1
        return count

    def reserve(self, size: Optional[int] = None, timeout: Optional[float] = None) -> "Reservation":
        """Room for a message in the log itself, as a writable memoryview for the ``with`` block. Waits for room.

        ``size`` is needed if messages vary in size. The message is published at the end of the block, and abandoned if the
        block raises.
        """
        if size is None:
            if not self._codec.is_fixed:
                raise error_of(9, f"reserve {self.name}: its messages vary in size; give the size")
            size = self._codec.size
        return Reservation(self, size, timeout)

    def _reserve(self, size: int, timeout: Optional[float]) -> memoryview:
        cell = ffi.new("void **")
        if not self._acquire():
            raise self._in_use()
        try:
            code = self._wait(lambda left, error: lib.ipc_reserve(self._pointer, size, cell, left, error), timeout)
            if code:
                raise self._failure(code)
            self._reserved = Loan(cell[0], size, True)
            return self._reserved.view
        finally:
            self._release()

    def _end_reservation(self, count: Optional[int]) -> None:
        """Publishes so many bytes, or abandons."""
        if not self._acquire():
            raise self._in_use()
        try:
            loan = self._reserved
            if loan is None:
                return
            loan.is_over = True
            if not loan.end():
                # It would be written to when it is somebody else's.
                pending.add(self)
                self._finalizer.atexit = False
                loan.when_unused(self._room_is_unused)
                if count is not None:
                    raise in_loan_error(self.name, "publish")
                return
            self._reserved = None
            code = (
                lib.ipc_abandon(self._pointer, self._error)
                if count is None
                else lib.ipc_commit(self._pointer, count, self._error)
            )
            if code:
                error = self._failure(code)
                lib.ipc_abandon(self._pointer, NULL)
                raise error
        finally:
            self._release()

    def _room_is_unused(self) -> None:
        if self._acquire():
            try:
                self._abandon_unused()
            finally:
                self._release()

    def _abandon_unused(self) -> bool:
        loan = self._reserved
        if loan is None:
            return True
        if not loan.end():
            return False
        self._reserved = None
        pending.discard(self)
        self._finalizer.atexit = True
        lib.ipc_abandon(self._pointer, NULL)
        return True

    def _finish_close(self) -> None:
        if not self._abandon_unused():
            self._is_closing = False
            raise in_loan_error(self.name, "close")
        super()._finish_close()


def _converted(array: Any, dtype: Any) -> Any:
    if array.dtype.names != dtype.names:
        raise error_of(9, f"publish: the array is of {array.dtype}, and the messages are of {dtype}")
    if dtype.names is None:
        return array.astype(dtype, casting="same_kind")
    result = numpy.zeros(array.shape, dtype)
    for name in dtype.names:
        result[name] = array[name]
    return result


class Reservation:
    """The context manager of ``Publisher.reserve``."""

    def __init__(self, publisher: Publisher, size: int, timeout: Optional[float]) -> None:
        self._publisher = publisher
        self._timeout = timeout
        self._size = size
        #: How many bytes are published: set it to less in the block, if messages vary in size.
        self.count = size

    def __enter__(self) -> memoryview:
        return self._publisher._reserve(self._size, self._timeout)

    def __exit__(self, kind: Any, *_: object) -> None:
        self._publisher._end_reservation(self.count if kind is None else None)


class Producer(Writer):
    """Sends jobs to a queue."""

    def send(
        self, job: Any, *, delay: float = 0, time_to_live: Optional[float] = None, requires_worker: bool = False,
        timeout: Optional[float] = None,
    ) -> None:  # fmt: skip
        """Sends a job. Waits for room, at most ``timeout`` seconds.

        Nobody gets it before ``delay`` seconds; after ``time_to_live`` seconds it is a dead letter. With
        ``requires_worker`` it raises ``NotReady`` if no worker has joined.
        """
        if not delay and time_to_live is None and not requires_worker:
            return self._write_value(job, timeout)
        data = _from_buffer(self._encode(job))
        wait = nanoseconds(delay)
        life = -1 if time_to_live is None else nanoseconds(time_to_live)
        if not self._acquire():
            raise self._in_use()
        try:
            code = self._wait(
                lambda left, error: lib.ipc_send(
                    self._pointer, data, len(data), wait, life, requires_worker, left, error
                ),
                timeout,
            )
            if code:
                raise self._failure(code)
        finally:
            self._release()

    async def send_async(
        self, job: Any, *, delay: float = 0, time_to_live: Optional[float] = None, requires_worker: bool = False,
        timeout: Optional[float] = None,
    ) -> None:  # fmt: skip
        """As ``send``, in an event loop."""
        await _without_blocking(
            lambda: self.send(
                job, delay=delay, time_to_live=time_to_live, requires_worker=requires_worker, timeout=0
            ),
            timeout,
        )


class Setter(Writer):
    """Sets a latest value."""

    def set(self, value: Any, timeout: Optional[float] = None) -> None:
        """Sets the value: getters get it, and no older one."""
        self._write_value(value, timeout)


class Notifier(Writer):
    """Ends the waits for an event."""

    def notify(self, count: int = 1) -> None:
        """Ends ``count`` waits, now or later."""
        try:
            self._call(lambda error: int(lib.ipc_notify(self._pointer, count, error)))
        except (OverflowError, TypeError):
            raise error_of(9, f"notify {self.name}: the count is {count!r}; it must be 0 to 4294967295") from None

    def notify_all(self) -> None:
        """Ends all waits that are in progress."""
        self._call(lambda error: int(lib.ipc_notify_all(self._pointer, error)))


class _Outcome:
    """A call in a thread of its own."""

    def __init__(self, run: "_Run") -> None:
        self.run: "Optional[_Run]" = run
        #: Whether nobody waits for it any more: the call is then cancelled.
        self.is_given_up = False
        self.result: Any = None
        self.error: Optional[BaseException] = None
        self.done = threading.Lock()
        self.done.acquire()
        self.then: Optional[Callable[[], None]] = None

    def carry_out(self) -> None:
        try:
            assert self.run is not None
            self.result = self.run(self)
        except BaseException as error:
            self.error = error
        self.run = None
        self.done.release()
        if self.then is not None:
            self.then()

    def get(self) -> Any:
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None
        return self.result


#: Carries out a call, and cancels it once it is given up.
_Run = Callable[[Optional[_Outcome]], Any]


class _CallThread:
    """Carries out the calls of a client, so that signals and event loops go on meanwhile."""

    def __init__(self, name: str) -> None:
        self._queue: "queue.SimpleQueue[Optional[_Outcome]]" = queue.SimpleQueue()
        self.start = self._queue.put
        threading.Thread(target=_carry_out_all, args=(self._queue,), name=f"calls of {name}", daemon=True).start()

    def __del__(self) -> None:
        self._queue.put(None)


def _carry_out_all(queue: "queue.SimpleQueue[Optional[_Outcome]]") -> None:
    while True:
        outcome = queue.get()
        if outcome is None:
            return
        outcome.carry_out()
        del outcome


class Client(Writer):
    """Calls a service."""

    def __init__(self, channel: Channel, as_: Any = None) -> None:
        super().__init__(channel)
        self._request, self._reply, self._failed = channel._codecs
        codec, style = self._reply.checked_style(as_)
        self._decode = codec.decoder(style)
        self._decode_failure = self._failed.decoder(self._failed.default)
        self._limit = max(self._reply.size, self._failed.size, 4096)
        self._thread: Optional[_CallThread] = None

    def call(
        self, request: Any = b"", *, timeout: Optional[float] = None, retries: int = 0, requires_server: bool = False,
        reply_limit: Optional[int] = None,
    ) -> Any:  # fmt: skip
        """Calls, and returns the reply, by the time-out.

        ``retries`` is how often another server may do the call if one dies in it. With ``requires_server`` it raises
        ``NotReady`` if none has joined. ``reply_limit`` is the room for a reply that varies in size, in bytes: 4096 if not
        given. Raises ``ServiceFailure`` with the server's failure; ``TimedOut``; ``BrokenPipe`` if the server died.

        If it is interrupted, by Ctrl-C for example, the call is cancelled: its server sees that nobody waits for it.
        """
        run = self._prepared(request, timeout, retries, requires_server, reply_limit)
        is_short = timeout is not None and timeout <= 0.1
        if is_short or threading.current_thread() is not threading.main_thread():
            return run(None)
        # A call waits for room in the log without a look for signals; this thread does not.
        outcome = self._started(run)
        try:
            while not outcome.done.acquire(timeout=SLICE / 1e9):
                if self._is_closing:
                    raise self._closed_error()
        except BaseException:
            self._give_up(outcome, 3 * SLICE / 1e9)
            raise
        return outcome.get()

    async def call_async(
        self, request: Any = b"", *, timeout: Optional[float] = None, retries: int = 0, requires_server: bool = False,
        reply_limit: Optional[int] = None,
    ) -> Any:  # fmt: skip
        """As ``call``, in an event loop. If the task is cancelled, so is the call."""
        loop = asyncio.get_running_loop()
        future: "asyncio.Future[None]" = loop.create_future()
        run = self._prepared(request, timeout, retries, requires_server, reply_limit)

        def finished() -> None:
            try:
                loop.call_soon_threadsafe(_set_result, future)
            except RuntimeError:
                pass  # the loop was closed

        outcome = self._started(run, finished)
        try:
            await future
        except BaseException:
            # The loop does not wait.
            self._give_up(outcome, 0)
            raise
        return outcome.get()

    def _prepared(
        self, request: Any, timeout: Optional[float], retries: int, requires_server: bool, limit: Optional[int]
    ) -> _Run:
        if os.getpid() != self._process:
            # Threads are not inherited.
            raise self._in_use()
        content = self._encode(request)
        data = content if type(content) is bytes else _from_buffer(content)
        count = len(data)
        left = -1 if timeout is None else nanoseconds(timeout)
        room = self._limit if limit is None else limit
        for what, number, most in (("retries", retries, 127), ("reply_limit", room, 1 << 31)):
            if not isinstance(number, int) or not 0 <= number <= most:
                raise error_of(9, f"call {self.name}: {what} is {number!r}; it must be 0 to {most}")
        take, give = self._take, self._give

        def run(outcome: Optional[_Outcome]) -> Any:
            try:
                pointer = take()
            except IndexError:
                raise self._in_use() from None
            call, cell, error = ffi.new("void **"), ffi.new("void **"), new_error()
            try:
                end = monotonic_ns() + left
                code = lib.ipc_call_begin(pointer, data, count, room, retries, requires_server, call, left, error)
                if code:
                    raise failure(code, error, self.name)
                while True:
                    if self._is_closing or outcome is not None and outcome.is_given_up:
                        raise self._closed_error()
                    # In the end until the time-out of the call itself.
                    part = SLICE if left < 0 or end - monotonic_ns() > SLICE else -1
                    code = lib.ipc_call_wait(call[0], cell, part, error)
                    if code == 0:
                        break
                    if code != TIMED_OUT or part != SLICE:
                        raise failure(code, error, self.name)
            except BaseException:
                lib.ipc_call_cancel(call[0])
                raise
            finally:
                give(pointer)
            result = cell[0]
            try:
                size = ffi.new("size_t *")
                bytes_ = lib.ipc_result_bytes(result, size)
                answer = ffi.buffer(bytes_, size[0])[:] if bytes_ else b""
                if lib.ipc_result_is_failure(result):
                    raise ServiceFailure(self._decode_failure(answer))
                return self._decode(answer)
            finally:
                lib.ipc_result_free(result)

        return run

    def _started(self, run: _Run, then: Optional[Callable[[], None]] = None) -> _Outcome:
        if self._thread is None:
            self._thread = _CallThread(self.name)
        outcome = _Outcome(run)
        outcome.then = then
        self._thread.start(outcome)
        return outcome

    def _give_up(self, outcome: _Outcome, patience: float) -> None:
        """Lets the thread of a call cancel it. If that takes longer, goes on with a writer of its own."""
        outcome.is_given_up = True
        if taken(self._tokens, patience) is not None:
            self._release()
            return
        if self.closed:
            return
        try:
            pointer = self.channel._open_writer()
        except IPCError:
            # The next call waits for the thread.
            return
        self._finalizer.detach()
        self._thread = None
        threading.Thread(target=_close_later, args=(self._tokens,), daemon=True).start()
        Participant.__init__(self, self.channel, pointer, lib.ipc_writer_close)


def _close_later(tokens: Any) -> None:
    while not tokens:
        sleep(SLICE / 1e9)
    lib.ipc_writer_close(tokens.pop())


def _set_result(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


__all__ = ["Client", "Notifier", "Producer", "Publisher", "Reservation", "Setter"]
