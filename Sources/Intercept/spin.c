// Looking before sleeping, for programs on a daemon that polls (netcond --busy-poll): to wake a process on a CPU that idles
// takes longer than all the rest of a round trip. A receipt that would wait looks for bytes for a while first; what it then
// does is the kernel's own call, so that nothing else about it changes. A signal that would have ended the wait ends it.
//
// poll() and epoll_wait() look likewise, before they wait for any of what they are to wait for.
//
// The daemon marks the sockets of a process (NC_MARK_SPINS). A process is on one network, so one socket tells.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
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

// Signals that are told of while they are blocked. Looking is no waiting call that they could interrupt, so they wait until
// it is known what they do: else a handler would run unnoticed, and the receipt sleep behind it.
typedef uint64_t signal_set; // as the kernel has it: signal 1 is bit 0

struct kernel_action { // of rt_sigaction(2)
  uintptr_t handler;
  unsigned long flags;
  uintptr_t restorer; // not on all machines; the same size of set either way
  signal_set mask;
};

static bool has_timeout(int fd) {
  struct timeval limit = {0};
  socklen_t length = sizeof limit;
  return nc_raw_getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &length) == 0 && (limit.tv_sec != 0 || limit.tv_usec != 0);
}

// Whether one of `pending` would make a receipt of `fd` that waits fail with EINTR: by a handler without SA_RESTART, and
// with a time-out by any (signal(7)).
static bool would_interrupt(int fd, signal_set pending) {
  for (int number = 1; number <= 64; number++) {
    struct kernel_action action = {0};
    if ((pending >> (number - 1) & 1) == 0) continue;
    if (nc_raw(SYS_rt_sigaction, number, 0, (long)&action, sizeof(signal_set), 0, 0) != 0) continue;
    if (action.handler == (uintptr_t)SIG_DFL || action.handler == (uintptr_t)SIG_IGN) continue;
    if ((action.flags & SA_RESTART) == 0 || has_timeout(fd)) return true;
  }
  return false;
}

// All but those that tell of a fault, which cannot wait, and the two that libc keeps to itself.
static const signal_set held = ~(UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1) | UINT64_C(1) << (SIGFPE - 1) |
                                 UINT64_C(1) << (SIGILL - 1) | UINT64_C(1) << (SIGTRAP - 1) | UINT64_C(3) << 31);

static bool hold_signals(int how, const signal_set *set, signal_set *before) {
  return nc_raw(SYS_rt_sigprocmask, how, (long)set, (long)before, sizeof *set, 0, 0) == 0;
}

static signal_set first_word(const sigset_t *set) {
  signal_set word;
  memcpy(&word, set, sizeof word);
  return word;
}

static bool begin(sigset_t *before) {
  signal_set word = 0;
  memset(before, 0, sizeof *before);
  if (!hold_signals(SIG_BLOCK, &held, &word)) return false;
  memcpy(before, &word, sizeof word);
  return true;
}

static void end(void *before) {
  signal_set word = first_word(before);
  (void)hold_signals(SIG_SETMASK, &word, NULL);
}

int64_t nc_spin_limit(const struct timespec *timeout) {
  if (timeout == NULL || timeout->tv_sec > 0) return SPIN_NANOSECONDS;
  return timeout->tv_sec == 0 && timeout->tv_nsec > 0 && timeout->tv_nsec < 1000000000 ? timeout->tv_nsec : 0;
}

static long look_for(const struct nc_wait *wait, int64_t limit, const sigset_t *before) {
  signal_set pending = 0;
  long found = wait->look(wait->call);
  int64_t end = found == 0 ? nanoseconds() + (limit < SPIN_NANOSECONDS ? limit : SPIN_NANOSECONDS) : 0;
  while (found == 0) {
    if (nc_raw(SYS_rt_sigpending, (long)&pending, sizeof pending, 0, 0, 0, 0) == 0 &&
        (pending & held & ~first_word(before)) != 0)
      break; // the wait ends by it, or not
    if (nanoseconds() >= end) break;
    (void)nc_raw(SYS_sched_yield, 0, 0, 0, 0, 0, 0); // the peer may share the CPU
    found = wait->look(wait->call);
  }
  return found;
}

int nc_spin_wait(const struct nc_wait *wait, int64_t limit, const sigset_t *mask) {
  sigset_t before;
  if (!begin(&before)) return wait->sleep(wait->call, mask);
  long ready;
  int error;
  pthread_cleanup_push(end, &before); // the thread may be cancelled while it sleeps
  ready = look_for(wait, limit, &before);
  if (ready <= 0) ready = wait->sleep(wait->call, mask != NULL ? mask : &before);
  error = errno;
  pthread_cleanup_pop(1);
  errno = error;
  return (int)ready;
}

bool nc_spin(int fd) {
  if (is_ready(fd)) return false;
  int flags = nc_raw_fcntl(fd, F_GETFL, 0);
  signal_set before, pending = 0;
  if (flags < 0 || (flags & O_NONBLOCK) != 0 || !hold_signals(SIG_BLOCK, &held, &before)) return false;
  bool is_interrupted = false, is_over;
  int64_t end = nanoseconds() + SPIN_NANOSECONDS;
  do {
    (void)nc_raw(SYS_sched_yield, 0, 0, 0, 0, 0, 0); // the peer may share the CPU
    is_over = is_ready(fd) || nanoseconds() >= end;
    if (is_over || nc_raw(SYS_rt_sigpending, (long)&pending, sizeof pending, 0, 0, 0, 0) != 0) continue;
    pending &= held & ~before;
    is_interrupted = pending != 0 && would_interrupt(fd, pending);
    is_over = pending != 0; // whatever they do, they do it now
  } while (!is_over);
  (void)hold_signals(SIG_SETMASK, &before, NULL);
  return is_interrupted;
}
