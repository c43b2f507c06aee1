#define _GNU_SOURCE
#include "CIPCShims.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

_Static_assert(1033 == F_ADD_SEALS, "IPC_F_ADD_SEALS");
_Static_assert(1034 == F_GET_SEALS, "IPC_F_GET_SEALS");
_Static_assert(1031 == F_SETPIPE_SZ, "IPC_F_SETPIPE_SZ");
_Static_assert(1032 == F_GETPIPE_SZ, "IPC_F_GETPIPE_SZ");
_Static_assert(0x1 == F_SEAL_SEAL, "IPC_SEAL_SEAL");
_Static_assert(0x2 == F_SEAL_SHRINK, "IPC_SEAL_SHRINK");
_Static_assert(0x4 == F_SEAL_GROW, "IPC_SEAL_GROW");
_Static_assert(0x8 == F_SEAL_WRITE, "IPC_SEAL_WRITE");
_Static_assert(0x10 == F_SEAL_FUTURE_WRITE, "IPC_SEAL_FUTURE_WRITE");
_Static_assert(0x40000000 == MSG_CMSG_CLOEXEC, "IPC_MSG_CMSG_CLOEXEC");
_Static_assert(0x4000 == MSG_NOSIGNAL, "IPC_MSG_NOSIGNAL");
_Static_assert(0x40 == MSG_DONTWAIT, "IPC_MSG_DONTWAIT");
_Static_assert(0x20 == MSG_TRUNC, "IPC_MSG_TRUNC");
_Static_assert(0x8 == MSG_CTRUNC, "IPC_MSG_CTRUNC");
_Static_assert(1 == SOCK_STREAM, "IPC_SOCK_STREAM");
_Static_assert(2 == SOCK_DGRAM, "IPC_SOCK_DGRAM");
_Static_assert(5 == SOCK_SEQPACKET, "IPC_SOCK_SEQPACKET");
_Static_assert(02000000 == SOCK_CLOEXEC, "IPC_SOCK_CLOEXEC");
_Static_assert(010000000 == O_PATH, "IPC_O_PATH");
_Static_assert(4096 == PIPE_BUF, "IPC_PIPE_BUF");
_Static_assert(7 == RLIMIT_NOFILE, "IPC_RLIMIT_NOFILE");
_Static_assert(12 == RLIMIT_MSGQUEUE, "IPC_RLIMIT_MSGQUEUE");
_Static_assert(11 == RLIMIT_SIGPENDING, "IPC_RLIMIT_SIGPENDING");
_Static_assert(0x1 == MFD_CLOEXEC && 0x2 == MFD_ALLOW_SEALING, "IPC_MFD");

// Descriptors

int ipc_above_standard(int fd) {
    if (fd < 0 || fd > 2) return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int error = errno;
    close(fd);
    errno = error;
    return moved;
}
// Both ends of a pair, or neither.
static int pair_above_standard(int ends[2]) {
    ends[0] = ipc_above_standard(ends[0]);
    int error = errno;
    ends[1] = ipc_above_standard(ends[1]);
    if (ends[0] >= 0 && ends[1] >= 0) return 0;
    if (ends[0] >= 0) error = errno;
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0) close(ends[i]);
    errno = error;
    return -1;
}
// The same for what was just opened. If that call made the object, and its descriptor cannot be moved, the object goes too.
static int opened_above_standard(int fd, int flags, const char *name, int (*remove)(const char *)) {
    int moved = ipc_above_standard(fd);
    int creating = O_CREAT | O_EXCL;
    if (fd >= 0 && moved < 0 && (flags & creating) == creating) {
        int error = errno;
        remove(name);
        errno = error;
    }
    return moved;
}
int ipc_fcntl_int(int fd, int command, int argument) { return fcntl(fd, command, argument); }
int ipc_fionread(int fd, int *available) { return ioctl(fd, FIONREAD, available); }
int ipc_open_path(const char *path, int flags, mode_t mode) {
    return opened_above_standard(open(path, flags, mode), flags, path, unlink);
}
int ipc_openat(int folder, const char *path, int flags, mode_t mode) {
    return ipc_above_standard(openat(folder, path, flags, mode));
}
int ipc_pipe2(int ends[2], int flags) {
    return pipe2(ends, flags) == 0 ? pair_above_standard(ends) : -1;
}
int ipc_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout) {
    return ppoll(fds, count, timeout, 0);
}
ssize_t ipc_preadv2(int fd, const struct iovec *vector, int count, int flags) {
    return preadv2(fd, vector, count, -1, flags);
}
ssize_t ipc_pwritev2(int fd, const struct iovec *vector, int count, int flags) {
    return pwritev2(fd, vector, count, -1, flags);
}
ssize_t ipc_tee(int from, int to, size_t length) { return tee(from, to, length, SPLICE_F_NONBLOCK); }
int ipc_inotify_init(void) { return ipc_above_standard(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)); }
int ipc_eventfd(unsigned initial, int flags) { return ipc_above_standard(eventfd(initial, flags)); }
int ipc_timer_create(void) { return ipc_above_standard(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }
int ipc_timer_set(int timer, uint64_t nanoseconds) {
    struct timespec period = {(time_t)(nanoseconds / 1000000000u), (long)(nanoseconds % 1000000000u)};
    struct itimerspec setting = {period, period};
    return timerfd_settime(timer, 0, &setting, 0);
}
uint64_t ipc_coarse_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR && EPOLLHUP == POLLHUP, "events");
static __thread void *thread_value;
void *ipc_thread_value(void) { return thread_value; }
void ipc_set_thread_value(void *value) { thread_value = value; }
int ipc_epoll_create(void) { return ipc_above_standard(epoll_create1(EPOLL_CLOEXEC)); }
int ipc_epoll_arm(int epoll, int fd, short events, int is_once) {
    struct epoll_event event = {.events = (uint32_t)events | (is_once ? EPOLLONESHOT : 0), .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
    if (errno == ENOENT && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
    return errno;
}
int ipc_epoll_forget(int epoll, int fd) { return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0); }
int ipc_epoll_wait(int epoll, int *descriptors, short *events, int limit, uint64_t until) {
    struct epoll_event found[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t point = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, left = until - point;
    int milliseconds = -1;
    if (until != UINT64_MAX) {
        // Rounded up: it is looked at again after the wait.
        if (until <= point) milliseconds = 0;
        else milliseconds = left > 1000000000000u ? 1000000 : (int)((left + 999999) / 1000000);
    }
    int count = epoll_wait(epoll, found, limit < 64 ? limit : 64, milliseconds);
    for (int i = 0; i < count; i++) {
        descriptors[i] = found[i].data.fd;
        events[i] = (short)found[i].events;
    }
    return count;
}
int ipc_flock(int fd, int operation) { return flock(fd, operation); }
int ipc_is_in_memory(int fd) {
    struct statfs status;
    return fstatfs(fd, &status) == 0 && (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}
const char *ipc_secure_getenv(const char *name) { return secure_getenv(name); }
int ipc_rename_new(int folder, const char *from, const char *to) {
    if (renameat2(folder, from, folder, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != ENOSYS && errno != EPERM && errno != EINVAL) return -1;
    // No such call, or the file system cannot. The caller holds a lock against others that make names here, so looking first is
    // as good among ours.
    int error = errno;
    if (faccessat(folder, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    if (errno != ENOENT) {
        errno = error;
        return -1;
    }
    return renameat(folder, from, folder, to);
}
static int byte_lock(int fd, off_t offset, off_t count, int command, short *type) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = *type;
    lock.l_whence = SEEK_SET;
    lock.l_start = offset;
    lock.l_len = count;
    int result = fcntl(fd, command, &lock);
    *type = lock.l_type;
    return result;
}
int ipc_byte_lock(int fd, off_t offset) {
    short type = F_WRLCK;
    return byte_lock(fd, offset, 1, F_OFD_SETLK, &type);
}
int ipc_byte_unlock(int fd, off_t offset) {
    short type = F_UNLCK;
    return byte_lock(fd, offset, 1, F_OFD_SETLK, &type);
}
int ipc_bytes_are_locked(int fd, off_t offset, off_t count) {
    short type = F_WRLCK;
    if (byte_lock(fd, offset, count, F_OFD_GETLK, &type) != 0) return -1;
    return type != F_UNLCK;
}

// Memory

int ipc_memfd_create(const char *name, unsigned flags) {
    return ipc_above_standard(memfd_create(name, flags));
}
int ipc_shm_open(const char *name, int flags, mode_t mode) {
    return opened_above_standard(shm_open(name, flags, mode), flags, name, shm_unlink);
}
void *ipc_map_failed(void) { return MAP_FAILED; }
void *ipc_map_twice(int fd, size_t length, int protection, int is_prefaulted) {
    char *base = mmap(0, 2 * length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return MAP_FAILED;
    for (int half = 0; half < 2; half++) {
        // The second half is only used by what runs over the end of the first.
        int flags = MAP_SHARED | MAP_FIXED | (is_prefaulted && half == 0 ? MAP_POPULATE : 0);
        if (mmap(base + half * length, length, protection, flags, fd, 0) == MAP_FAILED) {
            int error = errno;
            munmap(base, 2 * length);
            errno = error;
            return MAP_FAILED;
        }
    }
    return base;
}
int ipc_barrier_register(void) {
    return (int)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
}
// While there is one thread, and a user of channels or not: later the kernel waits until each processor has gone on to something else,
// which takes seconds on a busy machine, and whoever joins a channel would wait for it. What comes of it is asked when it is needed.
__attribute__((constructor)) static void register_early(void) { (void)ipc_barrier_register(); }
int ipc_barrier_everywhere(void) { return (int)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0); }

// Futexes: absolute CLOCK_MONOTONIC time-outs, shared between processes.

int ipc_futex_wait(const uint32_t *word, uint32_t expected, const struct timespec *until) {
    return (int)syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, 0, FUTEX_BITSET_MATCH_ANY);
}
// Numbers and layouts of Linux 5.16, whatever the headers.
struct ipc_waitv { uint64_t val, uaddr; uint32_t flags, reserved; };
int ipc_futex_wait_any(const uint32_t *const *words, const uint32_t *expected, int count) {
    struct ipc_waitv waiters[128] = {0};
    for (int i = 0; i < count; i++) {
        waiters[i].val = expected[i];
        waiters[i].uaddr = (uintptr_t)words[i];
        waiters[i].flags = 2; // 32 bits, shared between processes
    }
    return (int)syscall(449 /* futex_waitv */, waiters, count, 0, 0, 0);
}
int ipc_futex_wake(const uint32_t *word, int count) {
    return (int)syscall(SYS_futex, word, FUTEX_WAKE, count, 0, 0, 0);
}

// Semaphores and mutexes on the monotonic clock (glibc 2.30)

int ipc_sem_clockwait(sem_t *semaphore, const struct timespec *until) {
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, until);
}
int ipc_mutex_clocklock(pthread_mutex_t *mutex, const struct timespec *until) {
    return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, until);
}
sem_t *ipc_sem_failed(void) { return SEM_FAILED; }
sem_t *ipc_sem_open(const char *name, int flags, mode_t mode, unsigned value) {
    return sem_open(name, flags, mode, value);
}

// Message queues: on Linux a queue descriptor is a file descriptor.

int ipc_mq_open(const char *name, int flags, mode_t mode, struct mq_attr *attributes) {
    return opened_above_standard(mq_open(name, flags, mode, attributes), flags, name, mq_unlink);
}
int ipc_mq_unlink(const char *name) { return mq_unlink(name); }
int ipc_mq_getattr(int queue, struct mq_attr *attributes) { return mq_getattr(queue, attributes); }
int ipc_mq_notify(int queue, const struct sigevent *event) { return mq_notify(queue, event); }
int ipc_mq_send(int queue, const void *bytes, size_t count, unsigned priority) {
    return mq_send(queue, bytes, count, priority);
}
int ipc_mq_timedsend(int queue, const void *bytes, size_t count, unsigned priority,
                                   const struct timespec *until) {
    return mq_timedsend(queue, bytes, count, priority, until);
}
ssize_t ipc_mq_receive(int queue, void *bytes, size_t capacity, unsigned *priority) {
    return mq_receive(queue, bytes, capacity, priority);
}
ssize_t ipc_mq_timedreceive(int queue, void *bytes, size_t capacity, unsigned *priority,
                                          const struct timespec *until) {
    return mq_timedreceive(queue, bytes, capacity, priority, until);
}

// Sockets

int ipc_peer_credentials(int fd, struct ipc_credentials *credentials) {
    struct ucred raw;
    socklen_t length = sizeof raw;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &raw, &length) != 0) return -1;
    credentials->process = raw.pid;
    credentials->user = raw.uid;
    credentials->group = raw.gid;
    return 0;
}
int ipc_socket(int family, int type) { return ipc_above_standard(socket(family, type, 0)); }
int ipc_accept4(int fd, int flags) { return ipc_above_standard(accept4(fd, 0, 0, flags)); }
int ipc_socketpair(int type, int ends[2]) {
    return socketpair(AF_UNIX, type, 0, ends) == 0 ? pair_above_standard(ends) : -1;
}
size_t ipc_cmsg_space(size_t length) { return CMSG_SPACE(length); }
size_t ipc_cmsg_len(size_t length) { return CMSG_LEN(length); }
struct cmsghdr *ipc_cmsg_first(struct msghdr *message) { return CMSG_FIRSTHDR(message); }
struct cmsghdr *ipc_cmsg_next(struct msghdr *message, struct cmsghdr *header) {
    return CMSG_NXTHDR(message, header);
}
unsigned char *ipc_cmsg_data(struct cmsghdr *header) { return CMSG_DATA(header); }

// Signals and processes

int ipc_signalfd(const sigset_t *mask, int flags) { return ipc_above_standard(signalfd(-1, mask, flags)); }
int ipc_sfd_flags(void) { return SFD_CLOEXEC | SFD_NONBLOCK; }
int ipc_pidfd_open(pid_t pid) { return ipc_above_standard((int)syscall(SYS_pidfd_open, pid, 0)); }
int ipc_pidfd_send_signal(int pidfd, int signal, const siginfo_t *information) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, information, 0);
}
int ipc_tgkill(pid_t process, pid_t thread, int signal) {
    return (int)syscall(SYS_tgkill, process, thread, signal);
}
pid_t ipc_gettid(void) { return (pid_t)syscall(SYS_gettid); }
int ipc_sigqueue(pid_t pid, int signal, intptr_t value) {
    union sigval payload;
    payload.sival_ptr = (void *)value;
    return sigqueue(pid, signal, payload);
}
int ipc_pidfd_sigqueue(int pidfd, int signal, intptr_t value) {
    siginfo_t information;
    memset(&information, 0, sizeof information);
    information.si_signo = signal;
    information.si_code = SI_QUEUE;
    information.si_pid = getpid();
    information.si_uid = getuid();
    information.si_value.sival_ptr = (void *)value;
    return ipc_pidfd_send_signal(pidfd, signal, &information);
}
int ipc_waitid_pidfd(int pidfd, siginfo_t *information, int options) {
    return waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, information, options);
}
int ipc_siginfo_status(const siginfo_t *information) { return information->si_status; }
pid_t ipc_siginfo_pid(const siginfo_t *information) { return information->si_pid; }
int ipc_sigrtmin(void) { return SIGRTMIN; }
int ipc_sigrtmax(void) { return SIGRTMAX; }
int ipc_signal_is_ignored(int signal) {
    struct sigaction action;
    return sigaction(signal, 0, &action) == 0 && !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN;
}
int ipc_signal_loses_statuses(void) {
    struct sigaction action;
    if (sigaction(SIGCHLD, 0, &action) != 0) return 0;
    return action.sa_handler == SIG_IGN || action.sa_flags & SA_NOCLDWAIT;
}
void ipc_ignore_signal(int signal) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_IGN;
    sigaction(signal, &action, 0);
}
void ipc_sigevent_signal(struct sigevent *event, int signal, intptr_t value) {
    memset(event, 0, sizeof *event);
    event->sigev_notify = SIGEV_SIGNAL;
    event->sigev_signo = signal;
    event->sigev_value.sival_ptr = (void *)value;
}
char **ipc_environment(void) { return environ; }
int ipc_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); }
int ipc_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }
int ipc_getrlimit(int resource, struct rlimit *limit) {
    return getrlimit((__rlimit_resource_t)resource, limit);
}
int ipc_set_affinity(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set);
}
int ipc_allowed_processors(int *processors, int capacity) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
    int count = 0;
    for (int processor = 0; processor < CPU_SETSIZE && count < capacity; processor++)
        if (CPU_ISSET(processor, &set)) processors[count++] = processor;
    return count;
}

_Thread_local int ipc_handlers;
