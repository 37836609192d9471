// Start-up: whether there is a virtual network, and where libc's own functions are.
//
// Other libraries' constructors may open sockets before ours has run, so each entry checks nc_mode. Starting twice at
// once is harmless: both threads store the same values, and the mode is stored last.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "intercept.h"

int nc_mode = NC_MODE_UNKNOWN;
struct nc_native nc_native_table;

// One byte more than a sun_path holds, so that a path too long is seen as such and not cut to another one.
enum { PATH_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) + 1 };

static char network_path[PATH_BYTES], given_path[PATH_BYTES];

const char *nc_network_path(void) { return network_path; }
const char *nc_network_path_as_given(void) { return given_path; }

// ISO C has no conversion from dlsym's object pointer to a function pointer; POSIX has the representation equal.
static void find(void *slot, const char *symbol) {
  void *address = dlsym(RTLD_NEXT, symbol);
  memcpy(slot, &address, sizeof address);
}

void *nc_find_native(const char *symbol) { return dlsym(RTLD_NEXT, symbol); }

void nc_start(void) {
#define NC_FIND(result, symbol, parameters) find(&nc_native_table.symbol, #symbol);
  NC_NATIVE_FUNCTIONS(NC_FIND)
#undef NC_FIND

  // Read once: a program that later cleans its environment still stays inside its network.
  const char *path = getenv("ZT_NC_NETWORK");
  bool on = path != NULL && path[0] != 0;
  if (on) {
    memcpy(given_path, path, strnlen(path, sizeof given_path - 1));
    nc_make_absolute(given_path, network_path, sizeof network_path);
    nc_exec_begin();
    nc_target_begin();
    nc_hints_begin();
  }
  __atomic_store_n(&nc_mode, on ? NC_MODE_ON : NC_MODE_OFF, __ATOMIC_RELEASE);
}

__attribute__((constructor)) static void construct(void) {
  if (nc_mode == NC_MODE_UNKNOWN) nc_start();
}
