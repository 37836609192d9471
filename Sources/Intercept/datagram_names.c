// bind(), connect(), names and shutdown() of datagram sockets, and the marks that their options leave at the app's end.
//
// Addresses are kept by the daemon: a datagram socket may change them at any time, so that no name of the pair could be
// final. All of these are immediate, connect() too.
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/udp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#include "datagram.h"

int nc_datagram_bind(int fd, const struct nc_name *name, const struct nc_address *address) {
  struct nc_request request = {.op = NC_OP_BIND, .address = *address};
  struct nc_reply reply;
  if (nc_needs_scope(address) && name->family == AF_INET6) {
    if (address->scope_id == 0) return -EINVAL; // inet6_bind: a link-local address wants its interface
    if (!nc_is_interface(address->scope_id)) return -ENODEV;
  }
  int reuse = 0;
  socklen_t length = sizeof reuse;
  if (nc_raw_getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &length) == 0 && reuse != 0)
    request.argument[0] = NC_BIND_REUSEADDR;
  int error = nc_rpc(&request, fd, &reply, NULL, false);
  if (error == 0) nc_mark(fd, NC_MARK_BOUND);
  return error;
}

static int disconnect(int fd) {
  struct nc_request request = {.op = NC_OP_CONNECT};
  struct nc_reply reply;
  int error = nc_rpc(&request, fd, &reply, NULL, false);
  if (error != 0) return error;
  // A port that bind() did not choose is given back.
  nc_unmark(fd, NC_MARK_CONNECTED | (reply.local.port == 0 ? NC_MARK_BOUND : 0));
  return 0;
}

static int read_peer(const struct nc_name *name, const struct sockaddr *address, socklen_t length,
                     struct nc_address *peer) {
  if (name->family == AF_INET6 && address->sa_family == AF_INET && name->protocol == IPPROTO_UDP)
    return nc_address_read(AF_INET, address, length, peer);
  int error = nc_address_read(name->family, address, length, peer);
  if (error != 0) return error;
  if (!nc_needs_scope(peer)) peer->scope_id = 0;
  // __ip6_datagram_connect: "Connect to link-local address requires an interface"
  const struct in6_addr *in6 = (const struct in6_addr *)(const void *)peer->bytes;
  if (peer->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(in6) && peer->scope_id == 0) return -EINVAL;
  return nc_is_interface(peer->scope_id) ? 0 : -ENODEV;
}

int nc_datagram_connect(int fd, const struct nc_name *name, const struct sockaddr *address, socklen_t length) {
  if (address->sa_family == AF_UNSPEC) return disconnect(fd);
  struct nc_request request = {.op = NC_OP_CONNECT};
  struct nc_reply reply;
  int error = read_peer(name, address, length, &request.address);
  if (error != 0) return error;
  error = nc_rpc(&request, fd, &reply, NULL, false);
  if (error == 0) nc_mark(fd, NC_MARK_CONNECTED | NC_MARK_BOUND);
  return error;
}

int nc_datagram_peername(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length) {
  if ((nc_marks(fd) & NC_MARK_CONNECTED) == 0) return -ENOTCONN;
  struct nc_reply reply;
  int error = nc_ask_names(fd, &reply);
  if (error != 0) return error;
  if (reply.remote.family == 0 || reply.remote.port == 0) return -ENOTCONN; // a ping socket's peer never has a port
  error = nc_address_check_room(address, length);
  if (error != 0) return error;
  nc_address_write(name->family, &reply.remote, address, length);
  return 0;
}

// inet_shutdown: without a peer it is ENOTCONN, and takes effect all the same. Native is only the receiving side, which wakes
// up whoever waits: were both shut on the pair, the daemon would take that for the last close.
int nc_datagram_shutdown(int fd, int how) {
  int marks = nc_marks(fd);
  if (how != SHUT_RD) nc_mark(fd, NC_MARK_SHUT_SENDS);
  if (how != SHUT_WR) {
    nc_mark(fd, NC_MARK_SHUT);
    (void)nc_raw_shutdown(fd, SHUT_RD);
  }
  return (marks & NC_MARK_CONNECTED) != 0 ? 0 : -ENOTCONN;
}

static int mark_of_ip(int option) {
  switch (option) {
  case IP_PKTINFO: return NC_MARK_PKTINFO;
  case IP_RECVTTL: return NC_MARK_RECVTTL;
  case IP_RECVTOS: return NC_MARK_RECVTOS;
  case IP_RECVERR: return NC_MARK_RECVERR;
  case IP_RECVORIGDSTADDR: return NC_MARK_ORIGDSTADDR;
  case IP_MTU_DISCOVER: return NC_MARK_DONTFRAG;
  default: return 0;
  }
}

static int mark_of_ip6(int option) {
  switch (option) {
  case IPV6_RECVPKTINFO: return NC_MARK_PKTINFO6;
  case IPV6_RECVHOPLIMIT: return NC_MARK_HOPLIMIT6;
  case IPV6_RECVTCLASS: return NC_MARK_TCLASS6;
  case IPV6_RECVERR: return NC_MARK_RECVERR6;
  case IPV6_MTU_DISCOVER:
  case IPV6_DONTFRAG: return NC_MARK_DONTFRAG;
  default: return 0;
  }
}

static int mark_of(int level, int option) {
  switch (level) {
  case IPPROTO_IP: return mark_of_ip(option);
  case IPPROTO_IPV6: return mark_of_ip6(option);
  case IPPROTO_UDP: return option == UDP_CORK ? NC_MARK_CORK : 0;
  case SOL_SOCKET:
    if (option == SO_TIMESTAMP) return NC_MARK_TIMESTAMP;
    if (option == SO_TIMESTAMPNS) return NC_MARK_TIMESTAMPNS;
    return 0;
  default: return 0;
  }
}

// Sends what was corked: on the pair, behind the pieces.
static void flush(int fd) {
  struct nc_datagram header = {.kind = NC_DATAGRAM_DATA, .flags = NC_DATAGRAM_FLUSH};
  struct iovec part = {.iov_base = &header, .iov_len = sizeof header};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  (void)nc_raw_sendmsg(fd, &message, MSG_NOSIGNAL);
}

void nc_datagram_settle(int fd) {
  enum { TURNS = 2000 }; // some milliseconds: a daemon that is stuck or gone must not hold the program up
  for (int turn = 0, unread = 0; turn < TURNS; turn++) {
    if (nc_native()->ioctl(fd, SIOCOUTQ, &unread) != 0 || unread == 0) return;
    sched_yield(); // no sleep: setsockopt() is no cancellation point
  }
}

void nc_datagram_option_set(int fd, int level, int option, const void *value, socklen_t length) {
  int mark = mark_of(level, option);
  if (mark == 0) return;
  int number = 0; // also for a null pointer, as at the level of IPv6
  if (length >= sizeof number && value != NULL)
    memcpy(&number, value, sizeof number);
  else if (length > 0 && value != NULL)
    number = *(const unsigned char *)value;
  bool is_on = number != 0;
  // IP_PMTUDISC_WANT and _INTERFACE fragment locally; _DO and _PROBE do not. IPV6_DONTFRAG is a flag.
  if (mark == NC_MARK_DONTFRAG && option != IPV6_DONTFRAG)
    is_on = number == IP_PMTUDISC_DO || number == IP_PMTUDISC_PROBE;
  // One kind of time at once (sock_set_timestamp): the later one stays.
  if ((mark & (NC_MARK_TIMESTAMP | NC_MARK_TIMESTAMPNS)) != 0) nc_unmark(fd, NC_MARK_TIMESTAMP | NC_MARK_TIMESTAMPNS);
  if (is_on)
    nc_mark(fd, mark);
  else
    nc_unmark(fd, mark);
  if (mark == NC_MARK_CORK && !is_on) flush(fd);
}

int nc_datagram_next_bytes(int fd) {
  struct nc_datagram header;
  struct iovec part = {.iov_base = &header, .iov_len = sizeof header};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  long bytes = nc_raw_recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
  if (bytes < (long)sizeof header || header.kind != NC_DATAGRAM_DATA) return 0;
  return (int)(bytes - (long)sizeof header);
}
