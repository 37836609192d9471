// Groups: joining and leaving, who hears what, and the options about sending to them.
#include "differential.h"
#include <ifaddrs.h>

static const char *group_text(void) { return family == AF_INET ? "239.8.7.6" : "ff05::8:7:6"; }

static struct address group(int port) {
  struct address address = at(ANY, port);
  inet_pton(family, group_text(), family == AF_INET ? (void *)&address.v4.sin_addr : (void *)&address.v6.sin6_addr);
  return address;
}

// The interface that has the host's own address.
static unsigned interface_of(enum host host) {
  struct ifaddrs *all;
  NEED(getifaddrs(&all) == 0);
  struct address wanted = at(host, 0);
  unsigned index = 0;
  for (struct ifaddrs *one = all; one; one = one->ifa_next) {
    if (!one->ifa_addr || one->ifa_addr->sa_family != family) continue;
    bool same = family == AF_INET
                  ? ((struct sockaddr_in *)one->ifa_addr)->sin_addr.s_addr == wanted.v4.sin_addr.s_addr
                  : memcmp(&((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr, &wanted.v6.sin6_addr, 16) == 0;
    if (same) index = if_nametoindex(one->ifa_name);
  }
  freeifaddrs(all);
  return index;
}

static int membership(int fd, bool join, enum host host) {
  if (family == AF_INET) {
    struct ip_mreqn request = {.imr_address = at(host, 0).v4.sin_addr};
    inet_pton(AF_INET, group_text(), &request.imr_multiaddr);
    return setsockopt(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &request, sizeof request);
  }
  struct ipv6_mreq request = {.ipv6mr_interface = interface_of(host)};
  inet_pton(AF_INET6, group_text(), &request.ipv6mr_multiaddr);
  return setsockopt(fd, IPPROTO_IPV6, join ? IPV6_ADD_MEMBERSHIP : IPV6_DROP_MEMBERSHIP, &request, sizeof request);
}

static int send_from(int fd, enum host host) {
  if (family == AF_INET) {
    struct in_addr from = at(host, 0).v4.sin_addr;
    return setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &from, sizeof from);
  }
  return set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)interface_of(host));
}

static void join_app(void) {
  int fd = udp(0);
  NEED(bind_to(fd, ANY, 0) == 0);
  tell_value(port_of(fd));
  tell("send");
  hear("sent");
  usleep(50000);
  say_recv("before joining", fd, MSG_DONTWAIT);
  result("join", membership(fd, true, APP));
  result("join again", membership(fd, true, APP));
  tell("send");
  hear("sent");
  say("poll", "%s", mask_names(wait_for(fd, POLLIN)));
  say_recv("recv", fd, MSG_DONTWAIT);
  result("leave", membership(fd, false, APP));
  result("leave again", membership(fd, false, APP));
  tell("send");
  hear("sent");
  usleep(50000);
  say_recv("after leaving", fd, MSG_DONTWAIT);
  tell("end");
}

static void join_peer(void) {
  int fd = udp(0), port = (int)hear_value();
  NEED(send_from(fd, PEER) == 0);
  struct address to = group(port);
  for (int i = 0; i < 3; i++) {
    char text[16];
    snprintf(text, sizeof text, "round %d", i);
    hear("send");
    NEED(sendto(fd, text, 7, 0, &to.sa, to.length) == 7);
    tell("sent");
  }
  hear("end");
}
SCENARIO_BOTH(multicast_join, .app = join_app, .peer = join_peer);

static void send_app(void) {
  int fd = udp(0), port = (int)hear_value();
  result("send from", send_from(fd, APP));
  if (family == AF_INET) {
    result("TTL", set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, 3));
    say_option("TTL reads back", fd, IPPROTO_IP, IP_MULTICAST_TTL);
    say_option("loop", fd, IPPROTO_IP, IP_MULTICAST_LOOP);
  } else {
    result("hops", set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 3));
    say_option("hops read back", fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS);
    say_option("loop", fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP);
  }
  struct address to = group(port);
  result("send", sendto(fd, "to the group", 12, 0, &to.sa, to.length));
  result("connect", connect(fd, &to.sa, to.length));
  say_remote("remote", fd);
  say_local("local", fd);
  result("send connected", send(fd, "again", 5, 0));
  hear("done");
}

static void send_peer(void) {
  int fd = udp(0);
  NEED(bind_to(fd, ANY, 0) == 0 && membership(fd, true, PEER) == 0);
  int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  NEED(set_option(fd, level, family == AF_INET ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1) == 0);
  tell_value(port_of(fd));
  for (int i = 0; i < 2; i++) {
    char bytes[100] = {0}, control[100];
    struct address from;
    struct msghdr message = {.msg_name = &from.storage, .msg_namelen = sizeof from.storage,
                             .msg_iov = &(struct iovec){bytes, 99}, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    say("poll", "%s", mask_names(wait_for(fd, POLLIN)));
    result("recvmsg", recvmsg(fd, &message, MSG_DONTWAIT));
    say("bytes", "%s", bytes);
    say_address("from", &from.storage, message.msg_namelen);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int hops = -1;
    if (header) memcpy(&hops, CMSG_DATA(header), sizeof hops);
    say("hops", "%d", hops);
  }
  tell("done");
}
SCENARIO_BOTH(multicast_send, .app = send_app, .peer = send_peer);

// What a host sends to a group that it is in itself comes back, unless it asked otherwise.
static void loop_app(void) {
  int receiver = udp(0), fd = udp(0);
  NEED(bind_to(receiver, ANY, 0) == 0);
  result("join", membership(receiver, true, APP));
  result("send from", send_from(fd, APP));
  struct address to = group(port_of(receiver));
  result("send", sendto(fd, "one", 3, 0, &to.sa, to.length));
  say_poll("poll", receiver, POLLIN);
  say_recv("recv", receiver, MSG_DONTWAIT);
  result("loop off", family == AF_INET ? set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0)
                                       : set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0));
  result("send", sendto(fd, "two", 3, 0, &to.sa, to.length));
  say_quiet("nothing comes back", receiver, POLLIN);
}
SCENARIO_BOTH(multicast_loop, .app = loop_app);

static void errors_app(void) {
  int fd = udp(0);
  struct ip_mreqn request = {.imr_address = at_family(AF_INET, APP, 0).v4.sin_addr};
  inet_pton(AF_INET, "10.1.2.3", &request.imr_multiaddr);
  result("no group", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
  inet_pton(AF_INET, "239.1.2.3", &request.imr_multiaddr);
  result("too short", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, 4));
  result("two addresses", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, 8));
  result("leave another", setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &(struct ip_mreqn){.imr_multiaddr = {htonl(0xef010204)}}, sizeof request));
  inet_pton(AF_INET, "10.99.99.99", &request.imr_address);
  result("on no interface", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
  result("from no interface", setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request.imr_address, 4));
  result("on TCP", setsockopt(tcp(0), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
  static const int ttls[] = {-1, 0, 1, 255, 256};
  for (int i = 0; i < 5; i++) {
    result("IP_MULTICAST_TTL", set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, ttls[i]));
    say_option("reads back", fd, IPPROTO_IP, IP_MULTICAST_TTL);
  }
  struct in_addr from = {0};
  socklen_t length = sizeof from;
  result("IP_MULTICAST_IF", getsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &from, &length));
  say("from", "%s", inet_ntoa(from));
  NEED(send_from(fd, APP) == 0);
  length = sizeof from;
  getsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &from, &length);
  say("from", "%s", inet_ntoa(from));
}
SCENARIO(multicast_errors, .app = errors_app);
