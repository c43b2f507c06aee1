// libnats, for its module map: the library's name and place come from pkg-config.
#include <nats/nats.h>
// How the program's memory is managed, which Swift's module of the C library leaves out.
#include <malloc.h>
// `sem_clockwait`, which the C library shows to GNU programs only.
#include <semaphore.h>
#include <time.h>
extern int sem_clockwait(sem_t *, clockid_t, const struct timespec *);
