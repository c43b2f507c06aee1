// Which of the newer system calls this process may make.
#define _GNU_SOURCE
#include "CIPCShims.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static long try_call(enum ipc_newer_call call) {
    struct iovec nothing = {0, 0};
    switch (call) {
    case IPC_CALL_FUTEX_WAITV: return syscall(449, 0, 0, 0, 0, 0);
    case IPC_CALL_PIDFD_OPEN: return syscall(SYS_pidfd_open, getpid(), 0);
    case IPC_CALL_MEMBARRIER: return syscall(SYS_membarrier, 0 /* MEMBARRIER_CMD_QUERY */, 0, 0);
    case IPC_CALL_PWRITEV2: return pwritev2(-1, &nothing, 1, -1, 0);
    case IPC_CALL_MEMFD_CREATE: return syscall(SYS_memfd_create, "ipc", IPC_MFD_CLOEXEC);
    // No descriptor has the highest number.
    case IPC_CALL_CLOSE_RANGE: return syscall(436, ~0u, ~0u, 0);
    }
    errno = EINVAL;
    return -1;
}

int ipc_try_call(enum ipc_newer_call call) {
    long result = try_call(call);
    if (result >= 0) {
        if (call == IPC_CALL_PIDFD_OPEN || call == IPC_CALL_MEMFD_CREATE) close((int)result);
        return 0;
    }
    // What the kernel itself says to the arguments above, and to a process that has no descriptor left.
    if (errno == EINVAL || errno == EBADF || errno == EMFILE || errno == ENFILE || errno == ENOMEM) return 0;
    return errno;
}
