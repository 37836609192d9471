// epoll_wait() and its kin, which are the kernel's own but for looking before they wait (spin.c).
#include <time.h>

#include "exports.h"

struct epoll_call {
  int fd, room;
  struct epoll_event *events;
  const struct timespec *timeout; /* null: `milliseconds` */
  int milliseconds;
};

static long look(const void *of) {
  const struct epoll_call *call = of;
  return nc_raw(SYS_epoll_pwait, call->fd, (long)call->events, call->room, 0, 0, 0);
}

enum { SET_BYTES = 8 /* of the kernel's set of signals */ };

// A libc before 2.35 has no such function, which a program may look for and find here.
static int wait_precisely(int fd, struct epoll_event *events, int room, const struct timespec *timeout,
                          const sigset_t *mask) {
  const struct nc_native *native = nc_native();
  if (native->epoll_pwait2 != NULL) return native->epoll_pwait2(fd, events, room, timeout, mask);
  return (int)finish(nc_raw(SYS_epoll_pwait2, fd, (long)events, room, (long)timeout, (long)mask, SET_BYTES));
}

static int sleep_in(const void *of, const sigset_t *mask) {
  const struct epoll_call *call = of;
  if (call->timeout != NULL) return wait_precisely(call->fd, call->events, call->room, call->timeout, mask);
  return nc_native()->epoll_pwait(call->fd, call->events, call->room, call->milliseconds, mask);
}

static int wait_looking(int fd, struct epoll_event *events, int room, const struct timespec *timeout, int milliseconds,
                        const sigset_t *mask, int64_t limit) {
  const struct epoll_call call = {fd, room, events, timeout, milliseconds};
  return nc_spin_wait(&(struct nc_wait){look, sleep_in, &call}, limit, mask);
}

NC_EXPORT int epoll_wait(int fd, struct epoll_event *events, int room, int timeout) {
  if (!nc_looks_first() || timeout == 0) return nc_native()->epoll_wait(fd, events, room, timeout);
  return wait_looking(fd, events, room, NULL, timeout, NULL, nc_spin_limit(NULL));
}

NC_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int room, int timeout, const sigset_t *mask) {
  if (!nc_looks_first() || timeout == 0) return nc_native()->epoll_pwait(fd, events, room, timeout, mask);
  return wait_looking(fd, events, room, NULL, timeout, mask, nc_spin_limit(NULL));
}

NC_EXPORT int epoll_pwait2(int fd, struct epoll_event *events, int room, const struct timespec *timeout,
                           const sigset_t *mask) {
  int64_t limit = nc_looks_first() ? nc_spin_limit(timeout) : 0;
  if (limit == 0) return wait_precisely(fd, events, room, timeout, mask);
  return wait_looking(fd, events, room, timeout, -1, mask, limit);
}
