#define _GNU_SOURCE
#include "SystemSupport.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t support_fork(void) { return fork(); }
void support_exit(int code) { _exit(code); }

int support_refuse(const int *calls, int count, int error) {
    struct sock_filter filter[64];
    unsigned short length = 0;
    if (count > 30) {
        errno = E2BIG;
        return -1;
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = length, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

int support_call_number(const char *name) {
    static const struct { const char *name; int number; } calls[] = {
        {"pidfd_open", 434}, {"pidfd_send_signal", 424}, {"close_range", 436}, {"preadv2", SYS_preadv2},
        {"pwritev2", SYS_pwritev2}, {"futex_waitv", 449}, {"membarrier", SYS_membarrier}, {"memfd_create", SYS_memfd_create},
        {"clone3", 435}, {"eventfd2", SYS_eventfd2}, {"timerfd_create", SYS_timerfd_create},
        {"connect", SYS_connect}, {"inotify_init1", SYS_inotify_init1}, {"renameat2", SYS_renameat2},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, name) == 0) return calls[i].number;
    return -1;
}

size_t support_action(int signal, void *bytes, size_t capacity) {
    struct sigaction action, copy;
    if (capacity < sizeof action || sigaction(signal, 0, &action) != 0) return 0;
    // Without what the C library adds for itself when it sets one.
    memset(&copy, 0, sizeof copy);
    copy.sa_handler = action.sa_handler;
    copy.sa_flags = action.sa_flags & ~0x04000000;
    memcpy(&copy.sa_mask, &action.sa_mask, 8);  // what the kernel has of it
    memcpy(bytes, &copy, sizeof copy);
    return sizeof copy;
}

unsigned long long support_action_number(int signal) {
    static const unsigned char none[sizeof(struct sigaction)];
    unsigned char bytes[sizeof none];
    size_t count = support_action(signal, bytes, sizeof bytes);
    if (memcmp(bytes, none, count) == 0) return 0;
    // FNV-1a.
    unsigned long long hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

unsigned long long support_mask(void) {
    unsigned long long mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mask, sizeof mask);
    return mask;
}
