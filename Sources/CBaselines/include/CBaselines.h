// The measurements in plain C: what each Swift wrapper is held to, and the limits of the machine.
//
// A link is one process's side of a mechanism. The Swift loops and these do the same work on the same kernel objects:
// a sender fills the payload with words that count up from the message's index, a receiver adds all of them up.
#ifndef C_BASELINES_H
#define C_BASELINES_H

#include <stddef.h>
#include <stdint.h>

enum cb_kind {
    CB_STREAM,       // pipe, fifo: write and read
    CB_SOCKET,       // Unix stream, TCP: send and recv
    CB_PACKET,       // Unix datagram, sequenced packet, UDP: send and recv, whole messages
    CB_QUEUE,        // mq_send and mq_receive
    CB_SIGNAL,       // pidfd_send_signal and a signalfd
    CB_EVENTFD,      // write and read
    CB_SEMAPHORE,    // shared memory and two semaphores per direction
    CB_FUTEX,        // shared memory and futexes
    CB_SPIN,         // shared memory, polled
    CB_LOG,          // a log as Swift's channels have it, by an exclusive writer
    CB_SHARED_LOG,   // the same by a writer that shares it
};

struct cb_ring;  // in links.h

// One direction of a log: its ring, mapped twice in a row, and a page of words.
struct cb_log {
    unsigned char *ring, *words;
    uint64_t capacity, key;  // a power of two; any number with its highest bit set
    uint64_t position;       // of the next frame
    uint64_t limit;          // the writer's: nothing is written above it without a look at the cursor
    uint64_t told, sequence;
    uint64_t caught_up;      // where the reader found nothing more the last time
    uint64_t streamed;       // about how many bytes it read by several messages at a time since
    uint64_t stay;           // for how long it looks at nothing in the middle of a stream, in nanoseconds
    uint64_t stayed_at, stayed_when;
};

struct cb_link {
    enum cb_kind kind;
    int send_descriptor;
    int receive_descriptor;
    int signal_number;
    size_t size;             // of a message in bytes
    unsigned char *buffer;   // for mechanisms that copy; as large as one message
    struct cb_ring *send_ring, *receive_ring;
    void *send_free, *send_used, *receive_free, *receive_used;  // sem_t of the rings
    struct cb_log send_log, receive_log;
    uint32_t slot_count;     // a power of two
    uint64_t sent, received;  // messages so far
    uint32_t seen_head, seen_tail;  // of send_ring and of receive_ring, as of the last look
};

// Each returns 0, an errno, or CB_CORRUPTED if a payload was not what was sent.
enum { CB_CORRUPTED = -1 };

// Round trips: `samples[i]` gets the nanoseconds of the i-th.
int cb_ping(struct cb_link *link, uint64_t count, uint64_t *samples);
int cb_echo(struct cb_link *link, uint64_t count);

// One way: the consumer reports the nanoseconds between its first and its last message, and how many came.
int cb_produce(struct cb_link *link, uint64_t count);
int cb_consume(struct cb_link *link, uint64_t count, int is_lossy, uint64_t *elapsed, uint64_t *received);

// At a fixed rate: message i is to be sent at `start + i * interval` on CLOCK_MONOTONIC; `samples[i]` gets its age on
// arrival, counted from that intended time.
int cb_produce_paced(struct cb_link *link, uint64_t count, uint64_t start, uint64_t interval);
int cb_consume_paced(struct cb_link *link, uint64_t count, int is_lossy, uint64_t start, uint64_t interval,
                     uint64_t *samples, uint64_t *received);

// The machine's limits.

// Round trips of a cache line between two processes that share `memory`, CB_LINE_BYTES of it, zeroed, on a boundary of 128. While one
// of them is in `cb_line_echo`, the other calls one of the others, once. Each returns 0, or ETIMEDOUT if the other side did not answer for
// 10 seconds: then the memory is of no further use.
enum { CB_LINE_BYTES = 16384, CB_LINE_LOOPS = 32 };
int cb_line_echo(void *memory);
// Tries all loops in turn, and then the best of those that stay on a line and of those that walk; `*fastest` gets the number of the one
// with the lowest median. Takes so many nanoseconds at most, but for the round trips that are under way.
int cb_line_choose(void *memory, uint64_t nanoseconds, unsigned *fastest);
// Round trips by that loop. One that stays on a line first looks for the line that is the nearest now.
int cb_line_ping(void *memory, unsigned loop, uint64_t count, uint64_t *samples);
// How many lines, how they are written, how they are polled, and whether each round trip takes another one: "one-line store tight stay".
const char *cb_line_name(unsigned loop);

double cb_copy_bandwidth(size_t size, uint64_t nanoseconds);

uint64_t cb_now(void);

// The wait until a paced message is due; sleeps if that is far, and polls the clock at the end.
void cb_wait_until(uint64_t time);

// The processor's hint that this loop waits for another core.
static inline void cb_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// One pause of a polling loop; gives the processor away now and then, for when the other side needs the same core.
static inline void cb_relax(uint32_t *spins) {
    cb_pause();
    extern int sched_yield(void);
    if ((++*spins & 1023) == 0) sched_yield();
}

// The payload: words that count up from `index`. Sizes are multiples of 8. By blocks of a cache line, so that it depends little on
// how a compiler unrolls the loops, or where it puts them.

typedef uint64_t cb_block __attribute__((vector_size(64), aligned(8), may_alias));

static inline void cb_fill(void *payload, size_t size, uint64_t index) {
    uint64_t *words = (uint64_t *)payload;
    cb_block block = (cb_block){0, 1, 2, 3, 4, 5, 6, 7} + index;
    size_t i = 0, count = size / 8;
    for (; i + 8 <= count; i += 8, block += 8) *(cb_block *)(words + i) = block;
    for (; i < count; i++) words[i] = index + i;
}

// The index of a payload, after reading all of it; UINT64_MAX if it is not as it was filled.
static inline uint64_t cb_check(const void *payload, size_t size) {
    const uint64_t *words = (const uint64_t *)payload;
    cb_block sums = {0};
    size_t i = 0, count = size / 8;
    for (; i + 8 <= count; i += 8) sums += *(const cb_block *)(words + i);
    uint64_t sum = 0, index = words[0];
    for (int lane = 0; lane < 8; lane++) sum += sums[lane];
    for (; i < count; i++) sum += words[i];
    return sum == index * count + count * (count - 1) / 2 ? index : UINT64_MAX;
}

#endif
