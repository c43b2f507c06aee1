// libnats, for its module map: the library's name and place come from pkg-config.
#include <nats/nats.h>
// How the program's memory is managed, which Swift's module of the C library leaves out.
#include <malloc.h>
