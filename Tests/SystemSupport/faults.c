// System calls of one thread that fail on demand: a seccomp filter tells each of them to a supervisor, another thread of this
// process, which lets it go on or gives it an error (SECCOMP_RET_USER_NOTIF). No privileges, no tracer, some 10 µs a call.
//
// Left out are calls whose failure says nothing:
// - close, munmap: what they give up is given up all the same, and the C library does not look at their results. unlink, rmdir:
//   what they fail to remove stays, whatever the caller does. Giving up a lock: it takes no memory where locks are of single bytes.
// - futex, madvise, brk, and mmap of private memory to write to: the allocator's and the runtime's, which end the program
//   without memory. The caller's own memory is shared, reserved or of a file.
// - calls that cannot fail with sound arguments, such as rt_sigprocmask, getpid or clock_gettime.
#define _GNU_SOURCE
#include "SystemSupport.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

// Whether the file is of this kind: `socket:`, `pipe:`, or `anon_inode:` for those of the kernel's own, such as eventfds.
static int is_of_kind(unsigned long long fd, const char *kind) {
    char path[64], target[32] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", (int)fd);
    if (readlink(path, target, sizeof target - 1) < 0) return 0;
    return strncmp(target, kind, strlen(kind)) == 0;
}

static int never_waits(unsigned long long fd) { return (fcntl((int)fd, F_GETFL) & O_NONBLOCK) != 0; }

// The errors that a call may have, the likeliest first, 0 at the end.
static void errors_of(const struct seccomp_data *call, int errors[4]) {
    const unsigned long long *a = call->args;
    memset(errors, 0, 4 * sizeof *errors);
#define ERRORS(...)                                                  \
    do {                                                             \
        const int all[] = {__VA_ARGS__};                             \
        memcpy(errors, all, sizeof all);                             \
        return;                                                      \
    } while (0)
    switch (call->nr) {
#ifdef SYS_open
    case SYS_open: ERRORS(EMFILE, EINTR, EACCES);
#endif
    case SYS_openat:
        if (a[2] & O_CREAT) ERRORS(EMFILE, EINTR, EACCES, ENOSPC);
        ERRORS(EMFILE, EINTR, EACCES);
    case SYS_openat2: ERRORS(EMFILE, EINTR, EACCES);
    case SYS_accept: case SYS_accept4:
        if (never_waits(a[0])) ERRORS(EMFILE, ENOMEM);
        ERRORS(EMFILE, EINTR, ENOMEM);
#ifdef SYS_pipe
    case SYS_pipe: case SYS_eventfd: case SYS_signalfd: case SYS_epoll_create: case SYS_inotify_init:
#endif
    case SYS_socket: case SYS_socketpair: case SYS_pipe2: case SYS_eventfd2: case SYS_signalfd4: case SYS_timerfd_create:
    case SYS_epoll_create1: case SYS_inotify_init1: case SYS_memfd_create: case SYS_dup: case 434 /* pidfd_open */:
        ERRORS(EMFILE, ENOMEM);
    case SYS_dup3: ERRORS(EBADF);
    case SYS_mq_open: ERRORS(EMFILE, EACCES, ENOSPC);
    case SYS_fcntl:
        switch (a[1]) {
        case F_DUPFD: case F_DUPFD_CLOEXEC: ERRORS(EMFILE);
        case F_SETLKW: case F_OFD_SETLKW: case F_SETLK: case F_OFD_SETLK:
            // Of this process, as the threads are that are looked at.
            if (((const struct flock *)a[2])->l_type == F_UNLCK) return;
            if (a[1] == F_SETLKW || a[1] == F_OFD_SETLKW) ERRORS(ENOLCK, EINTR);
            ERRORS(ENOLCK);
        case F_GETLK: case F_OFD_GETLK: ERRORS(ENOLCK);
        case F_GETFD: case F_GETFL: case F_GETPIPE_SZ: case F_GET_SEALS: return;
        default: ERRORS(EPERM);
        }
    case SYS_flock: ERRORS(ENOLCK, EINTR);
    case SYS_mmap:
        if ((a[3] & MAP_PRIVATE) && (a[3] & MAP_ANONYMOUS) && (a[2] & PROT_WRITE) && !(a[3] & MAP_STACK)) return;
        ERRORS(ENOMEM);
    case SYS_mprotect: case SYS_mremap: case SYS_mlock: ERRORS(ENOMEM);
    case SYS_msync: ERRORS(EIO);
    case SYS_ftruncate: case SYS_fallocate: ERRORS(ENOSPC, EINTR, EPERM);
    case SYS_write: case SYS_writev: case SYS_pwrite64: case SYS_pwritev: case SYS_pwritev2:
    case SYS_read: case SYS_readv: case SYS_pread64: case SYS_preadv: case SYS_preadv2: {
        int is_write = call->nr == SYS_write || call->nr == SYS_writev || call->nr == SYS_pwrite64 ||
            call->nr == SYS_pwritev || call->nr == SYS_pwritev2;
        // What is of the kernel's own, or a pipe that is read, does not fail.
        if (is_of_kind(a[0], "socket:") || (is_write && is_of_kind(a[0], "pipe:"))) errors[0] = ENOMEM;
        else if (is_of_kind(a[0], "/")) errors[0] = is_write ? ENOSPC : EIO;
        if (!never_waits(a[0])) errors[errors[0] ? 1 : 0] = EINTR;
        return;
    }
    case SYS_fsync: case SYS_fdatasync: case SYS_sync_file_range: ERRORS(EIO, EINTR);
    case SYS_copy_file_range: case SYS_splice: case SYS_tee: case SYS_vmsplice: ERRORS(ENOMEM, EINTR);
#ifdef SYS_mkdir
    case SYS_mkdir: case SYS_mknod: case SYS_symlink: case SYS_link: case SYS_rename:
#endif
    case SYS_mkdirat: case SYS_mknodat: case SYS_symlinkat: case SYS_linkat: case SYS_renameat2: ERRORS(ENOSPC, EACCES);
#ifdef SYS_chmod
    case SYS_chmod: case SYS_chown: case SYS_lchown:
#endif
    case SYS_fchmod: case SYS_fchmodat: case SYS_fchown: case SYS_fchownat: ERRORS(EPERM, EIO);
    case SYS_chdir: case SYS_fchdir: ERRORS(EACCES);
    case SYS_fsetxattr: case SYS_setxattr: ERRORS(ENOSPC);
#ifdef SYS_stat
    case SYS_stat: case SYS_lstat: case SYS_access: case SYS_readlink:
#endif
    case SYS_fstat: case SYS_newfstatat: case SYS_statx: case SYS_faccessat: case SYS_readlinkat: case SYS_statfs:
    case SYS_fstatfs:
        ERRORS(ENOMEM, EACCES);
    case SYS_getdents64: ERRORS(EIO);
    // Not EINTR, which does not end it: it goes on by itself.
    case SYS_connect: ERRORS(ENETUNREACH, EACCES);
    case SYS_bind: ERRORS(EADDRINUSE, EACCES);
    case SYS_listen: ERRORS(EADDRINUSE);
    case SYS_setsockopt: ERRORS(ENOMEM);
    case SYS_getsockopt: case SYS_getsockname: case SYS_getpeername: case SYS_shutdown: ERRORS(ENOBUFS);
    case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg: case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg: {
        unsigned long long flags = call->nr == SYS_sendmsg || call->nr == SYS_recvmsg ? a[2] : a[3];
        if (never_waits(a[0]) || (flags & MSG_DONTWAIT)) ERRORS(ENOMEM);
        ERRORS(ENOMEM, EINTR);
    }
#ifdef SYS_poll
    case SYS_poll: case SYS_select:
#endif
    case SYS_ppoll: case SYS_pselect6: ERRORS(ENOMEM, EINTR);
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
    case SYS_epoll_pwait: case 441 /* epoll_pwait2 */: ERRORS(EINTR);
    case SYS_epoll_ctl: if (a[1] == 2 /* EPOLL_CTL_DEL */) return; ERRORS(ENOSPC, ENOMEM);
    case SYS_inotify_add_watch: ERRORS(ENOSPC, ENOMEM);
    case SYS_timerfd_settime: case SYS_ioctl: ERRORS(EPERM);
    case SYS_clone: case 435 /* clone3 */: ERRORS(EAGAIN, ENOMEM);
#ifdef SYS_fork
    case SYS_fork: case SYS_vfork: ERRORS(EAGAIN, ENOMEM);
#endif
    case SYS_execve: case SYS_execveat: ERRORS(ENOMEM, EACCES);
    case SYS_setpgid: ERRORS(EPERM);
    case SYS_waitid: case SYS_wait4: ERRORS(EINTR);
    case SYS_kill: case SYS_tgkill: case 424 /* pidfd_send_signal */: ERRORS(EPERM);
    case SYS_rt_sigqueueinfo: ERRORS(EAGAIN, EPERM);
    case SYS_rt_sigtimedwait: ERRORS(EINTR);
    case SYS_nanosleep: case SYS_clock_nanosleep: ERRORS(EINTR);
    case SYS_mq_timedsend: case SYS_mq_timedreceive:
        if (never_waits(a[0])) ERRORS(ENOMEM);
        ERRORS(ENOMEM, EINTR);
    case SYS_mq_getsetattr: case SYS_mq_notify: ERRORS(EPERM);
    case SYS_membarrier: ERRORS(EPERM);
    case SYS_process_vm_readv: case SYS_process_vm_writev: ERRORS(EPERM);
    default: return;
    }
#undef ERRORS
}

// What a thread that is told about is.
enum kind {
    OBSERVED,
    OURS,      // another thread of this process
    STARTED,   // a child that shares its parent's memory, whose parent waits until it runs another program
    RUNNING,   // such a one that has tried to
    OTHER
};

static pid_t observed;
static int listener = -1;
static sem_t is_listening;
// Of the observed thread for the supervisor, but for the last two. The calls of the thread wait for the supervisor, so the two
// never use them at the same time; atomic for the compiler.
static int is_armed, at, variant, count;
static struct support_fault injected;

static struct { pid_t thread; enum kind kind; } seen[64];
static int seen_count, expects_child;

static enum kind kind_of(pid_t thread) {
    if (thread == observed) return OBSERVED;
    for (int i = 0; i < seen_count; i++)
        if (seen[i].thread == thread) return seen[i].kind;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d", thread);
    enum kind kind = access(path, F_OK) == 0 ? OURS : expects_child ? STARTED : OTHER;
    if (kind == STARTED) expects_child = 0;
    if (seen_count < 64) {
        seen[seen_count].thread = thread;
        seen[seen_count++].kind = kind;
    }
    return kind;
}

// All those of `from` are of another kind now.
static void change(enum kind from, enum kind to) {
    for (int i = 0; i < seen_count; i++)
        if (seen[i].kind == from) seen[i].kind = to;
}

// The error for a call; 0 to let it go on.
static int judge(pid_t thread, const struct seccomp_data *call) {
    if (!__atomic_load_n(&is_armed, __ATOMIC_ACQUIRE)) return 0;
    enum kind kind = kind_of(thread);
    if (kind == OBSERVED) {
        // It waits no more.
        change(STARTED, OTHER);
        change(RUNNING, OTHER);
    } else if (call->nr == SYS_execve && kind == STARTED) {
        change(STARTED, RUNNING);
    } else if (kind != STARTED && !(kind == RUNNING && call->nr == SYS_execve)) {
        // RUNNING: it looks for the program in the next folder.
        return 0;
    }
    if (call->nr == SYS_clone && (call->args[0] & CLONE_VFORK)) expects_child = 1;
    int errors[4];
    errors_of(call, errors);
    if (errors[0] == 0) return 0;
    int index = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    if (index != at || variant >= 4) return 0;
    injected.call = call->nr;
    injected.error = errors[variant];
    while (injected.errors < 4 && errors[injected.errors]) injected.errors++;
    return errors[variant];
}

static void *supervise(void *argument) {
    struct seccomp_notif_sizes *sizes = argument;
    struct seccomp_notif *told = calloc(1, sizes->seccomp_notif + sizeof *told);
    struct seccomp_notif_resp *answer = calloc(1, sizes->seccomp_notif_resp + sizeof *answer);
    if (!told || !answer) abort();
    while (sem_wait(&is_listening) != 0) {}
    // The waking thread sleeps at once: both on one processor. Older kernels do not know it.
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, 1ul);
    for (;;) {
        memset(told, 0, sizes->seccomp_notif);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, told) != 0) {
            // It was interrupted, or has ended, meanwhile.
            if (errno == EINTR || errno == ENOENT) continue;
            abort();
        }
        memset(answer, 0, sizes->seccomp_notif_resp);
        answer->id = told->id;
        answer->error = -judge((pid_t)told->pid, &told->data);
        if (answer->error == 0) answer->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, answer) != 0 && errno != ENOENT && errno != EINTR) abort();
    }
    return 0;
}

int support_faults_start(void) {
    // What the allocator takes for each thread would look like a leak.
    mallopt(M_ARENA_MAX, 1);
    static struct seccomp_notif_sizes sizes;
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) return -1;
    observed = (pid_t)syscall(SYS_gettid);
    sem_init(&is_listening, 0, 0);
    // Before the filter, which is for this thread and what it starts; without signals, which are the others'.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t supervisor;
    int error = pthread_create(&supervisor, 0, supervise, &sizes);
    pthread_sigmask(SIG_SETMASK, &before, 0);
    if (error) {
        errno = error;
        return -1;
    }
    // None of these has errors above.
    static const int passed[] = {
        SYS_futex, SYS_munmap, SYS_madvise, SYS_brk, SYS_close, SYS_exit, SYS_exit_group, SYS_gettid, SYS_getpid,
        SYS_clock_gettime, SYS_sched_yield, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_rt_sigaction,
    };
    enum { passed_count = sizeof passed / sizeof *passed };
    struct sock_filter filter[passed_count + 3];
    unsigned short length = 0;
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned char i = 0; i < passed_count; i++)
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)passed[i], passed_count - i, 0);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = length, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) return -1;
    sem_post(&is_listening);
    return 0;
}

void support_faults_arm(int index, int error) {
    at = index;
    variant = error;
    count = seen_count = expects_child = 0;
    injected = (struct support_fault){-1, 0, 0, 0};
    __atomic_store_n(&is_armed, 1, __ATOMIC_RELEASE);
}

struct support_fault support_faults_disarm(void) {
    __atomic_store_n(&is_armed, 0, __ATOMIC_RELEASE);
    injected.count = count;
    return injected;
}

const char *support_call_name(long call) {
    switch (call) {
#define NAME(x) \
    case SYS_##x: return #x;
        NAME(accept) NAME(accept4) NAME(bind) NAME(chdir) NAME(clock_nanosleep) NAME(clone) NAME(connect)
        NAME(copy_file_range) NAME(dup) NAME(dup3) NAME(epoll_create1) NAME(epoll_ctl) NAME(epoll_pwait) NAME(eventfd2)
        NAME(execve) NAME(execveat) NAME(faccessat) NAME(fallocate) NAME(fchdir) NAME(fchmod) NAME(fchmodat)
        NAME(fchown) NAME(fchownat) NAME(fcntl) NAME(fdatasync) NAME(flock) NAME(fsetxattr) NAME(fstat) NAME(fstatfs)
        NAME(fsync) NAME(ftruncate) NAME(getdents64) NAME(getpeername) NAME(getsockname) NAME(getsockopt)
        NAME(inotify_add_watch) NAME(inotify_init1) NAME(ioctl) NAME(kill) NAME(linkat) NAME(listen) NAME(membarrier)
        NAME(memfd_create) NAME(mkdirat) NAME(mknodat) NAME(mlock) NAME(mmap) NAME(mprotect) NAME(mq_getsetattr)
        NAME(mq_notify) NAME(mq_open) NAME(mq_timedreceive) NAME(mq_timedsend) NAME(mremap) NAME(msync) NAME(nanosleep)
        NAME(newfstatat) NAME(openat) NAME(openat2) NAME(pipe2) NAME(ppoll) NAME(pread64) NAME(preadv) NAME(preadv2)
        NAME(process_vm_readv) NAME(process_vm_writev) NAME(pselect6) NAME(pwrite64) NAME(pwritev) NAME(pwritev2)
        NAME(read) NAME(readlinkat) NAME(readv) NAME(recvfrom) NAME(recvmmsg) NAME(recvmsg) NAME(renameat2)
        NAME(rt_sigqueueinfo) NAME(rt_sigtimedwait) NAME(sendmmsg) NAME(sendmsg) NAME(sendto) NAME(setpgid)
        NAME(setsockopt) NAME(setxattr) NAME(shutdown) NAME(signalfd4) NAME(socket) NAME(socketpair) NAME(splice)
        NAME(statfs) NAME(statx) NAME(symlinkat) NAME(sync_file_range) NAME(tee) NAME(tgkill) NAME(timerfd_create)
        NAME(timerfd_settime) NAME(vmsplice) NAME(wait4) NAME(waitid) NAME(write) NAME(writev)
#ifdef SYS_open
        NAME(open) NAME(pipe) NAME(eventfd) NAME(signalfd) NAME(epoll_create) NAME(inotify_init) NAME(mkdir) NAME(mknod)
        NAME(symlink) NAME(link) NAME(rename) NAME(chmod) NAME(chown) NAME(lchown) NAME(stat) NAME(lstat) NAME(access)
        NAME(readlink) NAME(poll) NAME(select) NAME(epoll_wait) NAME(fork) NAME(vfork)
#endif
    case 424: return "pidfd_send_signal";
    case 434: return "pidfd_open";
    case 435: return "clone3";
    case 441: return "epoll_pwait2";
    default: return "another";
    }
#undef NAME
}
