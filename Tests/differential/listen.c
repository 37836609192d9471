// bind() and listen(): errors, conflicts of addresses, what a listener shows, its backlog and its end.
#include "differential.h"

static void names_app(void) {
  int fd = tcp(0);
  say_option("SO_ACCEPTCONN before", fd, SOL_SOCKET, SO_ACCEPTCONN);
  say_poll_now("poll before", fd);
  say_local("local before", fd);
  result("listen unbound", listen(fd, 4));
  say_local("local", fd);
  say_remote("remote", fd);
  say_option("SO_ACCEPTCONN", fd, SOL_SOCKET, SO_ACCEPTCONN);
  say_poll_now("poll", fd);
  result("listen again", listen(fd, 8));
  result("bind", bind_to(fd, ANY, 0));
  result("connect", connect_to(fd, PEER, 9));
  result("recv", recv(fd, &(char){0}, 1, MSG_DONTWAIT));
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  result("send without", send(fd, "", 0, MSG_NOSIGNAL));
  say_error("SO_ERROR", fd);
  int bound = tcp(0);
  result("bind to our address", bind_to(bound, APP, 0));
  say_local("local of it", bound);
  say_poll_now("poll of it", bound);
  result("bind again", bind_to(bound, APP, 0));
  result("negative backlog", listen(bound, -1));
  say_local("local listening", bound);
}
SCENARIO_BOTH(listen_names, .app = names_app);

static void bind_errors_app(void) {
  struct address any = at(ANY, 0);
  result("not ours", bind_to(tcp(0), PEER, 0));
  result("unrouted", bind_to(tcp(0), UNROUTED, 0));
  result("too short", bind(tcp(0), &any.sa, 8));
  result("longer than it is", bind(tcp(0), &any.sa, sizeof any.storage));
  struct address other = at_family(family == AF_INET ? AF_INET6 : AF_INET, ANY, 0);
  result("the other version", bind(tcp(0), &other.sa, other.length));
  struct address unspecified = any;
  unspecified.sa.sa_family = AF_UNSPEC;
  result("AF_UNSPEC and any", bind(tcp(0), &unspecified.sa, unspecified.length));
  unspecified = at(APP, 0);
  unspecified.sa.sa_family = AF_UNSPEC;
  result("AF_UNSPEC and ours", bind(tcp(0), &unspecified.sa, unspecified.length));
  struct address strange = any;
  strange.sa.sa_family = AF_UNIX;
  result("AF_UNIX", bind(tcp(0), &strange.sa, strange.length));
  result("not open", bind(90, &any.sa, any.length));
  result("no socket", bind(1, &any.sa, any.length));
  result("listen not open", listen(90, 1));
  result("listen on no socket", listen(1, 1));
  success("accept on no socket", accept(1, NULL, NULL));
  success("accept on no listener", accept(tcp(0), NULL, NULL));
  result("privileged", bind_to(tcp(0), ANY, 81));
  result("loopback", bind_to(tcp(0), LOOPBACK, 0));
}
SCENARIO_BOTH(listen_bind_errors, .app = bind_errors_app);

static void bind_v4_addresses_app(void) {
  static const char *const hosts[] = {"127.0.0.2", "224.0.0.1", "255.255.255.255", "10.80.0.255", "0.1.2.3"};
  for (int i = 0; i < 5; i++) {
    struct address address = at(ANY, 0);
    inet_pton(AF_INET, hosts[i], &address.v4.sin_addr);
    result(hosts[i], bind(tcp(0), &address.sa, address.length));
  }
}
SCENARIO(listen_bind_v4_addresses, .app = bind_v4_addresses_app);

static void unprivileged_app(void) {
  result("port 80", bind_to(tcp(0), ANY, 80));
  result("port 1023", bind_to(tcp(0), ANY, 1023));
  result("port 1024", bind_to(tcp(0), ANY, 1024));
}
SCENARIO_BOTH(listen_unprivileged, .app = unprivileged_app, .user = NOBODY);

// ---- Who may share a port: each pair of (address, options, whether it listens), in both orders

// Free on all addresses: of the first one's alone, an earlier scenario's connection may still linger on the second's.
static int free_port(void) {
  int probe = tcp(0);
  NEED(bind_to(probe, ANY, 0) == 0);
  int port = port_of(probe);
  close(probe);
  return port;
}

static int conflict(enum host first, int first_options, bool first_listens, enum host second, int second_options) {
  int port = free_port(), one = tcp(0), two = tcp(0);
  set_option(one, SOL_SOCKET, SO_REUSEADDR, first_options & 1);
  set_option(one, SOL_SOCKET, SO_REUSEPORT, first_options >> 1);
  set_option(two, SOL_SOCKET, SO_REUSEADDR, second_options & 1);
  set_option(two, SOL_SOCKET, SO_REUSEPORT, second_options >> 1);
  NEED(bind_to(one, first, port) == 0);
  if (first_listens) NEED(listen(one, 1) == 0);
  int value = bind_to(two, second, port), error = errno;
  if (value == 0 && !first_listens) {
    NEED(listen(one, 1) == 0);
    value = listen(two, 1) == 0 ? 0 : 1;
  }
  close(one);
  close(two);
  errno = error;
  return value;
}

static void conflicts_app(void) {
  static const char *const options[] = {"none", "addr", "port", "both"};
  static const struct {
    enum host first, second;
    const char *name;
  } pairs[] = {{ANY, ANY, "any any"}, {ANY, APP, "any ours"}, {APP, APP, "ours ours"}, {APP, LOOPBACK, "ours loopback"}};
  for (int pair = 0; pair < 4; pair++)
    for (int first = 0; first < 4; first++)
      for (int second = 0; second < 4; second++)
        for (int listens = 0; listens < 2; listens++) {
          char label[80];
          snprintf(label, sizeof label, "%s, %s%s then %s", pairs[pair].name, options[first],
                   listens ? " listening" : "", options[second]);
          result(label, conflict(pairs[pair].first, first, listens, pairs[pair].second, second));
        }
}
SCENARIO_BOTH(listen_conflicts, .app = conflicts_app);

static void udp_tcp_app(void) {
  int stream = listener(ANY, 1), datagram = udp(0);
  result("the same port by UDP", bind_to(datagram, ANY, port_of(stream)));
  result("listen by UDP", listen(datagram, 1));
  success("accept by UDP", accept(datagram, NULL, NULL));
}
SCENARIO_BOTH(listen_udp_too, .app = udp_tcp_app);

// ---- The port again: after a close, and after a connection that this side ended first (TIME-WAIT)

static void port_again_app(void) {
  int fd = listener(APP, 1), port = port_of(fd);
  close(fd);
  fd = tcp(0);
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1); // its connections have it too, and both must
  result("bind after close", bind_to(fd, APP, port));
  result("listen", listen(fd, 4));
  tell_value(port);
  int connection = accept_one(fd);
  close(fd);
  fd = tcp(0);
  result("bind while a connection stands", bind_to(fd, APP, port));
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  result("with SO_REUSEADDR", bind_to(fd, APP, port));
  close(fd);
  shutdown(connection, SHUT_WR);
  say_recv("the peer's end", connection, 0);
  close(connection);
  fd = tcp(0);
  result("bind in TIME-WAIT", bind_to(fd, APP, port));
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  result("with SO_REUSEADDR in TIME-WAIT", bind_to(fd, APP, port));
  result("listen in TIME-WAIT", listen(fd, 4));
  tell("again");
  close(accept_one(fd));
}

static void port_again_peer(void) {
  int fd = tcp(0), port = (int)hear_value();
  NEED(connect_to(fd, APP, port) == 0);
  say_recv("recv", fd, 0);
  close(fd);
  hear("again");
  fd = tcp(0);
  result("connect", connect_to(fd, APP, port));
}
SCENARIO_BOTH(listen_port_again, .app = port_again_app, .peer = port_again_peer);

// ---- Backlog: how many handshakes are completed that nobody accepts, and that none of them is lost

static void backlog_app(void) {
  int fd = listener(APP, 2);
  tell_value(port_of(fd));
  hear("counted");
  say_poll_now("poll", fd);
  for (int i = 0; i < 6; i++) {
    int connection = accept_one(fd);
    write_all(connection, "welcome", 7);
    char byte;
    say("read", "%zd", read(connection, &byte, 1));
    close(connection);
  }
  set_nonblocking(fd, true);
  success("one more", accept(fd, NULL, NULL));
}

static void backlog_peer(void) {
  int port = (int)hear_value(), fds[6], connected = 0;
  for (int i = 0; i < 6; i++) {
    fds[i] = tcp(SOCK_NONBLOCK);
    connect_to(fds[i], APP, port);
    struct pollfd one = {.fd = fds[i], .events = POLLOUT};
    connected += poll(&one, 1, i < 3 ? 2000 : 100) == 1;
  }
  say("connected", "%d", connected);
  tell("counted");
  for (int i = 0; i < 6; i++) {
    say_poll("poll", fds[i], POLLOUT | POLLIN);
    say_recv("recv", fds[i], 0);
    write_all(fds[i], "x", 1);
  }
}
SCENARIO(listen_backlog, .app = backlog_app, .peer = backlog_peer);

// ---- The listener's end

// The second has sent something.
static int queued_peer_connections(int *fds, int count) {
  int port = (int)hear_value();
  name_port(port, "server");
  for (int i = 0; i < count; i++) {
    fds[i] = tcp(0);
    NEED(connect_to(fds[i], APP, port) == 0);
  }
  write_all(fds[1], "x", 1);
  tell("connected");
  return port;
}

static void close_queued_app(void) {
  int fd = listener(APP, 8);
  tell_value(port_of(fd));
  hear("connected");
  say_poll("poll", fd, POLLIN);
  result("close", close(fd));
  tell("closed");
  hear("done");
}

static void close_queued_peer(void) {
  int fds[3], port = queued_peer_connections(fds, 3);
  hear("closed");
  for (int i = 0; i < 3; i++) {
    say_poll("poll", fds[i], POLLHUP);
    say_recv("recv", fds[i], 0);
  }
  result("connect later", connect_to(tcp(0), APP, port));
  tell("done");
}
SCENARIO_BOTH(listen_close_queued, .app = close_queued_app, .peer = close_queued_peer);

static void shutdown_app(void) {
  int fd = listener(APP, 8), port = port_of(fd);
  name_port(port, "server");
  tell_value(port);
  hear("connected");
  say_poll("poll", fd, POLLIN);
  result("SHUT_WR", shutdown(fd, SHUT_WR));
  say_poll_now("poll after SHUT_WR", fd);
  result("SHUT_RD", shutdown(fd, SHUT_RD));
  say_poll_now("poll after", fd);
  success("accept", accept(fd, NULL, NULL));
  say_option("SO_ACCEPTCONN", fd, SOL_SOCKET, SO_ACCEPTCONN);
  say_local("local", fd);
  say_error("SO_ERROR", fd);
  tell("shut");
  hear("refused");
  result("listen again", listen(fd, 4));
  say_local("local again", fd);
  tell_value(port_of(fd));
  int connection = accept_one(fd);
  say_poll("poll of the connection", connection, POLLOUT);
  tell("seen");
}

static void shutdown_peer(void) {
  int fds[2], port = queued_peer_connections(fds, 2);
  hear("shut");
  for (int i = 0; i < 2; i++) {
    say_poll("poll", fds[i], POLLHUP);
    say_recv("recv", fds[i], 0);
  }
  result("connect", connect_to(tcp(0), APP, port));
  tell("refused");
  result("connect again", connect_to(tcp(0), APP, (int)hear_value()));
  hear("seen");
}
SCENARIO_BOTH(listen_shutdown, .app = shutdown_app, .peer = shutdown_peer);

// ---- SO_REUSEPORT: two listeners share what comes

static void reuseport_app(void) {
  int one = tcp(0), two = tcp(0), counts[2] = {0, 0};
  set_option(one, SOL_SOCKET, SO_REUSEPORT, 1);
  set_option(two, SOL_SOCKET, SO_REUSEPORT, 1);
  result("bind first", bind_to(one, APP, 0));
  result("bind second", bind_to(two, APP, port_of(one)));
  result("bind without", bind_to(tcp(0), APP, port_of(one)));
  NEED(listen(one, 64) == 0 && listen(two, 64) == 0);
  tell_value(port_of(one));
  struct pollfd both[2] = {{.fd = one, .events = POLLIN}, {.fd = two, .events = POLLIN}};
  for (int i = 0; i < 40;) {
    NEED(poll(both, 2, 5000) > 0);
    for (int which = 0; which < 2; which++)
      if (both[which].revents) {
        close(accept_one(both[which].fd));
        counts[which]++;
        i++;
      }
  }
  say("all", "%d", counts[0] + counts[1]);
  say("each has some", "%s", counts[0] > 0 && counts[1] > 0 ? "yes" : "no");
  result("close one", close(one));
  tell("closed");
  hear("connected");
  close(accept_one(two));
}

static void reuseport_peer(void) {
  int port = (int)hear_value();
  for (int i = 0; i < 40; i++) {
    int fd = tcp(0);
    NEED(connect_to(fd, APP, port) == 0 && recv(fd, &(char){0}, 1, 0) == 0);
    close(fd);
  }
  hear("closed");
  result("connect to the one that is left", connect_to(tcp(0), APP, port));
  tell("connected");
}
SCENARIO_BOTH(listen_reuseport, .app = reuseport_app, .peer = reuseport_peer);
