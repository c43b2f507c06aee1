// A reader and a writer of a topic in plain C, by Documentation/log-format.md alone: no code of swift-ipc.
//
//   LogPeer read FOLDER COUNT     prints the payloads of the next COUNT messages, a line each
//   LogPeer write FOLDER TEXT…    publishes each TEXT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PATTERN = 12, KEY = 16, CAPACITY = 24, READERS = 32, WRITERS = 36, FLAGS = 40, REMOVED = 512,
    TAIL = 1024, FRONTIER = 1152, READER_QUEUE = 1280, WRITER_QUEUE = 1312, SLEEPS = 0, WOKEN = 8, WAKES = 16,
    USED_READERS = 1792, USED_WRITERS = 1796, JOINS = 1800, BLOCK_STARTS = 2048, SLOTS = 4096, SLOT = 128,
};
static const uint64_t NONE = UINT64_MAX;

static char *control, *ring;
static uint64_t key, capacity;
static int lock_file;
static const char *folder;

#define WORD(offset) ((_Atomic uint64_t *)(control + (offset)))
#define HALF(offset) ((_Atomic uint32_t *)(control + (offset)))
#define FRAME(position) (ring + ((position) & (capacity - 1)))
#define STAMP(position) ((_Atomic uint64_t *)FRAME(position))

static void fail(const char *what) { fprintf(stderr, "%s: %s\n", what, strerror(errno)); exit(1); }

static int lock_byte(off_t byte, int command, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(lock_file, command, &lock);
}

static void attach(const char *path_of_folder) {
    folder = path_of_folder;
    char path[4096];
    struct stat status;
    snprintf(path, sizeof path, "%s/locks", folder);
    if ((lock_file = open(path, O_RDWR | O_CLOEXEC)) < 0) fail(path);
    int control_file;
    snprintf(path, sizeof path, "%s/control", folder);
    if ((control_file = open(path, O_RDWR | O_CLOEXEC)) < 0 || fstat(control_file, &status) < 0) fail(path);
    control = mmap(0, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, control_file, 0);
    if (control == MAP_FAILED) fail("mmap");
    if (memcmp(control, "SWIFTIPC", 8) != 0 || *(uint32_t *)(control + 8) != 8) { fputs("not version 8\n", stderr); exit(1); }
    key = *(uint64_t *)(control + KEY);
    capacity = *(uint64_t *)(control + CAPACITY);
    snprintf(path, sizeof path, "%s/log", folder);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) fail(path);
    ring = mmap(0, 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int half = 0; half < 2; half++)
        if (mmap(ring + half * capacity, capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
            fail("mmap");
}

// Wakes the tasks of a kind that sleep, by their wake-up pipes.
static void signal_waiters(int readers_sleep) {
    for (uint32_t slot = 0; slot < atomic_load(HALF(readers_sleep ? USED_READERS : USED_WRITERS)); slot++) {
        int address = SLOTS + SLOT * (int)(readers_sleep ? slot : *(uint32_t *)(control + READERS) + slot);
        // It stays: its owner takes it away when it is awake.
        uint64_t word = atomic_load(WORD(address + (readers_sleep ? 16 : 40)));
        if (word == 0) continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/../.wake-%08x", folder, (uint32_t)(word >> 32));
        int pipe = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (pipe < 0) continue;
        if (write(pipe, &word, 8) < 0) perror(path);  // full: it has been signalled often enough
        close(pipe);
    }
}

// Wakes all sleepers of a kind: threads by the futex.
static void wake(int readers_sleep) {
    int queue = readers_sleep ? READER_QUEUE : WRITER_QUEUE;
    if (atomic_load(WORD(queue + SLEEPS)) == atomic_load(WORD(queue + WOKEN))) return;
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t seen = atomic_load(WORD(queue + SLEEPS)), woken = atomic_load(WORD(queue + WOKEN));
    // Writers that wait for claims count among the readers, too: those that we have seen here are woken before `woken` is raised.
    if (readers_sleep) wake(0);
    atomic_fetch_add(HALF(queue + WAKES), 1);
    syscall(SYS_futex, HALF(queue + WAKES), FUTEX_WAKE, INT32_MAX, 0, 0, 0);
    signal_waiters(readers_sleep);
    // Last: one that was stopped before this leaves the difference to the next.
    while (woken < seen && !atomic_compare_exchange_weak(WORD(queue + WOKEN), &woken, seen)) {}
}

// Takes a slot under the gate, which stays locked.
static char *join(int is_reader) {
    uint32_t readers = *(uint32_t *)(control + READERS), writers = *(uint32_t *)(control + WRITERS);
    while (lock_byte(0, F_OFD_SETLK, F_WRLCK) != 0) usleep(200);
    uint32_t count = is_reader ? readers : writers;
    for (uint32_t slot = 0; slot < count; slot++) {
        char *address = control + SLOTS + SLOT * (is_reader ? slot : readers + slot);
        _Atomic uint32_t *state = (_Atomic uint32_t *)(address + (is_reader ? 8 : 24));
        if (atomic_load(state) != 0 || lock_byte((is_reader ? 0x10000 : 0x20000) + slot, F_OFD_SETLK, F_WRLCK) != 0) continue;
        atomic_store(state, 1);
        atomic_store(state + 1, (uint32_t)getpid());
        struct stat namespace;
        if (stat("/proc/self/ns/pid", &namespace) == 0)
            *(uint32_t *)(address + (is_reader ? 24 : 32)) = (uint32_t)namespace.st_ino;
        _Atomic uint32_t *used = HALF(is_reader ? USED_READERS : USED_WRITERS);
        if (atomic_load(used) <= slot) atomic_store(used, slot + 1);
        atomic_fetch_add(HALF(JOINS), 1);
        // Nobody is woken by it: who sleeps does not know of us yet, and would not be told of news if we died halfway.
        signal_waiters(1);
        signal_waiters(0);
        return address;
    }
    fputs("no free slot\n", stderr);
    exit(1);
}

static void leave_gate(void) { lock_byte(0, F_OFD_SETLK, F_UNLCK); }

static void read_messages(uint64_t count) {
    _Atomic uint64_t *cursor = (_Atomic uint64_t *)join(1);
    atomic_store(cursor, 0);
    uint64_t position = atomic_load(WORD(TAIL));
    // An exclusive writer's tail lags behind.
    while (atomic_load(STAMP(position)) == (position ^ key)) position += 64ull * *(uint32_t *)(FRAME(position) + 28);
    atomic_store(cursor, position);
    leave_gate();
    wake(0);  // those that found no room while the cursor was at the beginning
    puts("ready");
    fflush(stdout);
    while (count > 0) {
        if (atomic_load_explicit(STAMP(position), memory_order_acquire) != (position ^ key)) { usleep(100); continue; }
        char *frame = FRAME(position);
        uint32_t length = *(uint32_t *)(frame + 8), kind = *(uint32_t *)(frame + 12), units = *(uint32_t *)(frame + 28);
        if (length + 32ull > units * 64ull || units * 64ull > capacity / 2) { fputs("corrupted\n", stderr); exit(1); }
        if (kind == 1 || kind == 3) { printf("%.*s\n", (int)length, frame + 32); count--; }
        position += units * 64ull;
        atomic_store(cursor, position);
        wake(0);
    }
    fflush(stdout);
}

// The lowest of all cursors, and of the claims of others that are not committed.
static uint64_t lowest(char *own) {
    uint64_t low = NONE - capacity;
    uint32_t readers = *(uint32_t *)(control + READERS), tail_writers = atomic_load(HALF(USED_WRITERS));
    for (uint32_t slot = 0; slot < atomic_load(HALF(USED_READERS)); slot++) {
        uint64_t cursor = atomic_load(WORD(SLOTS + SLOT * slot));
        if (cursor < low) low = cursor;
    }
    for (uint32_t slot = 0; slot < tail_writers; slot++) {
        char *address = control + SLOTS + SLOT * (readers + slot);
        uint64_t intent = atomic_load((_Atomic uint64_t *)address), tail = atomic_load(WORD(TAIL));
        if (address == own || intent >= low || intent >= tail || tail - intent > capacity) continue;
        if (atomic_load(STAMP(intent)) != (intent ^ key)) low = intent;
    }
    return low;
}

static void write_messages(char **texts) {
    char *slot = join(0);
    _Atomic uint64_t *intent = (_Atomic uint64_t *)slot, *length = intent + 1, *sequence = intent + 2;
    leave_gate();
    int is_registered = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
    for (; *texts; texts++) {
        uint64_t bytes = strlen(*texts), size = (bytes + 32 + 63) & ~63ull;
        uint64_t position = atomic_load(WORD(TAIL));
        for (;;) {
            uint64_t end = position + size, old = atomic_load(WORD(FRONTIER));
            while (old < end && !atomic_compare_exchange_weak(WORD(FRONTIER), &old, end)) {}
            if (lowest(slot) + capacity < end) { usleep(100); position = atomic_load(WORD(TAIL)); continue; }
            atomic_store(length, size);
            atomic_store(intent, position);
            if (atomic_compare_exchange_strong(WORD(TAIL), &position, end)) break;
            atomic_store(intent, NONE);
        }
        char *frame = FRAME(position);
        memcpy(frame + 32, *texts, bytes);
        *(uint32_t *)(frame + 8) = (uint32_t)bytes;
        *(uint32_t *)(frame + 12) = 1;
        *(uint64_t *)(frame + 16) = atomic_load(sequence);
        *(uint32_t *)(frame + 24) = (uint32_t)((slot - control - SLOTS) / SLOT) - *(uint32_t *)(control + READERS);
        *(uint32_t *)(frame + 28) = (uint32_t)(size / 64);
        atomic_store_explicit(STAMP(position), position ^ key, memory_order_release);
        atomic_fetch_add(sequence, 1);
        atomic_store(intent, NONE);
        if (!is_registered) atomic_thread_fence(memory_order_seq_cst);
        wake(1);  // and with them other writers, which may wait for this claim
    }
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    attach(arguments[2]);
    if (strcmp(arguments[1], "read") == 0) read_messages(strtoull(arguments[3], 0, 10));
    else if (*(uint32_t *)(control + FLAGS) & 1) write_messages(arguments + 3);
    else { fputs("this writer takes part in channels with shared writers only\n", stderr); return 1; }
}
