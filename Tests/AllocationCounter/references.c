// Counts this process's retains and releases of Swift objects: the program's own functions come before the runtime's.
#define _GNU_SOURCE
#include "AllocationCounter.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>

// Callers may rely on the registers that the runtime's own functions leave alone.
#define KEEPS __attribute__((preserve_most))

static _Atomic long count;
long reference_count(void) { return atomic_load(&count); }

#define COUNTED(NAME, RESULT, RETURN, PARAMETERS, ARGUMENTS)                                                           \
    KEEPS RESULT NAME PARAMETERS {                                                                                     \
        static RESULT (*_Atomic original) PARAMETERS;                                                                  \
        if (!original) original = (RESULT (*) PARAMETERS)dlsym(RTLD_NEXT, #NAME);                                      \
        atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);                                                    \
        RETURN original ARGUMENTS;                                                                                     \
    }

COUNTED(swift_retain, void *, return, (void *object), (object))
COUNTED(swift_release, void, , (void *object), (object))
COUNTED(swift_retain_n, void *, return, (void *object, uint32_t n), (object, n))
COUNTED(swift_release_n, void, , (void *object, uint32_t n), (object, n))
