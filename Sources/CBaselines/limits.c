// What the machine itself allows: a cache line that goes to and fro, and copying of memory.
#define _GNU_SOURCE
#include "CBaselines.h"
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

// Another line each time, since how far a line is from a core depends on its address.
void cb_line_ping(void *memory, int is_first, uint64_t count, uint64_t *samples) {
    char *mine = (char *)memory + (is_first ? 0 : CB_LINE_BYTES / 2);
    char *theirs = (char *)memory + (is_first ? CB_LINE_BYTES / 2 : 0);
    // Counts on from whatever an earlier run left.
    _Atomic uint64_t *last = (_Atomic uint64_t *)((char *)memory + CB_LINE_BYTES) + is_first * 16;
    uint64_t base = atomic_load(last);
    atomic_store(last, base + count);
    uint32_t spins = 0;
    for (uint64_t i = base + 1; i <= base + count; i++) {
        uint64_t place = i * 128 % (CB_LINE_BYTES / 2);
        _Atomic uint64_t *out = (_Atomic uint64_t *)(mine + place), *in = (_Atomic uint64_t *)(theirs + place);
        if (is_first) {
            uint64_t start = cb_now();
            atomic_store_explicit(out, i, memory_order_release);
            while (atomic_load_explicit(in, memory_order_acquire) != i) cb_relax(&spins);
            samples[i - base - 1] = cb_now() - start;
        } else {
            while (atomic_load_explicit(in, memory_order_acquire) != i) cb_relax(&spins);
            atomic_store_explicit(out, i, memory_order_release);
        }
    }
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
