// UDP: boundaries, addresses, connected and unconnected, errors of the network, each pair of calls that moves datagrams.
#include "udp.h"

int peer_socket(void) {
  int fd = udp(0);
  NEED(bind_to(fd, PEER, 0) == 0);
  tell_value(port_of(fd));
  return fd;
}

int app_socket(int *port) {
  *port = (int)hear_value();
  name_port(*port, "server");
  return udp(0);
}

ssize_t send_to(int fd, const void *bytes, size_t count, enum host host, int port) {
  struct address to = at(host, port);
  return sendto(fd, bytes, count, 0, &to.sa, to.length);
}

void say_datagram(const char *label, int fd, int flags) {
  static char bytes[70000];
  struct address from = {.length = sizeof from.storage};
  memset(bytes, 0, 64);
  ssize_t count = recvfrom(fd, bytes, sizeof bytes, flags, &from.sa, &from.length);
  if (count < 0) {
    say(label, "%s", errno_name(errno));
    return;
  }
  say(label, "%zd \"%.20s\"", count, bytes);
  char with[100];
  snprintf(with, sizeof with, "%s, from", label);
  say_address(with, &from.storage, from.length);
}

void echo_peer(void) {
  int fd = peer_socket();
  static char bytes[70000];
  for (;;) {
    struct address from = {.length = sizeof from.storage};
    ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, &from.sa, &from.length);
    NEED(count >= 0);
    NEED(sendto(fd, bytes, count, 0, &from.sa, from.length) == count);
    if (count == 4 && memcmp(bytes, "stop", 4) == 0) break;
  }
}

void stop_echo(int port) { NEED(send_to(udp(0), "stop", 4, PEER, port) == 4); }

// ---- Unconnected

static void echo_app(void) {
  int port, fd = app_socket(&port);
  say_local("local before", fd);
  say_remote("remote before", fd);
  say_poll_now("poll before", fd);
  result("sendto", send_to(fd, "hello", 5, PEER, port));
  say_local("local after", fd);
  say_poll("poll", fd, POLLIN);
  say_datagram("answer", fd, 0);
  say_datagram("none left", fd, MSG_DONTWAIT);
  say_poll_now("poll after", fd);
  result("send without an address", send(fd, "x", 1, 0));
  result("write without an address", write(fd, "x", 1));
  result("port 0", send_to(fd, "x", 1, PEER, 0));
  result("unrouted", send_to(fd, "x", 1, UNROUTED, port));
  result("shutdown", shutdown(fd, SHUT_RD));
  stop_echo(port);
}
SCENARIO_BOTH(udp_echo, .app = echo_app, .peer = echo_peer);

static void names_app(void) {
  int fd = udp(0);
  result("bind", bind_to(fd, ANY, 0));
  say_local("local", fd);
  result("bind again", bind_to(fd, ANY, 0));
  int bound = udp(0);
  result("bind to ours", bind_to(bound, APP, 0));
  say_local("local of it", bound);
  int other = udp(0), port = port_of(bound);
  result("the same", bind_to(other, APP, port));
  result("not ours", bind_to(udp(0), PEER, 0));
  result("any with its port", bind_to(other, ANY, port));
  set_option(other, SOL_SOCKET, SO_REUSEADDR, 1);
  result("with SO_REUSEADDR", bind_to(other, APP, port));
  set_option(bound, SOL_SOCKET, SO_REUSEADDR, 1);
  result("both with SO_REUSEADDR", bind_to(other, APP, port));
  int first = udp(0), second = udp(0);
  set_option(first, SOL_SOCKET, SO_REUSEPORT, 1);
  set_option(second, SOL_SOCKET, SO_REUSEPORT, 1);
  result("SO_REUSEPORT", bind_to(first, APP, 0));
  result("both with SO_REUSEPORT", bind_to(second, APP, port_of(first)));
  result("loopback", bind_to(udp(0), LOOPBACK, 0));
  result("listen", listen(bound, 1));
  success("accept", accept(bound, NULL, NULL));
  say_option("SO_TYPE", bound, SOL_SOCKET, SO_TYPE);
  say_option("SO_PROTOCOL", bound, SOL_SOCKET, SO_PROTOCOL);
  say_option("SO_DOMAIN", bound, SOL_SOCKET, SO_DOMAIN);
  say_option("SO_ACCEPTCONN", bound, SOL_SOCKET, SO_ACCEPTCONN);
}
SCENARIO_BOTH(udp_names, .app = names_app);

static void unprivileged_app(void) {
  result("port 53", bind_to(udp(0), ANY, 53));
  result("port 1024", bind_to(udp(0), ANY, 1024));
}
SCENARIO_BOTH(udp_unprivileged, .app = unprivileged_app, .user = NOBODY);

// ---- Sizes

static void sizes_app(void) {
  static char bytes[70000];
  int port, fd = app_socket(&port);
  static const int sizes[] = {0, 1, 1400, 1472, 1473, 3000, 9000, 65507};
  set_option(fd, SOL_SOCKET, SO_RCVBUF, 400000);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    char label[40];
    snprintf(label, sizeof label, "%d bytes", sizes[i]);
    memset(bytes, 'a' + (int)i, sizeof bytes);
    result(label, send_to(fd, bytes, sizes[i], PEER, port));
    say("poll", "%s", mask_names(wait_for(fd, POLLIN)));
    say_datagram("answer", fd, MSG_DONTWAIT);
  }
  result("65508 bytes", send_to(fd, bytes, 65508, PEER, port));
  result("65535 bytes", send_to(fd, bytes, 65535, PEER, port));
  result("65536 bytes", send_to(fd, bytes, 65536, PEER, port));
  stop_echo(port);
}
SCENARIO_BOTH(udp_sizes, .app = sizes_app, .peer = echo_peer);

static void short_buffers_app(void) {
  int port, fd = app_socket(&port);
  char bytes[100] = {0};
  NEED(connect_to(fd, PEER, port) == 0);
  for (int i = 0; i < 6; i++) NEED(send(fd, "0123456789", 10, 0) == 10);
  result("recv 4", recv(fd, bytes, 4, 0));
  result("recv 4 MSG_TRUNC", recv(fd, bytes, 4, MSG_TRUNC));
  result("recv 4 MSG_PEEK", recv(fd, bytes, 4, MSG_PEEK));
  result("recv 4 MSG_PEEK MSG_TRUNC", recv(fd, bytes, 4, MSG_PEEK | MSG_TRUNC));
  struct msghdr message = {.msg_iov = (struct iovec[]){{bytes, 2}, {bytes + 50, 3}}, .msg_iovlen = 2};
  result("recvmsg 2 + 3", recvmsg(fd, &message, 0));
  say("flags", "%#x", message.msg_flags);
  say("bytes", "%.2s %.3s", bytes, bytes + 50);
  result("recvmsg MSG_TRUNC", recvmsg(fd, &message, MSG_TRUNC));
  say("flags", "%#x", message.msg_flags);
  result("recv 0", recv(fd, bytes, 0, 0));
  result("read 3", read(fd, bytes, 3));
  say_recv("none left", fd, MSG_DONTWAIT);
  result("MSG_WAITALL", recv(fd, bytes, 3, MSG_WAITALL | MSG_DONTWAIT));
  result("MSG_OOB", recv(fd, bytes, 3, MSG_OOB | MSG_DONTWAIT));
  result("send MSG_OOB", send(fd, bytes, 3, MSG_OOB));
  result("MSG_ERRQUEUE", recv(fd, bytes, 3, MSG_ERRQUEUE));
  stop_echo(port);
}
SCENARIO_BOTH(udp_short_buffers, .app = short_buffers_app, .peer = echo_peer);

// An empty datagram is one, and no end of file.
static void empty_app(void) {
  int port, fd = app_socket(&port);
  NEED(connect_to(fd, PEER, port) == 0);
  result("send nothing", send(fd, "", 0, 0));
  result("send something", send(fd, "x", 1, 0));
  result("write nothing", write(fd, "", 0));
  say_poll("poll", fd, POLLIN);
  say_datagram("first", fd, 0);
  say_datagram("second", fd, 0);
  say_poll("poll after", fd, POLLIN);
  result("writev nothing", writev(fd, (struct iovec[]){{"", 0}}, 1));
  result("sendmsg nothing", sendmsg(fd, &(struct msghdr){0}, 0));
  say_datagram("third", fd, 0);
  stop_echo(port);
}
SCENARIO_BOTH(udp_empty, .app = empty_app, .peer = echo_peer);

static void queue_app(void) {
  int port, fd = app_socket(&port), there = -1;
  NEED(connect_to(fd, PEER, port) == 0);
  result("FIONREAD none", ioctl(fd, FIONREAD, &there));
  say("there", "%d", there);
  NEED(send(fd, "abcdef", 6, 0) == 6);
  NEED(wait_for(fd, POLLIN) != 0);
  result("FIONREAD", ioctl(fd, FIONREAD, &there));
  say("there", "%d", there);
  NEED(send(fd, "gh", 2, 0) == 2);
  for (int i = 0; i < 20; i++) usleep(1000);
  result("FIONREAD of the first", ioctl(fd, FIONREAD, &there));
  say("there", "%d", there);
  say_recv("recv", fd, 0);
  wait_for(fd, POLLIN);
  result("FIONREAD of the second", ioctl(fd, FIONREAD, &there));
  say("there", "%d", there);
  say_recv("recv", fd, 0);
  result("SIOCOUTQ", ioctl(fd, TIOCOUTQ, &there));
  say("unsent", "%d", there);
  result("SIOCATMARK", ioctl(fd, SIOCATMARK, &there));
  stop_echo(port);
}
SCENARIO_BOTH(udp_queue, .app = queue_app, .peer = echo_peer);

// ---- Connected, connected again, and no longer

static void connected_app_side(void) {
  int port, fd = app_socket(&port);
  result("connect", connect_to(fd, PEER, port));
  say_local("local", fd);
  say_remote("remote", fd);
  result("send", send(fd, "one", 3, 0));
  say_datagram("answer", fd, 0);
  result("sendto elsewhere", send_to(fd, "two", 3, PEER, port));
  say_datagram("answer to that", fd, 0);
  result("connect again", connect_to(fd, PEER, port));
  result("connect elsewhere", connect_to(fd, PEER, 9));
  say_remote("remote then", fd);
  struct sockaddr nothing = {.sa_family = AF_UNSPEC};
  result("disconnect", connect(fd, &nothing, sizeof nothing));
  say_remote("remote after", fd);
  say_local("local after", fd);
  result("send after", send(fd, "x", 1, 0));
  result("sendto after", send_to(fd, "three", 5, PEER, port));
  say_datagram("answer to the third", fd, 0);
  result("connect to unrouted", connect_to(fd, UNROUTED, 9));
  result("connect to port 0", connect_to(fd, PEER, 0));
  say_remote("remote with port 0", fd);
  int bound = udp(0);
  NEED(bind_to(bound, ANY, 0) == 0 && connect_to(bound, PEER, port) == 0);
  say_local("local of a bound one", bound);
  connect(bound, &nothing, sizeof nothing);
  say_local("and disconnected", bound);
  stop_echo(port);
}
SCENARIO_BOTH(udp_connected, .app = connected_app_side, .peer = echo_peer);

// A connected socket hears its peer alone.
static void filter_app(void) {
  int port, fd = app_socket(&port);
  NEED(connect_to(fd, PEER, port) == 0);
  tell_value(port_of(fd));
  hear("sent");
  say_recv("recv", fd, 0);
  say_recv("then none", fd, MSG_DONTWAIT);
  tell("done");
}

static void filter_peer(void) {
  int fd = peer_socket(), stranger = udp(0), port = (int)hear_value();
  NEED(send_to(stranger, "stranger", 8, APP, port) == 8 && send_to(fd, "friend", 6, APP, port) == 6);
  NEED(send_to(stranger, "stranger", 8, APP, port) == 8);
  tell("sent");
  hear("done");
}
SCENARIO_BOTH(udp_connected_filter, .app = filter_app, .peer = filter_peer);

// ---- Nobody there

static void unreachable_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  result("connect", connect_to(fd, PEER, port));
  result("send", send(fd, "x", 1, 0));
  say_poll("poll", fd, POLLERR);
  say_recv("recv", fd, 0);
  say_recv("recv again", fd, MSG_DONTWAIT);
  result("send", send(fd, "x", 1, 0));
  say_poll("poll", fd, POLLERR);
  result("send with the error there", send(fd, "x", 1, 0));
  say_poll("poll", fd, POLLERR | POLLOUT);
  say_error("SO_ERROR", fd);
  say_error("SO_ERROR again", fd);
  int unconnected = udp(0);
  result("sendto", send_to(unconnected, "x", 1, PEER, port));
  say_quiet("nothing told to an unconnected one", unconnected, POLLIN);
  say_error("SO_ERROR of it", unconnected);
  tell("done");
}

static void unreachable_peer(void) {
  int fd = udp(0);
  NEED(bind_to(fd, PEER, 0) == 0);
  int port = port_of(fd);
  close(fd);
  tell_value(port);
  hear("done");
}
SCENARIO_BOTH(udp_unreachable, .app = unreachable_app, .peer = unreachable_peer);

static void blocked_unreachable_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  NEED(connect_to(fd, PEER, port) == 0 && send(fd, "x", 1, 0) == 1);
  say_recv("blocking recv", fd, 0);
  NEED(send(fd, "x", 1, 0) == 1);
  say("poll of IN alone", "%s", mask_names(wait_for(fd, POLLIN)));
  tell("done");
}
SCENARIO_BOTH(udp_unreachable_blocked, .app = blocked_unreachable_app, .peer = unreachable_peer);

// The error's details come by MSG_ERRQUEUE where they were asked for.
static void error_queue_app(void) {
  int port = (int)hear_value(), fd = udp(0);
  result("IP_RECVERR", family == AF_INET ? set_option(fd, IPPROTO_IP, IP_RECVERR, 1)
                                         : set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1));
  NEED(connect_to(fd, PEER, port) == 0 && send(fd, "hello", 5, 0) == 5);
  say_poll("poll", fd, POLLERR);
  char bytes[100] = {0}, control[512];
  struct address about;
  struct msghdr message = {.msg_name = &about.storage, .msg_namelen = sizeof about.storage,
                           .msg_iov = &(struct iovec){bytes, 100}, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  result("recvmsg", recvmsg(fd, &message, MSG_ERRQUEUE));
  say("bytes", "%s", bytes);
  say("flags", "%#x", message.msg_flags);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  struct { // linux/errqueue.h, which does not go with glibc's headers
    uint32_t number;
    uint8_t origin, type, code, pad;
    uint32_t info, data;
  } error;
  if (header) {
    memcpy(&error, CMSG_DATA(header), sizeof error);
    say("level and type", "%d %d", header->cmsg_level, header->cmsg_type);
    say("error", "%s, origin %d, type %d, code %d", errno_name((int)error.number), error.origin, error.type, error.code);
  }
  result("recvmsg again", recvmsg(fd, &message, MSG_ERRQUEUE));
  say_error("SO_ERROR", fd);
  tell("done");
}
SCENARIO_BOTH(udp_error_queue, .app = error_queue_app, .peer = unreachable_peer);

// ---- Several at once

static void several_app(void) {
  int port, fd = app_socket(&port);
  NEED(connect_to(fd, PEER, port) == 0);
  struct iovec vectors[3] = {{"one", 3}, {"twotwo", 6}, {"", 0}};
  struct mmsghdr messages[3];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < 3; i++) messages[i].msg_hdr = (struct msghdr){.msg_iov = vectors + i, .msg_iovlen = 1};
  result("sendmmsg", sendmmsg(fd, messages, 3, 0));
  say("lengths", "%u %u %u", messages[0].msg_len, messages[1].msg_len, messages[2].msg_len);
  result("writev", writev(fd, vectors, 2));
  char bytes[4][20] = {0};
  struct address from[4];
  struct mmsghdr received[4];
  struct iovec into[4];
  for (int i = 0; i < 4; i++) {
    into[i] = (struct iovec){bytes[i], 19};
    received[i].msg_hdr = (struct msghdr){.msg_iov = into + i, .msg_iovlen = 1, .msg_name = &from[i].storage,
                                          .msg_namelen = sizeof from[i].storage};
  }
  usleep(50000);
  struct timespec limit = {.tv_sec = 2};
  result("recvmmsg", recvmmsg(fd, received, 4, 0, &limit));
  for (int i = 0; i < 4; i++) {
    say("received", "%u \"%s\"", received[i].msg_len, bytes[i]);
    say_address("from", &from[i].storage, received[i].msg_hdr.msg_namelen);
  }
  result("recvmmsg MSG_DONTWAIT", recvmmsg(fd, received, 4, MSG_DONTWAIT, NULL));
  NEED(send(fd, "last", 4, 0) == 4);
  result("recvmmsg MSG_WAITFORONE", recvmmsg(fd, received, 4, MSG_WAITFORONE, NULL));
  stop_echo(port);
}
SCENARIO_BOTH(udp_several, .app = several_app, .peer = echo_peer);

// ---- Waiting

static void waiting_app(void) {
  int fd = udp(0);
  NEED(bind_to(fd, APP, 0) == 0);
  say_recv("MSG_DONTWAIT", fd, MSG_DONTWAIT);
  struct timeval limit = {.tv_usec = 150000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  long start = milliseconds();
  say_recv("SO_RCVTIMEO", fd, 0);
  say_took("time", start, 100, 1000);
  limit.tv_usec = 0;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  on_signal(SIGUSR1, 0);
  pester(SIGUSR1);
  char byte;
  ssize_t got = recv(fd, &byte, 1, 0);
  int error = errno;
  stop_pestering();
  errno = error;
  result("interrupted", got);
  set_nonblocking(fd, true);
  say_recv("nonblocking", fd, 0);
  say_quiet("poll", fd, POLLIN);
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
  NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
  result("epoll", epoll_wait(epoll, &event, 1, 0));
  say("mask", "%s", mask_names(event.events));
  tell_value(port_of(fd));
  hear("sent");
  result("epoll edge", epoll_wait(epoll, &event, 1, 5000));
  say("mask", "%s", mask_names(event.events));
  say_recv("recv", fd, 0);
  say_recv("recv none", fd, 0);
  result("bad pointer", recv(fd, (void *)8, 10, 0));
  struct address to = at(PEER, 9);
  result("send from a bad pointer", sendto(fd, (void *)8, 10, 0, &to.sa, to.length));
}

static void waiting_peer(void) {
  int fd = udp(0), port = (int)hear_value();
  NEED(send_to(fd, "hello", 5, APP, port) == 5);
  tell("sent");
}
SCENARIO_BOTH(udp_waiting, .app = waiting_app, .peer = waiting_peer);

static void shutdown_app(void) {
  int port, fd = app_socket(&port);
  result("unconnected", shutdown(fd, SHUT_RDWR));
  NEED(connect_to(fd, PEER, port) == 0);
  result("SHUT_WR", shutdown(fd, SHUT_WR));
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  say_poll_now("poll", fd);
  result("SHUT_RD", shutdown(fd, SHUT_RD));
  say_recv("recv", fd, 0);
  say_poll_now("poll after", fd);
  stop_echo(port);
}
SCENARIO_BOTH(udp_shutdown, .app = shutdown_app, .peer = echo_peer);
