// A handler that forwards signals to pipes, for programs in which some thread does not block them.
//
// All that runs in the handler is async-signal-safe: atomics, getpid, sigaction, tgkill and write.
#define _GNU_SOURCE
#include "CIPCShims.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LAST_SIGNAL 64
#define BIT(signal) (1ull << ((signal) - 1))

// A taker of signals. It is never freed, because a handler may be looking at it, but used again.
struct ipc_signal_sink {
    struct ipc_signal_sink *next;  // written once, before the sink is in the list
    _Atomic uint64_t wanted;       // the signals; 0 if nobody uses it
    _Atomic unsigned writers;      // handlers that may use the pipe now
    int pipe;                      // the writing end, which does not block
    _Atomic uint64_t waiting;      // standard signals that came and were not taken
    _Atomic uint64_t unwritten;    // those of them that found the pipe full
    _Atomic unsigned lost;         // real-time signals that found the pipe full
    atomic_flag refilling;
    unsigned generation;
    int is_used;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct ipc_signal_sink *_Atomic sinks;
static _Atomic unsigned takers[LAST_SIGNAL + 1];
static struct sigaction before[LAST_SIGNAL + 1];
static _Atomic pid_t owner;
static _Atomic unsigned generation;  // one more in each child of a fork

static int is_standard(int signal) { return signal < 32; }

static int write_record(struct ipc_signal_sink *sink, const struct signalfd_siginfo *record) {
    ssize_t count;
    do count = write(sink->pipe, record, sizeof *record);
    while (count < 0 && errno == EINTR);
    return count == sizeof *record;
}

// Writes what found the pipe full. Whoever adds something unwritten calls it afterwards, and so does whoever has read: one of the
// two finds room and the entry. A caller that finds another one in it leaves the work to that one, which looks again at the end.
static void refill(struct ipc_signal_sink *sink) {
    while (atomic_load(&sink->unwritten) | atomic_load(&sink->lost)) {
        if (atomic_flag_test_and_set(&sink->refilling)) return;
        int is_full = 0;
        uint64_t signals = atomic_load(&sink->unwritten);
        for (; signals && !is_full; signals &= signals - 1) {
            struct signalfd_siginfo record = {.ssi_signo = (uint32_t)__builtin_ctzll(signals) + 1};
            if (write_record(sink, &record)) atomic_fetch_and(&sink->unwritten, ~BIT(record.ssi_signo));
            else is_full = 1;
        }
        unsigned lost = atomic_load(&sink->lost);
        if (lost && !is_full) {
            struct signalfd_siginfo record = {.ssi_signo = 0, .ssi_ptr = lost};
            if (write_record(sink, &record)) atomic_fetch_sub(&sink->lost, lost);
            else is_full = 1;
        }
        atomic_flag_clear(&sink->refilling);
        if (is_full) return;
    }
}

static void put(struct ipc_signal_sink *sink, const struct signalfd_siginfo *record) {
    int signal = (int)record->ssi_signo;
    if (is_standard(signal) && atomic_fetch_or(&sink->waiting, BIT(signal)) & BIT(signal)) return;
    if (write_record(sink, record)) return;
    if (is_standard(signal)) atomic_fetch_or(&sink->unwritten, BIT(signal));
    else atomic_fetch_add(&sink->lost, 1);
    refill(sink);
}

// Gives a signal to all sinks that want it, but one; how many there were.
static int deliver(const struct signalfd_siginfo *record, const struct ipc_signal_sink *except) {
    uint64_t bit = BIT(record->ssi_signo);
    int count = 0;
    for (struct ipc_signal_sink *sink = atomic_load(&sinks); sink; sink = sink->next) {
        if (sink == except || !(atomic_load(&sink->wanted) & bit)) continue;
        // Announced before the second look: whoever takes the signals away waits for those who announced themselves.
        atomic_fetch_add(&sink->writers, 1);
        if (atomic_load(&sink->wanted) & bit) {
            put(sink, record);
            count++;
        }
        atomic_fetch_sub(&sink->writers, 1);
    }
    return count;
}

// The signal has the action that it had before, and comes again when the handler returns.
static void surrender(int signal, const struct sigaction *action) {
    sigaction(signal, action, 0);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
}

static void forward(int signal, siginfo_t *information, void *context) {
    (void)context;
    int error = errno, code = information->si_code;
    int is_fault = signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGTRAP;
    if (getpid() != atomic_load(&owner)) {
        // A child between fork or vfork and exec: the pipes are its parent's.
        surrender(signal, &before[signal]);
    } else if (is_fault && code > 0) {
        // This thread's own fault, which would come again for ever.
        struct sigaction standard = {.sa_handler = SIG_DFL};
        surrender(signal, &standard);
    } else {
        struct signalfd_siginfo record = {
            .ssi_signo = (uint32_t)signal, .ssi_errno = information->si_errno, .ssi_code = code};
        int has_value = code < 0 && code != SI_TKILL && code != SI_SIGIO;
        if (signal == SIGCHLD && code > 0) record.ssi_status = information->si_status;
        if ((signal == SIGCHLD && code > 0) || code == SI_USER || code == SI_TKILL || (has_value && code != SI_TIMER)) {
            record.ssi_pid = (uint32_t)information->si_pid;
            record.ssi_uid = information->si_uid;
        }
        if (has_value) {
            record.ssi_int = information->si_value.sival_int;
            record.ssi_ptr = (uintptr_t)information->si_value.sival_ptr;
        }
        // Nobody wants it any more: somebody kept this handler, and installed it again.
        if (deliver(&record, 0) == 0) surrender(signal, &before[signal]);
    }
    errno = error;
}

static int is_ours(int signal) {
    struct sigaction now;
    return sigaction(signal, 0, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == forward;
}

static void give_back(int signal) {
    if (atomic_fetch_sub(&takers[signal], 1) == 1 && is_ours(signal)) sigaction(signal, &before[signal], 0);
}

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }

// A child of fork has no part in its parent's sources: it has the actions from before, and may make sources of its own.
static void in_child(void) {
    for (int signal = 1; signal <= LAST_SIGNAL; signal++) {
        if (atomic_load(&takers[signal]) > 0 && is_ours(signal)) sigaction(signal, &before[signal], 0);
        atomic_store(&takers[signal], 0);
    }
    atomic_store(&sinks, (struct ipc_signal_sink *)0);
    atomic_fetch_add(&generation, 1);
    atomic_store(&owner, getpid());
    pthread_mutex_unlock(&lock);
}

static void prepare(void) {
    atomic_store(&owner, getpid());
    pthread_atfork(before_fork, after_fork, in_child);
}

static struct ipc_signal_sink *unused_sink(void) {
    struct ipc_signal_sink *sink = atomic_load(&sinks);
    while (sink && sink->is_used) sink = sink->next;
    if (sink) return sink;
    sink = calloc(1, sizeof *sink);
    if (!sink) return 0;
    sink->next = atomic_load(&sinks);
    atomic_store(&sinks, sink);
    return sink;
}

struct ipc_signal_sink *ipc_signal_sink_add(int pipe, const int *signals, int count, int *refused) {
    pthread_once(&once, prepare);
    pthread_mutex_lock(&lock);
    struct ipc_signal_sink *sink = unused_sink();
    if (sink) {
        sink->pipe = pipe;
        sink->generation = atomic_load(&generation);
        atomic_store(&sink->waiting, 0);
        atomic_store(&sink->unwritten, 0);
        atomic_store(&sink->lost, 0);
        atomic_flag_clear(&sink->refilling);
        sink->is_used = 1;
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = forward;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    uint64_t wanted = 0;
    int error = sink ? 0 : ENOMEM;
    for (int i = 0; i < count && !error; i++) {
        int signal = signals[i];
        *refused = signal;
        if (signal < 1 || signal > LAST_SIGNAL) error = EINVAL;
        else if (!(wanted & BIT(signal))) {
            // Wanted first: a signal that comes as soon as the handler is there has somewhere to go.
            atomic_store(&sink->wanted, wanted | BIT(signal));
            if (atomic_load(&takers[signal]) == 0 && sigaction(signal, &action, &before[signal]) != 0) error = errno;
            else {
                atomic_fetch_add(&takers[signal], 1);
                wanted |= BIT(signal);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    if (!error) return sink;
    if (sink) {
        atomic_store(&sink->wanted, wanted);
        ipc_signal_sink_remove(sink);
    }
    errno = error;
    return 0;
}

void ipc_signal_sink_remove(struct ipc_signal_sink *sink) {
    pthread_mutex_lock(&lock);
    if (sink->generation == atomic_load(&generation)) {
        uint64_t wanted = atomic_exchange(&sink->wanted, 0);
        for (; wanted; wanted &= wanted - 1) give_back(__builtin_ctzll(wanted) + 1);
        while (atomic_load(&sink->writers) > 0) sched_yield();
        sink->is_used = 0;
    }
    pthread_mutex_unlock(&lock);
}

int ipc_signal_take(struct ipc_signal_sink *sink, int signals, int pipe, struct signalfd_siginfo *record) {
    if (sink->generation != atomic_load_explicit(&generation, memory_order_relaxed)) {
        errno = EOWNERDEAD;
        return -1;
    }
    ssize_t count;
    do count = read(signals, record, sizeof *record);
    while (count < 0 && errno == EINTR);
    if (count == sizeof *record) {
        if (atomic_load(&takers[record->ssi_signo]) > 1) deliver(record, sink);
        return 1;
    }
    if (count < 0 && errno != EAGAIN) return -1;
    for (int is_last = 0;; is_last = 1) {
        do count = read(pipe, record, sizeof *record);
        while (count < 0 && errno == EINTR);
        if (count < 0 && errno != EAGAIN) return -1;
        if (count > 0 && count != sizeof *record) {
            errno = EIO;
            return -1;
        }
        // A signal that comes from here on is another one; one that came before is this one, whose taker looks later still.
        if (count > 0 && record->ssi_signo > 0 && is_standard((int)record->ssi_signo))
            atomic_fetch_and(&sink->waiting, ~BIT(record->ssi_signo));
        refill(sink);
        if (count > 0 || is_last) return count > 0;
    }
}
