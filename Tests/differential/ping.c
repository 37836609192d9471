// ICMP sockets for everybody (icmp(7)): echo requests out, echo replies in.
#include "differential.h"
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

static int ping(void) {
  int fd = socket(family, SOCK_DGRAM, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
  NEED(fd >= 0);
  return fd;
}

static size_t fill_request(char *bytes, size_t size, int sequence) {
  memset(bytes, 0, size);
  for (size_t at = 8; at < size; at++) bytes[at] = (char)at;
  bytes[0] = family == AF_INET ? ICMP_ECHO : (char)ICMP6_ECHO_REQUEST;
  bytes[6] = (char)(sequence >> 8);
  bytes[7] = (char)sequence;
  return size;
}

static long request(int fd, enum host host, size_t size, int sequence) {
  char bytes[4000];
  struct address to = at(host, 0);
  return sendto(fd, bytes, fill_request(bytes, size, sequence), 0, &to.sa, to.length);
}

static void say_reply(const char *label, int fd, int id) {
  char bytes[4000];
  struct address from = {.length = sizeof from.storage};
  if (wait_for(fd, POLLIN) == 0) {
    say(label, "none");
    return;
  }
  ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, &from.sa, &from.length);
  if (count < 8) {
    result(label, count);
    return;
  }
  bool same = true;
  for (ssize_t at = 8; at < count; at++) same = same && bytes[at] == (char)at;
  int seen = (unsigned char)bytes[4] << 8 | (unsigned char)bytes[5];
  say(label, "%zd bytes, type %u, code %u, sequence %u, %s, %s", count, (unsigned char)bytes[0], bytes[1],
      (unsigned char)bytes[7], seen == id ? "our identifier" : "another identifier", same ? "equal" : "different");
  char with[64];
  snprintf(with, sizeof with, "%s: from", label);
  say_address(with, &from, from.length);
}

static void echo_app(void) {
  int fd = ping();
  say_option("SO_PROTOCOL", fd, SOL_SOCKET, SO_PROTOCOL);
  say_option("SO_TYPE", fd, SOL_SOCKET, SO_TYPE);
  result("send", request(fd, PEER, 64, 1));
  int id = port_of(fd);
  say_reply("reply", fd, id);
  result("header alone", request(fd, PEER, 8, 2));
  say_reply("reply", fd, id);
  result("in fragments", request(fd, PEER, 3000, 3));
  say_reply("reply", fd, id);
  result("loopback", request(fd, LOOPBACK, 64, 4));
  say_reply("reply", fd, id);
  result("own", request(fd, APP, 64, 5));
  say_reply("reply", fd, id);
  result("connect", connect_to(fd, PEER, 0));
  char bytes[16];
  result("connected send", send(fd, bytes, fill_request(bytes, sizeof bytes, 6), 0));
  say_reply("reply", fd, id);
}
SCENARIO_BOTH(ping_echo, .app = echo_app);

static void arguments_app(void) {
  int fd = ping();
  char bytes[16];
  struct address to = at(PEER, 0);
  fill_request(bytes, sizeof bytes, 1);
  result("no peer", send(fd, bytes, sizeof bytes, 0));
  result("short", sendto(fd, bytes, 7, 0, &to.sa, to.length));
  bytes[1] = 1;
  result("code 1", sendto(fd, bytes, sizeof bytes, 0, &to.sa, to.length));
  bytes[1] = 0;
  bytes[0] = 0;
  result("a reply", sendto(fd, bytes, sizeof bytes, 0, &to.sa, to.length));
  fill_request(bytes, sizeof bytes, 1);
  result("MSG_OOB", sendto(fd, bytes, sizeof bytes, MSG_OOB, &to.sa, to.length));
  result("short address", sendto(fd, bytes, sizeof bytes, 0, &to.sa, to.length - 5));
  result("unrouted", request(fd, UNROUTED, 64, 1));
  to.sa.sa_family = AF_UNIX;
  result("family", sendto(fd, bytes, sizeof bytes, 0, &to.sa, to.length));
  result("bind absent", bind_to(ping(), ABSENT, 0));
  int own = ping(), same = ping(), other = ping();
  result("bind own", bind_to(own, APP, 0x1234));
  name_port(0x1234, "chosen");
  say_local("name", own);
  result("bind again", bind_to(own, APP, 0x1235));
  result("same identifier", bind_to(same, ANY, 0x1234));
  result("another", bind_to(other, ANY, 0x1236));
  result("listen", listen(fd, 1));
  close(same);
  result("send", request(own, PEER, 64, 7));
  say_reply("reply", own, 0x1234);
  say_quiet("the other hears nothing", other, POLLIN);
}
SCENARIO_BOTH(ping_arguments, .app = arguments_app);

static void unreachable_app(void) {
  int fd = ping();
  result("option", set_option(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_RECVERR : IPV6_RECVERR, 1));
  result("send to nobody", request(fd, ABSENT, 64, 1));
  say("woken", "%d", wait_for(fd, POLLIN | POLLERR) != 0);
  say_recv("recv", fd, MSG_DONTWAIT);
}
SCENARIO_BOTH(ping_unreachable, .app = unreachable_app);
