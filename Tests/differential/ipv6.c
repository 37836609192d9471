// IPv6: dual-stack sockets, v4-mapped addresses, scopes, and control messages of both versions.
#include "differential.h"
#include <ifaddrs.h>

static struct address mapped(enum host host, int port) {
  struct address v4 = at_family(AF_INET, host, port), v6 = at_family(AF_INET6, ANY, port);
  v6.v6.sin6_addr.s6_addr[10] = v6.v6.sin6_addr.s6_addr[11] = 0xff;
  memcpy(v6.v6.sin6_addr.s6_addr + 12, &v4.v4.sin_addr, 4);
  return v6;
}

static void dual_app(void) {
  int server = listener(ANY, 8), port = port_of(server);
  name_port(port, "server");
  say_local("listener", server);
  tell_value(port);
  for (int i = 0; i < 2; i++) {
    hear("connected");
    struct address from = {.length = sizeof from.storage};
    NEED(wait_for(server, POLLIN) != 0);
    int fd = accept(server, &from.sa, &from.length);
    say_address("from", &from.storage, from.length);
    say_local("local", fd);
    say_remote("remote", fd);
    say_option("SO_DOMAIN", fd, SOL_SOCKET, SO_DOMAIN);
    say_option("IP_TTL", fd, IPPROTO_IP, IP_TTL);
    say_option("IPV6_UNICAST_HOPS", fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS);
    write_all(fd, "hello", 5);
    close(fd);
  }
  int only = tcp(0);
  result("IPV6_V6ONLY", set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  result("bind", bind_to(only, ANY, 0));
  result("set it when bound", set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 0));
  NEED(listen(only, 4) == 0);
  int v4 = socket(AF_INET, SOCK_STREAM, 0);
  struct address any = at_family(AF_INET, ANY, port_of(only));
  result("IPv4 beside it", bind(v4, &any.sa, any.length));
  any = at_family(AF_INET, ANY, port);
  result("IPv4 beside the dual one", bind(socket(AF_INET, SOCK_STREAM, 0), &any.sa, any.length));
  tell_value(port_of(only));
  hear("done");
}

static void dual_peer(void) {
  int port = (int)hear_value();
  for (int i = 0; i < 2; i++) {
    int kind = i == 0 ? AF_INET : AF_INET6, fd = socket(kind, SOCK_STREAM, 0);
    struct address to = at_family(kind, APP, port);
    result(i == 0 ? "by IPv4" : "by IPv6", connect(fd, &to.sa, to.length));
    tell("connected");
    say_recv("recv", fd, MSG_WAITALL);
  }
  struct address to = at_family(AF_INET, APP, (int)hear_value());
  result("by IPv4 to V6ONLY", connect(socket(AF_INET, SOCK_STREAM, 0), &to.sa, to.length));
  to = at_family(AF_INET6, APP, ntohs(to.v4.sin_port));
  result("by IPv6 to V6ONLY", connect(socket(AF_INET6, SOCK_STREAM, 0), &to.sa, to.length));
  tell("done");
}
SCENARIO_OF(ipv6_dual_stack, AF_INET6, .app = dual_app, .peer = dual_peer);

static void mapped_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  name_port(port, "server");
  struct address to = mapped(PEER, port);
  result("connect", connect(fd, &to.sa, to.length));
  say_local("local", fd);
  say_remote("remote", fd);
  say_recv("recv", fd, MSG_WAITALL);
  say_option("IPV6_V6ONLY", fd, IPPROTO_IPV6, IPV6_V6ONLY);
  int only = tcp(0);
  set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  result("from a V6ONLY one", connect(only, &to.sa, to.length));
  struct address ours = mapped(APP, 0), theirs = mapped(PEER, 0), loop = mapped(LOOPBACK, 0);
  int bound = tcp(0);
  result("bind to our mapped address", bind(bound, &ours.sa, ours.length));
  say_local("local of it", bound);
  result("connect by it", connect(bound, &to.sa, to.length));
  struct address six = at(PEER, port);
  result("IPv6 from a mapped one", connect(bound, &six.sa, six.length));
  result("bind to a mapped one not ours", bind(tcp(0), &theirs.sa, theirs.length));
  result("bind to mapped loopback", bind(tcp(0), &loop.sa, loop.length));
  set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  result("bind to a mapped one by V6ONLY", bind(only, &ours.sa, ours.length));
  tell("done");
}

static void mapped_peer(void) {
  int server = socket(AF_INET, SOCK_STREAM, 0);
  struct address here = at_family(AF_INET, PEER, 0);
  NEED(bind(server, &here.sa, here.length) == 0 && listen(server, 4) == 0);
  tell_value(port_of(server));
  int fd = accept_one(server);
  write_all(fd, "hello", 5);
  close(fd);
  hear("done");
}
SCENARIO_OF(ipv6_mapped, AF_INET6, .app = mapped_app, .peer = mapped_peer);

static void mapped_udp_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  name_port(port, "server");
  struct address to = mapped(PEER, port);
  result("sendto", sendto(fd, "mapped", 6, 0, &to.sa, to.length));
  struct address from = {.length = sizeof from.storage};
  char bytes[20];
  result("recvfrom", recvfrom(fd, bytes, sizeof bytes, 0, &from.sa, &from.length));
  say_address("from", &from.storage, from.length);
  struct address six = at(PEER, port), v4 = at_family(AF_INET, PEER, port);
  result("sendto by IPv6 too", sendto(fd, "six", 3, 0, &six.sa, six.length));
  result("sendto an AF_INET address", sendto(fd, "four", 4, 0, &v4.sa, v4.length));
  result("recvfrom", recvfrom(fd, bytes, sizeof bytes, 0, &from.sa, &from.length));
  wait_for(fd, POLLIN);
  result("recvfrom", recvfrom(fd, bytes, sizeof bytes, MSG_DONTWAIT, &from.sa, &from.length));
  result("connect", connect(fd, &to.sa, to.length));
  say_local("local", fd);
  say_remote("remote", fd);
  set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  int only = udp(0);
  set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  result("sendto from V6ONLY", sendto(only, "x", 1, 0, &to.sa, to.length));
  tell("done");
}

static void mapped_udp_peer(void) {
  int fd = udp(0), both = 3;
  NEED(bind_to(fd, ANY, 0) == 0);
  tell_value(port_of(fd));
  while (both-- > 0) {
    char bytes[20] = {0};
    struct address from = {.length = sizeof from.storage};
    ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, &from.sa, &from.length);
    NEED(count > 0 && sendto(fd, bytes, count, 0, &from.sa, from.length) == count);
    say("received", "%s", bytes);
    say_address("from", &from.storage, from.length);
  }
  hear("done");
}
SCENARIO_OF(ipv6_mapped_udp, AF_INET6, .app = mapped_udp_app, .peer = mapped_udp_peer);

// ---- Link-local addresses need a scope

static struct address link_local_of_this_host(void) {
  struct address found = {.length = sizeof(struct sockaddr_in6)};
  for (long end = milliseconds() + 5000; milliseconds() < end; usleep(20000)) { // duplicate address detection
    struct ifaddrs *all;
    NEED(getifaddrs(&all) == 0);
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
      if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET6) continue;
      struct sockaddr_in6 *address = (struct sockaddr_in6 *)one->ifa_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) {
        found.v6 = *address;
        if (found.v6.sin6_scope_id == 0) found.v6.sin6_scope_id = if_nametoindex(one->ifa_name);
      }
    }
    freeifaddrs(all);
    int fd = udp(0), bound = found.v6.sin6_family ? bind(fd, &found.sa, found.length) : -1;
    close(fd);
    if (bound == 0) break;
  }
  return found;
}

static void tell_address(struct address address) {
  for (int i = 0; i < 4; i++) {
    uint32_t word;
    memcpy(&word, address.v6.sin6_addr.s6_addr + 4 * i, 4);
    tell_value(word);
  }
}

static struct address hear_address(void) {
  struct address address = at(ANY, 0);
  for (int i = 0; i < 4; i++) {
    uint32_t word = (uint32_t)hear_value();
    memcpy(address.v6.sin6_addr.s6_addr + 4 * i, &word, 4);
  }
  return address;
}

static void link_local_app(void) {
  struct address ours = link_local_of_this_host(), theirs = hear_address();
  say("there is one", "%s", ours.v6.sin6_family == AF_INET6 ? "yes" : "no");
  unsigned scope = ours.v6.sin6_scope_id;
  int port = (int)hear_value();
  theirs.v6.sin6_port = htons(port);
  result("without a scope", connect(tcp(0), &theirs.sa, theirs.length));
  theirs.v6.sin6_scope_id = scope;
  int fd = tcp(0);
  result("with its scope", connect(fd, &theirs.sa, theirs.length));
  struct address name = {.length = sizeof name.storage};
  getpeername(fd, &name.sa, &name.length);
  say("remote has the scope", "%s", name.v6.sin6_scope_id == scope ? "yes" : "no");
  name.length = sizeof name.storage;
  getsockname(fd, &name.sa, &name.length);
  say("local has the scope", "%s", name.v6.sin6_scope_id == scope ? "yes" : "no");
  say("local is link-local", "%s", IN6_IS_ADDR_LINKLOCAL(&name.v6.sin6_addr) ? "yes" : "no");
  theirs.v6.sin6_scope_id = 77;
  result("with a scope that is none", connect(tcp(0), &theirs.sa, theirs.length));
  ours.v6.sin6_scope_id = 0;
  result("bind without a scope", bind(tcp(0), &ours.sa, ours.length));
  ours.v6.sin6_scope_id = 77;
  result("bind with a scope that is none", bind(tcp(0), &ours.sa, ours.length));
  ours.v6.sin6_scope_id = scope;
  int server = tcp(0);
  result("bind with its scope", bind(server, &ours.sa, ours.length));
  NEED(listen(server, 4) == 0);
  tell_address(ours);
  tell_value(port_of(server));
  hear("connected");
  NEED(wait_for(server, POLLIN) != 0);
  name.length = sizeof name.storage;
  success("accept", accept(server, &name.sa, &name.length));
  say("from its scope", "%s", name.v6.sin6_scope_id == scope ? "yes" : "no");
}

static void link_local_peer(void) {
  struct address ours = link_local_of_this_host();
  tell_address(ours);
  int server = tcp(0);
  NEED(bind(server, &ours.sa, ours.length) == 0 && listen(server, 4) == 0);
  tell_value(port_of(server));
  struct address theirs = hear_address();
  theirs.v6.sin6_port = htons((int)hear_value());
  theirs.v6.sin6_scope_id = ours.v6.sin6_scope_id;
  result("connect", connect(tcp(0), &theirs.sa, theirs.length));
  tell("connected");
}
SCENARIO_OF(ipv6_link_local, AF_INET6, .app = link_local_app, .peer = link_local_peer);

// ---- Control messages on datagrams: which address and interface they came to, with which hops and class

static void say_control(struct msghdr *message) {
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
    char label[40], host[INET6_ADDRSTRLEN] = "";
    snprintf(label, sizeof label, "control %d %d", header->cmsg_level, header->cmsg_type);
    int value = 0;
    size_t length = header->cmsg_len - CMSG_LEN(0);
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(header);
      inet_ntop(AF_INET, &info->ipi_addr, host, sizeof host);
      say(label, "to %s, interface %s", host, info->ipi_ifindex > 0 ? "known" : "unknown");
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo *info = (struct in6_pktinfo *)CMSG_DATA(header);
      inet_ntop(AF_INET6, &info->ipi6_addr, host, sizeof host);
      say(label, "to %s, interface %s", host, info->ipi6_ifindex > 0 ? "known" : "unknown");
    } else if (header->cmsg_level == SOL_SOCKET) {
      say(label, "%zu bytes", length);
    } else {
      memcpy(&value, CMSG_DATA(header), length < 4 ? length : 4);
      say(label, "%d, %zu bytes", value, length);
    }
  }
}

static void control_app(void) {
  int fd = udp(0);
  NEED(bind_to(fd, ANY, 0) == 0);
  bool v4 = family == AF_INET;
  result("packet info", v4 ? set_option(fd, IPPROTO_IP, IP_PKTINFO, 1) : set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
  result("TTL", v4 ? set_option(fd, IPPROTO_IP, IP_RECVTTL, 1) : set_option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1));
  result("TOS", v4 ? set_option(fd, IPPROTO_IP, IP_RECVTOS, 1) : set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1));
  result("SO_TIMESTAMP", set_option(fd, SOL_SOCKET, SO_TIMESTAMP, 1));
  tell_value(port_of(fd));
  char bytes[100], control[400];
  struct address from;
  struct msghdr message = {.msg_name = &from.storage, .msg_namelen = sizeof from.storage,
                           .msg_iov = &(struct iovec){bytes, 100}, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  say("poll", "%s", mask_names(wait_for(fd, POLLIN)));
  result("recvmsg", recvmsg(fd, &message, MSG_DONTWAIT));
  say("flags", "%#x", message.msg_flags);
  say_control(&message);
  hear("second");
  message.msg_controllen = 24; // too little for all of it
  say("poll", "%s", mask_names(wait_for(fd, POLLIN)));
  result("recvmsg with little room", recvmsg(fd, &message, MSG_DONTWAIT));
  say("MSG_CTRUNC", "%s", message.msg_flags & MSG_CTRUNC ? "yes" : "no");
  // The answer leaves with what its control messages say.
  char sent[CMSG_SPACE(sizeof(int)) * 2] = {0};
  int hops = 7, class = 0x20;
  struct msghdr answer = {.msg_name = &from.storage, .msg_namelen = message.msg_namelen,
                          .msg_iov = &(struct iovec){"answer", 6}, .msg_iovlen = 1, .msg_control = sent,
                          .msg_controllen = sizeof sent};
  struct cmsghdr *header = CMSG_FIRSTHDR(&answer);
  header->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  header->cmsg_type = v4 ? IP_TTL : IPV6_HOPLIMIT;
  header->cmsg_len = CMSG_LEN(sizeof hops);
  memcpy(CMSG_DATA(header), &hops, sizeof hops);
  header = CMSG_NXTHDR(&answer, header);
  header->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  header->cmsg_type = v4 ? IP_TOS : IPV6_TCLASS;
  header->cmsg_len = CMSG_LEN(sizeof class);
  memcpy(CMSG_DATA(header), &class, sizeof class);
  result("sendmsg", sendmsg(fd, &answer, 0));
  header->cmsg_type = 99;
  result("with an unknown one", sendmsg(fd, &answer, 0));
  header->cmsg_len = 5000;
  result("with a bad length", sendmsg(fd, &answer, 0));
  hear("done");
}

static void control_peer(void) {
  int fd = udp(0), port = (int)hear_value();
  bool v4 = family == AF_INET;
  NEED(bind_to(fd, PEER, 0) == 0);
  set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1);
  set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVTOS : IPV6_RECVTCLASS, 1);
  set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, 0x48);
  set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_UNICAST_HOPS, 44);
  struct address to = at(APP, port);
  NEED(sendto(fd, "hello", 5, 0, &to.sa, to.length) == 5);
  NEED(sendto(fd, "again", 5, 0, &to.sa, to.length) == 5);
  tell("second");
  char bytes[100] = {0}, control[200];
  struct msghdr message = {.msg_iov = &(struct iovec){bytes, 99}, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  say("poll", "%s", mask_names(wait_for(fd, POLLIN)));
  result("recvmsg", recvmsg(fd, &message, MSG_DONTWAIT));
  say_control(&message);
  tell("done");
}
SCENARIO_BOTH(ipv6_control, .app = control_app, .peer = control_peer);
