// The data calls on datagram sockets: each datagram travels on the pair behind a struct nc_datagram.
#include <errno.h>

#include "intercept.h"

ssize_t nc_datagram_send(int fd, const struct nc_name *name, const struct msghdr *message, int flags) {
  (void)fd, (void)name, (void)message, (void)flags;
  return -EOPNOTSUPP;
}

ssize_t nc_datagram_receive(int fd, const struct nc_name *name, struct msghdr *message, int flags) {
  (void)fd, (void)name, (void)message, (void)flags;
  return -EOPNOTSUPP;
}
