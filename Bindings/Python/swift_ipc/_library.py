"""The shared library: its declarations, how it is found, and its calls."""

from __future__ import annotations

import os
from typing import Any, List, Optional

import cffi  # type: ignore[import-untyped]

from ._errors import IPCError, error_of, in_python

ffi = cffi.FFI()
# As in ipc.h. Handles are void pointers here: cffi converts those fastest.
ffi.cdef(
    """
    typedef struct { size_t size; int32_t code; int32_t system_error; char text[1008]; } ipc_error;
    typedef struct {
        size_t size; const char *root; int32_t writers; int32_t overflow; int32_t lifetime; int32_t durability;
        uint64_t sync_bytes; uint64_t capacity; uint32_t maximum_readers; uint32_t maximum_writers; uint32_t permissions;
        uint32_t subscriber_permissions; uint32_t maximum_attempts; uint32_t maximum_waiting;
    } ipc_options;
    typedef struct { size_t size; int32_t start; uint32_t count; int32_t spins; int32_t observe; } ipc_reader_options;

    int32_t ipc_version(void);
    const char *ipc_code_name(int32_t);
    int32_t ipc_open(const char *, const ipc_options *, int64_t, void **, ipc_error *);
    int32_t ipc_create(int32_t, const char *, const char *, const ipc_options *, void **, ipc_error *);
    int32_t ipc_open_or_create(int32_t, const char *, const char *, const ipc_options *, void **, ipc_error *);
    void ipc_channel_close(void *);
    int32_t ipc_remove(const char *, const char *, ipc_error *);
    int32_t ipc_channel_pattern(const void *);
    size_t ipc_channel_message_size(const void *);
    const char *ipc_channel_name(const void *);
    const char *ipc_channel_schema(const void *);
    int32_t ipc_to_json(const void *, const void *, size_t, char **, ipc_error *);
    int32_t ipc_from_json(const void *, const char *, void **, size_t *, ipc_error *);
    void ipc_free(void *);
    int32_t ipc_reader_open(const void *, const ipc_reader_options *, void **, ipc_error *);
    void ipc_reader_close(void *);
    int32_t ipc_receive(void *, void *, size_t, size_t *, int64_t, ipc_error *);
    int32_t ipc_borrow(void *, const void **, size_t *, int64_t, ipc_error *);
    int32_t ipc_release(void *, ipc_error *);
    int32_t ipc_receive_many(void *, void *, size_t, size_t *, int64_t, ipc_error *);
    int32_t ipc_get(void *, void *, size_t, size_t *, ipc_error *);
    uint64_t ipc_missed(void *);
    int32_t ipc_wait(void *, int64_t, ipc_error *);
    uint64_t ipc_round(void *);
    int32_t ipc_wait_since(void *, uint64_t, int64_t, ipc_error *);
    int32_t ipc_take(void *, void **, int64_t, ipc_error *);
    const void *ipc_message_bytes(const void *, size_t *);
    uint32_t ipc_message_attempt(const void *);
    int32_t ipc_message_is_cancelled(const void *);
    int32_t ipc_acknowledge(void *, ipc_error *);
    int32_t ipc_reject(void *, int64_t, ipc_error *);
    int32_t ipc_give_back(void *, ipc_error *);
    int32_t ipc_reply(void *, const void *, size_t, ipc_error *);
    int32_t ipc_fail(void *, const void *, size_t, ipc_error *);
    int32_t ipc_writer_open(const void *, void **, ipc_error *);
    void ipc_writer_close(void *);
    int32_t ipc_write(void *, const void *, size_t, int64_t, ipc_error *);
    int32_t ipc_write_many(void *, const void *, size_t, size_t *, int64_t, ipc_error *);
    int32_t ipc_send(void *, const void *, size_t, int64_t, int64_t, int32_t, int64_t, ipc_error *);
    int32_t ipc_reserve(void *, size_t, void **, int64_t, ipc_error *);
    int32_t ipc_commit(void *, size_t, ipc_error *);
    int32_t ipc_abandon(void *, ipc_error *);
    int32_t ipc_call_begin(void *, const void *, size_t, size_t, uint32_t, int32_t, void **, int64_t, ipc_error *);
    int32_t ipc_call_wait(void *, void **, int64_t, ipc_error *);
    void ipc_call_cancel(void *);
    const void *ipc_result_bytes(const void *, size_t *);
    int32_t ipc_result_is_failure(const void *);
    void ipc_result_free(void *);
    int32_t ipc_notify(void *, uint32_t, ipc_error *);
    int32_t ipc_notify_all(void *, ipc_error *);
    int32_t ipc_sync(void *, int64_t, ipc_error *);
    int32_t ipc_descriptor_open(const char *, void **, ipc_error *);
    void ipc_descriptor_close(void *);
    int ipc_descriptor_file(const void *);
    int32_t ipc_descriptor_clear(void *, ipc_error *);
    int32_t ipc_arm(void *, void *, int32_t *, ipc_error *);
    int32_t ipc_describe(const char *, const char *, char **, ipc_error *);
    """
)

#: The version of the interface that this package is written for.
INTERFACE = 200


def _load() -> Any:
    """The library of the package's folder, else of $SWIFT_IPC_LIBRARY, else of the system."""
    folder = os.path.dirname(os.path.abspath(__file__))
    inside = os.path.join(folder, "libipc.so")
    named = os.environ.get("SWIFT_IPC_LIBRARY")
    path = inside if os.path.exists(inside) else named or "libipc.so.0"
    try:
        library = ffi.dlopen(path)
        version = library.ipc_version()
    except (OSError, AttributeError) as error:
        raise ImportError(
            f"load {path}: {error}; install the wheel, which contains the library, or set SWIFT_IPC_LIBRARY to its file"
        ) from None
    if version // 100 != INTERFACE // 100:
        raise ImportError(
            f"load {path}: its version is {version}, and this package needs {INTERFACE // 100 * 100} to"
            f" {INTERFACE // 100 * 100 + 99}; install both from one release"
        )
    return library


lib = _load()
NULL = ffi.NULL


def new_error() -> Any:
    error = ffi.new("ipc_error *")
    error.size = ffi.sizeof("ipc_error")
    return error


def failure(code: int, error: Any, name: str = "") -> IPCError:
    """The exception of a call that returned this code, and filled this error. ``name`` is that of the channel."""
    text = bytes(ffi.string(error.text)).decode("utf-8", "replace")
    return error_of(code, in_python(code, text, name), error.system_error)


def check(code: int, error: Any) -> None:
    if code:
        raise failure(code, error)


def text_argument(text: Optional[str], what: str) -> Any:
    if text is None:
        return NULL
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise error_of(9, f"{what}: the text contains a zero byte; give one without")
    return encoded


def take_text(cell: Any) -> str:
    """The text of the library, which is freed."""
    try:
        return bytes(ffi.string(cell[0])).decode("utf-8")
    finally:
        lib.ipc_free(cell[0])


_keep: List[Any] = [lib]
