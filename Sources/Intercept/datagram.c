// The data calls on datagram sockets: each datagram travels on the pair behind a struct nc_datagram.
//
// A send knows at once what Linux's would: the destination's form is checked here, its route by a request to the daemon
// whose answers are kept for a second (datagram_routes.c). Errors that come later, from the network, are records on the
// pair; the next send or receipt takes them (datagram_errors.c). Where the app's end is full the kernel makes the call
// wait or fail with EAGAIN, as a full send buffer does.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "datagram.h"

enum { UDP_MAX_SEGMENTS = 128 }; /* linux/udp.h */

static ssize_t result_of(ssize_t result) { return result < 0 ? -errno : result; }

static ssize_t count_bytes(const struct iovec *parts, size_t count) {
  if (count > IOV_MAX) return -EMSGSIZE;
  size_t bytes = 0;
  for (size_t index = 0; index < count; index++) {
    if ((ssize_t)parts[index].iov_len < 0) return -EINVAL;
    bytes += parts[index].iov_len;
    if (bytes > SSIZE_MAX) return -EINVAL;
  }
  return (ssize_t)bytes;
}

// Sending

// udp_sendmsg: AF_UNSPEC passes for AF_INET.
static int read_v4(const struct nc_name *name, const struct msghdr *message, struct nc_address *peer) {
  struct sockaddr_in in;
  if (message->msg_namelen < sizeof in) return -EINVAL;
  memcpy(&in, message->msg_name, sizeof in);
  if (in.sin_family == AF_UNSPEC && name->protocol == IPPROTO_UDP) in.sin_family = AF_INET;
  return nc_address_read(AF_INET, (const struct sockaddr *)&in, sizeof in, peer);
}

// udpv6_sendmsg: AF_UNSPEC is no address at all, AF_INET passes.
static int read_v6(const struct nc_name *name, const struct msghdr *message, struct nc_address *peer) {
  sa_family_t family;
  if (message->msg_namelen < sizeof family) return -EINVAL;
  memcpy(&family, message->msg_name, sizeof family);
  if (name->protocol == IPPROTO_UDP) {
    if (family == AF_UNSPEC) return 0;
    if (family == AF_INET) return read_v4(name, message, peer);
    if (family != AF_INET6) return -EINVAL;
  }
  return nc_address_read(AF_INET6, message->msg_name, message->msg_namelen, peer);
}

// Reads the destination into `peer`; family 0 is the socket's own peer.
static int read_destination(const struct nc_name *name, int marks, const struct msghdr *message,
                            struct nc_address *peer) {
  memset(peer, 0, sizeof *peer);
  if (message->msg_name != NULL && message->msg_namelen != 0) {
    int error = name->family == AF_INET ? read_v4(name, message, peer) : read_v6(name, message, peer);
    if (error != 0) return error;
  }
  if (peer->family == 0) return (marks & NC_MARK_CONNECTED) != 0 ? 0 : -EDESTADDRREQ;
  if (peer->port == 0 && name->protocol == IPPROTO_UDP) return -EINVAL;
  // The scope counts only where it tells something.
  if (!nc_needs_scope(peer)) peer->scope_id = 0;
  return nc_is_interface(peer->scope_id) ? 0 : -ENODEV;
}

// What a ping socket may send: echo requests (ping_v4_sendmsg, ping_v6_sendmsg).
static int check_echo(const struct nc_name *name, const struct msghdr *message, size_t bytes) {
  enum { ICMP_HEADER_BYTES = 8, ECHO_REQUEST = 8, ECHO_REQUEST_6 = 128 };
  uint8_t begin[2] = {0};
  size_t have = 0;
  if (bytes < ICMP_HEADER_BYTES) return -EINVAL;
  for (size_t index = 0; index < message->msg_iovlen && have < sizeof begin; index++) {
    const struct iovec *part = &message->msg_iov[index];
    for (size_t at = 0; at < part->iov_len && have < sizeof begin; at++)
      begin[have++] = ((const uint8_t *)part->iov_base)[at];
  }
  uint8_t request = name->family == AF_INET ? ECHO_REQUEST : ECHO_REQUEST_6;
  return begin[0] == request && begin[1] == 0 ? 0 : -EINVAL;
}

static int prepare_header(int fd, const struct nc_name *name, int marks, const struct msghdr *message, size_t bytes,
                          struct nc_datagram *header) {
  int error = name->protocol != IPPROTO_UDP ? check_echo(name, message, bytes) : 0;
  if (error != 0) return error;
  error = read_destination(name, marks, message, &header->peer);
  if (error != 0) return error;
  if (message->msg_control != NULL && message->msg_controllen != 0) {
    error = nc_datagram_read_control(name, message, header);
    if (error != 0) return error;
    if (header->info != 0 && bytes > header->info * (size_t)UDP_MAX_SEGMENTS) return -EINVAL; // udp_send_skb
  }
  error = nc_datagram_route(fd, name, marks, header, bytes);
  if (error != 0) return error;
  return (marks & NC_MARKS_ERRORS) != 0 ? -nc_datagram_take_error(fd, marks) : 0;
}

ssize_t nc_datagram_send(int fd, const struct nc_name *name, const struct msghdr *message, int flags) {
  if ((int)message->msg_namelen < 0) return -EINVAL;
  ssize_t bytes = count_bytes(message->msg_iov, message->msg_iovlen);
  if (bytes < 0) return bytes;
  if (bytes > UINT16_MAX) return -EMSGSIZE;
  int marks = nc_marks(fd);
  bool is_urgent = (flags & MSG_OOB) != 0;
  if (is_urgent && (name->family == AF_INET || name->protocol != IPPROTO_UDP)) return -EOPNOTSUPP;
  if ((marks & NC_MARK_SHUT_SENDS) != 0) return -EPIPE;
  struct nc_datagram header = {.kind = NC_DATAGRAM_DATA};
  int error = prepare_header(fd, name, marks, message, (size_t)bytes, &header);
  if (error != 0) return error;
  if (is_urgent && header.peer.family == AF_INET) return -EOPNOTSUPP; // udpv6_sendmsg does not look at it
  bool has_more = (flags & MSG_MORE) != 0 || (marks & NC_MARK_CORK) != 0;
  if (has_more && name->protocol == IPPROTO_UDP) header.flags |= NC_DATAGRAM_MORE;
  struct iovec parts[message->msg_iovlen + 1];
  parts[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof header};
  size_t count = 1;
  for (size_t index = 0; index < message->msg_iovlen; index++)
    if (message->msg_iov[index].iov_len > 0) parts[count++] = message->msg_iov[index];
  struct msghdr framed = {.msg_iov = parts, .msg_iovlen = count};
  ssize_t sent = result_of(nc_native()->sendmsg(fd, &framed, (flags & MSG_DONTWAIT) | MSG_NOSIGNAL));
  switch (sent) {
  case -EPIPE: // the daemon is gone
  case -ECONNRESET:
  case -ENOTCONN: return -ENETDOWN;
  default: return sent < 0 ? sent : bytes;
  }
}

// Receiving

// With an error queue the record must stay where it is until that is read; without, it carries nothing and goes at once.
static int await_head(int fd, int marks, int flags) {
  struct nc_datagram header;
  for (;;) {
    ssize_t seen = result_of(nc_native()->recvfrom(fd, &header, sizeof header, (flags & MSG_DONTWAIT) | MSG_PEEK, NULL,
                                                   NULL));
    if (seen < (ssize_t)sizeof header || header.kind != NC_DATAGRAM_ERROR) return seen < 0 ? (int)seen : 0;
    int error = nc_datagram_take_error(fd, marks);
    if (error != 0) return -error;
    marks = nc_marks(fd);
  }
}

// The pair ended: by the app's shutdown(), or because the daemon is gone.
static ssize_t end_of_pair(int fd) { return (nc_marks(fd) & NC_MARK_SHUT) != 0 ? 0 : -ENETDOWN; }

static void fill_message(const struct nc_name *name, int marks, const struct nc_datagram *header,
                         struct msghdr *message) {
  if (message->msg_name != NULL)
    nc_address_write(name->family, &header->peer, message->msg_name, &message->msg_namelen);
  struct nc_control control = nc_control_of(message);
  nc_datagram_write_control(name, marks, header, &control);
  message->msg_controllen = control.used;
  message->msg_flags |= control.flags;
}

ssize_t nc_datagram_receive(int fd, const struct nc_name *name, struct msghdr *message, int flags) {
  if ((int)message->msg_namelen < 0) return -EINVAL;
  if ((flags & MSG_ERRQUEUE) != 0) return nc_datagram_receive_error(fd, name, message, flags);
  if ((flags & MSG_OOB) != 0 && name->protocol != IPPROTO_UDP) return -EOPNOTSUPP;
  ssize_t room = count_bytes(message->msg_iov, message->msg_iovlen);
  if (room < 0) return room;
  int marks = nc_marks(fd);
  struct nc_datagram header;
  struct iovec parts[message->msg_iovlen + 1];
  parts[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof header};
  size_t count = 1;
  for (size_t index = 0; index < message->msg_iovlen; index++)
    if (message->msg_iov[index].iov_len > 0) parts[count++] = message->msg_iov[index];
  ssize_t received;
  for (;;) {
    bool is_seen = (marks & NC_MARKS_ERROR_QUEUE) != 0;
    int error = is_seen ? await_head(fd, marks, flags) : 0;
    if (error == -ECONNRESET) return end_of_pair(fd);
    if (error != 0) return error;
    struct msghdr framed = {.msg_iov = parts, .msg_iovlen = count};
    int wait = is_seen ? MSG_DONTWAIT : flags & MSG_DONTWAIT;
    received = result_of(nc_native()->recvmsg(fd, &framed, wait | MSG_TRUNC | (flags & MSG_PEEK)));
    // Somebody else took what was seen: on, unless the call does not wait.
    if (received == -EAGAIN && is_seen && (flags & MSG_DONTWAIT) == 0) {
      int status = nc_raw_fcntl(fd, F_GETFL, 0);
      if (status >= 0 && (status & O_NONBLOCK) == 0) continue;
    }
    break;
  }
  if (received == -ECONNRESET || received == 0) return end_of_pair(fd);
  if (received < 0) return received;
  if (received < (ssize_t)sizeof header) return -EPROTO;
  if (header.kind == NC_DATAGRAM_ERROR) {
    if ((flags & MSG_PEEK) != 0) return -nc_datagram_take_error(fd, marks);
    return -(int)header.error;
  }
  ssize_t bytes = received - (ssize_t)sizeof header;
  message->msg_flags = (bytes > room ? MSG_TRUNC : 0) | (flags & MSG_CMSG_CLOEXEC);
  fill_message(name, marks, &header, message);
  // ping_recvmsg does not know MSG_TRUNC as a flag.
  bool tells_all = (flags & MSG_TRUNC) != 0 && name->protocol == IPPROTO_UDP;
  return tells_all || bytes < room ? bytes : room;
}
