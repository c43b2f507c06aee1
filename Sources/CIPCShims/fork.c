#define _GNU_SOURCE
#include "CIPCShims.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

// What a child of fork gets no part in: locks by open file description are shared with it, and shared memory stays shared.
// In the child, each descriptor is replaced by one of /dev/null, so that its number is not used again while the child's copy
// of the owner still names it, and each mapping by private memory of zeros.

uint64_t ipc_fork_generation;

struct withheld {
    int fd;         // -1 for a mapping
    void *address;  // 0 for a descriptor
    size_t length;
    uint64_t *mark;  // of a mapping: a word that is all ones in the child; 0 for none
};
// Recursive, so that what is opened, mapped and entered under it is one step for a fork: see ipc_hold_forks.
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct withheld *all;
static size_t count, capacity;

// Fork takes the lock first, so that no entry is half made in the child, and no descriptor is open but not entered.
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void in_parent(void) { pthread_mutex_unlock(&lock); }

// Only system calls: other threads of the parent may have held any lock.
static void in_child(void) {
    int saved = errno;
    __atomic_fetch_add(&ipc_fork_generation, 1, __ATOMIC_RELAXED);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) null = eventfd(0, EFD_CLOEXEC);  // no /dev here: any descriptor without a meaning will do
    for (size_t i = 0; i < count; i++) {
        struct withheld entry = all[i];
        if (entry.fd >= 0) {
            if (null < 0 || dup3(null, entry.fd, O_CLOEXEC) < 0) close(entry.fd);
        } else {
            // Where it cannot be replaced, it goes: better a crash of the child than a parent that loses messages.
            void *zeros = mmap(entry.address, entry.length, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
            if (zeros == MAP_FAILED)
                munmap(entry.address, entry.length);
            else if (entry.mark)
                *entry.mark = UINT64_MAX;
        }
    }
    count = 0;
    if (null >= 0) close(null);
    // The thread that holds it here has another number than in the parent.
    pthread_mutex_t fresh = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    lock = fresh;
    errno = saved;
}

static void prepare(void) { pthread_atfork(before_fork, in_parent, in_child); }

void ipc_count_forks(void) { pthread_once(&once, prepare); }

// Under the lock. 0, or -1 without memory.
static int add(int fd, void *address, size_t length, uint64_t *mark) {
    if (count == capacity) {
        size_t larger = capacity ? 2 * capacity : 64;
        struct withheld *moved = realloc(all, larger * sizeof *all);
        if (!moved) {
            errno = ENOMEM;
            return -1;
        }
        all = moved;
        capacity = larger;
    }
    all[count++] = (struct withheld){fd, address, length, mark};
    return 0;
}

static void take_out(int fd, const void *address) {
    for (size_t i = count; i-- > 0;)
        if (all[i].fd == fd && all[i].address == address) {
            all[i] = all[--count];
            return;
        }
}

void ipc_hold_forks(void) {
    pthread_once(&once, prepare);
    pthread_mutex_lock(&lock);
}

void ipc_release_forks(void) { pthread_mutex_unlock(&lock); }

int ipc_withhold_memory(void *address, size_t length) { return ipc_withhold_marked(address, length, 0); }

int ipc_withhold_marked(void *address, size_t length, uint64_t *mark) {
    pthread_once(&once, prepare);
    pthread_mutex_lock(&lock);
    int result = add(-1, address, length, mark);
    pthread_mutex_unlock(&lock);
    return result;
}

void ipc_release_memory(void *address) {
    pthread_mutex_lock(&lock);
    take_out(-1, address);
    pthread_mutex_unlock(&lock);
}

int ipc_openat_withheld(int folder, const char *path, int flags, mode_t mode) {
    pthread_once(&once, prepare);
    pthread_mutex_lock(&lock);
    int fd = ipc_above_standard(openat(folder, path, flags, mode));
    if (fd >= 0 && add(fd, 0, 0, 0) != 0) {
        close(fd);
        fd = -1;
        errno = ENOMEM;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int ipc_close_withheld(int fd) {
    pthread_mutex_lock(&lock);
    take_out(fd, 0);
    int result = close(fd);
    pthread_mutex_unlock(&lock);
    return result;
}
