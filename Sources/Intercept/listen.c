// bind(), listen() and accept().
//
// Accepting needs no request: each connection is a record on the listener's pair with the connection's fd beside it.
// A recvmsg at the limit of fds would destroy that fd, so one is reserved first, as Linux's own accept does (EMFILE
// comes before anything else, and the connection stays queued). The wait is a one-byte MSG_PEEK, which has everything a
// blocking accept has: O_NONBLOCK, SO_RCVTIMEO, EINTR or restart, cancellation.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

#include "intercept.h"

static int read_bind_address(int family, const struct sockaddr *address, socklen_t length, struct nc_address *read) {
  struct sockaddr_storage copy;
  int error = nc_address_copy(address, length, &copy);
  if (error != 0) return error;
  address = (const struct sockaddr *)&copy;
  error = nc_address_read(family, address, length, read);
  if (error != -EAFNOSUPPORT || family != AF_INET) return error;
  // Linux takes AF_UNSPEC with the address 0.0.0.0 for AF_INET (compatibility, __inet_bind).
  struct sockaddr_in in;
  memcpy(&in, address, sizeof in);
  if (in.sin_family != AF_UNSPEC || in.sin_addr.s_addr != 0) return error;
  in.sin_family = AF_INET;
  return nc_address_read(family, (const struct sockaddr *)&in, sizeof in, read);
}

int nc_bind(int fd, struct nc_name *name, const struct sockaddr *address, socklen_t length) {
  struct nc_request request = {.op = NC_OP_BIND};
  struct nc_reply reply;
  int error = read_bind_address(name->family, address, length, &request.address);
  if (error != 0) return error;
  if (name->state == NC_STATE_DATAGRAM) return nc_datagram_bind(fd, name, &request.address);
  error = nc_revive(fd, name);
  if (error != 0) return error;
  if (name->state != NC_STATE_NEW) return -EINVAL;
  int reuse = 0;
  socklen_t reuse_length = sizeof reuse;
  if (nc_raw_getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &reuse_length) == 0 && reuse != 0)
    request.argument[0] = NC_BIND_REUSEADDR;
  error = nc_rpc(&request, fd, &reply, NULL, false);
  if (error == 0) nc_mark(fd, NC_MARK_NAMED);
  return error;
}

int nc_listen(int fd, struct nc_name *name, int backlog) {
  if (name->type != SOCK_STREAM) return -EOPNOTSUPP;
  int error = nc_revive(fd, name);
  if (error != 0) return error;
  if (name->state != NC_STATE_NEW && name->state != NC_STATE_LISTENING) return -EINVAL;
  struct nc_request request = {.op = NC_OP_LISTEN, .argument = {backlog}};
  struct nc_reply reply;
  return nc_rpc(&request, fd, &reply, NULL, false);
}

void nc_drop_queued(int fd) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct nc_accept_record record;
  struct iovec part = {.iov_base = &record, .iov_len = sizeof record};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
  for (;;) {
    message.msg_controllen = CMSG_LEN(sizeof(int));
    if (nc_raw_recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) return;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int dropped = -1;
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) memcpy(&dropped, CMSG_DATA(header), sizeof dropped);
    if (dropped >= 0) nc_raw_close(dropped); // with its mark unread: the daemon resets the connection
  }
}

static int reserve_fd(int fd) {
  int reserved = nc_raw_fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (reserved >= 0) nc_raw_close(reserved);
  return reserved;
}

// Takes one queued connection without waiting. Returns its fd; -EAGAIN: none; -EPIPE: the daemon's end is closed.
static int take_record(int fd, struct nc_accept_record *record, bool close_on_exec) {
  int accepted;
  int flags = MSG_DONTWAIT | (close_on_exec ? MSG_CMSG_CLOEXEC : 0);
  long bytes = nc_receive_with_fd(fd, record, sizeof *record, flags, &accepted);
  if (bytes == 0 || bytes == -ECONNRESET) return -EPIPE;
  if (bytes < 0) return (int)bytes;
  // Another thread took the reserved number in between: the connection is lost, and EMFILE says why.
  if (accepted < 0) return accepted == -EMFILE ? -EMFILE : -EPROTO;
  if (bytes == sizeof *record && record->magic == NC_RPC_MAGIC && record->version == NC_RPC_VERSION) {
    char mark[8];
    size_t marks = record->unaccepted < sizeof mark ? record->unaccepted : sizeof mark;
    if (marks > 0) (void)nc_raw(SYS_recvfrom, accepted, (long)mark, (long)marks, MSG_DONTWAIT, 0, 0);
    return accepted;
  }
  nc_raw_close(accepted);
  return -EPROTO;
}

// Returns 0 once there may be a record, -EPIPE at the end of the listener, or the error that ends the call.
static int await_record(int fd) {
  char first;
  int saved = errno;
  ssize_t seen = nc_native()->recvfrom(fd, &first, 1, MSG_PEEK, NULL, NULL);
  int error = errno;
  errno = saved;
  if (seen > 0) return 0;
  return seen == 0 || error == ECONNRESET ? -EPIPE : -error;
}

int nc_accept(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length, int flags) {
  if ((flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return -EINVAL;
  if (name->type != SOCK_STREAM) return -EOPNOTSUPP;
  if (name->state != NC_STATE_LISTENING) return -EINVAL;
  int error = reserve_fd(fd);
  if (error < 0) return error;
  struct nc_accept_record record;
  int accepted;
  for (;;) {
    accepted = take_record(fd, &record, (flags & SOCK_CLOEXEC) != 0);
    if (accepted >= 0) break;
    error = accepted == -EAGAIN ? await_record(fd) : accepted;
    // Shut down by the app, or the daemon died.
    if (error == -EPIPE) return (nc_marks(fd) & NC_MARK_SHUT) != 0 ? -EINVAL : -ENETDOWN;
    if (error != 0) return error;
    // The wait may have been long: numbers free before it may not be now.
    error = reserve_fd(fd);
    if (error < 0) return error;
  }
  error = address == NULL ? 0 : nc_address_check_room(address, length);
  if (error != 0) { // Linux too has accepted by then, and drops the connection
    nc_raw_close(accepted);
    return error;
  }
  if ((flags & SOCK_NONBLOCK) != 0) (void)nc_raw_fcntl(accepted, F_SETFL, O_RDWR | O_NONBLOCK);
  nc_hint_mark(accepted, NC_HINT_STREAM);
  nc_spin_learn_once(accepted);
  nc_inherit_timeouts(fd, accepted);
  if (address != NULL) nc_address_write(name->family, &record.remote, address, length);
  return accepted;
}
