// socket(): which ones are ours, and what Linux says of a family, type and protocol that do not go together.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

#include "intercept.h"

enum { TYPE_MASK = 0xf, TYPE_END = 11 /* SOCK_MAX */, PROTOCOL_END = 263 /* IPPROTO_MAX, since MPTCP (Linux 5.6) */ };

bool nc_wants(int domain, int type) {
  if (domain != AF_INET && domain != AF_INET6) return false;
  // The kernel's obsolete way to a packet socket: nothing of the internet family.
  return !(domain == AF_INET && (type & TYPE_MASK) == SOCK_PACKET);
}

int nc_create_like(int model, int family, int type, int protocol, bool close_on_exec) {
  struct nc_request request = {.op = NC_OP_SOCKET, .argument = {family, type, protocol}};
  struct nc_reply reply;
  int fd = model < 0 && type == SOCK_STREAM ? nc_take_prepared(family, close_on_exec) : -EAGAIN;
  if (fd != -EAGAIN) {
    if (fd >= 0) nc_hint_mark(fd, NC_HINT_LOOK);
    return fd;
  }
  int error = nc_rpc(&request, model, &reply, &fd, close_on_exec);
  if (error != 0) return error;
  // The kernel had no number left for the passed fd and dropped it; the daemon sees that as a close.
  if (fd < 0) return -EMFILE;
  nc_hint_mark(fd, NC_HINT_LOOK);
  if (model < 0 && type == SOCK_STREAM) nc_want_prepared(family);
  return fd;
}

int nc_create(int family, int type, int protocol, bool close_on_exec) {
  return nc_create_like(-1, family, type, protocol, close_on_exec);
}

// The order of the checks is the kernel's (__sys_socket, __sock_create, inet_create).
int nc_socket(int domain, int type, int protocol) {
  int flags = type & ~TYPE_MASK;
  type &= TYPE_MASK;
  if ((flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0 || type >= TYPE_END) return -EINVAL;
  if (protocol < 0 || protocol >= PROTOCOL_END) return -EINVAL;
  switch (type) {
  case SOCK_STREAM: // MPTCP too is refused, as by a kernel built without it; those who ask for it fall back to TCP
    if (protocol != 0 && protocol != IPPROTO_TCP) return -EPROTONOSUPPORT;
    break;
  case SOCK_DGRAM:
  case SOCK_RAW: break; // the daemon's to judge
  default: return -ESOCKTNOSUPPORT;
  }
  int fd = nc_create(domain, type, protocol, (flags & SOCK_CLOEXEC) != 0);
  if (fd >= 0 && (flags & SOCK_NONBLOCK) != 0) (void)nc_raw_fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
  return fd;
}
