// Compiles the static assertions of the shared header once; SwiftPM wants a source file in each C target.
#include "netcond_rpc.h"
