// What the files about datagram sockets share. Included after intercept.h.
#ifndef NETCOND_INTERCEPT_DATAGRAM_H
#define NETCOND_INTERCEPT_DATAGRAM_H

#include <netinet/in.h>

#include "intercept.h"

enum {
  NC_MARKS_ERROR_QUEUE = NC_MARK_RECVERR | NC_MARK_RECVERR6,
  /* The marks of sockets that may find an ERROR record on their pair. */
  NC_MARKS_ERRORS = NC_MARK_CONNECTED | NC_MARKS_ERROR_QUEUE,
};

/// Whether Linux wants the interface named beside the address: link-local ones, and groups of that scope
/// (__ipv6_addr_needs_scope_id).
static inline bool nc_needs_scope(const struct nc_address *address) {
  if (address->family != AF_INET6) return false;
  const struct in6_addr *in6 = (const struct in6_addr *)(const void *)address->bytes;
  return IN6_IS_ADDR_LINKLOCAL(in6) || IN6_IS_ADDR_MC_LINKLOCAL(in6) || IN6_IS_ADDR_MC_NODELOCAL(in6);
}

/// Whether the index, of a scope or from a control message, is of an interface that there is; 0 is none in particular.
static inline bool nc_is_interface(uint32_t index) { return index <= NC_INTERFACE_INDEX_NETWORK; }

// datagram_errors.c

/// Takes the error at the head of the pair, if there is one: a positive errno, else 0.
int nc_datagram_take_error(int fd, int marks);
/// Whether there is one.
bool nc_datagram_has_error(int fd);
/// MSG_ERRQUEUE.
ssize_t nc_datagram_receive_error(int fd, const struct nc_name *name, struct msghdr *message, int flags);

// datagram_control.c

/// Reads the control messages of a send into `header`: source, hop limit, traffic class. Returns 0 or a negative errno.
int nc_datagram_read_control(const struct nc_name *name, const struct msghdr *message, struct nc_datagram *header);
/// Where control messages go.
struct nc_control {
  char *at;
  size_t room;
  size_t used;
  int flags; /* MSG_CTRUNC */
};
struct nc_control nc_control_of(const struct msghdr *message);
/// Appends one, as far as there is room (put_cmsg of Linux).
void nc_control_put(struct nc_control *control, int level, int type, const void *data, size_t bytes);
/// The control messages that a datagram is received with.
void nc_datagram_write_control(const struct nc_name *name, int marks, const struct nc_datagram *header,
                               struct nc_control *control);

// datagram_routes.c

/// Whether a send of `bytes` bytes may go out on the pair: 0, or the negative errno that Linux fails it with at once.
/// Binds the socket if it is not bound.
int nc_datagram_route(int fd, const struct nc_name *name, int marks, const struct nc_datagram *header, size_t bytes);

#endif
