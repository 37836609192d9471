// shutdown(): native on a connection, where the pair means the same as TCP; Linux's answers elsewhere (inet_shutdown).
#include <errno.h>
#include <netinet/tcp.h>

#include "intercept.h"

// Both ways shut looks to the daemon like the last close: it lets go of the connection, whose addresses may still be asked for.
static void keep_names(int fd, const struct nc_name *name) {
  if (name->local.family != 0) return;
  struct nc_reply reply;
  (void)nc_ask_names(fd, &reply); // the name stays with the pair
}

static int shut_connection(int fd, const struct nc_name *name, int how) {
  if (nc_is_over(fd)) return -ENOTCONN;
  if (how != SHUT_WR) keep_names(fd, name);
  return nc_raw_shutdown(fd, how);
}

int nc_shutdown(int fd, const struct nc_name *name, int how) {
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return -EINVAL;
  if (name->state == NC_STATE_DATAGRAM) return nc_datagram_shutdown(fd, how);
  switch (name->state) {
  case NC_STATE_CONNECTED: return shut_connection(fd, name, how);
  case NC_STATE_LISTENING:
    if ((nc_marks(fd) & NC_MARK_SHUT) != 0) return -ENOTCONN;
    if (how == SHUT_WR) return 0;
    break;
  case NC_STATE_NEW:
    switch (nc_tcp_state(fd)) {
    case TCP_SYN_SENT: break;
    case TCP_ESTABLISHED: // just now
    case TCP_CLOSE_WAIT: return shut_connection(fd, name, how);
    default: return -ENOTCONN;
    }
    break;
  default: return -ENOTCONN;
  }
  // Ends a listener or an attempt under way. Both directions, whatever was asked: so the daemon sees HUP, and whoever
  // waits in accept() or connect() wakes up and finds the mark.
  nc_mark(fd, NC_MARK_SHUT);
  if (name->state == NC_STATE_NEW) nc_owe_error(fd, ECONNRESET); // tcp_disconnect of an attempt
  int result = nc_raw_shutdown(fd, SHUT_RDWR);
  if (name->state == NC_STATE_LISTENING) nc_drop_queued(fd);
  return result;
}
