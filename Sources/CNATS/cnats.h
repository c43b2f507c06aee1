// libnats, for its module map: the library's name and place come from pkg-config.
#include <nats/nats.h>
