// poll() and ppoll(): the error of a datagram socket is told as POLLERR, and its shutdown both ways as POLLHUP.
//
// On the pair an error from the network is a record like a datagram, which makes the socket readable (datagram_errors.c);
// programs that look for POLLERR before they read the error queue (traceroute is one) would never find it. And only the
// receiving side is shut down natively (datagram_names.c). So what poll() found readable is looked at once more, if it may
// be such a socket. select() and epoll have no room for this: a set has no errors, and an epoll event does not say whose
// it is.
//
// A connection that was refused or reset is told in two steps: the kernel wakes whoever polls as soon as the daemon's end is
// dead, and only then gives back what that end had not read, which makes the socket writable. TCP's tells both at once.
#include <poll.h>

#include "datagram.h"
#include "exports.h"

enum {
  READABLE = POLLIN | POLLRDNORM,
  WRITABLE = POLLOUT | POLLWRNORM,
  DEAD = POLLERR | POLLHUP,
  ROOM_LOOKS = 1000, /* it is a matter of microseconds, unless the daemon loses its CPU just then */
};

static short mask_of(int fd, short seen) {
  struct nc_name name;
  if (nc_hint(fd) != NC_HINT_LOOK || !nc_identify(fd, &name) || name.state != NC_STATE_DATAGRAM) return seen;
  int marks = nc_marks(fd), both = NC_MARK_SHUT | NC_MARK_SHUT_SENDS;
  if ((marks & both) == both) seen |= POLLHUP;
  if ((marks & NC_MARKS_ERRORS) != 0 && nc_datagram_has_error(fd)) seen = (short)((seen & ~READABLE) | POLLERR);
  return seen;
}

static bool lacks_room(const struct pollfd *polled) {
  return (polled->revents & DEAD) == DEAD && (polled->events & WRITABLE & ~polled->revents) != 0;
}

static void await_room(struct pollfd *polled) {
  struct nc_name name;
  const struct timespec none = {0};
  if (nc_hint(polled->fd) == NC_HINT_FOREIGN || nc_is_sandboxed()) return;
  if (!nc_identify(polled->fd, &name) || name.type != SOCK_STREAM) return;
  for (int look = 0; look < ROOM_LOOKS && lacks_room(polled); look++) {
    (void)nc_raw(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    (void)nc_raw(SYS_ppoll, (long)polled, 1, (long)&none, 0, 0, 0);
  }
}

static int translate(struct pollfd *fds, nfds_t count, int ready) {
  if (ready <= 0 || !nc_active()) return ready;
  for (nfds_t index = 0; index < count; index++) {
    if ((fds[index].revents & READABLE) != 0) fds[index].revents = mask_of(fds[index].fd, fds[index].revents);
    if (lacks_room(&fds[index])) await_room(&fds[index]);
  }
  return ready;
}

struct poll_call {
  struct pollfd *fds;
  nfds_t count;
  const struct timespec *timeout;
};

static long look(const void *of) {
  const struct poll_call *call = of;
  const struct timespec none = {0};
  return nc_raw(SYS_ppoll, (long)call->fds, (long)call->count, (long)&none, 0, 0, 0);
}

static int sleep_in(const void *of, const sigset_t *mask) {
  const struct poll_call *call = of;
  return nc_native()->ppoll(call->fds, call->count, call->timeout, mask);
}

static int wait_looking(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                        int64_t limit) {
  const struct poll_call call = {fds, count, timeout};
  return nc_spin_wait(&(struct nc_wait){look, sleep_in, &call}, limit, mask);
}

NC_EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout) {
  const struct timespec limit = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};
  const struct timespec *wait = timeout < 0 ? NULL : &limit;
  if (!nc_looks_first() || timeout == 0) return translate(fds, count, nc_native()->poll(fds, count, timeout));
  return translate(fds, count, wait_looking(fds, count, wait, NULL, nc_spin_limit(wait)));
}

NC_EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  int64_t limit = nc_looks_first() ? nc_spin_limit(timeout) : 0;
  int ready = limit > 0 ? wait_looking(fds, count, timeout, mask, limit)
                        : nc_native()->ppoll(fds, count, timeout, mask);
  return translate(fds, count, ready);
}

int __poll_chk(struct pollfd *, nfds_t, int, size_t);
NC_EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room) {
  if (room / sizeof *fds < count) __builtin_trap();
  return poll(fds, count, timeout);
}

int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
NC_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                          size_t room) {
  if (room / sizeof *fds < count) __builtin_trap();
  return ppoll(fds, count, timeout, mask);
}
