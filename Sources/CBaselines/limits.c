// What the machine itself allows: a cache line that goes to and fro, and copying of memory.
#define _GNU_SOURCE
#include "CBaselines.h"
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t cb_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void cb_wait_until(uint64_t time) {
    uint64_t now = cb_now();
    if (time > now + 200000) {
        uint64_t early = time - 100000;
        struct timespec until = {(time_t)(early / 1000000000u), (long)(early % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0) != 0) {}
    }
    uint32_t spins = 0;
    while (cb_now() < time) cb_relax(&spins);
}

// The fastest way to send a cache line to and fro differs from processor to processor, so that several loops are tried. How far a
// line is from a core depends on its address, so that several lines are tried, too.

enum { LINES = 32, LINE_STRIDE = 128, PASSES = 32, TRIAL_TRIPS = 128, FINAL_ROUNDS = 15, FINAL_TRIPS = 512, PROBE_TRIPS = 64 };

struct lines {
    // Written by the first side. What `turn` publishes: the next round trips, none if there are no more.
    _Alignas(LINE_STRIDE) _Atomic uint64_t turn;
    uint64_t loop, line, base, count;
    _Alignas(LINE_STRIDE) uint64_t served;  // the second side's: the last turn that it has seen
    _Alignas(LINE_STRIDE) unsigned char bytes[2][LINES * LINE_STRIDE];
};

_Static_assert(sizeof(struct lines) <= CB_LINE_BYTES, "the memory for the lines");

// A loop's number is made of these.
enum { TWO_LINES = 1, EXCHANGE = 2, WAIT = 4 | 8, WAIT_TIGHT = 0, WAIT_CHAIN = 4, WAIT_PAUSE = 8, WAIT_RARE_PAUSE = 12, WALK = 16 };

#define LINE_INLINE static inline __attribute__((always_inline))

// Looks at the clock rarely. ETIMEDOUT if the other side has not answered for long: it has died, or never began.
static int line_goes_on(uint64_t *deadline) {
    uint64_t now = cb_now();
    if (*deadline == 0) *deadline = now + 10000000000u;
    sched_yield();
    return now < *deadline ? 0 : ETIMEDOUT;
}

LINE_INLINE int line_await(_Atomic uint64_t *word, uint64_t value, unsigned wait) {
    uint64_t deadline = 0;
    for (uint32_t looks = 1; atomic_load_explicit(word, memory_order_acquire) != value; looks++) {
        if (wait == WAIT_CHAIN) {
            uint64_t product = looks;
            for (int i = 0; i < 10; i++) {
                product *= product;
                __asm__ volatile("" : "+r"(product));
            }
        }
        if (wait == WAIT_PAUSE || (wait == WAIT_RARE_PAUSE && looks % 16 == 0)) cb_pause();
        if (looks % 16384 == 0) {
            int error = line_goes_on(&deadline);
            if (error) return error;
        }
    }
    return 0;
}

LINE_INLINE void line_publish(_Atomic uint64_t *word, uint64_t value, int exchanges) {
    if (exchanges) (void)atomic_exchange_explicit(word, value, memory_order_acq_rel);
    else atomic_store_explicit(word, value, memory_order_release);
}

// One round trip more than `count`: the first is not counted, since the other side begins with it.
LINE_INLINE int line_run(struct lines *lines, int is_first, uint64_t line, uint64_t base, uint64_t count, uint64_t *samples,
                         unsigned loop) {
    for (uint64_t i = 0; i <= count; i++) {
        uint64_t place = (loop & WALK ? i % LINES : line) * LINE_STRIDE, value = 2 * (base + i);
        _Atomic uint64_t *there = (_Atomic uint64_t *)(lines->bytes[0] + place);
        _Atomic uint64_t *back = (_Atomic uint64_t *)(lines->bytes[loop & TWO_LINES ? 1 : 0] + place);
        if (is_first) {
            uint64_t start = cb_now();
            line_publish(there, value, loop & EXCHANGE);
            int error = line_await(back, value + 1, loop & WAIT);
            if (error) return error;
            *samples = cb_now() - start;
            samples += i > 0;
        } else {
            int error = line_await(there, value, loop & WAIT);
            if (error) return error;
            line_publish(back, value + 1, loop & EXCHANGE);
        }
    }
    return 0;
}

#define FOR_WAITS(X, N, WAYS, PATH)                                                                                    \
    X(N, WAYS " tight" PATH) X(N + WAIT_CHAIN, WAYS " chain" PATH) X(N + WAIT_PAUSE, WAYS " pause" PATH)               \
    X(N + WAIT_RARE_PAUSE, WAYS " rare-pause" PATH)
#define FOR_WAYS(X, N, PATH)                                                                                           \
    FOR_WAITS(X, N, "one-line store", PATH)                                                                            \
    FOR_WAITS(X, N + TWO_LINES, "two-lines store", PATH)                                                               \
    FOR_WAITS(X, N + EXCHANGE, "one-line exchange", PATH)                                                              \
    FOR_WAITS(X, N + TWO_LINES + EXCHANGE, "two-lines exchange", PATH)
#define FOR_LOOPS(X) FOR_WAYS(X, 0, " stay") FOR_WAYS(X, WALK, " walk")

const char *cb_line_name(unsigned loop) {
#define LINE_NAME(NUMBER, NAME) [NUMBER] = NAME,
    static const char *const names[CB_LINE_LOOPS] = {FOR_LOOPS(LINE_NAME)};
    return names[loop % CB_LINE_LOOPS];
}

static int line_run_any(struct lines *lines, int is_first, uint64_t line, uint64_t base, uint64_t count, uint64_t *samples,
                        unsigned loop) {
    switch (loop) {
#define LINE_CASE(NUMBER, NAME)                                                                                        \
    case NUMBER:                                                                                                       \
        return is_first ? line_run(lines, 1, line, base, count, samples, NUMBER)                                       \
                        : line_run(lines, 0, line, base, count, samples, NUMBER);
        FOR_LOOPS(LINE_CASE)
    }
    return EINVAL;
}

int cb_line_echo(void *memory) {
    struct lines *lines = memory;
    for (;;) {
        int error = line_await(&lines->turn, lines->served + 1, WAIT_PAUSE);
        if (error) return error;
        lines->served += 1;
        if (lines->count == 0) return 0;
        error = line_run_any(lines, 0, lines->line, lines->base, lines->count, NULL, (unsigned)lines->loop);
        if (error) return error;
    }
}

// Round trips, or with a count of 0 the end of the other side's `cb_line_echo`.
static int line_segment(struct lines *lines, unsigned loop, uint64_t line, uint64_t count, uint64_t *samples) {
    // No value that an earlier segment left may be taken for one of this.
    lines->base += lines->count + 1;
    lines->loop = loop;
    lines->line = line;
    lines->count = count;
    atomic_fetch_add_explicit(&lines->turn, 1, memory_order_release);
    return count == 0 ? 0 : line_run_any(lines, 1, line, lines->base, count, samples, loop);
}

static int line_compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

// The value below which so many hundredths of the samples lie; sorts them.
static uint64_t line_percentile(uint64_t *samples, uint64_t count, uint64_t hundredths) {
    qsort(samples, count, sizeof *samples, line_compare);
    return samples[count * hundredths / 100];
}

// The line that is the nearest now, for a loop that stays on one.
static int line_nearest(struct lines *lines, unsigned loop, uint64_t *line) {
    uint64_t samples[PROBE_TRIPS], best = UINT64_MAX;
    *line = 0;
    for (uint64_t i = 0; i < LINES && !(loop & WALK); i++) {
        int error = line_segment(lines, loop, i, PROBE_TRIPS, samples);
        if (error) return error;
        uint64_t median = line_percentile(samples, PROBE_TRIPS, 50);
        if (median >= best) continue;
        best = median;
        *line = i;
    }
    return 0;
}

int cb_line_choose(void *memory, uint64_t nanoseconds, unsigned *fastest) {
    struct lines *lines = memory;
    uint64_t samples[FINAL_TRIPS], medians[CB_LINE_LOOPS][PASSES], passes[CB_LINE_LOOPS] = {0};
    uint64_t start = cb_now();
    for (uint64_t trial = 0; trial < CB_LINE_LOOPS * PASSES && cb_now() - start < nanoseconds / 2; trial++) {
        unsigned loop = (unsigned)(trial % CB_LINE_LOOPS);
        int error = line_segment(lines, loop, trial / CB_LINE_LOOPS % LINES, TRIAL_TRIPS, samples);
        if (error) return error;
        medians[loop][passes[loop]++] = line_percentile(samples, TRIAL_TRIPS, 50);
    }
    // The best of those that stay, and of those that walk.
    unsigned finalists[2] = {0, WALK};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t best = UINT64_MAX;
        for (unsigned loop = i * WALK; loop < (i + 1) * WALK && passes[loop] > 0; loop++) {
            uint64_t median = line_percentile(medians[loop], passes[loop], 50);
            if (median >= best) continue;
            best = median;
            finalists[i] = loop;
        }
    }
    // The two against each other, in turn, as `cb_line_ping` runs them.
    uint64_t rounds = 0;
    for (; rounds < FINAL_ROUNDS && cb_now() - start < nanoseconds; rounds++) {
        for (unsigned i = 0; i < 2; i++) {
            uint64_t line;
            int error = line_nearest(lines, finalists[i], &line);
            if (!error) error = line_segment(lines, finalists[i], line, FINAL_TRIPS, samples);
            if (error) return error;
            medians[i][rounds] = line_percentile(samples, FINAL_TRIPS, 50);
        }
    }
    int walks = rounds > 0 && line_percentile(medians[1], rounds, 50) < line_percentile(medians[0], rounds, 50);
    *fastest = finalists[walks];
    return line_segment(lines, 0, 0, 0, NULL);
}

int cb_line_ping(void *memory, unsigned loop, uint64_t count, uint64_t *samples) {
    struct lines *lines = memory;
    uint64_t line;
    int error = line_nearest(lines, loop, &line);
    if (!error && count > 0) error = line_segment(lines, loop, line, count, samples);
    return error ? error : line_segment(lines, 0, 0, 0, NULL);
}

double cb_copy_bandwidth(size_t size, uint64_t nanoseconds) {
    void *from = aligned_alloc(4096, size), *to = aligned_alloc(4096, size);
    memset(from, 1, size);
    memset(to, 2, size);
    uint64_t start = cb_now(), end, copies = 0;
    do {
        memcpy(to, from, size);
        __asm__ volatile("" : : "r"(to) : "memory");  // keeps the copy
        copies += 1;
        // Where a copy is short, the time is not asked for after each.
        end = size < 1 << 20 && copies % 16 != 0 ? start : cb_now();
    } while (end - start < nanoseconds);
    free(from);
    free(to);
    return (double)copies * (double)size * 1e9 / (double)(end - start);
}
