// connect(): outcomes, poll masks, names, second attempts, interruptions.
#include "differential.h"

// Keeps the connection until the app has seen what it wants.
static void serve_one(void) {
  connected_peer();
  hear("done");
}

// ---- A connection that comes about

static void blocking_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  name_port(port, "server");
  say_local("local before", fd);
  say_remote("remote before", fd);
  errno = 77;
  result("connect", connect_to(fd, PEER, port));
  say("errno untouched", "%d", errno);
  hear("accepted");
  tell("ready");
  say_local("local", fd);
  say_remote("remote", fd);
  say_error("SO_ERROR", fd);
  say_poll("poll", fd, POLLOUT);
  result("connect again", connect_to(fd, PEER, port));
  result("connect elsewhere", connect_to(fd, PEER, 1));
  result("bind after", bind_to(fd, ANY, 0));
  result("listen after", listen(fd, 1));
  success("accept on it", accept(fd, NULL, NULL));
  tell("done");
}

static void blocking_peer(void) {
  int fd = connected_peer();
  say_remote("remote", fd);
  say_local("local", fd);
  hear("done");
}
SCENARIO_BOTH(connect_blocking, .app = blocking_app, .peer = blocking_peer);

static void nonblocking_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  result("connect", connect_to(fd, PEER, port));
  say_poll("poll", fd, POLLOUT);
  say_error("SO_ERROR", fd);
  result("connect again", connect_to(fd, PEER, port));
  result("and again", connect_to(fd, PEER, port));
  hear("accepted");
  tell("ready");
  tell("done");
}
SCENARIO_BOTH(connect_nonblocking, .app = nonblocking_app, .peer = serve_one);

// ---- One that nobody answers: the peer's backlog is full, so its kernel drops the SYN

static void pending_app(void) {
  int fd = tcp(SOCK_NONBLOCK);
  result("connect", connect_to(fd, ABSENT, 9));
  say_poll_now("poll", fd);
  say_quiet("quiet", fd, POLLIN | POLLOUT | POLLRDHUP);
  result("connect again", connect_to(fd, ABSENT, 9));
  result("connect elsewhere", connect_to(fd, PEER, 9));
  result("bind", bind_to(fd, ANY, 0));
  result("listen", listen(fd, 1));
  success("accept", accept(fd, NULL, NULL));
  say_local("local", fd);
  say_remote("remote", fd);
  say_error("SO_ERROR", fd);
  result("read", recv(fd, &(char){0}, 1, 0));
  result("write", send(fd, "x", 1, MSG_NOSIGNAL));
  say_poll_now("poll in the end", fd);
}
SCENARIO_BOTH(connect_pending, .app = pending_app);

// ---- Refusals

static int unused_port(void) {
  int fd = tcp(0);
  NEED(bind_to(fd, PEER, 0) == 0);
  return port_of(fd); // bound, but nobody listens; the descriptor stays open
}

static void refusing_peer(void) {
  tell_value(unused_port());
  hear("done");
}

static void refused_blocking_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  name_port(port, "server");
  result("connect", connect_to(fd, PEER, port));
  say_error("SO_ERROR", fd);
  say_poll_now("poll", fd);
  say_local("local", fd);
  say_remote("remote", fd);
  result("connect again", connect_to(fd, PEER, port));
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  result("recv", recv(fd, &(char){0}, 1, MSG_DONTWAIT));
  tell("done");
}
SCENARIO_BOTH(connect_refused_blocking, .app = refused_blocking_app, .peer = refusing_peer);

static void refused_nonblocking_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  result("connect", connect_to(fd, PEER, port));
  say_poll("poll", fd, POLLHUP);
  say_error("SO_ERROR", fd);
  say_error("SO_ERROR again", fd);
  say_poll("poll after", fd, POLLHUP);
  result("connect again", connect_to(fd, PEER, port));
  result("and again", connect_to(fd, PEER, port));
  tell("done");
}
SCENARIO_BOTH(connect_refused_nonblocking, .app = refused_nonblocking_app, .peer = refusing_peer);

static void refused_told_by_connect_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  result("connect", connect_to(fd, PEER, port));
  say_poll("poll", fd, POLLHUP);
  result("connect again", connect_to(fd, PEER, port));
  say_error("SO_ERROR", fd);
  tell("done");
}
SCENARIO_BOTH(connect_refused_told_by_connect, .app = refused_told_by_connect_app, .peer = refusing_peer);

static void refused_told_by_send_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  result("connect", connect_to(fd, PEER, port));
  say_poll("poll", fd, POLLHUP);
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  result("send again", send(fd, "x", 1, MSG_NOSIGNAL));
  say_error("SO_ERROR", fd);
  tell("done");
}
SCENARIO_BOTH(connect_refused_told_by_send, .app = refused_told_by_send_app, .peer = refusing_peer);

static void refused_told_by_recv_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  result("connect", connect_to(fd, PEER, port));
  say_poll("poll", fd, POLLHUP);
  say_recv("recv", fd, 0);
  say_recv("recv again", fd, 0);
  say_error("SO_ERROR", fd);
  tell("done");
}
SCENARIO_BOTH(connect_refused_told_by_recv, .app = refused_told_by_recv_app, .peer = refusing_peer);

// A refused socket may connect again, and epoll goes on telling of it.
static void refused_then_again_app(void) {
  int closed = (int)hear_value(), port = (int)hear_value(), fd = tcp(0);
  result("connect refused", connect_to(fd, PEER, closed));
  result("connect", connect_to(fd, PEER, port));
  hear("accepted");
  tell("ready");
  say_recv("recv", fd, 0);
  say_recv("recv at the end", fd, 0);
  tell("done");
}

static void refused_then_again_peer(void) {
  tell_value(unused_port());
  int fd = connected_peer();
  write_all(fd, "hello", 5);
  close(fd);
  hear("done");
}
SCENARIO_BOTH(connect_refused_then_again, .app = refused_then_again_app, .peer = refused_then_again_peer);

// ---- Unreachable

static void unrouted_app(void) {
  int fd = tcp(0);
  result("blocking", connect_to(fd, UNROUTED, 9));
  say_error("SO_ERROR", fd);
  say_poll_now("poll", fd);
  int other = tcp(SOCK_NONBLOCK);
  result("nonblocking", connect_to(other, UNROUTED, 9));
  say_error("SO_ERROR of it", other);
  say_poll_now("poll of it", other);
}
SCENARIO_BOTH(connect_unrouted, .app = unrouted_app);

static void absent_app(void) {
  int fd = tcp(SOCK_NONBLOCK);
  long start = milliseconds();
  result("connect", connect_to(fd, ABSENT, 9));
  say("poll", "%s", mask_names(wait_for(fd, POLLIN | POLLOUT | POLLRDHUP)));
  say_error("SO_ERROR", fd);
  say_took("time", start, 1500, 6000);
}
SCENARIO_BOTH(connect_absent, .app = absent_app);

static void user_timeout_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  result("TCP_USER_TIMEOUT", set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 1000));
  long start = milliseconds();
  result("connect", connect_to(fd, PEER, port));
  say("poll", "%s", mask_names(wait_for(fd, POLLIN | POLLOUT | POLLRDHUP)));
  say_error("SO_ERROR", fd);
  say_took("time", start, 900, 5000);
  tell("done");
}

// A listener whose queue is full drops SYNs.
static void deaf_peer(void) {
  int server = listener(PEER, 0), port = port_of(server), fds[3];
  for (int i = 0; i < 3; i++) {
    fds[i] = tcp(SOCK_NONBLOCK);
    connect_to(fds[i], PEER, port);
  }
  NEED(wait_for(fds[0], POLLOUT) != 0); // now there is no room
  tell_value(port);
  hear("done");
}
SCENARIO_BOTH(connect_user_timeout, .app = user_timeout_app, .peer = deaf_peer);

static void send_timeout_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  struct timeval limit = {.tv_usec = 300000};
  result("SO_SNDTIMEO", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
  long start = milliseconds();
  result("connect", connect_to(fd, PEER, port));
  say_took("time", start, 250, 2000);
  result("connect again", connect_to(fd, PEER, port));
  tell("done");
}
SCENARIO_BOTH(connect_send_timeout, .app = send_timeout_app, .peer = deaf_peer);

// ---- Interrupted

static void interrupted_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  on_signal(SIGUSR1, 0);
  pester(SIGUSR1);
  int value = connect_to(fd, PEER, port), error = errno;
  stop_pestering();
  errno = error;
  result("connect", value);
  tell("interrupted");
  say_poll("poll", fd, POLLOUT);
  say_error("SO_ERROR", fd);
  result("connect to learn of it", connect_to(fd, PEER, port));
  result("connect once more", connect_to(fd, PEER, port));
  tell("done");
}

// Full, then room, some signals later: the SYN that was sent again comes through.
static void late_peer(void) {
  int server = listener(PEER, 0), port = port_of(server), fds[2];
  for (int i = 0; i < 2; i++) {
    fds[i] = tcp(SOCK_NONBLOCK);
    connect_to(fds[i], PEER, port);
  }
  tell_value(port);
  hear("interrupted");
  usleep(300000);
  NEED(listen(server, 8) == 0);
  hear("done");
}
SCENARIO_BOTH(connect_interrupted, .app = interrupted_app, .peer = late_peer);

static void restarted_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  on_signal(SIGUSR1, SA_RESTART);
  tell("interrupted");
  pester(SIGUSR1);
  result("connect", connect_to(fd, PEER, port));
  stop_pestering();
  say("signals seen", "%s", signals_seen > 0 ? "yes" : "no");
  result("connect once more", connect_to(fd, PEER, port));
  tell("done");
}
SCENARIO_BOTH(connect_restarted, .app = restarted_app, .peer = late_peer);

// ---- Odd arguments

static void arguments_app(void) {
  struct address address = at(PEER, 9);
  result("not open", connect(90, &address.sa, address.length));
  int fd = tcp(0);
  result("too short", connect(fd, &address.sa, 4));
  result("too short for its family", connect(fd, &address.sa, address.length - 5));
  result("longer than it is", connect(fd, &address.sa, sizeof address.storage));
  struct address unix_like = address;
  unix_like.sa.sa_family = AF_UNIX;
  fd = tcp(0);
  result("another family", connect(fd, &unix_like.sa, unix_like.length));
  struct address swapped = at_family(family == AF_INET ? AF_INET6 : AF_INET, PEER, 9);
  fd = tcp(SOCK_NONBLOCK);
  result("the other version", connect(fd, &swapped.sa, swapped.length));
  struct sockaddr nothing = {.sa_family = AF_UNSPEC};
  fd = tcp(0);
  result("AF_UNSPEC", connect(fd, &nothing, sizeof nothing));
  fd = tcp(SOCK_NONBLOCK);
  result("port 0", connect_to(fd, PEER, 0));
  say_poll("poll of port 0", fd, POLLHUP);
  say_error("SO_ERROR of port 0", fd);
}
SCENARIO_BOTH(connect_arguments, .app = arguments_app);

static void bad_pointer_app(void) { result("connect", connect(tcp(0), (void *)8, sizeof(struct sockaddr_in))); }
SCENARIO(connect_bad_pointer, .app = bad_pointer_app);

static void broadcast_app(void) {
  struct address address = {.v4 = {.sin_family = AF_INET, .sin_port = htons(9)}, .length = sizeof(struct sockaddr_in)};
  static const char *const hosts[] = {"255.255.255.255", "10.80.0.255", "224.0.0.1", "0.0.0.0"};
  for (int i = 0; i < 4; i++) {
    inet_pton(AF_INET, hosts[i], &address.v4.sin_addr);
    result(hosts[i], connect(tcp(SOCK_NONBLOCK), &address.sa, address.length));
  }
}
SCENARIO(connect_broadcast, .app = broadcast_app);

// ---- From a bound socket; disconnected; listening after

static void bound_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  result("bind", bind_to(fd, APP, 41234));
  say_local("local", fd);
  result("connect", connect_to(fd, PEER, port));
  hear("accepted");
  tell("ready");
  say_local("local after", fd);
  tell("done");
  hear("end");
}

static void bound_peer(void) {
  int fd = connected_peer();
  struct address from = {.length = sizeof from.storage};
  NEED(getpeername(fd, &from.sa, &from.length) == 0);
  int port = ntohs(family == AF_INET ? from.v4.sin_port : from.v6.sin6_port);
  say("from the port bound", "%s", port == 41234 ? "yes" : "no");
  hear("done");
  reset(fd);
  tell("end");
}
SCENARIO_BOTH(connect_bound, .app = bound_app, .peer = bound_peer);

static void unspec_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  name_port(port, "server");
  NEED(connect_to(fd, PEER, port) == 0);
  hear("accepted");
  struct sockaddr nothing = {.sa_family = AF_UNSPEC};
  result("disconnect", connect(fd, &nothing, sizeof nothing));
  say_remote("remote", fd);
  say_local("local", fd);
  say_poll_now("poll", fd);
  result("recv", recv(fd, &(char){0}, 1, MSG_DONTWAIT));
  hear("seen");
  result("connect again", connect_to(fd, PEER, port));
  say_remote("remote again", fd);
  tell("done");
}

static void unspec_peer(void) {
  int server = listener(PEER, 8);
  tell_value(port_of(server));
  int fd = accept_one(server);
  tell("accepted");
  say_poll("poll", fd, POLLIN);
  say_recv("recv", fd, 0);
  tell("seen");
  accept_one(server);
  hear("done");
}
SCENARIO_BOTH(connect_unspec, .app = unspec_app, .peer = unspec_peer);

static void shutdown_pending_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  result("connect", connect_to(fd, PEER, port));
  result("shutdown", shutdown(fd, SHUT_RDWR));
  say_poll("poll", fd, POLLHUP);
  say_error("SO_ERROR", fd);
  result("connect again", connect_to(fd, PEER, port));
  result("connect once more", connect_to(fd, PEER, port));
  tell("done");
}
SCENARIO_BOTH(connect_shutdown_pending, .app = shutdown_pending_app, .peer = deaf_peer);

// Right behind the connect, when the answer is just coming or has just come: what is an error neither way is none.
static bool receives_at_once(int fd) { return recv(fd, &(char){0}, 1, 0) < 0 && errno == EAGAIN; }

static bool sends_at_once(int fd) { return send(fd, "x", 1, 0) == 1 || errno == EAGAIN; }

static bool shuts_at_once(int fd) { return shutdown(fd, SHUT_WR) == 0; }

static bool has_option_at_once(int fd) {
  int on = 1, error = -1;
  socklen_t length = sizeof error;
  return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
         getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
}

static bool connects_again_at_once(int fd, int port) {
  return connect_to(fd, PEER, port) == 0 || errno == EALREADY || errno == EISCONN;
}

static void at_once_app(void) {
  enum { TIMES = 100 };
  int port = (int)hear_value(), fine[5] = {0};
  for (int i = 0; i < 5 * TIMES; i++) {
    int fd = tcp(SOCK_NONBLOCK);
    NEED(connect_to(fd, PEER, port) == 0 || errno == EINPROGRESS);
    usleep((useconds_t)(i / 5)); // now and then between the answer and the next look
    switch (i % 5) {
    case 0: fine[0] += receives_at_once(fd); break;
    case 1: fine[1] += sends_at_once(fd); break;
    case 2: fine[2] += shuts_at_once(fd); break;
    case 3: fine[3] += has_option_at_once(fd); break;
    case 4: fine[4] += connects_again_at_once(fd, port); break;
    }
    close(fd);
  }
  say("recv", "%d", fine[0]);
  say("send", "%d", fine[1]);
  say("shutdown", "%d", fine[2]);
  say("options", "%d", fine[3]);
  say("connect", "%d", fine[4]);
  tell("done");
}

static void patient_peer(void) {
  tell_value(port_of(listener(PEER, 1000)));
  hear("done");
}
SCENARIO_BOTH(connect_at_once, .app = at_once_app, .peer = patient_peer);
