// What Swift cannot import from glibc: variadic calls, macros, structures behind _GNU_SOURCE, raw system calls.
// Each function is the C call and nothing else; it returns -1 and sets errno as the C call does.
#ifndef CIPC_SHIMS_H
#define CIPC_SHIMS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma GCC visibility push(hidden)

// Constants that are macros with casts, or newer than the C library's headers.

static const int IPC_RWF_NOWAIT = 0x8;
static const int IPC_RWF_NOSIGNAL = 0x100;  // Linux 6.18
static const int IPC_SO_PEERPIDFD = 77;     // Linux 6.5
static const int IPC_F_ADD_SEALS = F_ADD_SEALS;
static const int IPC_F_GET_SEALS = F_GET_SEALS;
static const int IPC_F_SETPIPE_SZ = F_SETPIPE_SZ;
static const int IPC_F_GETPIPE_SZ = F_GETPIPE_SZ;
static const int IPC_SEAL_SEAL = 0x1;
static const int IPC_SEAL_SHRINK = 0x2;
static const int IPC_SEAL_GROW = 0x4;
static const int IPC_SEAL_WRITE = 0x8;
static const int IPC_SEAL_FUTURE_WRITE = 0x10;
static const int IPC_MSG_CMSG_CLOEXEC = MSG_CMSG_CLOEXEC;
static const int IPC_MSG_NOSIGNAL = MSG_NOSIGNAL;
static const int IPC_MSG_DONTWAIT = MSG_DONTWAIT;
static const int IPC_MSG_TRUNC = MSG_TRUNC;
static const int IPC_MSG_CTRUNC = MSG_CTRUNC;
static const int IPC_MSG_PEEK = MSG_PEEK;
static const int IPC_SOCK_STREAM = SOCK_STREAM;
static const int IPC_SOCK_DGRAM = SOCK_DGRAM;
static const int IPC_SOCK_SEQPACKET = SOCK_SEQPACKET;
static const int IPC_SOCK_CLOEXEC = SOCK_CLOEXEC;
static const int IPC_SOCK_NONBLOCK = SOCK_NONBLOCK;
static const int IPC_PIPE_BUF = 4096;
static const int IPC_O_CLOEXEC = O_CLOEXEC;
static const int IPC_RLIMIT_NOFILE = RLIMIT_NOFILE;
static const int IPC_RLIMIT_MSGQUEUE = RLIMIT_MSGQUEUE;
static const int IPC_RLIMIT_SIGPENDING = RLIMIT_SIGPENDING;

// Descriptors

static inline int ipc_fcntl_int(int fd, int command, int argument) { return fcntl(fd, command, argument); }
static inline int ipc_fionread(int fd, int *available) { return ioctl(fd, FIONREAD, available); }
static inline int ipc_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }
static inline int ipc_pipe2(int ends[2], int flags) { return pipe2(ends, flags); }
static inline int ipc_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout) {
    return ppoll(fds, count, timeout, 0);
}
static inline ssize_t ipc_preadv2(int fd, const struct iovec *vector, int count, int flags) {
    return preadv2(fd, vector, count, -1, flags);
}
static inline ssize_t ipc_pwritev2(int fd, const struct iovec *vector, int count, int flags) {
    return pwritev2(fd, vector, count, -1, flags);
}
static inline ssize_t ipc_tee(int from, int to, size_t length) { return tee(from, to, length, SPLICE_F_NONBLOCK); }
static inline int ipc_inotify_init(void) { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }
static inline int ipc_eventfd(unsigned initial, int flags) { return eventfd(initial, flags); }
static inline int ipc_flock(int fd, int operation) { return flock(fd, operation); }
static inline int ipc_close_range(unsigned first, unsigned last, unsigned flags) {
    return (int)syscall(SYS_close_range, first, last, flags);
}

// Memory

static inline int ipc_memfd_create(const char *name, unsigned flags) { return memfd_create(name, flags); }
static inline void *ipc_map_failed(void) { return MAP_FAILED; }

// Futexes: absolute CLOCK_MONOTONIC time-outs, shared between processes.

static inline int ipc_futex_wait(const uint32_t *word, uint32_t expected, const struct timespec *until) {
    return (int)syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, 0, FUTEX_BITSET_MATCH_ANY);
}
static inline int ipc_futex_wake(const uint32_t *word, int count) {
    return (int)syscall(SYS_futex, word, FUTEX_WAKE, count, 0, 0, 0);
}

// Semaphores and mutexes on the monotonic clock (glibc 2.30)

static inline int ipc_sem_clockwait(sem_t *semaphore, const struct timespec *until) {
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, until);
}
static inline int ipc_mutex_clocklock(pthread_mutex_t *mutex, const struct timespec *until) {
    return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, until);
}
static inline sem_t *ipc_sem_failed(void) { return SEM_FAILED; }
static inline sem_t *ipc_sem_open(const char *name, int flags, mode_t mode, unsigned value) {
    return sem_open(name, flags, mode, value);
}

// Message queues: on Linux a queue descriptor is a file descriptor.

static inline int ipc_mq_open(const char *name, int flags, mode_t mode, struct mq_attr *attributes) {
    return mq_open(name, flags, mode, attributes);
}
static inline int ipc_mq_unlink(const char *name) { return mq_unlink(name); }
static inline int ipc_mq_getattr(int queue, struct mq_attr *attributes) { return mq_getattr(queue, attributes); }
static inline int ipc_mq_notify(int queue, const struct sigevent *event) { return mq_notify(queue, event); }
static inline int ipc_mq_send(int queue, const void *bytes, size_t count, unsigned priority) {
    return mq_send(queue, bytes, count, priority);
}
static inline int ipc_mq_timedsend(int queue, const void *bytes, size_t count, unsigned priority,
                                   const struct timespec *until) {
    return mq_timedsend(queue, bytes, count, priority, until);
}
static inline ssize_t ipc_mq_receive(int queue, void *bytes, size_t capacity, unsigned *priority) {
    return mq_receive(queue, bytes, capacity, priority);
}
static inline ssize_t ipc_mq_timedreceive(int queue, void *bytes, size_t capacity, unsigned *priority,
                                          const struct timespec *until) {
    return mq_timedreceive(queue, bytes, capacity, priority, until);
}

// Sockets

static inline int ipc_accept4(int fd, int flags) { return accept4(fd, 0, 0, flags); }
static inline int ipc_socketpair(int type, int ends[2]) { return socketpair(AF_UNIX, type, 0, ends); }
static inline size_t ipc_cmsg_space(size_t length) { return CMSG_SPACE(length); }
static inline size_t ipc_cmsg_len(size_t length) { return CMSG_LEN(length); }
static inline struct cmsghdr *ipc_cmsg_first(struct msghdr *message) { return CMSG_FIRSTHDR(message); }
static inline struct cmsghdr *ipc_cmsg_next(struct msghdr *message, struct cmsghdr *header) {
    return CMSG_NXTHDR(message, header);
}
static inline unsigned char *ipc_cmsg_data(struct cmsghdr *header) { return CMSG_DATA(header); }

// Signals and processes

static inline int ipc_signalfd(const sigset_t *mask, int flags) { return signalfd(-1, mask, flags); }
static inline int ipc_sfd_flags(void) { return SFD_CLOEXEC; }
static inline int ipc_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static inline int ipc_pidfd_send_signal(int pidfd, int signal, const siginfo_t *information) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, information, 0);
}
static inline int ipc_tgkill(pid_t process, pid_t thread, int signal) {
    return (int)syscall(SYS_tgkill, process, thread, signal);
}
static inline pid_t ipc_gettid(void) { return (pid_t)syscall(SYS_gettid); }
static inline int ipc_sigqueue(pid_t pid, int signal, intptr_t value) {
    union sigval payload;
    payload.sival_ptr = (void *)value;
    return sigqueue(pid, signal, payload);
}
static inline int ipc_pidfd_sigqueue(int pidfd, int signal, intptr_t value) {
    siginfo_t information;
    memset(&information, 0, sizeof information);
    information.si_signo = signal;
    information.si_code = SI_QUEUE;
    information.si_pid = getpid();
    information.si_uid = getuid();
    information.si_value.sival_ptr = (void *)value;
    return ipc_pidfd_send_signal(pidfd, signal, &information);
}
static inline int ipc_waitid_pidfd(int pidfd, siginfo_t *information, int options) {
    return waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, information, options);
}
static inline int ipc_siginfo_status(const siginfo_t *information) { return information->si_status; }
static inline pid_t ipc_siginfo_pid(const siginfo_t *information) { return information->si_pid; }
static inline int ipc_sigrtmin(void) { return SIGRTMIN; }
static inline int ipc_sigrtmax(void) { return SIGRTMAX; }
static inline int ipc_signal_is_ignored(int signal) {
    struct sigaction action;
    return sigaction(signal, 0, &action) == 0 && action.sa_handler == SIG_IGN;
}
static inline void ipc_ignore_signal(int signal) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_IGN;
    sigaction(signal, &action, 0);
}
static inline void ipc_sigevent_signal(struct sigevent *event, int signal, intptr_t value) {
    memset(event, 0, sizeof *event);
    event->sigev_notify = SIGEV_SIGNAL;
    event->sigev_signo = signal;
    event->sigev_value.sival_ptr = (void *)value;
}
extern char **environ;
static inline char **ipc_environment(void) { return environ; }
static inline int ipc_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}
static inline int ipc_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); }
static inline int ipc_getrlimit(int resource, struct rlimit *limit) {
    return getrlimit((__rlimit_resource_t)resource, limit);
}
static inline int ipc_setrlimit(int resource, const struct rlimit *limit) {
    return setrlimit((__rlimit_resource_t)resource, limit);
}
static inline int ipc_set_affinity(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set);
}
static inline int ipc_allowed_processors(int *processors, int capacity) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
    int count = 0;
    for (int processor = 0; processor < CPU_SETSIZE && count < capacity; processor++)
        if (CPU_ISSET(processor, &set)) processors[count++] = processor;
    return count;
}

#pragma GCC visibility pop
#endif
