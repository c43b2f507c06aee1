// The shims are all inline in the header; a C target needs one source file.
#include "CIPCShims.h"
