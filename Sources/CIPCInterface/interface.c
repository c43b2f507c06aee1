// The interface has no code of its own: what is declared in ipc.h is defined in IPCForC.
#include "ipc.h"
