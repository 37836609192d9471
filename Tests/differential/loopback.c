// A program that meets itself, or another of its own host: through loopback and through the host's own address.
#include "differential.h"

static void own(enum host bound, enum host target) {
  int server = listener(bound, 8), port = port_of(server), client = tcp(0);
  name_port(port, "server");
  say_local("listener", server);
  result("connect", connect_to(client, target, port));
  name_port(port_of(client), "client");
  say_poll("listener's poll", server, POLLIN);
  struct address from = {.length = sizeof from.storage};
  int connection = accept(server, &from.sa, &from.length);
  say_address("accepted from", &from.storage, from.length);
  say_local("client's local", client);
  say_remote("client's remote", client);
  say_local("connection's local", connection);
  say_remote("connection's remote", connection);
  write_all(client, "ping", 4);
  say_recv("connection", connection, 0);
  write_all(connection, "pong", 4);
  say_recv("client", client, 0);
  say_option("TCP_NODELAY", client, IPPROTO_TCP, TCP_NODELAY);
  shutdown(client, SHUT_WR);
  say_poll("connection's poll", connection, POLLRDHUP);
  say_recv("connection at the end", connection, 0);
  write_all(connection, "late", 4);
  say_recv("client after its end", client, 0);
  close(connection);
  say_poll("client's poll", client, POLLHUP);
  say_recv("client at the end", client, 0);
  result("client's send", send(client, "x", 1, MSG_NOSIGNAL));
  say_error("client's SO_ERROR", client);
}

static void any_loopback(void) { own(ANY, LOOPBACK); }
static void any_own(void) { own(ANY, APP); }
static void loopback_loopback(void) { own(LOOPBACK, LOOPBACK); }
static void own_own(void) { own(APP, APP); }
static void any_any(void) { own(ANY, ANY); }
SCENARIO_BOTH(loopback_any, .app = any_loopback);
SCENARIO_BOTH(loopback_own_by_any, .app = any_own);
SCENARIO_BOTH(loopback_bound, .app = loopback_loopback);
SCENARIO_BOTH(loopback_own, .app = own_own);
SCENARIO_BOTH(loopback_to_any, .app = any_any);

static void refused_app(void) {
  int server = listener(APP, 1);
  result("bound to ours, asked by loopback", connect_to(tcp(0), LOOPBACK, port_of(server)));
  int local = listener(LOOPBACK, 1);
  result("bound to loopback, asked by ours", connect_to(tcp(0), APP, port_of(local)));
  result("nobody", connect_to(tcp(0), LOOPBACK, 9));
  result("nobody at ours", connect_to(tcp(0), APP, 9));
  int fd = tcp(SOCK_NONBLOCK);
  result("nonblocking, nobody", connect_to(fd, LOOPBACK, 9));
  say_poll("poll", fd, POLLHUP);
  say_error("SO_ERROR", fd);
  fd = tcp(SOCK_NONBLOCK);
  result("nonblocking, somebody", connect_to(fd, LOOPBACK, port_of(local)));
  say_poll("poll", fd, POLLOUT);
  say_error("SO_ERROR", fd);
  result("connect again", connect_to(fd, LOOPBACK, port_of(local)));
  result("and again", connect_to(fd, LOOPBACK, port_of(local)));
}
SCENARIO_BOTH(loopback_refused, .app = refused_app);

static void other_addresses_app(void) {
  struct address address = at(ANY, 0);
  inet_pton(AF_INET, "127.0.0.5", &address.v4.sin_addr);
  int server = tcp(0);
  result("bind 127.0.0.5", bind(server, &address.sa, address.length));
  result("listen", listen(server, 1));
  name_port(port_of(server), "server");
  say_local("local", server);
  address.v4.sin_port = htons(port_of(server));
  int client = tcp(0);
  result("connect", connect(client, &address.sa, address.length));
  say_remote("remote", client);
  say_local("client", client);
  inet_pton(AF_INET, "127.3.4.5", &address.v4.sin_addr);
  result("another of loopback", connect(tcp(0), &address.sa, address.length));
}
SCENARIO(loopback_other_addresses, .app = other_addresses_app);

static void reset_app(void) {
  int server = listener(LOOPBACK, 8), client = tcp(0);
  NEED(connect_to(client, LOOPBACK, port_of(server)) == 0);
  int connection = accept_one(server);
  reset(connection);
  say_poll("poll after a reset", client, POLLHUP);
  say_recv("recv", client, 0);
  say_recv("recv again", client, 0);
  result("send", send(client, "x", 1, MSG_NOSIGNAL));
  say_error("SO_ERROR", client);
}

SCENARIO_BOTH(loopback_reset, .app = reset_app);

static void unread_app(void) {
  int server = listener(LOOPBACK, 8), client = tcp(0);
  NEED(connect_to(client, LOOPBACK, port_of(server)) == 0);
  int connection = accept_one(server);
  write_all(client, "unread", 6);
  NEED(wait_for(connection, POLLIN) != 0);
  close(connection);
  say_poll("poll", client, POLLHUP);
  say_recv("recv", client, 0);
  client = tcp(0);
  NEED(connect_to(client, LOOPBACK, port_of(server)) == 0);
  close(server);
  say_poll("poll when the listener closed", client, POLLHUP);
  say_recv("recv", client, 0);
}
SCENARIO_BOTH(loopback_unread, .app = unread_app);

static void backlog_app(void) {
  int server = listener(LOOPBACK, 1), fds[4], connected = 0;
  for (int i = 0; i < 4; i++) {
    fds[i] = tcp(SOCK_NONBLOCK);
    connect_to(fds[i], LOOPBACK, port_of(server));
    struct pollfd one = {.fd = fds[i], .events = POLLOUT};
    connected += poll(&one, 1, 100) == 1;
  }
  say("connected", "%d", connected);
  for (int i = 0; i < 4; i++) close(accept_one(server));
  say("all accepted", "yes");
}
SCENARIO(loopback_backlog, .app = backlog_app);

// ---- Two programs of one host

static void processes_app(void) {
  int server = listener(LOOPBACK, 8), port = port_of(server);
  name_port(port, "server");
  pid_t child = fork();
  if (child == 0) {
    close(server);
    int fd = tcp(0);
    NEED(connect_to(fd, LOOPBACK, port) == 0);
    write_all(fd, "from the child", 14);
    say_recv("child", fd, MSG_WAITALL);
    _exit(0);
  }
  int fd = accept_one(server);
  say_recv("parent", fd, 0);
  write_all(fd, "from the parent", 15);
  shutdown(fd, SHUT_WR);
  say_poll("poll when the child has ended", fd, POLLHUP);
  say_child("child", child);
}
SCENARIO_BOTH(loopback_processes, .app = processes_app);

static void *send_much(void *fd) {
  static char bytes[1 << 16];
  for (int i = 0; i < 512; i++) write_all((int)(intptr_t)fd, bytes, sizeof bytes);
  close((int)(intptr_t)fd);
  return NULL;
}

static void bulk_app(void) {
  int server = listener(LOOPBACK, 8), client = tcp(0);
  NEED(connect_to(client, LOOPBACK, port_of(server)) == 0);
  int connection = accept_one(server);
  pthread_t thread;
  NEED(pthread_create(&thread, NULL, send_much, (void *)(intptr_t)client) == 0);
  static char bytes[1 << 16];
  long total = 0;
  for (ssize_t got; (got = recv(connection, bytes, sizeof bytes, 0)) > 0;) total += got;
  pthread_join(thread, NULL);
  say("received", "%ld", total);
}
SCENARIO_BOTH(loopback_bulk, .app = bulk_app);

static void self_app(void) {
  int fd = tcp(0);
  NEED(bind_to(fd, LOOPBACK, 0) == 0);
  int port = port_of(fd);
  name_port(port, "itself");
  result("connect to itself", connect_to(fd, LOOPBACK, port));
  say_local("local", fd);
  say_remote("remote", fd);
  result("send", send(fd, "me", 2, MSG_NOSIGNAL | MSG_DONTWAIT));
  say_recv("recv", fd, MSG_DONTWAIT);
}
SCENARIO_BOTH(loopback_self, .app = self_app);

// ---- Datagrams

static void udp_pair(enum host host) {
  int one = udp(0), two = udp(0);
  NEED(bind_to(one, host, 0) == 0);
  name_port(port_of(one), "one");
  struct address to = at(host, port_of(one));
  result("sendto", sendto(two, "hello", 5, 0, &to.sa, to.length));
  say_poll("poll", one, POLLIN);
  char bytes[20] = {0};
  struct address from = {.length = sizeof from.storage};
  result("recvfrom", recvfrom(one, bytes, sizeof bytes, 0, &from.sa, &from.length));
  say_address("from", &from.storage, from.length);
  result("answer", sendto(one, "you too", 7, 0, &from.sa, from.length));
  say_recv("recv", two, 0);
  NEED(connect_to(two, host, 9) == 0);
  result("send to nobody", send(two, "x", 1, 0));
  say_poll("poll", two, POLLERR);
  say_recv("recv", two, MSG_DONTWAIT);
}

static void udp_loopback_app(void) { udp_pair(LOOPBACK); }
static void udp_own_app(void) { udp_pair(APP); }
SCENARIO_BOTH(loopback_udp, .app = udp_loopback_app);
SCENARIO_BOTH(loopback_udp_own, .app = udp_own_app);
