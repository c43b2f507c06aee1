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
// The same in a number that is the same for the same; 0 for the default action.
unsigned long long support_action_number(int signal);

// What was done to the calls of the observed thread.
struct support_fault {
    long call;   // the number of the system call that failed; -1 if none did
    int error;   // its error; 0 if it has no such one
    int errors;  // how many errors there are for it
    int count;   // how many calls may fail
};
// From now on the calling thread, and what it starts, is observed. Once in a process. 0, or -1 with errno.
int support_faults_start(void);
// On that thread: from now on, the call number `index`, from 0, of those that may fail has error number `error`, from 0.
void support_faults_arm(int index, int error);
struct support_fault support_faults_disarm(void);
const char *support_call_name(long call);
// Which signals the calling thread blocks.
unsigned long long support_mask(void);

#endif
