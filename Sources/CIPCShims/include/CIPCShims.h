// What Swift cannot import from glibc: variadic calls, macros, structures behind _GNU_SOURCE, raw system calls.
// Each function is the C call and nothing else; it returns -1 and sets errno as the C call does. Those that make a descriptor
// make one above 2, because 0 to 2 are taken for standard input, output and errors, also by programs that started without them.
//
// They are not inline: with _GNU_SOURCE in this header, its structures would differ from those of Swift's Glibc module.
#ifndef CIPC_SHIMS_H
#define CIPC_SHIMS_H

#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#pragma GCC visibility push(hidden)

// Constants behind _GNU_SOURCE, or newer than the C library's headers; shims.c asserts those that are in the headers.

static const int IPC_RWF_NOWAIT = 0x8;
static const int IPC_RWF_NOSIGNAL = 0x100;  // Linux 6.18
static const int IPC_SO_PEERPIDFD = 77;     // Linux 6.5
static const int IPC_F_ADD_SEALS = 1033;
static const int IPC_F_GET_SEALS = 1034;
static const int IPC_F_SETPIPE_SZ = 1031;
static const int IPC_F_GETPIPE_SZ = 1032;
static const int IPC_SEAL_SEAL = 0x1;
static const int IPC_SEAL_SHRINK = 0x2;
static const int IPC_SEAL_GROW = 0x4;
static const int IPC_SEAL_WRITE = 0x8;
static const int IPC_SEAL_FUTURE_WRITE = 0x10;
static const int IPC_MSG_CMSG_CLOEXEC = 0x40000000;
static const int IPC_MSG_NOSIGNAL = 0x4000;
static const int IPC_MSG_DONTWAIT = 0x40;
static const int IPC_MSG_TRUNC = 0x20;
static const int IPC_MSG_CTRUNC = 0x8;
static const int IPC_SOCK_STREAM = 1;
static const int IPC_SOCK_DGRAM = 2;
static const int IPC_SOCK_SEQPACKET = 5;
static const int IPC_SOCK_CLOEXEC = 02000000;
static const int IPC_O_PATH = 010000000;
static const int IPC_PIPE_BUF = 4096;
static const int IPC_RLIMIT_NOFILE = 7;
static const int IPC_RLIMIT_MSGQUEUE = 12;
static const int IPC_RLIMIT_SIGPENDING = 11;
static const int IPC_MFD_CLOEXEC = 0x1;
static const int IPC_MFD_ALLOW_SEALING = 0x2;

// System calls that old kernels lack and sandboxes refuse.
enum ipc_newer_call {
    IPC_CALL_FUTEX_WAITV,
    IPC_CALL_PIDFD_OPEN,
    IPC_CALL_MEMBARRIER,
    IPC_CALL_PWRITEV2,
    IPC_CALL_MEMFD_CREATE,
    IPC_CALL_CLOSE_RANGE,
};
// Makes one in a way that changes nothing. 0 if it is there; ENOSYS if it is not; what else it was refused with.
int ipc_try_call(enum ipc_newer_call call);

struct ipc_credentials {
    pid_t process;
    uid_t user;
    gid_t group;
};

// Descriptors

// The descriptor, moved above 2 if it is not: close-on-exec, and the one that was given is closed. -1 if it could not be moved,
// and it is closed too; -1 for -1.
int ipc_above_standard(int fd);
int ipc_fcntl_int(int fd, int command, int argument);
int ipc_fionread(int fd, int *available);
// As `ipc_shm_open` and `ipc_mq_open`: what it made by O_CREAT and O_EXCL is removed if the descriptor cannot be moved above 2.
int ipc_open_path(const char *path, int flags, mode_t mode);
int ipc_openat(int folder, const char *path, int flags, mode_t mode);
int ipc_pipe2(int ends[2], int flags);
int ipc_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout);
ssize_t ipc_preadv2(int fd, const struct iovec *vector, int count, int flags);
ssize_t ipc_pwritev2(int fd, const struct iovec *vector, int count, int flags);
ssize_t ipc_tee(int from, int to, size_t length);
int ipc_inotify_init(void);
int ipc_eventfd(unsigned initial, int flags);
// A timer on the monotonic clock that can be read; it ticks every so many nanoseconds, or, with 0, does not.
int ipc_timer_create(void);
int ipc_timer_set(int timer, uint64_t nanoseconds);
// CLOCK_MONOTONIC as of the last tick of the kernel, some milliseconds ago at most: a few nanoseconds, and no system call.
uint64_t ipc_coarse_now(void);

// A pointer that each thread has of its own; null at first.
void *ipc_thread_value(void);
void ipc_set_thread_value(void *value);

// epoll, one event at a time for each descriptor. `ipc_epoll_arm` adds it or arms it anew; 0 or an errno.
int ipc_epoll_create(void);
int ipc_epoll_arm(int epoll, int fd, short events, int is_once);
int ipc_epoll_forget(int epoll, int fd);
// Waits until the absolute CLOCK_MONOTONIC time in nanoseconds; UINT64_MAX for no end. Events as those of poll.
int ipc_epoll_wait(int epoll, int *descriptors, short *events, int limit, uint64_t until);
int ipc_flock(int fd, int operation);
// Whether a file lies in memory (tmpfs or ramfs), wherever that is mounted. 0 also of what cannot be asked.
int ipc_is_in_memory(int fd);
// Null in a program that runs with more rights than its caller has.
const char *ipc_secure_getenv(const char *name);
// Of two names in a folder, unless the second is taken.
int ipc_rename_new(int folder, const char *from, const char *to);

// Locks of one byte that belong to an open file description: they end with its last descriptor, however that ends.

int ipc_byte_lock(int fd, off_t offset);
int ipc_byte_unlock(int fd, off_t offset);
// Whether another open file description has a byte from `offset` on, of `count`.
int ipc_bytes_are_locked(int fd, off_t offset, off_t count);

// What a child of fork gets no part in (see fork.c): in it, such descriptors are those of /dev/null, and such memory is private
// and zero.

int ipc_openat_withheld(int folder, const char *path, int flags, mode_t mode);
int ipc_close_withheld(int fd);
// No other thread forks in between: a mapping that the child had and that is not entered would keep its file open.
void ipc_hold_forks(void);
void ipc_release_forks(void);
int ipc_withhold_memory(void *address, size_t length);
// The same, but for one word of it, which is all ones in the child.
int ipc_withhold_marked(void *address, size_t length, uint64_t *mark);
void ipc_release_memory(void *address);

// System V shared memory, each call as those of the C library (shmget, shmctl, shmat, shmdt). Null instead of one that has not at least
// `size` bytes. `changed`: when its owner or permissions were last set, in seconds, which only those can who own it.
int ipc_segment_make(size_t size);
int ipc_segment_share(int segment, uid_t owner, gid_t group, mode_t mode, int64_t *changed);
int ipc_segment_remove(int segment);
void *ipc_segment_attach(int segment, size_t size, int64_t *changed);
int ipc_segment_detach(void *address);

// How many forks lie between the program that was executed and this process. What was made before the last has no part here.
extern uint64_t ipc_fork_generation;
// From the first call on; opening and mapping above counts them as well.
void ipc_count_forks(void);
static inline uint64_t ipc_forks(void) { return __atomic_load_n(&ipc_fork_generation, __ATOMIC_RELAXED); }

// CRC-32C (Castagnoli) of bytes, going on from an earlier one; by the processor's instruction where it has one.
uint32_t ipc_crc32c(uint32_t crc, const void *bytes, size_t count);
// The same without the instruction, for a test that holds one against the other.
uint32_t ipc_crc32c_by_table(uint32_t crc, const void *bytes, size_t count);

// Memory

int ipc_memfd_create(const char *name, unsigned flags);
int ipc_shm_open(const char *name, int flags, mode_t mode);
void *ipc_map_failed(void);
void *ipc_map_twice(int fd, size_t length, int protection, int is_prefaulted);

// Makes a fence in every process that registered: 0, or -1 where the kernel cannot.

int ipc_barrier_register(void);
int ipc_barrier_everywhere(void);

// Brings a cache line here early, without waiting for it.

static inline void ipc_prefetch(const void *address) { __builtin_prefetch(address, 0, 3); }

// The same to write to it: no other core has it then. Not by the builtin, which is that only for newer processors; older ones
// pass over the instruction.

static inline void ipc_prefetch_to_write(const void *address) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
#else
    __builtin_prefetch(address, 1, 3);
#endif
}

// Copies some hundred bytes at most without a call, for whoever has no registers to save then. What hides the offset from the
// compiler keeps it from making a call of the loop.

__attribute__((always_inline)) static inline void ipc_copy(void *to, const void *from, size_t count) {
    char *target = (char *)to;
    const char *source = (const char *)from;
    if (count >= 16) {
        for (size_t offset = 0; offset < count - 16; offset += 16) {
            __asm__("" : "+r"(offset));
            __builtin_memcpy(target + offset, source + offset, 16);
        }
        __builtin_memcpy(target + count - 16, source + count - 16, 16);
    } else if (count >= 8) {
        uint64_t first, last;
        __builtin_memcpy(&first, source, 8);
        __builtin_memcpy(&last, source + count - 8, 8);
        __builtin_memcpy(target, &first, 8);
        __builtin_memcpy(target + count - 8, &last, 8);
    } else if (count >= 4) {
        uint32_t first, last;
        __builtin_memcpy(&first, source, 4);
        __builtin_memcpy(&last, source + count - 4, 4);
        __builtin_memcpy(target, &first, 4);
        __builtin_memcpy(target + count - 4, &last, 4);
    } else if (count > 0) {
        // The middle one, where there are three.
        target[0] = source[0];
        target[count / 2] = source[count / 2];
        target[count - 1] = source[count - 1];
    }
}

// Looks so often for a value of a word, some ten nanoseconds apart, and brings the line after it too; whether it came. The time
// between the looks is a chain of multiplications: a pause takes twice as long on some processors, and looks without anything
// between them get in the way of the core that writes there.

static inline int ipc_look_for(const void *word, uint64_t value, uint32_t looks) {
    uint64_t seen, product = value;
    do {
        __builtin_prefetch((const char *)word + 64, 0, 3);
        for (int i = 0; i < 10; i++) {
            product *= product;
            __asm__ volatile("" : "+r"(product));
        }
        seen = __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE);
    } while ((seen != value) & (looks-- > 1));
    return seen == value;
}

// The processor's hint that this loop waits for another core.

static inline void ipc_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Futexes: absolute CLOCK_MONOTONIC time-outs, shared between processes.

int ipc_futex_wait(const uint32_t *word, uint32_t expected, const struct timespec *until);
int ipc_futex_wake(const uint32_t *word, int count);
// Sleeps while all words have the values expected; at most 128 of them. Which one it was woken for, or -1.
int ipc_futex_wait_any(const uint32_t *const *words, const uint32_t *expected, int count);

// Semaphores and mutexes on the monotonic clock (glibc 2.30)

int ipc_sem_clockwait(sem_t *semaphore, const struct timespec *until);
int ipc_mutex_clocklock(pthread_mutex_t *mutex, const struct timespec *until);
sem_t *ipc_sem_failed(void);
sem_t *ipc_sem_open(const char *name, int flags, mode_t mode, unsigned value);

// Message queues: on Linux a queue descriptor is a file descriptor.

int ipc_mq_open(const char *name, int flags, mode_t mode, struct mq_attr *attributes);
int ipc_mq_unlink(const char *name);
int ipc_mq_getattr(int queue, struct mq_attr *attributes);
int ipc_mq_notify(int queue, const struct sigevent *event);
int ipc_mq_send(int queue, const void *bytes, size_t count, unsigned priority);
int ipc_mq_timedsend(int queue, const void *bytes, size_t count, unsigned priority,
                                   const struct timespec *until);
ssize_t ipc_mq_receive(int queue, void *bytes, size_t capacity, unsigned *priority);
ssize_t ipc_mq_timedreceive(int queue, void *bytes, size_t capacity, unsigned *priority,
                                          const struct timespec *until);

// Sockets

int ipc_peer_credentials(int fd, struct ipc_credentials *credentials);
int ipc_socket(int family, int type);
int ipc_accept4(int fd, int flags);
int ipc_socketpair(int type, int ends[2]);
size_t ipc_cmsg_space(size_t length);
size_t ipc_cmsg_len(size_t length);
struct cmsghdr *ipc_cmsg_first(struct msghdr *message);
struct cmsghdr *ipc_cmsg_next(struct msghdr *message, struct cmsghdr *header);
unsigned char *ipc_cmsg_data(struct cmsghdr *header);

// Signals and processes

int ipc_signalfd(const sigset_t *mask, int flags);
int ipc_sfd_flags(void);
int ipc_pidfd_open(pid_t pid);
int ipc_pidfd_send_signal(int pidfd, int signal, const siginfo_t *information);
int ipc_tgkill(pid_t process, pid_t thread, int signal);
pid_t ipc_gettid(void);
int ipc_sigqueue(pid_t pid, int signal, intptr_t value);
int ipc_pidfd_sigqueue(int pidfd, int signal, intptr_t value);
int ipc_waitid_pidfd(int pidfd, siginfo_t *information, int options);
int ipc_siginfo_status(const siginfo_t *information);
pid_t ipc_siginfo_pid(const siginfo_t *information);
int ipc_sigrtmin(void);
int ipc_sigrtmax(void);
int ipc_signal_is_ignored(int signal);
void ipc_ignore_signal(int signal);
void ipc_sigevent_signal(struct sigevent *event, int signal, intptr_t value);
char **ipc_environment(void);
int ipc_signal_loses_statuses(void);

// Forwarding of signals: those that some thread does not block are written to `pipe`, each as a `signalfd_siginfo`. Every sink
// gets each signal. Null, with errno, and the signal that was refused; nothing has changed then.
struct ipc_signal_sink;
struct ipc_signal_sink *ipc_signal_sink_add(int pipe, const int *signals, int count, int *refused);
void ipc_signal_sink_remove(struct ipc_signal_sink *sink);
// Takes the next signal, from a signalfd or the pipe's other end, neither of which blocks: 1, 0 if there is none, or -1. Signal 0
// says that `ssi_ptr` real-time signals were lost. EOWNERDEAD in a child of fork.
int ipc_signal_take(struct ipc_signal_sink *sink, int signals, int pipe, struct signalfd_siginfo *record);

// A child, by clone with CLONE_VFORK and CLONE_PIDFD. It has an empty mask, default actions, and of the descriptors 0, 1, 2, and
// `targets`, which are in ascending order, and below all `sources`. A standard one that is closed here is /dev/null there.
struct ipc_spawn {
    const char *program;  // looked up in PATH if it has no slash
    char *const *arguments;
    char *const *environment;
    const char *folder;  // null for this one
    const int *sources;
    const int *targets;
    int count;
    int group;     // -1 for this process's, 0 for a new one, or one to join
    int guardian;  // -1, or where the child writes that it is there
};
// The process, or -1. `pidfd` is -1 if the kernel gives none. `is_folder` tells whether the folder was what was wrong.
pid_t ipc_spawn(const struct ipc_spawn *request, int *pidfd, int *is_folder);

// A process that kills the process groups that it was told of, when the last copy of `descriptor` has been closed.
struct ipc_guarded {
    int process;
    int is_started;
};
pid_t ipc_start_guardian(int *descriptor);
int ipc_die_with_parent(void);
int ipc_adopt_orphans(void);
int ipc_getrlimit(int resource, struct rlimit *limit);
int ipc_set_affinity(int processor);
int ipc_allowed_processors(int *processors, int capacity);

// Whether this thread runs the handler of a call: its own calls may use the room that is kept for them.
extern _Thread_local int ipc_handlers;
static inline void ipc_begin_handling(void) { ipc_handlers++; }
static inline void ipc_end_handling(void) { ipc_handlers--; }
static inline int ipc_is_handling(void) { return ipc_handlers; }

#pragma GCC visibility pop
#endif
