// Starting a child, and the process that ends children when their parent is killed.
#define _GNU_SOURCE
#include "CIPCShims.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#if defined(__clang__)
// The C library's `clone` by its other name: the thread sanitizer takes the first for a fork, which it is not.
int __clone(int (*body)(void *), void *stack, int flags, void *argument, ...);
#define NOT_INSTRUMENTED __attribute__((disable_sanitizer_instrumentation))
#else
#define NOT_INSTRUMENTED
#endif

struct start {
    const struct ipc_spawn *request;
    volatile int error;
};

// Everything from here to `child_main` runs in the child, in its parent's memory and as its parent's thread: bare system calls
// only, because a sanitizer's functions of the same names keep books, which are the parent's.

NOT_INSTRUMENTED static int close_bare(int fd) { return (int)syscall(SYS_close, fd); }
NOT_INSTRUMENTED static int open_bare(const char *path, int flags) { return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0); }
NOT_INSTRUMENTED static _Noreturn void exit_bare(int status) {
    for (;;) syscall(SYS_exit_group, status);
}

// `dup3` refuses to copy a descriptor to itself; this clears close-on-exec in that case too.
NOT_INSTRUMENTED static int place(int source, int target) {
    if (source == target) return (int)syscall(SYS_fcntl, target, F_SETFD, 0);
    return (int)syscall(SYS_dup3, source, target, 0);
}

// Where close_range is refused. Reads the folder by the bare system call, since opendir allocates.
NOT_INSTRUMENTED static void close_listed(int first) {
    _Alignas(8) char buffer[4096];
    int folder = open_bare("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        struct rlimit limit;
        if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) != 0) return;
        int end = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
        for (int fd = first; fd < end; fd++) close_bare(fd);
        return;
    }
    for (int is_again = 1; is_again;) {
        is_again = 0;
        syscall(SYS_lseek, folder, 0l, SEEK_SET);
        long count;
        while ((count = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0) {
            for (long at = 0; at < count;) {
                // struct linux_dirent64: inode, offset, length of the entry, type, name.
                unsigned short length;
                memcpy(&length, buffer + at + 16, sizeof length);
                int fd = 0;
                for (const char *digit = buffer + at + 19; *digit >= '0' && *digit <= '9'; digit++)
                    fd = fd * 10 + *digit - '0';
                if (fd >= first && fd != folder && close_bare(fd) == 0) is_again = 1;
                at += length;
            }
        }
    }
    close_bare(folder);
}

NOT_INSTRUMENTED static void close_range_of(unsigned first, unsigned last) {
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0) return;
    if (last == ~0u) close_listed((int)first);
    else
        for (unsigned fd = first; fd <= last; fd++) close_bare((int)fd);
}

NOT_INSTRUMENTED static int place_descriptors(const struct ipc_spawn *request) {
    int next = 3;
    for (int i = 0; i < request->count; i++)
        if (place(request->sources[i], request->targets[i]) < 0) return -1;
    // Targets come in ascending order.
    for (int i = 0; i < request->count; i++) {
        int target = request->targets[i];
        if (target < 3) continue;
        close_range_of((unsigned)next, (unsigned)target - 1);
        next = target + 1;
    }
    close_range_of((unsigned)next, ~0u);
    // One that would be closed by exec is no standard descriptor, but something that was opened where none was.
    for (int fd = 0; fd < 3; fd++) {
        int flags = (int)syscall(SYS_fcntl, fd, F_GETFD);
        if (flags >= 0 && !(flags & FD_CLOEXEC)) continue;
        close_bare(fd);
        // The lowest free number is this one.
        if (open_bare("/dev/null", O_RDWR) != fd) return -1;
    }
    return 0;
}

NOT_INSTRUMENTED static void set_action(int signal, void (*handler)(int)) {
    // The kernel's structure: handler, flags, restorer, mask.
    uintptr_t action[4] = {(uintptr_t)handler, 0, 0, 0};
    syscall(SYS_rt_sigaction, signal, action, 0, 8);
}

NOT_INSTRUMENTED static void reset_signals(void) {
    // A SIGPIPE that is pending is dropped by the first.
    set_action(SIGPIPE, SIG_IGN);
    for (int signal = 1; signal <= 64; signal++) set_action(signal, SIG_DFL);
    // Last: until now a handler would have run in the parent's memory.
    uint64_t none = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
}

NOT_INSTRUMENTED static int child_main(void *argument) {
    struct start *start = argument;
    const struct ipc_spawn *request = start->request;
    if (request->group >= 0 && syscall(SYS_setpgid, 0, request->group) != 0) goto failed;
    if (request->guardian >= 0) {
        struct ipc_guarded entry = {.process = (pid_t)syscall(SYS_getpid), .is_started = 1};
        if (syscall(SYS_write, request->guardian, &entry, sizeof entry) != sizeof entry) goto failed;
    }
    if (place_descriptors(request) != 0) goto failed;
    if (request->folder && syscall(SYS_chdir, request->folder) != 0) {
        start->error = -errno;
        exit_bare(127);
    }
    reset_signals();
    execvpe(request->program, request->arguments, request->environment);
failed:
    start->error = errno;
    exit_bare(127);
}

// Blocks all signals, those of the C library too.
static void block_all(uint64_t *mask) {
    uint64_t all = ~0ull;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, mask, sizeof all);
}
static void restore_mask(const uint64_t *mask) { syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, 0, sizeof *mask); }

NOT_INSTRUMENTED pid_t ipc_spawn(const struct ipc_spawn *request, int *pidfd, int *is_folder) {
    // Its own stack, because both use the memory; enough for the longest path that execvpe puts together.
    const size_t size = 256 << 10;
    char *stack = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return -1;
    struct start start = {.request = request, .error = 0};
    int raw = -1, state;
    uint64_t mask;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    block_all(&mask);
    // Kernels before 5.2 pass over the flag, and leave -1.
    pid_t child = __clone(child_main, stack + size, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &start, &raw);
    int error = errno;
    restore_mask(&mask);
    pthread_setcancelstate(state, 0);
    munmap(stack, size);
    *is_folder = start.error < 0;
    if (child > 0 && start.error != 0) {
        while (waitpid(child, 0, 0) < 0 && errno == EINTR) {}
        if (raw >= 0) close(raw);
        child = -1;
        error = abs(start.error);
    }
    if (child > 0) *pidfd = raw >= 0 ? ipc_above_standard(raw) : -1;
    errno = error;
    return child;
}

// The guardian

static uint64_t guarded[(1 << 22) / 64];  // by process group; identifiers lie below 2^22

static _Noreturn void guard(int input) {
    prctl(PR_SET_NAME, "ipc-guardian", 0, 0, 0);
    setsid();
    if (chdir("/") != 0) _exit(1);
    int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3 && nothing >= 0; fd++) dup2(nothing, fd);
    if (dup2(input, 3) < 0) _exit(1);
    close_range_of(4, ~0u);
    struct ipc_guarded entry;
    ssize_t count;
    while ((count = read(3, &entry, sizeof entry)) != 0) {
        if (count < 0 && errno == EINTR) continue;
        if (count != sizeof entry) break;
        if (entry.process <= 1 || entry.process >= 1 << 22) continue;
        uint64_t bit = 1ull << (entry.process & 63);
        if (entry.is_started) guarded[entry.process >> 6] |= bit;
        else guarded[entry.process >> 6] &= ~bit;
    }
    // Its parent has gone.
    for (int i = 0; i < (1 << 22) / 64; i++)
        for (uint64_t bits = guarded[i]; bits; bits &= bits - 1) kill(-(i * 64 + __builtin_ctzll(bits)), SIGKILL);
    _exit(0);
}

pid_t ipc_start_guardian(int *descriptor) {
    int ends[2];
    if (ipc_pipe2(ends, O_CLOEXEC) != 0) return -1;
    uint64_t mask;
    block_all(&mask);
    // Without the handlers at fork: it runs nothing but the above, and closes all that it has of its parent.
    pid_t child = _Fork();
    if (child == 0) guard(ends[0]);
    int error = errno;
    restore_mask(&mask);
    close(ends[0]);
    if (child < 0) close(ends[1]);
    else *descriptor = ends[1];
    errno = error;
    return child;
}
