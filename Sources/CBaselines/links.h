// Sending and receiving one message by each mechanism: fill or check the payload, and the calls in between.
#ifndef CB_LINKS_H
#define CB_LINKS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "CBaselines.h"
#include <errno.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// One direction of a ring in shared memory: one producer, one consumer. Each field that one side writes and the other
// reads has a cache line of its own.
struct cb_ring {
    _Alignas(64) uint32_t tail;  // messages published, by the producer
    _Alignas(64) uint32_t consumer_waits;
    _Alignas(64) uint32_t head;  // messages taken, by the consumer
    _Alignas(64) uint32_t producer_waits;
    _Alignas(64) unsigned char free_slots[64];  // a semaphore
    _Alignas(64) unsigned char used_slots[64];  // a semaphore
    _Alignas(64) unsigned char slots[];
};

// Swift's RingLayout says the same.
_Static_assert(offsetof(struct cb_ring, consumer_waits) == 64 && offsetof(struct cb_ring, head) == 128 &&
                   offsetof(struct cb_ring, producer_waits) == 192 && offsetof(struct cb_ring, free_slots) == 256 &&
                   offsetof(struct cb_ring, used_slots) == 320 && offsetof(struct cb_ring, slots) == 384,
               "the layout of a ring");

#define CB_INLINE static inline __attribute__((always_inline))

// Byte streams: a call may transfer less than was asked for.

CB_INLINE int cb_send_stream(struct cb_link *link, uint64_t index) {
    cb_fill(link->buffer, link->size, index);
    for (size_t done = 0; done < link->size;) {
        ssize_t count = write(link->send_descriptor, link->buffer + done, link->size - done);
        if (count >= 0) done += (size_t)count;
        else if (errno != EINTR) return errno;
    }
    return 0;
}

CB_INLINE int cb_receive_stream(struct cb_link *link, uint64_t *index) {
    for (size_t done = 0; done < link->size;) {
        ssize_t count = read(link->receive_descriptor, link->buffer + done, link->size - done);
        if (count > 0) done += (size_t)count;
        else if (count == 0) return EPIPE;
        else if (errno != EINTR) return errno;
    }
    *index = cb_check(link->buffer, link->size);
    return 0;
}

CB_INLINE int cb_send_socket(struct cb_link *link, uint64_t index) {
    cb_fill(link->buffer, link->size, index);
    for (size_t done = 0; done < link->size;) {
        ssize_t count = send(link->send_descriptor, link->buffer + done, link->size - done, MSG_NOSIGNAL);
        if (count >= 0) done += (size_t)count;
        else if (errno != EINTR) return errno;
    }
    return 0;
}

CB_INLINE int cb_receive_socket(struct cb_link *link, uint64_t *index) {
    for (size_t done = 0; done < link->size;) {
        ssize_t count = recv(link->receive_descriptor, link->buffer + done, link->size - done, 0);
        if (count > 0) done += (size_t)count;
        else if (count == 0) return EPIPE;
        else if (errno != EINTR) return errno;
    }
    *index = cb_check(link->buffer, link->size);
    return 0;
}

// Whole messages. A message of another length is the mark that a lossy stream has ended.

CB_INLINE int cb_send_packet(struct cb_link *link, uint64_t index) {
    cb_fill(link->buffer, link->size, index);
    while (send(link->send_descriptor, link->buffer, link->size, MSG_NOSIGNAL) < 0)
        if (errno != EINTR) return errno;
    return 0;
}

CB_INLINE int cb_receive_packet(struct cb_link *link, uint64_t *index) {
    ssize_t count;
    while ((count = recv(link->receive_descriptor, link->buffer, link->size, MSG_TRUNC)) < 0)
        if (errno != EINTR) return errno;
    if ((size_t)count != link->size) return ENODATA;
    *index = cb_check(link->buffer, link->size);
    return 0;
}

CB_INLINE int cb_send_queue(struct cb_link *link, uint64_t index) {
    cb_fill(link->buffer, link->size, index);
    while (mq_send(link->send_descriptor, (const char *)link->buffer, link->size, 0) < 0)
        if (errno != EINTR) return errno;
    return 0;
}

CB_INLINE int cb_receive_queue(struct cb_link *link, uint64_t *index) {
    while (mq_receive(link->receive_descriptor, (char *)link->buffer, link->size, 0) < 0)
        if (errno != EINTR) return errno;
    *index = cb_check(link->buffer, link->size);
    return 0;
}

// Notices: a signal carries one word, an eventfd counts.

CB_INLINE int cb_send_signal(struct cb_link *link, uint64_t index) {
    siginfo_t information;
    memset(&information, 0, sizeof information);
    information.si_signo = link->signal_number;
    information.si_code = SI_QUEUE;
    information.si_pid = getpid();
    information.si_uid = getuid();
    information.si_value.sival_ptr = (void *)(uintptr_t)index;
    while (syscall(SYS_pidfd_send_signal, link->send_descriptor, link->signal_number, &information, 0) < 0) {
        if (errno != EAGAIN) return errno;
        sched_yield();  // the receiver's queue of signals is full
    }
    return 0;
}

CB_INLINE int cb_receive_signal(struct cb_link *link, uint64_t *index) {
    struct signalfd_siginfo information;
    while (read(link->receive_descriptor, &information, sizeof information) < 0)
        if (errno != EINTR) return errno;
    *index = information.ssi_ptr;
    return 0;
}

CB_INLINE int cb_send_eventfd(struct cb_link *link, uint64_t index) {
    (void)index;
    uint64_t one = 1;
    while (write(link->send_descriptor, &one, sizeof one) < 0)
        if (errno != EINTR) return errno;
    return 0;
}

CB_INLINE int cb_receive_eventfd(struct cb_link *link, uint64_t *index) {
    uint64_t value;
    while (read(link->receive_descriptor, &value, sizeof value) < 0)
        if (errno != EINTR) return errno;
    *index = link->received++;
    return 0;
}

// Shared memory: the payload is filled and checked in place, in the next slot of a ring.

CB_INLINE unsigned char *cb_slot(struct cb_link *link, struct cb_ring *ring, uint64_t number) {
    return ring->slots + (number & (link->slot_count - 1)) * link->size;
}

CB_INLINE int cb_sem_wait(void *semaphore) {
    while (sem_wait((sem_t *)semaphore) < 0)
        if (errno != EINTR) return errno;
    return 0;
}

CB_INLINE int cb_send_semaphore(struct cb_link *link, uint64_t index) {
    int error = cb_sem_wait(link->send_free);
    if (error) return error;
    cb_fill(cb_slot(link, link->send_ring, link->sent++), link->size, index);
    return sem_post((sem_t *)link->send_used) < 0 ? errno : 0;
}

CB_INLINE int cb_receive_semaphore(struct cb_link *link, uint64_t *index) {
    int error = cb_sem_wait(link->receive_used);
    if (error) return error;
    *index = cb_check(cb_slot(link, link->receive_ring, link->received++), link->size);
    return sem_post((sem_t *)link->receive_free) < 0 ? errno : 0;
}

#define CB_ATOMIC(field) ((_Atomic uint32_t *)&(field))

// Sleeps until `*word` is no longer `seen`, with `*waits` up so that the other side knows to wake. Only the sleeper
// writes that flag: a waker that took it down late would hide the next sleep.
CB_INLINE void cb_futex_sleep(uint32_t *word, uint32_t seen, uint32_t *waits) {
    atomic_store_explicit(CB_ATOMIC(*waits), 1, memory_order_seq_cst);
    if (atomic_load_explicit(CB_ATOMIC(*word), memory_order_seq_cst) == seen)
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, 0, 0, FUTEX_BITSET_MATCH_ANY);
    atomic_store_explicit(CB_ATOMIC(*waits), 0, memory_order_relaxed);
}

CB_INLINE void cb_publish(uint32_t *word, uint32_t value, uint32_t *waits, int wakes) {
    if (!wakes) {
        atomic_store_explicit(CB_ATOMIC(*word), value, memory_order_release);
        return;
    }
    atomic_store_explicit(CB_ATOMIC(*word), value, memory_order_seq_cst);
    if (atomic_load_explicit(CB_ATOMIC(*waits), memory_order_seq_cst))
        syscall(SYS_futex, word, FUTEX_WAKE, 1, 0, 0, 0);
}

// Waits until the other side's counter has moved on from `seen`; returns it.
CB_INLINE uint32_t cb_await(uint32_t *word, uint32_t seen, uint32_t *waits, int sleeps) {
    uint32_t spins = 0, now;
    while ((now = atomic_load_explicit(CB_ATOMIC(*word), memory_order_acquire)) == seen) {
        if (sleeps) cb_futex_sleep(word, seen, waits);
        else cb_relax(&spins);
    }
    return now;
}

// The other side's counter is looked at only when, as of the last look, there is nothing more to do: each look may cost
// the line that it is in.
CB_INLINE int cb_send_ring(struct cb_link *link, uint64_t index, int sleeps) {
    struct cb_ring *ring = link->send_ring;
    uint32_t number = (uint32_t)link->sent++;
    if (number - link->seen_head == link->slot_count)
        link->seen_head = cb_await(&ring->head, link->seen_head, &ring->producer_waits, sleeps);
    cb_fill(cb_slot(link, ring, number), link->size, index);
    cb_publish(&ring->tail, number + 1, &ring->consumer_waits, sleeps);
    return 0;
}

CB_INLINE int cb_receive_ring(struct cb_link *link, uint64_t *index, int sleeps) {
    struct cb_ring *ring = link->receive_ring;
    uint32_t number = (uint32_t)link->received++;
    if (number == link->seen_tail)
        link->seen_tail = cb_await(&ring->tail, number, &ring->consumer_waits, sleeps);
    *index = cb_check(cb_slot(link, ring, number), link->size);
    // A producer that waits for room is woken for half of it: else the two would wake each other for each message.
    int wakes = sleeps && (number + 1) % (link->slot_count / 2) == 0;
    cb_publish(&ring->head, number + 1, &ring->producer_waits, wakes);
    return 0;
}

CB_INLINE int cb_send_futex(struct cb_link *link, uint64_t index) { return cb_send_ring(link, index, 1); }
CB_INLINE int cb_receive_futex(struct cb_link *link, uint64_t *index) { return cb_receive_ring(link, index, 1); }
CB_INLINE int cb_send_spin(struct cb_link *link, uint64_t index) { return cb_send_ring(link, index, 0); }
CB_INLINE int cb_receive_spin(struct cb_link *link, uint64_t *index) { return cb_receive_ring(link, index, 0); }

// A log of frames, as Documentation/log-format.md describes it: what a writer and a reader do for each message, without
// joining and recovery.

enum {
    CB_LOG_TAIL = 0, CB_LOG_CURSOR = 128, CB_LOG_SLEEPERS = 256, CB_LOG_INTENT = 384, CB_LOG_FRONTIER = 512,
    CB_LOG_BLOCKS = 1024,
};

CB_INLINE void cb_prefetch_to_write(const void *address) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
#else
    __builtin_prefetch(address, 1, 3);
#endif
}

#define CB_LOG_WORD(log, offset) ((_Atomic uint64_t *)((log)->words + (offset)))
#define CB_LOG_FRAME(log) ((log)->ring + ((log)->position & ((log)->capacity - 1)))

CB_INLINE void cb_log_room(struct cb_log *log, uint64_t end) {
    uint32_t spins = 0;
    while (end > log->limit) {
        uint64_t room = atomic_load(CB_LOG_WORD(log, CB_LOG_CURSOR)) + log->capacity;
        uint64_t wanted = end + log->capacity / 16;
        if (wanted > room) wanted = room;
        if (end <= room) {
            uint64_t frontier = atomic_load(CB_LOG_WORD(log, CB_LOG_FRONTIER));
            while (frontier < wanted &&
                   !atomic_compare_exchange_weak(CB_LOG_WORD(log, CB_LOG_FRONTIER), &frontier, wanted)) {}
            log->limit = wanted;
        } else {
            cb_relax(&spins);
        }
    }
}

CB_INLINE int cb_send_any_log(struct cb_link *link, uint64_t index, int is_shared) {
    struct cb_log *log = &link->send_log;
    uint64_t size = (link->size + 95) & ~(uint64_t)63;
    if (size > log->capacity / 2) return EMSGSIZE;
    if (is_shared) {
        uint64_t start = atomic_load_explicit(CB_LOG_WORD(log, CB_LOG_TAIL), memory_order_acquire);
        for (;;) {
            cb_log_room(log, start + size);
            atomic_store_explicit(CB_LOG_WORD(log, CB_LOG_INTENT + 8), size, memory_order_relaxed);
            atomic_store_explicit(CB_LOG_WORD(log, CB_LOG_INTENT), start, memory_order_release);
            if (atomic_compare_exchange_strong_explicit(CB_LOG_WORD(log, CB_LOG_TAIL), &start, start + size,
                                                        memory_order_acq_rel, memory_order_acquire))
                break;
        }
        log->position = start;
    } else {
        cb_log_room(log, log->position + size);
    }
    unsigned char *frame = CB_LOG_FRAME(log);
    cb_prefetch_to_write(frame);
    cb_prefetch_to_write(frame + 64);
    cb_prefetch_to_write(frame + (is_shared ? 192 : 1024));
    cb_fill(frame + 32, link->size, index);
    uint64_t *header = (uint64_t *)frame;
    header[1] = link->size | (uint64_t)1 << 32;
    header[2] = log->sequence++;
    header[3] = (size / 64) << 32;
    atomic_store_explicit((_Atomic uint64_t *)frame, log->position ^ log->key, memory_order_release);
    if (is_shared) {
        atomic_store_explicit(CB_LOG_WORD(log, CB_LOG_INTENT + 16), log->sequence, memory_order_release);
        atomic_store_explicit(CB_LOG_WORD(log, CB_LOG_INTENT), UINT64_MAX, memory_order_release);
    }
    uint64_t end = log->position + size, block = log->capacity / 64;
    if (log->position / block != end / block) {
        atomic_store_explicit(CB_LOG_WORD(log, CB_LOG_BLOCKS + end / block % 64 * 8), end, memory_order_release);
        if (!is_shared) atomic_store_explicit(CB_LOG_WORD(log, CB_LOG_TAIL), end, memory_order_release);
    }
    log->position = end;
    if (atomic_load_explicit(CB_LOG_WORD(log, CB_LOG_SLEEPERS), memory_order_relaxed)) return EINVAL;  // nobody does
    return 0;
}

CB_INLINE int cb_receive_any_log(struct cb_link *link, uint64_t *index) {
    struct cb_log *log = &link->receive_log;
    unsigned char *frame = CB_LOG_FRAME(log);
    uint32_t spins = 0;
    uint64_t stamp = log->position ^ log->key;
    if (atomic_load_explicit((_Atomic uint64_t *)frame, memory_order_acquire) != stamp) {
        atomic_store_explicit(CB_LOG_WORD(log, CB_LOG_CURSOR), log->told = log->position, memory_order_release);
        // Having caught up in the middle of a stream again and again: lets the writer go ahead.
        uint64_t burst = log->position - log->caught_up;
        unsigned char *first = log->ring + (log->caught_up & (log->capacity - 1));
        log->caught_up = log->position;
        if ((((uint64_t *)first)[3] >> 32) * 64 >= burst) {
            log->streamed -= log->streamed < 256 ? log->streamed : 256;
        } else if ((log->streamed += burst) > 4096) {
            log->streamed = 0;
            uint64_t now = cb_now();
            int is_fast = log->position - log->stayed_at > now - log->stayed_when &&
                          burst < log->capacity / 8 && burst < 256 << 10;
            log->stay = !is_fast ? 1000 : log->stay < 8000 ? 2 * log->stay : 8000;
            log->stayed_at = log->position;
            log->stayed_when = now;
            while (cb_now() - now < log->stay) cb_relax(&spins);
        }
        // For a microsecond, some 10 ns apart; the end of a small frame comes together with its beginning then.
        uint64_t seen, product = stamp;
        uint32_t looks = 128;
        do {
            __builtin_prefetch(frame + 64, 0, 3);
            for (int i = 0; i < 10; i++) {
                product *= product;
                __asm__ volatile("" : "+r"(product));
            }
            seen = atomic_load_explicit((_Atomic uint64_t *)frame, memory_order_acquire);
        } while ((seen != stamp) & (looks-- > 1));
        while (atomic_load_explicit((_Atomic uint64_t *)frame, memory_order_acquire) != stamp) {
            __builtin_prefetch(frame + 64, 0, 3);
            cb_relax(&spins);
        }
    }
    // Loaded once, and checked, since the other side may write rubbish.
    uint64_t first = ((uint64_t *)frame)[1], size = (((uint64_t *)frame)[3] >> 32) * 64;
    uint32_t length = (uint32_t)first;
    if (length + 32ull > size || size > log->capacity / 2 || first >> 32 != 1) return CB_CORRUPTED;
    *index = cb_check(frame + 32, length);
    log->position += size;
    if (log->position - log->told >= log->capacity / 8)
        atomic_store_explicit(CB_LOG_WORD(log, CB_LOG_CURSOR), log->told = log->position, memory_order_release);
    return 0;
}

CB_INLINE int cb_send_log(struct cb_link *link, uint64_t index) { return cb_send_any_log(link, index, 0); }
CB_INLINE int cb_receive_log(struct cb_link *link, uint64_t *index) { return cb_receive_any_log(link, index); }
CB_INLINE int cb_send_shared_log(struct cb_link *link, uint64_t index) { return cb_send_any_log(link, index, 1); }
CB_INLINE int cb_receive_shared_log(struct cb_link *link, uint64_t *index) { return cb_receive_any_log(link, index); }

#endif
