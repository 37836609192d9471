#include "nc_host_datagram.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/errqueue.h>

void nc_host_datagram_prepare(int fd, int is_v6) {
  const int on = 1;
  if (!is_v6) {
    static const int options[] = {IP_RECVERR, IP_PKTINFO, IP_RECVTTL, IP_RECVTOS};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) setsockopt(fd, IPPROTO_IP, options[i], &on, sizeof on);
    return;
  }
  static const int options[] = {IPV6_V6ONLY, IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    setsockopt(fd, IPPROTO_IPV6, options[i], &on, sizeof on);
}

// struct sock_extended_err, with the address of who told behind it.
static void read_error(const struct cmsghdr *header, struct nc_host_datagram *out) {
  struct sock_extended_err error;
  const size_t bytes = header->cmsg_len - CMSG_LEN(0);
  if (bytes < sizeof error) return;
  memcpy(&error, CMSG_DATA(header), sizeof error);
  out->error = (int)error.ee_errno;
  out->is_icmp = error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6;
  out->icmp_type = error.ee_type;
  out->icmp_code = error.ee_code;
  out->info = error.ee_info;
  out->teller_bytes = bytes - sizeof error < sizeof out->teller ? bytes - sizeof error : sizeof out->teller;
  memcpy(out->teller, CMSG_DATA(header) + sizeof error, out->teller_bytes);
}

static void read_control(const struct cmsghdr *header, struct nc_host_datagram *out) {
  const void *data = CMSG_DATA(header);
  const int type = header->cmsg_type;
  if (header->cmsg_level == IPPROTO_IP && type == IP_PKTINFO) {
    struct in_pktinfo info;
    memcpy(&info, data, sizeof info);
    memcpy(out->local, &info.ipi_addr, out->local_bytes = sizeof info.ipi_addr);
  } else if (header->cmsg_level == IPPROTO_IP && type == IP_TTL) {
    memcpy(&out->hop_limit, data, sizeof out->hop_limit);
  } else if (header->cmsg_level == IPPROTO_IP && type == IP_TOS) {
    out->traffic_class = *(const unsigned char *)data;
  } else if (header->cmsg_level == IPPROTO_IPV6 && type == IPV6_PKTINFO) {
    struct in6_pktinfo info;
    memcpy(&info, data, sizeof info);
    memcpy(out->local, &info.ipi6_addr, out->local_bytes = sizeof info.ipi6_addr);
  } else if (header->cmsg_level == IPPROTO_IPV6 && type == IPV6_HOPLIMIT) {
    memcpy(&out->hop_limit, data, sizeof out->hop_limit);
  } else if (header->cmsg_level == IPPROTO_IPV6 && type == IPV6_TCLASS) {
    memcpy(&out->traffic_class, data, sizeof out->traffic_class);
  } else if ((header->cmsg_level == IPPROTO_IP && type == IP_RECVERR) ||
             (header->cmsg_level == IPPROTO_IPV6 && type == IPV6_RECVERR)) {
    read_error(header, out);
  }
}

int nc_host_datagram_receive(int fd, int errors, void *payload, size_t capacity, struct nc_host_datagram *out) {
  union {
    struct cmsghdr header;
    char space[512];
  } control;
  memset(out, 0, sizeof *out);
  out->hop_limit = out->traffic_class = -1;
  struct iovec vector = {.iov_base = payload, .iov_len = capacity};
  struct msghdr message = {.msg_name = out->peer, .msg_namelen = sizeof out->peer, .msg_iov = &vector, .msg_iovlen = 1,
                           .msg_control = &control, .msg_controllen = sizeof control};
  const ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT | (errors ? MSG_ERRQUEUE : 0));
  if (received < 0) return -errno;
  out->bytes = (size_t)received;
  out->peer_bytes = message.msg_namelen;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header))
    read_control(header, out);
  return 0;
}

static void put(struct msghdr *message, int level, int type, const void *data, size_t bytes) {
  struct cmsghdr *header = (struct cmsghdr *)((char *)message->msg_control + message->msg_controllen);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(bytes);
  memcpy(CMSG_DATA(header), data, bytes);
  message->msg_controllen += CMSG_SPACE(bytes);
}

int nc_host_datagram_send(int fd, int is_v6, const void *peer, size_t peer_bytes, const void *source, int hop_limit,
                          int traffic_class, const void *payload, size_t bytes) {
  union {
    struct cmsghdr header;
    char space[256];
  } control;
  memset(&control, 0, sizeof control);
  struct iovec vector = {.iov_base = (void *)payload, .iov_len = bytes};
  struct msghdr message = {.msg_name = (void *)peer, .msg_namelen = (socklen_t)peer_bytes, .msg_iov = &vector,
                           .msg_iovlen = 1, .msg_control = &control};
  const int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  put(&message, level, is_v6 ? IPV6_HOPLIMIT : IP_TTL, &hop_limit, sizeof hop_limit);
  put(&message, level, is_v6 ? IPV6_TCLASS : IP_TOS, &traffic_class, sizeof traffic_class);
  if (source != NULL && is_v6) {
    struct in6_pktinfo info = {0};
    memcpy(&info.ipi6_addr, source, sizeof info.ipi6_addr);
    put(&message, level, IPV6_PKTINFO, &info, sizeof info);
  } else if (source != NULL) {
    struct in_pktinfo info = {0};
    memcpy(&info.ipi_spec_dst, source, sizeof info.ipi_spec_dst);
    put(&message, level, IP_PKTINFO, &info, sizeof info);
  }
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
