// Datagram sockets: groups, of a kind that both families have, and what IPv4's own requests say of wrong arguments.
#include "differential.h"

static struct address group_address(int port) {
  struct address group = at(ANY, port);
  if (family == AF_INET)
    NEED(inet_pton(AF_INET, "239.80.1.2", &group.v4.sin_addr) == 1);
  else
    NEED(inet_pton(AF_INET6, "ff15::80:12", &group.v6.sin6_addr) == 1);
  return group;
}

static unsigned group_interface(enum host host) {
  // The one that is not lo: the peer's and the native app's have another number than ours.
  (void)host;
  struct if_nameindex *list = if_nameindex();
  unsigned index = 0;
  for (struct if_nameindex *entry = list; entry != NULL && entry->if_index != 0; entry++)
    if (strcmp(entry->if_name, "lo") != 0) index = entry->if_index;
  if_freenameindex(list);
  return index;
}

static long membership(int fd, bool joins, unsigned interface) {
  struct group_req request = {.gr_interface = interface};
  struct address group = group_address(0);
  memcpy(&request.gr_group, &group.storage, group.length);
  int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  return setsockopt(fd, level, joins ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &request, sizeof request);
}

static void set_group_interface(int fd, enum host host) {
  int index = (int)group_interface(host);
  if (family == AF_INET6) {
    NEED(set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, index) == 0);
  } else {
    struct in_addr own = at(host, 0).v4.sin_addr;
    NEED(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof own) == 0);
  }
}

static void group_app(void) {
  int fd = udp(0), deaf = udp(0);
  NEED(bind_to(fd, ANY, 0) == 0 && bind_to(deaf, APP, 0) == 0);
  unsigned interface = group_interface(APP);
  result("leave before", membership(fd, false, interface));
  result("join", membership(fd, true, interface));
  result("join again", membership(fd, true, interface));
  result("join on an interface that is not there", membership(fd, true, 4711));
  tell_value(port_of(fd));
  tell_value(port_of(deaf));
  say_recv("heard", fd, 0);
  say_quiet("a socket of one address does not hear", deaf, POLLIN);
  int sender = udp(0), port = (int)hear_value();
  set_group_interface(sender, APP);
  struct address group = group_address(port);
  result("send", sendto(sender, "back", 4, 0, &group.sa, group.length));
  hear("heard");
  group = group_address(port_of(fd));
  result("send to own", sendto(sender, "own", 3, 0, &group.sa, group.length));
  say_recv("loops", fd, 0);
  int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  result("no loop", set_option(sender, level, family == AF_INET ? IP_MULTICAST_LOOP : IPV6_MULTICAST_LOOP, 0));
  result("send to own", sendto(sender, "own", 3, 0, &group.sa, group.length));
  say_quiet("does not loop", fd, POLLIN);
  result("leave", membership(fd, false, interface));
  result("leave again", membership(fd, false, interface));
  int named = udp(0);
  group = group_address(0);
  result("bind to the group", bind(named, &group.sa, group.length));
  say_local("its name", named);
}

static void group_peer(void) {
  int fd = udp(0), sender = udp(0);
  NEED(bind_to(fd, ANY, 0) == 0 && membership(fd, true, group_interface(PEER)) == 0);
  int port = (int)hear_value(), deaf = (int)hear_value();
  set_group_interface(sender, PEER);
  struct address group = group_address(deaf);
  NEED(sendto(sender, "deaf", 4, 0, &group.sa, group.length) == 4);
  group = group_address(port);
  NEED(sendto(sender, "hello", 5, 0, &group.sa, group.length) == 5);
  tell_value(port_of(fd));
  say_recv("heard", fd, 0);
  tell("heard");
}
SCENARIO_BOTH(datagram_group, .app = group_app, .peer = group_peer);

static void group_arguments_app(void) {
  int fd = udp(0);
  struct ip_mreq request = {0};
  NEED(inet_pton(AF_INET, "239.80.1.3", &request.imr_multiaddr) == 1);
  request.imr_interface = at(APP, 0).v4.sin_addr;
  result("short", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, 4));
  result("join", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
  result("join again", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
  struct ip_mreq other = request;
  other.imr_interface = at(ABSENT, 0).v4.sin_addr;
  result("no such interface", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &other, sizeof other));
  other = request;
  other.imr_multiaddr = at(PEER, 0).v4.sin_addr;
  result("no group", setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &other, sizeof other));
  struct ip_mreq_source source = {.imr_multiaddr = request.imr_multiaddr, .imr_interface = request.imr_interface,
                                  .imr_sourceaddr = at(PEER, 0).v4.sin_addr};
  result("block", setsockopt(fd, IPPROTO_IP, IP_BLOCK_SOURCE, &source, sizeof source));
  result("block again", setsockopt(fd, IPPROTO_IP, IP_BLOCK_SOURCE, &source, sizeof source));
  result("unblock", setsockopt(fd, IPPROTO_IP, IP_UNBLOCK_SOURCE, &source, sizeof source));
  result("unblock again", setsockopt(fd, IPPROTO_IP, IP_UNBLOCK_SOURCE, &source, sizeof source));
  NEED(inet_pton(AF_INET, "232.80.1.3", &source.imr_multiaddr) == 1);
  result("block in a group not joined", setsockopt(fd, IPPROTO_IP, IP_BLOCK_SOURCE, &source, sizeof source));
  result("join a source", setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &source, sizeof source));
  result("join it again", setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &source, sizeof source));
  result("leave it", setsockopt(fd, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &source, sizeof source));
  result("leave it again", setsockopt(fd, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &source, sizeof source));
  result("drop", setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request));
  result("drop again", setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request));
  int joined = 0;
  for (int index = 0; index < 25; index++) {
    request.imr_multiaddr.s_addr = htonl(0xef500200 + index);
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) == 0) joined++;
    else if (index == joined) result("one too many", -1);
  }
  say("joined", "%d", joined);
}
SCENARIO(datagram_group_arguments, .app = group_arguments_app);
