"""Waits in an event loop of asyncio, by one descriptor of the library for each loop and root."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Set

from ._errors import FORK_ADVICE, error_of
from ._library import NULL, check, failure, ffi, lib, new_error, text_argument

if TYPE_CHECKING:
    from ._readers import Reader

#: What an attempt returns if there is nothing.
NOTHING: Any = object()


class _Descriptor:
    """Wakes everything that waits in a loop for channels of a root."""

    def __init__(self, loop: asyncio.AbstractEventLoop, root: Optional[str]) -> None:
        cell, self._error = ffi.new("void **"), new_error()
        check(lib.ipc_descriptor_open(text_argument(root, "root"), cell, self._error), self._error)
        self.pointer = cell[0]
        self.process = os.getpid()
        self.waiting: Set["asyncio.Future[None]"] = set()
        self._is_ready = ffi.new("int32_t *")
        # Not this object: the loop keeps the callback.
        pointer, waiting = self.pointer, self.waiting
        loop.add_reader(lib.ipc_descriptor_file(pointer), _wake, pointer, waiting)
        weakref.finalize(self, lib.ipc_descriptor_close, pointer)

    def arm(self, reader: "Reader") -> bool:
        """Whether there is nothing yet, and the descriptor tells when there is."""
        code = lib.ipc_arm(reader._pointer, self.pointer, self._is_ready, self._error)
        if code:
            raise reader._closed_error() if reader.closed else failure(code, self._error)
        return bool(self._is_ready[0] == 0)


def _wake(pointer: Any, waiting: Set["asyncio.Future[None]"]) -> None:
    lib.ipc_descriptor_clear(pointer, NULL)
    for future in waiting:
        if not future.done():
            future.set_result(None)
    waiting.clear()


_descriptors: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Dict[Optional[str], _Descriptor]]"
_descriptors = weakref.WeakKeyDictionary()


def _descriptor(loop: asyncio.AbstractEventLoop, root: Optional[str]) -> _Descriptor:
    of_loop = _descriptors.setdefault(loop, {})
    known = of_loop.get(root)
    if known is None:
        known = of_loop[root] = _Descriptor(loop, root)
    if known.process != os.getpid():
        raise error_of(17, f"wait in an event loop: {FORK_ADVICE}")
    return known


async def until(reader: "Reader", attempt: Callable[[], Any], timeout: Optional[float]) -> Any:
    """Attempts until there is a result. Between the last attempt and the return nothing can cancel it."""
    result = attempt()
    if result is not NOTHING:
        return result
    if timeout is not None and timeout <= 0:
        raise _timed_out(reader)
    loop = asyncio.get_running_loop()
    end = None if timeout is None else loop.time() + timeout
    pause = 0.0005
    while True:
        if reader._is_armable:
            descriptor = _descriptor(loop, reader.channel.root)
            if descriptor.arm(reader):
                if reader._looks_when_armed:
                    result = attempt()
                    if result is not NOTHING:
                        return result
                await _next_wake(loop, descriptor, reader, end)
        else:
            # Nobody signals for an observer.
            await asyncio.sleep(pause if end is None else max(min(pause, end - loop.time()), 0))
            pause = min(pause * 2, 0.02)
        result = attempt()
        if result is not NOTHING:
            return result
        if end is not None and loop.time() >= end:
            raise _timed_out(reader)


async def _next_wake(
    loop: asyncio.AbstractEventLoop, descriptor: _Descriptor, reader: "Reader", end: Optional[float]
) -> None:
    future: "asyncio.Future[None]" = loop.create_future()
    descriptor.waiting.add(future)
    # A reader that another task closes is signalled by nobody.
    reader._futures.add(future)
    timer = loop.call_at(end, _set, future) if end is not None else None
    try:
        await future
    finally:
        if timer is not None:
            timer.cancel()
        descriptor.waiting.discard(future)
        reader._futures.discard(future)


def wake_all(futures: Set["asyncio.Future[None]"]) -> None:
    """Lets what waits see that its reader was closed. From any thread."""
    for future in list(futures):
        try:
            future.get_loop().call_soon_threadsafe(_set, future)
        except RuntimeError:
            pass  # the loop was closed


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _timed_out(reader: "Reader") -> Exception:
    return error_of(1, f"wait {reader.name}: nothing came by the time-out; check that the other side runs, or allow more")
