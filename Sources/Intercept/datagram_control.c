// Control messages of datagram sockets (cmsg(3), ip(7), ipv6(7), socket(7)): those a send takes, those a receipt gives.
//
// In the order, and with the errors, of Linux: ip_cmsg_send, ip6_datagram_send_ctl, __sock_cmsg_send for the one;
// sock_recv_timestamp, ip_cmsg_recv_offset, ip6_datagram_recv_ctl for the other.
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>

#include "datagram.h"

// Names of linux/in6.h that the C library's headers leave out.
enum { NC_IPV6_2292PKTINFO = 2, NC_IPV6_2292HOPLIMIT = 8, NC_IPV6_FLOWINFO = 11 };

static int read_number(const struct cmsghdr *header, int least, int greatest, int *number) {
  if (header->cmsg_len != CMSG_LEN(sizeof *number)) return -EINVAL;
  memcpy(number, CMSG_DATA(header), sizeof *number);
  return *number >= least && *number <= greatest ? 0 : -EINVAL;
}

static void set_hop_limit(struct nc_datagram *datagram, int number) {
  datagram->hop_limit = (uint8_t)number;
  datagram->flags |= NC_DATAGRAM_HAS_HOP_LIMIT;
}

static void set_traffic_class(struct nc_datagram *datagram, int number) {
  datagram->traffic_class = (uint8_t)number;
  datagram->flags |= NC_DATAGRAM_HAS_TRAFFIC_CLASS;
}

// Others of the socket level change nothing that a virtual network has: marks, transmit times.
static int read_socket_level(const struct cmsghdr *header) {
  switch (header->cmsg_type) {
  case SCM_RIGHTS:
  case SCM_CREDENTIALS: return 0;
  case SO_MARK: return -EPERM;
  default: return -EINVAL;
  }
}

static int read_v4(const struct cmsghdr *header, struct nc_datagram *datagram) {
  int number;
  int error;
  switch (header->cmsg_type) {
  case IP_PKTINFO: {
    struct in_pktinfo info;
    if (header->cmsg_len != CMSG_LEN(sizeof info)) return -EINVAL;
    memcpy(&info, CMSG_DATA(header), sizeof info);
    if (!nc_is_interface((uint32_t)info.ipi_ifindex)) return -ENODEV;
    if (info.ipi_spec_dst.s_addr == INADDR_ANY) return 0;
    datagram->local.family = AF_INET;
    memcpy(datagram->local.bytes, &info.ipi_spec_dst, sizeof info.ipi_spec_dst);
    return 0;
  }
  case IP_TTL:
    error = read_number(header, 1, 255, &number);
    if (error == 0) set_hop_limit(datagram, number);
    return error;
  case IP_TOS:
    if (header->cmsg_len == CMSG_LEN(1))
      number = *CMSG_DATA(header);
    else if ((error = read_number(header, 0, 255, &number)) != 0)
      return error;
    set_traffic_class(datagram, number);
    return 0;
  default: return -EINVAL;
  }
}

static int read_pktinfo6(const struct cmsghdr *header, struct nc_datagram *datagram) {
  struct in6_pktinfo info;
  if (header->cmsg_len < CMSG_LEN(sizeof info)) return -EINVAL;
  memcpy(&info, CMSG_DATA(header), sizeof info);
  if (!nc_is_interface(info.ipi6_ifindex)) return -ENODEV;
  if (IN6_IS_ADDR_UNSPECIFIED(&info.ipi6_addr)) return 0;
  bool is_mapped = IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr);
  datagram->local.family = is_mapped ? AF_INET : AF_INET6;
  memcpy(datagram->local.bytes, info.ipi6_addr.s6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : 16);
  if (nc_needs_scope(&datagram->local)) datagram->local.scope_id = info.ipi6_ifindex;
  return 0;
}

static int read_v6(const struct cmsghdr *header, struct nc_datagram *datagram) {
  int number;
  int error;
  switch (header->cmsg_type) {
  case IPV6_PKTINFO:
  case NC_IPV6_2292PKTINFO: return read_pktinfo6(header, datagram);
  case IPV6_HOPLIMIT:
  case NC_IPV6_2292HOPLIMIT:
    error = read_number(header, -1, 255, &number);
    if (error == 0 && number >= 0) set_hop_limit(datagram, number);
    return error;
  case IPV6_TCLASS:
    error = read_number(header, -1, 255, &number);
    if (error == 0 && number >= 0) set_traffic_class(datagram, number);
    return error;
  case NC_IPV6_FLOWINFO: return header->cmsg_len < CMSG_LEN(4) ? -EINVAL : 0;
  case IPV6_DONTFRAG: return read_number(header, 0, 1, &number);
  default: return -EINVAL;
  }
}

// __udp_cmsg_send
static int read_udp(const struct cmsghdr *header, struct nc_datagram *datagram) {
  uint16_t bytes;
  if (header->cmsg_type != UDP_SEGMENT || header->cmsg_len != CMSG_LEN(sizeof bytes)) return -EINVAL;
  memcpy(&bytes, CMSG_DATA(header), sizeof bytes);
  datagram->info = bytes;
  return 0;
}

int nc_datagram_read_control(const struct nc_name *name, const struct msghdr *message, struct nc_datagram *datagram) {
  struct msghdr copy = *message;
  bool is_v6 = name->family == AF_INET6 && datagram->peer.family != AF_INET;
  const char *end = (const char *)copy.msg_control + copy.msg_controllen;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&copy); header != NULL; header = CMSG_NXTHDR(&copy, header)) {
    if (header->cmsg_len < sizeof *header || header->cmsg_len > (size_t)(end - (const char *)header)) return -EINVAL;
    int error = 0;
    switch (header->cmsg_level) {
    case SOL_SOCKET: error = read_socket_level(header); break;
    case IPPROTO_UDP:
      if (name->protocol == IPPROTO_UDP) error = read_udp(header, datagram);
      break;
    case IPPROTO_IP:
      if (!is_v6) error = read_v4(header, datagram);
      break;
    case IPPROTO_IPV6:
      if (is_v6)
        error = read_v6(header, datagram);
      else if (name->family == AF_INET6 && header->cmsg_type == IPV6_PKTINFO)
        error = read_pktinfo6(header, datagram);
      break;
    default: break;
    }
    if (error != 0) return error;
  }
  return 0;
}

struct nc_control nc_control_of(const struct msghdr *message) {
  size_t room = message->msg_control != NULL ? message->msg_controllen : 0;
  return (struct nc_control){.at = message->msg_control, .room = room};
}

void nc_control_put(struct nc_control *control, int level, int type, const void *data, size_t bytes) {
  struct cmsghdr header = {.cmsg_len = CMSG_LEN(bytes), .cmsg_level = level, .cmsg_type = type};
  size_t room = control->room - control->used;
  if (room < sizeof header) {
    control->flags |= MSG_CTRUNC;
    return;
  }
  if (room < header.cmsg_len) {
    control->flags |= MSG_CTRUNC;
    header.cmsg_len = room;
  }
  char *at = control->at + control->used;
  memcpy(at, &header, sizeof header);
  memcpy(at + CMSG_LEN(0), data, header.cmsg_len - CMSG_LEN(0));
  size_t space = CMSG_SPACE(bytes);
  control->used += space < room ? space : room;
}

static void put_time(int marks, uint64_t time, struct nc_control *control) {
  struct timespec precise = {.tv_sec = (time_t)(time / 1000000000), .tv_nsec = (long)(time % 1000000000)};
  if ((marks & NC_MARK_TIMESTAMPNS) != 0) {
    nc_control_put(control, SOL_SOCKET, SO_TIMESTAMPNS, &precise, sizeof precise);
  } else if ((marks & NC_MARK_TIMESTAMP) != 0) {
    struct timeval coarse = {.tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000};
    nc_control_put(control, SOL_SOCKET, SO_TIMESTAMP, &coarse, sizeof coarse);
  }
}

static bool is_loopback(const struct nc_address *address) {
  if (address->family == AF_INET) return address->bytes[0] == 127;
  return IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(const void *)address->bytes);
}

static unsigned interface_of(const struct nc_datagram *header) {
  return is_loopback(&header->local) ? NC_INTERFACE_INDEX_LO : NC_INTERFACE_INDEX_NETWORK;
}

static void put_v4(int marks, const struct nc_datagram *header, struct nc_control *control) {
  if ((marks & NC_MARK_PKTINFO) != 0) {
    struct in_pktinfo info = {.ipi_ifindex = (int)interface_of(header)};
    memcpy(&info.ipi_addr, header->local.bytes, sizeof info.ipi_addr);
    info.ipi_spec_dst.s_addr = header->info != 0 ? header->info : info.ipi_addr.s_addr;
    nc_control_put(control, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  }
  if ((marks & NC_MARK_RECVTTL) != 0) {
    int ttl = header->hop_limit;
    nc_control_put(control, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
  }
  if ((marks & NC_MARK_RECVTOS) != 0)
    nc_control_put(control, IPPROTO_IP, IP_TOS, &header->traffic_class, sizeof header->traffic_class);
  if ((marks & NC_MARK_ORIGDSTADDR) != 0) {
    struct sockaddr_in in;
    socklen_t length = sizeof in;
    nc_address_write(AF_INET, &header->local, (struct sockaddr *)&in, &length);
    nc_control_put(control, IPPROTO_IP, IP_ORIGDSTADDR, &in, sizeof in);
  }
}

static void put_pktinfo6(const struct nc_datagram *header, struct nc_control *control) {
  struct in6_pktinfo info = {.ipi6_ifindex = interface_of(header)};
  struct sockaddr_in6 in6;
  socklen_t length = sizeof in6;
  nc_address_write(AF_INET6, &header->local, (struct sockaddr *)&in6, &length);
  info.ipi6_addr = in6.sin6_addr;
  nc_control_put(control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
}

void nc_datagram_write_control(const struct nc_name *name, int marks, const struct nc_datagram *header,
                               struct nc_control *control) {
  put_time(marks, header->time, control);
  if (name->family == AF_INET6 && (marks & NC_MARK_PKTINFO6) != 0) put_pktinfo6(header, control);
  if (header->local.family == AF_INET) {
    put_v4(marks, header, control);
    return;
  }
  if ((marks & NC_MARK_HOPLIMIT6) != 0) {
    int limit = header->hop_limit;
    nc_control_put(control, IPPROTO_IPV6, IPV6_HOPLIMIT, &limit, sizeof limit);
  }
  if ((marks & NC_MARK_TCLASS6) != 0) {
    int class = header->traffic_class;
    nc_control_put(control, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof class);
  }
}
