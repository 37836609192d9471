// How datagrams leave: by the path's MTU, joined, cut, and with what the socket's options say.
#include "udp.h"

static void mtu_app(void) {
  static char bytes[3000];
  int port, fd = app_socket(&port), level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  int discover = family == AF_INET ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, mtu = family == AF_INET ? IP_MTU : IPV6_MTU;
  int most = family == AF_INET ? 1472 : 1452;
  say_option("MTU unconnected", fd, level, mtu);
  NEED(connect_to(fd, PEER, port) == 0);
  say_option("MTU", fd, level, mtu);
  result("never fragment", set_option(fd, level, discover, IP_PMTUDISC_DO));
  result("what fits", send(fd, bytes, most, 0));
  result("one more", send(fd, bytes, most + 1, 0));
  say_error("SO_ERROR", fd);
  result("probe", set_option(fd, level, discover, IP_PMTUDISC_PROBE));
  result("one more by probe", send(fd, bytes, most + 1, 0));
  result("as usual", set_option(fd, level, discover, IP_PMTUDISC_WANT));
  result("one more in fragments", send(fd, bytes, most + 1, 0));
  if (family == AF_INET6) {
    result("IPV6_DONTFRAG", set_option(fd, level, IPV6_DONTFRAG, 1));
    result("with it", send(fd, bytes, most + 1, 0));
  }
  stop_echo(port);
}
SCENARIO_BOTH(udp_mtu, .app = mtu_app, .peer = echo_peer);

static void joined_app(void) {
  int port, fd = app_socket(&port);
  NEED(connect_to(fd, PEER, port) == 0);
  result("MSG_MORE", send(fd, "ab", 2, MSG_MORE));
  result("MSG_MORE again", send(fd, "cd", 2, MSG_MORE));
  result("the last", send(fd, "ef", 2, 0));
  say_poll("poll", fd, POLLIN);
  say_datagram("one datagram", fd, MSG_DONTWAIT);
  result("UDP_CORK", set_option(fd, IPPROTO_UDP, 1, 1));
  result("corked", send(fd, "gh", 2, 0));
  result("corked", send(fd, "ij", 2, 0));
  say_quiet("nothing yet", fd, POLLIN);
  result("uncork", set_option(fd, IPPROTO_UDP, 1, 0));
  say_poll("poll", fd, POLLIN);
  say_datagram("one datagram", fd, MSG_DONTWAIT);
  stop_echo(port);
}
SCENARIO_BOTH(udp_joined, .app = joined_app, .peer = echo_peer);

static void cut_app(void) {
  int port, fd = app_socket(&port);
  NEED(connect_to(fd, PEER, port) == 0);
  result("UDP_SEGMENT", set_option(fd, IPPROTO_UDP, 103, 5));
  result("send", send(fd, "0123456789ab", 12, 0));
  for (int i = 0; i < 3; i++) {
    wait_for(fd, POLLIN);
    say_datagram("piece", fd, MSG_DONTWAIT);
  }
  stop_echo(port);
}
SCENARIO_BOTH(udp_cut, .app = cut_app, .peer = echo_peer);

static void effect_app(void) {
  int port, fd = app_socket(&port);
  bool v4 = family == AF_INET;
  NEED(connect_to(fd, PEER, port) == 0);
  for (int i = 0; i < 3; i++) {
    result("TTL", set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_UNICAST_HOPS, (int[]){64, 1, 255}[i]));
    result("TOS", set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, (int[]){0, 0xb8, 3}[i]));
    result("send", send(fd, "x", 1, 0));
  }
  hear("done");
}

static void effect_peer(void) {
  int fd = peer_socket();
  bool v4 = family == AF_INET;
  set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1);
  set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVTOS : IPV6_RECVTCLASS, 1);
  for (int i = 0; i < 3; i++) {
    char byte, control[100];
    struct msghdr message = {.msg_iov = &(struct iovec){&byte, 1}, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    wait_for(fd, POLLIN);
    result("recvmsg", recvmsg(fd, &message, MSG_DONTWAIT));
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
      int value = 0;
      size_t length = header->cmsg_len - CMSG_LEN(0);
      memcpy(&value, CMSG_DATA(header), length < 4 ? length : 4);
      say("control", "%d %d: %d", header->cmsg_level, header->cmsg_type, value);
    }
  }
  tell("done");
}
SCENARIO_BOTH(udp_effect, .app = effect_app, .peer = effect_peer);
