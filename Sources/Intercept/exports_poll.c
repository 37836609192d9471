// poll() and ppoll(): the error of a datagram socket is told as POLLERR.
//
// On the pair an error from the network is a record like a datagram, which makes the socket readable (datagram_errors.c);
// programs that look for POLLERR before they read the error queue (traceroute is one) would never find it. So what poll()
// found readable is looked at once more, if it may be such a socket. select() and epoll have no room for this: a set has no
// errors, and an epoll event does not say whose it is.
#include <poll.h>

#include "datagram.h"
#include "exports.h"

static bool is_error(int fd) {
  struct nc_name name;
  if (nc_hint(fd) != NC_HINT_LOOK || !nc_identify(fd, &name) || name.state != NC_STATE_DATAGRAM) return false;
  return (nc_marks(fd) & NC_MARKS_ERRORS) != 0 && nc_datagram_has_error(fd);
}

static int translate(struct pollfd *fds, nfds_t count, int ready) {
  if (ready <= 0 || !nc_active()) return ready;
  const short readable = POLLIN | POLLRDNORM;
  for (nfds_t index = 0; index < count; index++)
    if ((fds[index].revents & readable) != 0 && is_error(fds[index].fd))
      fds[index].revents = (short)((fds[index].revents & ~readable) | POLLERR);
  return ready;
}

NC_EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout) {
  return translate(fds, count, nc_native()->poll(fds, count, timeout));
}

NC_EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  return translate(fds, count, nc_native()->ppoll(fds, count, timeout, mask));
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
