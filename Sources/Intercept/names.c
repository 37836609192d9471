// getsockname() and getpeername(): from the pair's name where there is one and the state is final, else from the daemon, which
// then gives a connection its name.
#include <errno.h>

#include "intercept.h"

// What the name tells, or the daemon.
static int find(int fd, const struct nc_name *name, struct nc_address *local, struct nc_address *remote) {
  struct nc_name seen = *name;
  if (seen.state == NC_STATE_NEW || seen.state == NC_STATE_DATAGRAM || seen.local.family == 0) {
    struct nc_reply reply;
    int error = nc_ask_names(fd, &reply);
    if (error == 0) {
      *local = reply.local;
      *remote = reply.remote;
      return 0;
    }
    // Over meanwhile, and named for that.
    if (!nc_identify(fd, &seen) || seen.state == NC_STATE_NEW || seen.local.family == 0) return error;
  }
  *local = seen.local;
  *remote = seen.remote;
  return 0;
}

int nc_getsockname(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length) {
  struct nc_address local, remote;
  int error = nc_address_check_room(address, length);
  if (error == 0) error = find(fd, name, &local, &remote);
  if (error != 0) return error;
  nc_address_write(name->family, &local, address, length); // not bound: family 0, all zero, as Linux says it
  return 0;
}

int nc_getpeername(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length) {
  if (name->state == NC_STATE_DATAGRAM) return nc_datagram_peername(fd, name, address, length);
  if (name->state != NC_STATE_CONNECTED || nc_is_over(fd)) return -ENOTCONN;
  struct nc_address local, remote;
  int error = nc_address_check_room(address, length);
  if (error == 0) error = find(fd, name, &local, &remote);
  if (error != 0) return error;
  if (remote.family == 0) return -ENOTCONN;
  nc_address_write(name->family, &remote, address, length);
  return 0;
}
