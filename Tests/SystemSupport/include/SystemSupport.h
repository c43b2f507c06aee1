// What tests need of the system and Swift does not offer.
#ifndef SYSTEM_SUPPORT_H
#define SYSTEM_SUPPORT_H

#include <sys/types.h>

// A fork without exec. The child may call nothing of Swift's that takes a lock.
pid_t support_fork(void);
void support_exit(int code);

// From now on, each of these system calls fails with `error`, in all threads and children: a seccomp filter, as those of
// sandboxes. 0, or -1 with errno.
int support_refuse(const int *calls, int count, int error);
// The number of a system call that this knows; -1 of another.
int support_call_number(const char *name);

// The action for a signal, in bytes to be compared; 0 bytes if there is none.
size_t support_action(int signal, void *bytes, size_t capacity);

#endif
