// getsockname() and getpeername(): from the pair's name where there is one and the state is final, else from the daemon, which
// then gives a connection its name.
#include <errno.h>

#include "intercept.h"

static int ask(int fd, struct nc_reply *reply) {
  struct nc_request request = {.op = NC_OP_NAMES};
  return nc_rpc(&request, fd, reply, NULL, false);
}

int nc_getsockname(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length) {
  int error = nc_address_check_room(address, length);
  if (error != 0) return error;
  if (name->state != NC_STATE_NEW && name->state != NC_STATE_DATAGRAM && name->local.family != 0) {
    nc_address_write(name->family, &name->local, address, length);
    return 0;
  }
  struct nc_reply reply;
  error = ask(fd, &reply);
  if (error != 0) return error;
  nc_address_write(name->family, &reply.local, address, length); // not bound: family 0, all zero, as Linux says it
  return 0;
}

int nc_getpeername(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length) {
  if (name->state == NC_STATE_DATAGRAM) return nc_datagram_peername(fd, name, address, length);
  if (name->state != NC_STATE_CONNECTED || nc_is_over(fd)) return -ENOTCONN;
  int error = nc_address_check_room(address, length);
  if (error != 0) return error;
  if (name->remote.family != 0) {
    nc_address_write(name->family, &name->remote, address, length);
    return 0;
  }
  struct nc_reply reply;
  error = ask(fd, &reply);
  if (error != 0) return error;
  if (reply.remote.family == 0) return -ENOTCONN;
  nc_address_write(name->family, &reply.remote, address, length);
  return 0;
}
