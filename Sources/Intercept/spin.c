// Looking before sleeping, for programs on a daemon that polls (netcond --busy-poll): to wake a process on a CPU that idles
// takes longer than all the rest of a round trip. A receipt that would wait looks for bytes for a while first; what it then
// does is the kernel's own call, so that nothing else about it changes.
//
// The daemon marks the sockets of a process (NC_MARK_SPINS). A process is on one network, so one socket tells.
#include <fcntl.h>
#include <poll.h>
#include <time.h>

#include "intercept.h"

enum { SPIN_NANOSECONDS = 100 * 1000 };

int nc_spins = NC_SPINS_UNKNOWN;

void nc_spin_learn(int fd) {
  int known = (nc_marks(fd) & NC_MARK_SPINS) != 0 ? NC_SPINS : NC_SPINS_NOT;
  __atomic_store_n(&nc_spins, known, __ATOMIC_RELAXED);
}

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static bool is_ready(int fd) {
  struct pollfd state = {.fd = fd, .events = POLLIN};
  struct timespec none = {0};
  return nc_raw(SYS_ppoll, (long)&state, 1, (long)&none, 0, 0, 0) != 0;
}

void nc_spin(int fd) {
  if (is_ready(fd)) return;
  int flags = nc_raw_fcntl(fd, F_GETFL, 0);
  if (flags < 0 || (flags & O_NONBLOCK) != 0) return;
  int64_t end = nanoseconds() + SPIN_NANOSECONDS;
  do {
    (void)nc_raw(SYS_sched_yield, 0, 0, 0, 0, 0, 0); // the peer may share the CPU
    if (is_ready(fd)) return;
  } while (nanoseconds() < end);
}
