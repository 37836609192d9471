// Datagram sockets: control messages both ways, errors from the network, broadcast.
#include "differential.h"
#include <linux/errqueue.h>
#include <sys/time.h>

// Receives one message with up to `room` bytes of control data, and tells each control message.
static void say_message(const char *label, int fd, size_t room, int flags) {
  char bytes[64], control[512];
  struct address from;
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr message = {.msg_name = &from.sa, .msg_namelen = sizeof from.storage, .msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = room > 0 ? control : NULL, .msg_controllen = room};
  memset(control, 0, sizeof control);
  ssize_t count = recvmsg(fd, &message, flags);
  result(label, count);
  if (count < 0) return;
  char with[80];
#define WITH(text) (snprintf(with, sizeof with, "%s: %s", label, text), with)
  say(WITH("flags"), "%s%s%s", (message.msg_flags & MSG_CTRUNC) != 0 ? "CTRUNC " : "",
      (message.msg_flags & MSG_TRUNC) != 0 ? "TRUNC " : "", (message.msg_flags & MSG_ERRQUEUE) != 0 ? "ERRQUEUE" : "");
  say(WITH("control bytes"), "%zu", (size_t)message.msg_controllen);
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
    int level = header->cmsg_level, type = header->cmsg_type, number = 0;
    size_t length = header->cmsg_len - CMSG_LEN(0);
    char text[96] = "";
    struct in_pktinfo info;
    struct in6_pktinfo info6;
    if (level == IPPROTO_IP && type == IP_PKTINFO && length >= sizeof info) {
      memcpy(&info, CMSG_DATA(header), sizeof info);
      char one[32], two[32];
      inet_ntop(AF_INET, &info.ipi_addr, one, sizeof one);
      inet_ntop(AF_INET, &info.ipi_spec_dst, two, sizeof two);
      snprintf(text, sizeof text, "%s %s %s", one, two, info.ipi_ifindex == 1 ? "lo" : "other");
    } else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO && length >= sizeof info6) {
      memcpy(&info6, CMSG_DATA(header), sizeof info6);
      char one[48];
      inet_ntop(AF_INET6, &info6.ipi6_addr, one, sizeof one);
      snprintf(text, sizeof text, "%s %s", one, info6.ipi6_ifindex == 1 ? "lo" : "other");
    } else if (level == SOL_SOCKET) {
      snprintf(text, sizeof text, "a time"); // its digits are no fact
    } else if (type == IP_TOS && level == IPPROTO_IP) {
      snprintf(text, sizeof text, "%u", *CMSG_DATA(header));
    } else if (length >= sizeof number) {
      memcpy(&number, CMSG_DATA(header), sizeof number);
      snprintf(text, sizeof text, "%d", number);
    }
    snprintf(with, sizeof with, "%s: level %d type %d length %zu", label, level, type, length);
    say(with, "%s", text);
  }
}

static int bound(enum host host) {
  int fd = udp(0);
  NEED(bind_to(fd, host, 0) == 0);
  return fd;
}

// Sends what the app asks for by word, to the port told: so the app's packets come from outside, with known TTL and TOS.
static void sending_peer(void) {
  int port = (int)hear_value(), fd = udp(0);
  if (family == AF_INET) {
    NEED(set_option(fd, IPPROTO_IP, IP_TTL, 33) == 0 && set_option(fd, IPPROTO_IP, IP_TOS, 0x48) == 0);
  } else {
    NEED(set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33) == 0);
    NEED(set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x48) == 0);
  }
  long count = hear_value();
  struct address to = at(APP, port);
  for (long index = 0; index < count; index++) NEED(sendto(fd, "hello", 5, 0, &to.sa, to.length) == 5);
}

static void received_app(void) {
  int fd = bound(ANY);
  tell_value(port_of(fd));
  if (family == AF_INET) {
    NEED(set_option(fd, IPPROTO_IP, IP_PKTINFO, 1) == 0 && set_option(fd, IPPROTO_IP, IP_RECVTTL, 1) == 0);
    NEED(set_option(fd, IPPROTO_IP, IP_RECVTOS, 1) == 0);
  } else {
    NEED(set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) == 0);
    NEED(set_option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) == 0 && set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) == 0);
  }
  NEED(set_option(fd, SOL_SOCKET, SO_TIMESTAMP, 1) == 0);
  tell_value(7);
  size_t rooms[] = {512, 0, 8, 30, 60};
  for (size_t index = 0; index < sizeof rooms / sizeof *rooms; index++) {
    NEED(wait_for(fd, POLLIN) != 0);
    char label[24];
    snprintf(label, sizeof label, "room %zu", rooms[index]);
    say_message(label, fd, rooms[index], 0);
  }
  NEED(set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) == 0);
  say_option("SO_TIMESTAMP", fd, SOL_SOCKET, SO_TIMESTAMP);
  NEED(wait_for(fd, POLLIN) != 0);
  say_message("peek", fd, 512, MSG_PEEK);
  NEED(set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 0) == 0);
  if (family == AF_INET) {
    NEED(set_option(fd, IPPROTO_IP, IP_PKTINFO, 0) == 0 && set_option(fd, IPPROTO_IP, IP_RECVTTL, 0) == 0);
  } else {
    NEED(set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 0) == 0);
  }
  say_message("fewer", fd, 512, 0);
}
SCENARIO_BOTH(datagram_control_received, .app = received_app, .peer = sending_peer);

// ---- Control messages of a send; the receiver is a socket of the app's own host

static long send_control(int fd, const struct address *to, int level, int type, const void *data, size_t bytes) {
  char control[CMSG_SPACE(64)];
  memset(control, 0, sizeof control);
  struct iovec part = {"hello", 5};
  struct msghdr message = {.msg_name = (void *)&to->sa, .msg_namelen = to->length, .msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = control, .msg_controllen = CMSG_SPACE(bytes)};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(bytes)};
  memcpy(CMSG_DATA(header), data, bytes);
  return sendmsg(fd, &message, 0);
}

static void sent4_app(void) {
  int fd = udp(0), other = bound(ANY), number;
  struct address to = at(APP, port_of(other));
  NEED(set_option(other, IPPROTO_IP, IP_RECVTTL, 1) == 0 && set_option(other, IPPROTO_IP, IP_RECVTOS, 1) == 0);
  number = 9;
  result("TTL", send_control(fd, &to, IPPROTO_IP, IP_TTL, &number, sizeof number));
  say_message("TTL received", other, 512, 0);
  number = 0;
  result("TTL 0", send_control(fd, &to, IPPROTO_IP, IP_TTL, &number, sizeof number));
  result("TTL of two bytes", send_control(fd, &to, IPPROTO_IP, IP_TTL, &number, 2));
  number = 0x88;
  result("TOS", send_control(fd, &to, IPPROTO_IP, IP_TOS, &number, sizeof number));
  say_message("TOS received", other, 512, 0);
  result("TOS of one byte", send_control(fd, &to, IPPROTO_IP, IP_TOS, &number, 1));
  say_message("TOS received", other, 512, 0);
  number = 300;
  result("TOS 300", send_control(fd, &to, IPPROTO_IP, IP_TOS, &number, sizeof number));
  result("unknown", send_control(fd, &to, IPPROTO_IP, 77, &number, sizeof number));
  result("unknown level", send_control(fd, &to, 250, 1, &number, sizeof number));
  say_message("it went", other, 512, 0);
  result("IPv6's", send_control(fd, &to, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof number));
  say_message("it went", other, 512, 0);
  struct in_pktinfo info = {0};
  NEED(inet_pton(AF_INET, "127.0.0.1", &info.ipi_spec_dst) == 1);
  result("source", send_control(fd, &to, IPPROTO_IP, IP_PKTINFO, &info, sizeof info));
  struct address from = {.length = sizeof from.storage};
  char bytes[16];
  NEED(wait_for(other, POLLIN) != 0 && recvfrom(other, bytes, 16, 0, &from.sa, &from.length) == 5);
  name_port(port_of(fd), "sender");
  say_address("from", &from, from.length);
  NEED(inet_pton(AF_INET, "10.80.0.77", &info.ipi_spec_dst) == 1);
  result("a source that is not ours", send_control(fd, &to, IPPROTO_IP, IP_PKTINFO, &info, sizeof info));
  info = (struct in_pktinfo){.ipi_ifindex = 4711};
  result("no such interface", send_control(fd, &to, IPPROTO_IP, IP_PKTINFO, &info, sizeof info));
  result("short", send_control(fd, &to, IPPROTO_IP, IP_PKTINFO, &info, 4));
}
SCENARIO(datagram_control_sent_4, .app = sent4_app);

static void sent6_app(void) {
  int fd = udp(0), other = bound(ANY), number = 9;
  struct address to = at(APP, port_of(other));
  NEED(set_option(other, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) == 0 && set_option(other, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) == 0);
  result("hop limit", send_control(fd, &to, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof number));
  say_message("received", other, 512, 0);
  number = -1;
  result("hop limit -1", send_control(fd, &to, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof number));
  say_message("received", other, 512, 0);
  number = 256;
  result("hop limit 256", send_control(fd, &to, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof number));
  number = 0x88;
  result("class", send_control(fd, &to, IPPROTO_IPV6, IPV6_TCLASS, &number, sizeof number));
  say_message("received", other, 512, 0);
  result("unknown", send_control(fd, &to, IPPROTO_IPV6, 201, &number, sizeof number));
  struct in6_pktinfo info = {0};
  NEED(inet_pton(AF_INET6, "fd80::77", &info.ipi6_addr) == 1);
  result("a source that is not ours", send_control(fd, &to, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info));
  NEED(inet_pton(AF_INET6, "fd80::2", &info.ipi6_addr) == 1);
  result("our source", send_control(fd, &to, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info));
  say_message("received", other, 512, 0);
  info.ipi6_ifindex = 4711;
  result("no such interface", send_control(fd, &to, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info));
}
SCENARIO_OF(datagram_control_sent_6, AF_INET6, .app = sent6_app);

// ---- IPv4 on sockets of IPv6

static void mapped_app(void) {
  int four_port = (int)hear_value();
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  name_port(four_port, "server");
  struct address to = at_family(AF_INET6, ANY, four_port);
  NEED(inet_pton(AF_INET6, "::ffff:10.80.0.9", &to.v6.sin6_addr) == 1);
  NEED(set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) == 0 && set_option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) == 0);
  result("send", sendto(fd, "a", 1, 0, &to.sa, to.length));
  say_local("local", fd);
  say_message("echo", fd, 512, 0);
  struct address plain = at_family(AF_INET, PEER, four_port);
  result("to a sockaddr_in", sendto(fd, "b", 1, 0, &plain.sa, plain.length));
  say_message("echo", fd, 512, 0);
  result("connect", connect(fd, &to.sa, to.length));
  say_local("local", fd);
  say_remote("remote", fd);
  result("send", send(fd, "c", 1, 0));
  say_message("echo", fd, 512, 0);
  struct address six = at_family(AF_INET6, PEER, 9);
  result("to IPv6 from there", sendto(fd, "d", 1, 0, &six.sa, six.length));
  int only = socket(AF_INET6, SOCK_DGRAM, 0);
  NEED(set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0);
  result("V6ONLY: send", sendto(only, "e", 1, 0, &to.sa, to.length));
  result("V6ONLY: connect", connect(only, &to.sa, to.length));
  result("V6ONLY: bind", bind(only, &to.sa, to.length));
  int dual = socket(AF_INET6, SOCK_DGRAM, 0), four = socket(AF_INET, SOCK_DGRAM, 0), both = socket(AF_INET6, SOCK_DGRAM, 0);
  struct address any = at_family(AF_INET6, ANY, 0);
  NEED(bind(dual, &any.sa, any.length) == 0);
  struct address any4 = at_family(AF_INET, ANY, port_of(dual));
  result("IPv4 beside dual", bind(four, &any4.sa, any4.length));
  NEED(set_option(both, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0);
  any.v6.sin6_port = 0;
  NEED(bind(both, &any.sa, any.length) == 0);
  any4 = at_family(AF_INET, ANY, port_of(both));
  result("IPv4 beside V6ONLY", bind(four, &any4.sa, any4.length));
  NEED(sendto(fd, "end", 3, 0, &to.sa, to.length) == 3);
}

static void mapped_peer(void) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct address own = at_family(AF_INET, PEER, 0);
  NEED(bind(fd, &own.sa, own.length) == 0);
  tell_value(port_of(fd));
  char bytes[16];
  for (;;) {
    struct address from = {.length = sizeof from.storage};
    if (wait_for(fd, POLLIN) == 0) return;
    ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, &from.sa, &from.length);
    if (count == 3) return;
    NEED(sendto(fd, bytes, count, 0, &from.sa, from.length) == count);
  }
}
SCENARIO_OF(datagram_mapped_6, AF_INET6, .app = mapped_app, .peer = mapped_peer);

// ---- Errors

static void refused_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  NEED(connect_to(fd, PEER, port) == 0);
  result("send", send(fd, "a", 1, 0));
  say("woken", "%d", wait_for(fd, POLLIN) != 0);
  result("the next send", send(fd, "b", 1, 0));
  result("send", send(fd, "c", 1, 0));
  say("woken", "%d", wait_for(fd, POLLIN) != 0);
  say_recv("the next receipt", fd, 0);
  say_recv("nothing then", fd, MSG_DONTWAIT);
  result("send", send(fd, "d", 1, 0));
  say("woken", "%d", wait_for(fd, POLLIN) != 0);
  say_error("SO_ERROR", fd);
  say_error("once", fd);
  int loose = udp(0);
  struct address to = at(PEER, port);
  result("not connected: send", sendto(loose, "e", 1, 0, &to.sa, to.length));
  say_quiet("not connected: not told", loose, POLLIN | POLLERR);
  result("and again", sendto(loose, "f", 1, 0, &to.sa, to.length));
  result("blocking: send", send(fd, "g", 1, 0));
  say_recv("blocking", fd, 0);
}

// A port that was free a moment ago.
static void refused_peer(void) {
  int fd = bound(PEER), port = port_of(fd);
  close(fd);
  tell_value(port);
}
SCENARIO_BOTH(datagram_refused, .app = refused_app, .peer = refused_peer);

static void say_queue(const char *label, int fd) {
  char bytes[64], control[256];
  struct address to;
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr message = {.msg_name = &to.sa, .msg_namelen = sizeof to.storage, .msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = control, .msg_controllen = sizeof control};
  ssize_t count = recvmsg(fd, &message, MSG_ERRQUEUE);
  say(label, "%s", count < 0 ? errno_name(errno) : "a message");
  if (count < 0) return;
  say("its data", "%zd \"%.*s\"", count, (int)count, bytes);
  say("its flags", "%x", message.msg_flags & (MSG_ERRQUEUE | MSG_TRUNC | MSG_CTRUNC));
  say_address("its destination", &to, message.msg_namelen);
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
    struct {
      struct sock_extended_err error;
      struct sockaddr_storage offender;
    } value;
    memset(&value, 0, sizeof value);
    memcpy(&value, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    say("control", "level %d type %d", header->cmsg_level, header->cmsg_type);
    say("error", "%s origin %u type %u code %u info %u", errno_name(value.error.ee_errno), value.error.ee_origin,
        value.error.ee_type, value.error.ee_code, value.error.ee_info);
    struct address offender = {.length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)};
    memcpy(&offender.storage, &value.offender, offender.length);
    if (offender.sa.sa_family != AF_UNSPEC) say_address("offender", &offender, offender.length);
  }
}

static void error_queue_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  name_port(port, "closed");
  result("option", family == AF_INET ? set_option(fd, IPPROTO_IP, IP_RECVERR, 1) : set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1));
  say_queue("empty", fd);
  struct address to = at(PEER, port);
  result("send", sendto(fd, "hello", 5, 0, &to.sa, to.length));
  say("woken", "%d", wait_for(fd, POLLIN) != 0);
  say_queue("queue first", fd);
  say_recv("then", fd, MSG_DONTWAIT);
  result("send", sendto(fd, "world", 5, 0, &to.sa, to.length));
  say("woken", "%d", wait_for(fd, POLLIN) != 0);
  say_recv("recv first", fd, 0);
  say_queue("then the queue", fd);
  say_queue("then empty", fd);
  say_recv("and nothing", fd, MSG_DONTWAIT);
  NEED(connect_to(fd, PEER, port) == 0);
  result("send", send(fd, "again", 5, 0));
  say("woken", "%d", wait_for(fd, POLLIN) != 0);
  result("told by send", send(fd, "x", 1, 0));
  say_queue("queue", fd);
}
SCENARIO_BOTH(datagram_error_queue, .app = error_queue_app, .peer = refused_peer);

static void too_big_app(void) {
  int fd = udp(0);
  static char bytes[3000];
  struct address to = at(PEER, 9);
  int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  int name = family == AF_INET ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER;
  int most = family == AF_INET ? 1472 : 1452;
  result("fragments", sendto(fd, bytes, most + 1, 0, &to.sa, to.length));
  result("option", set_option(fd, level, name, IP_PMTUDISC_DO));
  result("fits", sendto(fd, bytes, most, 0, &to.sa, to.length));
  result("too big", sendto(fd, bytes, most + 1, 0, &to.sa, to.length));
  result("queue on", set_option(fd, level, family == AF_INET ? IP_RECVERR : IPV6_RECVERR, 1));
  result("too big", sendto(fd, bytes, most + 1, 0, &to.sa, to.length));
  name_port(9, "discard");
  say_queue("queue", fd);
}
SCENARIO_BOTH(datagram_too_big, .app = too_big_app);

// ---- Broadcast and groups

static void broadcast_app(void) {
  int fd = udp(0), port = (int)hear_value();
  struct sockaddr_in all = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
  struct sockaddr_in subnet = all;
  NEED(inet_pton(AF_INET, "10.80.0.255", &subnet.sin_addr) == 1);
  NEED(bind_to(fd, APP, 0) == 0);
  result("without option", sendto(fd, "x", 1, 0, (struct sockaddr *)&subnet, sizeof subnet));
  result("without option, connect", connect(udp(0), (struct sockaddr *)&subnet, sizeof subnet));
  result("option", set_option(fd, SOL_SOCKET, SO_BROADCAST, 1));
  result("subnet", sendto(fd, "subnet", 6, 0, (struct sockaddr *)&subnet, sizeof subnet));
  hear("heard");
  int any = udp(0), own = udp(0);
  NEED(bind_to(any, ANY, 0) == 0 && bind_to(own, APP, 0) == 0);
  int to_subnet = udp(0);
  struct sockaddr_in bind_subnet = subnet;
  bind_subnet.sin_port = 0;
  result("bind to it", bind(to_subnet, (struct sockaddr *)&bind_subnet, sizeof bind_subnet));
  say_local("its name", to_subnet);
  tell_value(port_of(any));
  tell_value(port_of(own));
  say_recv("any hears", any, 0);
  say_quiet("own does not", own, POLLIN);
}

static void broadcast_peer(void) {
  int fd = udp(0);
  NEED(bind_to(fd, ANY, 0) == 0 && set_option(fd, SOL_SOCKET, SO_BROADCAST, 1) == 0);
  tell_value(port_of(fd));
  say_recv("heard", fd, 0);
  tell("heard");
  struct sockaddr_in subnet = {.sin_family = AF_INET};
  NEED(inet_pton(AF_INET, "10.80.0.255", &subnet.sin_addr) == 1);
  int any = (int)hear_value(), own = (int)hear_value();
  subnet.sin_port = htons(own);
  NEED(sendto(fd, "own", 3, 0, (struct sockaddr *)&subnet, sizeof subnet) == 3);
  subnet.sin_port = htons(any);
  NEED(sendto(fd, "any", 3, 0, (struct sockaddr *)&subnet, sizeof subnet) == 3);
}
SCENARIO(datagram_broadcast, .app = broadcast_app, .peer = broadcast_peer);
