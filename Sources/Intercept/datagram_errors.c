// Errors that the network told of (ICMP), on datagram sockets: records on the pair among the data.
//
// Linux keeps an error beside the queue: the next call takes it, whichever that is, and where IP_RECVERR is on its
// message waits in a queue of its own for MSG_ERRQUEUE. Here it is a record in the order of arrival, so that processes
// which share the socket find it exactly once. A socket with an error queue keeps a record at the head of the pair after
// its errno was told once (NC_MARK_TOLD), for MSG_ERRQUEUE to take; a program that goes on without looking there
// (glibc's resolver is one) loses the record, not the datagram behind it.
#include <errno.h>
#include <time.h>

#include <linux/errqueue.h>
#include <string.h>

#include "datagram.h"

// The header at the head of the pair, without waiting. False where there is none, or it is no error.
static bool is_error_at_head(int fd, struct nc_datagram *header) {
  struct iovec part = {.iov_base = header, .iov_len = sizeof *header};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  long seen = nc_raw_recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);
  return seen == (long)sizeof *header && header->kind == NC_DATAGRAM_ERROR;
}

bool nc_datagram_has_error(int fd) {
  struct nc_datagram header;
  return is_error_at_head(fd, &header);
}

static void drop_head(int fd) {
  char byte;
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  (void)nc_raw_recvmsg(fd, &message, MSG_DONTWAIT);
}

int nc_datagram_take_error(int fd, int marks) {
  struct nc_datagram header;
  while (is_error_at_head(fd, &header)) {
    if ((marks & NC_MARKS_ERROR_QUEUE) == 0) {
      drop_head(fd);
      return header.error;
    }
    if ((marks & NC_MARK_TOLD) == 0) {
      nc_mark(fd, NC_MARK_TOLD);
      return header.error;
    }
    nc_unmark(fd, NC_MARK_TOLD);
    marks &= ~NC_MARK_TOLD;
    drop_head(fd);
  }
  return 0;
}

int nc_datagram_pending_error(int fd) { return nc_datagram_take_error(fd, nc_marks(fd)); }

// struct sock_extended_err and the address of who told (ip_recv_error, ipv6_recv_error).
static void put_extended_error(const struct nc_name *name, const struct nc_datagram *header,
                               struct nc_control *control) {
  struct {
    struct sock_extended_err error;
    union {
      struct sockaddr_in in;
      struct sockaddr_in6 in6;
    } offender;
  } value;
  memset(&value, 0, sizeof value);
  bool is_local = header->local.family == 0;
  value.error.ee_errno = header->error;
  value.error.ee_origin = is_local                        ? SO_EE_ORIGIN_LOCAL
                          : header->local.family == AF_INET ? SO_EE_ORIGIN_ICMP
                                                            : SO_EE_ORIGIN_ICMP6;
  value.error.ee_type = is_local ? 0 : header->icmp_type;
  value.error.ee_code = is_local ? 0 : header->icmp_code;
  value.error.ee_info = header->info;
  socklen_t length = sizeof value.offender;
  if (!is_local) nc_address_write(name->family, &header->local, (struct sockaddr *)&value.offender, &length);
  if (name->family == AF_INET) {
    size_t bytes = sizeof value.error + sizeof value.offender.in;
    nc_control_put(control, IPPROTO_IP, IP_RECVERR, &value, bytes);
  } else {
    nc_control_put(control, IPPROTO_IPV6, IPV6_RECVERR, &value, sizeof value);
  }
}

ssize_t nc_datagram_receive_error(int fd, const struct nc_name *name, struct msghdr *message, int flags) {
  struct nc_datagram header;
  if (!is_error_at_head(fd, &header)) return -EAGAIN; // never waits (recvmsg(2))
  struct iovec parts[message->msg_iovlen + 1];
  size_t room = 0;
  parts[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof header};
  for (size_t index = 0; index < message->msg_iovlen; index++) {
    parts[index + 1] = message->msg_iov[index];
    room += message->msg_iov[index].iov_len;
  }
  struct msghdr framed = {.msg_iov = parts, .msg_iovlen = message->msg_iovlen + 1};
  long received = nc_raw_recvmsg(fd, &framed, MSG_DONTWAIT | MSG_TRUNC);
  if (received < (long)sizeof header) return received < 0 ? received : -EAGAIN;
  nc_unmark(fd, NC_MARK_TOLD);
  size_t bytes = (size_t)received - sizeof header;
  message->msg_flags = MSG_ERRQUEUE | (bytes > room ? MSG_TRUNC : 0) | (flags & MSG_CMSG_CLOEXEC);
  if (message->msg_name != NULL)
    nc_address_write(name->family, &header.peer, message->msg_name, &message->msg_namelen);
  struct nc_control control = nc_control_of(message);
  const struct nc_address teller = header.local;
  // What was quoted has no destination of ours, so no IP_PKTINFO; who told is no part of the other messages.
  header.local = header.peer;
  nc_datagram_write_control(name, nc_marks(fd) & ~(NC_MARK_PKTINFO | NC_MARK_PKTINFO6 | NC_MARK_ORIGDSTADDR), &header,
                            &control);
  header.local = teller;
  put_extended_error(name, &header, &control);
  message->msg_controllen = control.used;
  message->msg_flags |= control.flags;
  return (ssize_t)(bytes < room ? bytes : room);
}
