// UDP sockets: names, boundaries, who gets what, peers that come and go. Both hosts' ports are told over the private line.
#include "udp.h"

// Sends back what comes, to whom it came from, until "end" or silence.
static void mirror_peer(void) {
  int fd = peer_socket();
  static char bytes[70000];
  for (;;) {
    struct address from = {.length = sizeof from.storage};
    if (wait_for(fd, POLLIN) == 0) return;
    ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, &from.sa, &from.length);
    if (count == 3 && memcmp(bytes, "end", 3) == 0) return;
    NEED(count >= 0 && sendto(fd, bytes, count, 0, &from.sa, from.length) == count);
  }
}

// ---- Names

static void names_app(void) {
  int fd = udp(0);
  say_local("new", fd);
  say_remote("new: remote", fd);
  result("bind", bind_to(fd, ANY, 0));
  say_local("bound", fd);
  result("bind again", bind_to(fd, ANY, 0));
  int own = udp(0);
  result("bind own", bind_to(own, APP, 0));
  say_local("own", own);
  result("bind absent", bind_to(udp(0), ABSENT, 0));
  result("bind loopback", bind_to(udp(0), LOOPBACK, 0));
  result("listen", listen(fd, 1));
  success("accept", accept(fd, NULL, NULL));
  say_option("SO_TYPE", fd, SOL_SOCKET, SO_TYPE);
  say_option("SO_PROTOCOL", fd, SOL_SOCKET, SO_PROTOCOL);
  say_option("SO_DOMAIN", fd, SOL_SOCKET, SO_DOMAIN);
  say_option("SO_ACCEPTCONN", fd, SOL_SOCKET, SO_ACCEPTCONN);
  say_error("SO_ERROR", fd);
  say_poll_now("poll", fd);
  say_recv("nothing there", fd, MSG_DONTWAIT);
  char short_name[4];
  socklen_t length = sizeof short_name;
  result("short name", getsockname(fd, (struct sockaddr *)short_name, &length));
  say("short name: length", "%u", length);
}
SCENARIO_BOTH(datagram_names, .app = names_app);

static void kinds_app(void) {
  success("dgram, 0", socket(family, SOCK_DGRAM, 0));
  success("dgram, udp", socket(family, SOCK_DGRAM, IPPROTO_UDP));
  success("dgram, tcp", socket(family, SOCK_DGRAM, IPPROTO_TCP));
  success("stream, udp", socket(family, SOCK_STREAM, IPPROTO_UDP));
  success("dgram, 254", socket(family, SOCK_DGRAM, 254));
  success("dgram, 255", socket(family, SOCK_DGRAM, IPPROTO_RAW));
  success("dgram, other icmp", socket(family, SOCK_DGRAM, family == AF_INET ? IPPROTO_ICMPV6 : IPPROTO_ICMP));
  success("raw, 0", socket(family, SOCK_RAW, 0));
  success("raw, udp", socket(family, SOCK_RAW, IPPROTO_UDP));
  success("rdm", socket(family, SOCK_RDM, 0));
}
SCENARIO_BOTH(datagram_kinds, .app = kinds_app, .user = NOBODY);

static void autobind_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  name_port(port, "server");
  result("send", send_to(fd, "a", 1, PEER, port));
  say_local("after send", fd);
  say_datagram("echo", fd, 0);
  int mine = port_of(fd);
  result("send again", send_to(fd, "b", 1, PEER, port));
  say("same port", "%d", port_of(fd) == mine);
  say_datagram("echo", fd, 0);
  result("bind after send", bind_to(fd, ANY, 0));
  result("last", send_to(fd, "end", 3, PEER, port));
}
SCENARIO_BOTH(datagram_autobind, .app = autobind_app, .peer = mirror_peer);

static void conflicts_app(void) {
  int one = udp(0), two = udp(0), three = udp(0);
  NEED(bind_to(one, ANY, 0) == 0);
  int port = port_of(one);
  result("same port", bind_to(two, ANY, port));
  result("same port, own address", bind_to(two, APP, port));
  NEED(set_option(two, SOL_SOCKET, SO_REUSEADDR, 1) == 0);
  result("only one reuses", bind_to(two, ANY, port));
  NEED(set_option(one, SOL_SOCKET, SO_REUSEADDR, 1) == 0);
  result("both reuse", bind_to(two, ANY, port));
  NEED(set_option(three, SOL_SOCKET, SO_REUSEPORT, 1) == 0);
  result("reuseport with reuseaddr", bind_to(three, ANY, port));
  int four = udp(0), five = udp(0), six = udp(0);
  NEED(bind_to(four, APP, 0) == 0);
  port = port_of(four);
  result("other address", bind_to(five, LOOPBACK, port));
  result("any beside them", bind_to(six, ANY, port));
  int seven = udp(0), eight = udp(0);
  NEED(set_option(seven, SOL_SOCKET, SO_REUSEPORT, 1) == 0 && set_option(eight, SOL_SOCKET, SO_REUSEPORT, 1) == 0);
  NEED(bind_to(seven, ANY, 0) == 0);
  port = port_of(seven);
  result("reuseport", bind_to(eight, ANY, port));
  int stream = tcp(0);
  result("TCP beside UDP", bind_to(stream, ANY, port));
  close(seven);
  close(eight);
  int nine = udp(0);
  result("free again", bind_to(nine, ANY, port));
}
SCENARIO_BOTH(datagram_conflicts, .app = conflicts_app);

// ---- Boundaries

static void boundaries_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  name_port(port, "server");
  static const size_t sizes[] = {0, 1, 1452, 1453, 1472, 1473, 8000, 65507};
  static char out[70000], in[70000];
  for (size_t index = 0; index < sizeof sizes / sizeof *sizes; index++) {
    size_t size = sizes[index];
    for (size_t at = 0; at < size; at++) out[at] = (char)(at * 7 + size);
    char label[32];
    snprintf(label, sizeof label, "send %zu", size);
    result(label, send_to(fd, out, size, PEER, port));
    NEED(wait_for(fd, POLLIN) != 0);
    int next = 0;
    NEED(ioctl(fd, FIONREAD, &next) == 0);
    say("FIONREAD", "%d", next);
    ssize_t count = recv(fd, in, sizeof in, 0);
    say("recv", "%zd, %s", count, count >= 0 && memcmp(in, out, count) == 0 ? "equal" : "different");
  }
  result("65508", send_to(fd, out, 65508, PEER, port));
  result("65536", send_to(fd, out, 65536, PEER, port));
  if (family == AF_INET) say_error("SO_ERROR", fd);
  result("last", send_to(fd, "end", 3, PEER, port));
}
SCENARIO(datagram_boundaries, .app = boundaries_app, .peer = mirror_peer);

static void sizes6_app(void) {
  int fd = udp(0);
  static char out[70000];
  result("65527", send_to(fd, out, 65527, LOOPBACK, 9));
  result("65528", send_to(fd, out, 65528, LOOPBACK, 9));
  result("65536", send_to(fd, out, 65536, LOOPBACK, 9));
}
SCENARIO_OF(datagram_sizes_6, AF_INET6, .app = sizes6_app);

static void truncation_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  name_port(port, "server");
  char bytes[100];
  NEED(connect_to(fd, PEER, port) == 0);
  for (int round = 0; round < 6; round++) NEED(send(fd, "0123456789", 10, 0) == 10);
  NEED(wait_for(fd, POLLIN) != 0);
  result("recv of 4", recv(fd, bytes, 4, 0));
  NEED(wait_for(fd, POLLIN) != 0);
  result("recv of 4, MSG_TRUNC", recv(fd, bytes, 4, MSG_TRUNC));
  NEED(wait_for(fd, POLLIN) != 0);
  result("peek of 4", recv(fd, bytes, 4, MSG_PEEK));
  result("peek of 4, MSG_TRUNC", recv(fd, bytes, 4, MSG_PEEK | MSG_TRUNC));
  result("read of 0", read(fd, bytes, 0));
  struct iovec parts[2] = {{bytes, 3}, {bytes + 50, 4}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  result("recvmsg of 7", recvmsg(fd, &message, 0));
  say("flags", "%s", (message.msg_flags & MSG_TRUNC) != 0 ? "TRUNC" : "none");
  say("pieces", "%.3s %.4s", bytes, bytes + 50);
  NEED(wait_for(fd, POLLIN) != 0);
  result("recv of 0", recv(fd, bytes, 0, 0));
  NEED(wait_for(fd, POLLIN) != 0);
  result("readv", readv(fd, parts, 2));
  NEED(wait_for(fd, POLLIN) != 0);
  result("MSG_WAITALL", recv(fd, bytes, sizeof bytes, MSG_WAITALL));
  say_recv("nothing left", fd, MSG_DONTWAIT);
  result("last", send(fd, "end", 3, 0));
}
SCENARIO_BOTH(datagram_truncation, .app = truncation_app, .peer = mirror_peer);

static void empty_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  NEED(connect_to(fd, PEER, port) == 0);
  result("send of nothing", send(fd, "", 0, 0));
  say_poll("poll", fd, POLLIN);
  say_recv("recv", fd, 0);
  result("write of nothing", write(fd, "", 0));
  say_poll("poll", fd, POLLIN);
  say_recv("recv", fd, 0);
  result("last", send(fd, "end", 3, 0));
}
SCENARIO_BOTH(datagram_empty, .app = empty_app, .peer = mirror_peer);

static void many_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  NEED(connect_to(fd, PEER, port) == 0);
  struct iovec parts[4] = {{"a", 1}, {"bb", 2}, {"", 0}, {"cccc", 4}};
  struct mmsghdr out[4], in[6];
  memset(out, 0, sizeof out);
  memset(in, 0, sizeof in);
  for (int index = 0; index < 4; index++) out[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
  result("sendmmsg", sendmmsg(fd, out, 4, 0));
  say("lengths", "%u %u %u %u", out[0].msg_len, out[1].msg_len, out[2].msg_len, out[3].msg_len);
  char bytes[6][16];
  struct iovec rooms[6];
  for (int index = 0; index < 6; index++) {
    rooms[index] = (struct iovec){bytes[index], sizeof bytes[index]};
    in[index].msg_hdr = (struct msghdr){.msg_iov = &rooms[index], .msg_iovlen = 1};
  }
  int got = 0;
  while (got < 4) {
    NEED(wait_for(fd, POLLIN) != 0);
    int count = recvmmsg(fd, in + got, 6 - got, MSG_WAITFORONE, NULL);
    NEED(count > 0);
    got += count;
  }
  say("received", "%d: %u %u %u %u", got, in[0].msg_len, in[1].msg_len, in[2].msg_len, in[3].msg_len);
  result("none left", recvmmsg(fd, in, 6, MSG_DONTWAIT, NULL));
  result("last", send(fd, "end", 3, 0));
}
SCENARIO_BOTH(datagram_many, .app = many_app, .peer = mirror_peer);

// ---- Peers

static void connected_only_app(void) {
  int port = (int)hear_value(), fd = udp(0), stranger = udp(0);
  name_port(port, "server");
  result("connect", connect_to(fd, PEER, port));
  say_local("local", fd);
  say_remote("remote", fd);
  NEED(bind_to(stranger, APP, 0) == 0);
  result("a stranger sends", send_to(stranger, "x", 1, APP, port_of(fd)));
  say_quiet("not heard", fd, POLLIN);
  result("send", send(fd, "one", 3, 0));
  say_datagram("echo", fd, 0);
  result("sendto elsewhere", send_to(fd, "two", 3, APP, port_of(stranger)));
  say_recv("there", stranger, 0);
  result("write", write(fd, "three", 5));
  say_datagram("echo", fd, 0);
  result("connect to the stranger", connect_to(fd, APP, port_of(stranger)));
  name_port(port_of(stranger), "stranger");
  say_remote("remote", fd);
  result("send", send(fd, "four", 4, 0));
  say_recv("there", stranger, 0);
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  result("disconnect", connect(fd, &none, sizeof none));
  say_local("local", fd);
  say_remote("remote", fd);
  result("send without peer", send(fd, "five", 4, 0));
  result("connect back", connect_to(fd, PEER, port));
  result("last", send(fd, "end", 3, 0));
}
SCENARIO_BOTH(datagram_connected, .app = connected_only_app, .peer = mirror_peer);

static void disconnect_app(void) {
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  int fd = udp(0);
  result("disconnect a new one", connect(fd, &none, sizeof none));
  NEED(bind_to(fd, ANY, 0) == 0);
  int port = port_of(fd);
  name_port(port, "own");
  result("connect", connect_to(fd, PEER, 9));
  say_local("local", fd);
  result("disconnect", connect(fd, &none, sizeof none));
  say_local("local", fd);
  int other = udp(0);
  int chosen = 0;
  for (int guess = 20000; chosen == 0 && guess < 20100; guess++)
    if (bind_to(other, APP, guess) == 0) chosen = guess;
  name_port(chosen, "chosen");
  result("connect", connect_to(other, PEER, 9));
  result("disconnect", connect(other, &none, sizeof none));
  say_local("bound: local", other);
}
SCENARIO_BOTH(datagram_disconnect, .app = disconnect_app);

static void connect_arguments_app(void) {
  int fd = udp(0);
  struct address to = at(PEER, 9);
  result("short", connect(fd, &to.sa, to.length - 5));
  result("nothing", connect(fd, &to.sa, 0));
  to.sa.sa_family = AF_UNIX;
  result("family", connect(fd, &to.sa, to.length));
  result("unrouted", connect_to(fd, UNROUTED, 9));
  say_remote("remote", fd);
  result("any", connect_to(fd, ANY, 9));
  say_remote("remote", fd);
  result("port 0", connect_to(udp(0), PEER, 0));
  int zero = udp(0);
  NEED(connect_to(zero, PEER, 0) == 0);
  say_remote("remote of port 0", zero);
  result("send to port 0", send(zero, "x", 1, 0));
}
SCENARIO_BOTH(datagram_connect_arguments, .app = connect_arguments_app);

static void send_arguments_app(void) {
  int fd = udp(0);
  struct address to = at(PEER, 9);
  result("no peer", send(fd, "x", 1, 0));
  result("write without peer", write(fd, "x", 1));
  result("short", sendto(fd, "x", 1, 0, &to.sa, to.length - 5));
  result("port 0", send_to(fd, "x", 1, PEER, 0));
  result("unrouted", send_to(fd, "x", 1, UNROUTED, 9));
  result("MSG_OOB", sendto(fd, "x", 1, MSG_OOB, &to.sa, to.length));
  result("MSG_DONTROUTE", sendto(fd, "x", 1, MSG_DONTROUTE, &to.sa, to.length));
  result("MSG_CONFIRM", sendto(fd, "x", 1, MSG_CONFIRM, &to.sa, to.length));
  to.sa.sa_family = AF_UNIX;
  result("family", sendto(fd, "x", 1, 0, &to.sa, to.length));
  to.sa.sa_family = AF_UNSPEC;
  result("unspecified", sendto(fd, "x", 1, 0, &to.sa, to.length));
  say_local("bound by it", fd);
  to = at(PEER, 9);
  result("bad pointer", sendto(fd, (void *)1, 1, 0, &to.sa, to.length));
  int bound = udp(0);
  NEED(bind_to(bound, LOOPBACK, 0) == 0);
  if (family == AF_INET) result("from loopback", send_to(bound, "x", 1, PEER, 9));
}
SCENARIO_BOTH(datagram_send_arguments, .app = send_arguments_app);

static void receive_arguments_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  NEED(connect_to(fd, PEER, port) == 0);
  char bytes[16];
  for (int round = 0; round < 4; round++) NEED(send(fd, "hello", 5, 0) == 5);
  NEED(wait_for(fd, POLLIN) != 0);
  char name[8];
  socklen_t length = sizeof name;
  result("short address", recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)name, &length));
  say("its length", "%u", length);
  NEED(wait_for(fd, POLLIN) != 0);
  length = 0;
  result("no room for the address", recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)name, &length));
  say("its length", "%u", length);
  NEED(wait_for(fd, POLLIN) != 0);
  struct address from;
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr message = {.msg_name = &from.sa, .msg_namelen = sizeof from.storage, .msg_iov = &part, .msg_iovlen = 1};
  result("recvmsg", recvmsg(fd, &message, 0));
  name_port(port, "server");
  say_address("its address", &from, message.msg_namelen);
  say("its flags", "%x", message.msg_flags);
  NEED(wait_for(fd, POLLIN) != 0);
  result("bad pointer", recv(fd, (void *)1, 5, 0));
  result("last", send(fd, "end", 3, 0));
}
SCENARIO_BOTH(datagram_receive_arguments, .app = receive_arguments_app, .peer = mirror_peer);

// ---- Two sockets of one host

static void own_app(void) {
  int one = udp(0), two = udp(0);
  NEED(bind_to(one, APP, 0) == 0 && bind_to(two, LOOPBACK, 0) == 0);
  name_port(port_of(one), "one");
  name_port(port_of(two), "two");
  int sender = udp(0);
  result("to own", send_to(sender, "a", 1, APP, port_of(one)));
  name_port(port_of(sender), "sender");
  say_datagram("own", one, 0);
  result("to loopback", send_to(sender, "b", 1, LOOPBACK, port_of(two)));
  say_datagram("loopback", two, 0);
  result("to the other address", send_to(sender, "c", 1, LOOPBACK, port_of(one)));
  say_quiet("not heard", one, POLLIN);
  int any = udp(0);
  NEED(bind_to(any, ANY, 0) == 0);
  result("any hears loopback", send_to(sender, "d", 1, LOOPBACK, port_of(any)));
  say_datagram("any", any, 0);
  result("any hears own", send_to(sender, "e", 1, APP, port_of(any)));
  say_datagram("any", any, 0);
  result("to any", send_to(sender, "f", 1, ANY, port_of(any)));
  say_datagram("any", any, 0);
}
SCENARIO_BOTH(datagram_own, .app = own_app);

static void best_match_app(void) {
  int any = udp(0), own = udp(0), connected = udp(0), sender = udp(0);
  int all[] = {any, own, connected};
  for (int index = 0; index < 3; index++) NEED(set_option(all[index], SOL_SOCKET, SO_REUSEADDR, 1) == 0);
  NEED(bind_to(any, ANY, 0) == 0);
  int port = port_of(any);
  NEED(bind_to(own, APP, port) == 0 && bind_to(connected, APP, port) == 0);
  NEED(bind_to(sender, APP, 0) == 0 && connect_to(connected, APP, port_of(sender)) == 0);
  result("send", send_to(sender, "a", 1, APP, port));
  say_recv("the connected one", connected, 0);
  int stranger = udp(0);
  result("a stranger sends", send_to(stranger, "b", 1, APP, port));
  say_recv("the bound one", own, 0);
  result("to loopback", send_to(stranger, "c", 1, LOOPBACK, port));
  say_recv("the one of any", any, 0);
  int last = udp(0);
  NEED(set_option(last, SOL_SOCKET, SO_REUSEADDR, 1) == 0 && bind_to(last, APP, port) == 0);
  result("after another was bound", send_to(stranger, "d", 1, APP, port));
  say_recv("the last one", last, 0);
  close(last);
  result("after it closed", send_to(stranger, "e", 1, APP, port));
  say_recv("the former", own, 0);
}
SCENARIO_BOTH(datagram_best_match, .app = best_match_app);

// ---- Waiting, and more than there is room for

static void waiting_app(void) {
  int fd = udp(SOCK_NONBLOCK);
  NEED(bind_to(fd, ANY, 0) == 0);
  say_recv("nonblocking", fd, 0);
  set_nonblocking(fd, false);
  struct timeval limit = {.tv_usec = 200000};
  NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  long start = milliseconds();
  say_recv("time-out", fd, 0);
  say_took("time-out: time", start, 150, 2000);
  limit.tv_usec = 0;
  NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  on_signal(SIGUSR1, 0);
  pester(SIGUSR1);
  say_recv("interrupted", fd, 0);
  stop_pestering();
  say_poll_now("poll", fd);
}
SCENARIO_BOTH(datagram_waiting, .app = waiting_app);

static void overflow_app(void) {
  int fd = udp(0), sender = udp(0);
  static char bytes[1000];
  NEED(bind_to(fd, APP, 0) == 0);
  NEED(connect_to(sender, APP, port_of(fd)) == 0);
  int refused = 0;
  for (int round = 0; round < 3000; round++) refused += send(sender, bytes, sizeof bytes, 0) != sizeof bytes;
  say("refused sends", "%d", refused);
  int got = 0;
  while (wait_for(fd, POLLIN) != 0 && recv(fd, bytes, sizeof bytes, 0) == sizeof bytes) {
    got++;
    struct pollfd more = {.fd = fd, .events = POLLIN};
    if (poll(&more, 1, 100) == 0) break;
  }
  say("received", "%s", got == 0 ? "none" : got < 3000 ? "some" : "all");
  result("afterwards", send(sender, "x", 1, 0));
  NEED(wait_for(fd, POLLIN) != 0);
  say_recv("afterwards", fd, 0);
}
SCENARIO_BOTH(datagram_overflow, .app = overflow_app);

static void small_buffer_app(void) {
  int fd = udp(0), sender = udp(0);
  static char bytes[60000];
  NEED(set_option(fd, SOL_SOCKET, SO_RCVBUF, 1) == 0);
  NEED(bind_to(fd, APP, 0) == 0 && connect_to(sender, APP, port_of(fd)) == 0);
  result("send", send(sender, bytes, sizeof bytes, 0));
  NEED(wait_for(fd, POLLIN) != 0);
  result("the first always fits", recv(fd, bytes, sizeof bytes, 0));
}
SCENARIO_BOTH(datagram_small_buffer, .app = small_buffer_app);

// ---- Shutdown

static void shutdown_app(void) {
  int fd = udp(0), other = udp(0);
  result("without peer", shutdown(fd, SHUT_WR));
  NEED(bind_to(other, APP, 0) == 0);
  result("send after it", send_to(fd, "x", 1, APP, port_of(other)));
  int reader = udp(0);
  NEED(bind_to(reader, APP, 0) == 0 && connect_to(reader, APP, port_of(other)) == 0);
  result("how", shutdown(reader, 7));
  result("SHUT_RD", shutdown(reader, SHUT_RD));
  say_recv("recv", reader, 0);
  say_poll_now("poll", reader);
  result("still sends", send(reader, "y", 1, 0));
  say_recv("heard", other, 0);
  int both = udp(0);
  NEED(connect_to(both, APP, port_of(other)) == 0);
  result("SHUT_RDWR", shutdown(both, SHUT_RDWR));
  say_poll_now("poll", both);
  say_recv("recv", both, 0);
  result("send", send(both, "z", 1, 0));
}
SCENARIO_BOTH(datagram_shutdown, .app = shutdown_app);

// ---- Processes

static void processes_app(void) {
  int fd = udp(0), sender = udp(0);
  NEED(bind_to(fd, APP, 0) == 0);
  int port = port_of(fd);
  pid_t child = fork();
  if (child == 0) {
    char bytes[8];
    _exit(recv(fd, bytes, sizeof bytes, 0) == 3 ? 0 : 1);
  }
  close(fd);
  result("send", send_to(sender, "abc", 3, APP, port));
  say_child("child", child);
  int again = udp(0);
  result("free after the last", bind_to(again, APP, port));
}
SCENARIO_BOTH(datagram_processes, .app = processes_app);
