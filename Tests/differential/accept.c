// accept(): addresses, flags, limits, what the connection inherits, and connections that ended before they were accepted.
#include "differential.h"
#include <sys/select.h>

// The peer connects as often as it is told to, and keeps all.
static void connecting_peer(void) {
  int port = (int)hear_value(), count = (int)hear_value();
  for (int i = 0; i < count; i++) NEED(connect_to(tcp(0), APP, port) == 0);
  tell("connected");
  hear("done");
}

static int listener_with(int connections) {
  int fd = listener(APP, 16), port = port_of(fd);
  name_port(port, "server");
  tell_value(port);
  tell_value(connections);
  hear("connected");
  NEED(wait_for(fd, POLLIN) != 0);
  return fd;
}

static void say_flags(const char *label, int fd) {
  int status = fcntl(fd, F_GETFL);
  say(label, "%s%s%s", (status & O_ACCMODE) == O_RDWR ? "RDWR" : "?", status & O_NONBLOCK ? " NONBLOCK" : "",
      fcntl(fd, F_GETFD) & FD_CLOEXEC ? " CLOEXEC" : "");
}

static void flags_app(void) {
  int fd = listener_with(5);
  say_flags("accept", accept(fd, NULL, NULL));
  set_nonblocking(fd, true);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  say_flags("accept from a nonblocking listener", accept_one(fd));
  wait_for(fd, POLLIN);
  say_flags("accept4 NONBLOCK", accept4(fd, NULL, NULL, SOCK_NONBLOCK));
  wait_for(fd, POLLIN);
  say_flags("accept4 CLOEXEC", accept4(fd, NULL, NULL, SOCK_CLOEXEC));
  wait_for(fd, POLLIN);
  success("accept4 with other flags", accept4(fd, NULL, NULL, 0x12345));
  say_flags("accept4 both", accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
  success("none left", accept(fd, NULL, NULL));
  say_flags("the listener", fd);
  say_flags("a socket", tcp(0));
  say_flags("a socket NONBLOCK CLOEXEC", tcp(SOCK_NONBLOCK | SOCK_CLOEXEC));
  tell("done");
}
SCENARIO_BOTH(accept_flags, .app = flags_app, .peer = connecting_peer);

static void addresses_app(void) {
  int fd = listener_with(5);
  struct address from = {.length = sizeof from.storage};
  int connection = accept(fd, &from.sa, &from.length);
  success("accept", connection);
  say_address("from", &from.storage, from.length);
  say_local("local", connection);
  say_remote("remote", connection);
  memset(&from, 0xee, sizeof from);
  from.length = 4;
  success("with a short buffer", accept(fd, &from.sa, &from.length));
  say("length", "%d", (int)from.length);
  say("family", "%d", from.sa.sa_family);
  say("beyond it untouched", "%s", ((unsigned char *)&from)[4] == 0xee ? "yes" : "no");
  from.length = 0;
  success("with no buffer", accept(fd, &from.sa, &from.length));
  say("length of none", "%d", (int)from.length);
  from.length = (socklen_t)-1;
  success("with a negative length", accept(fd, &from.sa, &from.length));
  success("with an address but no length", accept(fd, &from.sa, NULL));
  int left = 0;
  for (struct pollfd one = {.fd = fd, .events = POLLIN}; poll(&one, 1, 200) == 1; left++) accept(fd, NULL, NULL);
  say("left", "%d", left);
  tell("done");
}
SCENARIO_BOTH(accept_addresses, .app = addresses_app, .peer = connecting_peer);

static void empty_app(void) {
  int fd = listener(APP, 4);
  set_nonblocking(fd, true);
  success("nonblocking", accept(fd, NULL, NULL));
  set_nonblocking(fd, false);
  struct timeval limit = {.tv_usec = 200000};
  NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  long start = milliseconds();
  success("SO_RCVTIMEO", accept(fd, NULL, NULL));
  say_took("time", start, 150, 1500);
  limit.tv_usec = 0;
  NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  on_signal(SIGUSR1, 0);
  pester(SIGUSR1);
  int value = accept(fd, NULL, NULL), error = errno;
  stop_pestering();
  errno = error;
  success("interrupted", value);
}
SCENARIO_BOTH(accept_empty, .app = empty_app);

static void emfile_app(void) {
  int fd = listener_with(2);
  struct rlimit limit;
  NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  int next = dup(1);
  close(next);
  struct rlimit low = {.rlim_cur = next, .rlim_max = limit.rlim_max};
  NEED(setrlimit(RLIMIT_NOFILE, &low) == 0);
  success("accept at the limit", accept(fd, NULL, NULL));
  success("again", accept4(fd, NULL, NULL, SOCK_NONBLOCK));
  success("socket at the limit", socket(family, SOCK_STREAM, 0));
  say_poll_now("poll", fd);
  NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  int first = accept(fd, NULL, NULL), second = accept(fd, NULL, NULL);
  success("accept later", first);
  success("accept the second", second);
  say_remote("remote", first);
  say_remote("remote of the second", second);
  write_all(first, "x", 1);
  say_poll_now("poll of the first", first);
  tell("done");
}
SCENARIO_BOTH(accept_emfile, .app = emfile_app, .peer = connecting_peer);

static void inherited_app(void) {
  int fd = tcp(0);
  NEED(bind_to(fd, APP, 0) == 0);
  struct linger linger = {1, 7};
  struct timeval limit = {.tv_sec = 3, .tv_usec = 500000};
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
  set_option(fd, SOL_SOCKET, SO_RCVBUF, 20000);
  set_option(fd, SOL_SOCKET, SO_SNDBUF, 30000);
  set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 3);
  set_option(fd, SOL_SOCKET, SO_PRIORITY, 3);
  set_option(fd, SOL_SOCKET, SO_MARK, 5);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 11);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 12);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 4321);
  set_option(fd, IPPROTO_TCP, TCP_SYNCNT, 2);
  set_option(fd, IPPROTO_TCP, TCP_LINGER2, 9);
  set_option(fd, IPPROTO_IP, IP_TOS, 0x10);
  set_option(fd, IPPROTO_IP, IP_TTL, 33);
  set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 34);
  set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
  NEED(listen(fd, 4) == 0);
  tell_value(port_of(fd));
  tell_value(1);
  hear("connected");
  int connection = accept_one(fd);
  static const struct {
    int level, option;
    const char *name;
  } options[] = {{SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"},       {SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"},
                 {SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE"},       {SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF"},
                 {SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"},             {SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT"},
                 {SOL_SOCKET, SO_PRIORITY, "SO_PRIORITY"},         {SOL_SOCKET, SO_MARK, "SO_MARK"},
                 {SOL_SOCKET, SO_ACCEPTCONN, "SO_ACCEPTCONN"},     {IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"},
                 {IPPROTO_TCP, TCP_CORK, "TCP_CORK"},              {IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE"},
                 {IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL"},    {IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT"},
                 {IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"}, {IPPROTO_TCP, TCP_SYNCNT, "TCP_SYNCNT"},
                 {IPPROTO_TCP, TCP_LINGER2, "TCP_LINGER2"},        {IPPROTO_IP, IP_TOS, "IP_TOS"},
                 {IPPROTO_IP, IP_TTL, "IP_TTL"},                   {IPPROTO_IPV6, IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"},
                 {IPPROTO_IPV6, IPV6_TCLASS, "IPV6_TCLASS"}};
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    say_option(options[i].name, connection, options[i].level, options[i].option);
  socklen_t length = sizeof linger;
  getsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, &length);
  say("SO_LINGER", "%d %d", linger.l_onoff, linger.l_linger);
  memset(&limit, 0, sizeof limit);
  length = sizeof limit;
  getsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, &length);
  say("SO_RCVTIMEO", "%ld.%06ld", (long)limit.tv_sec, (long)limit.tv_usec);
  memset(&limit, 0, sizeof limit);
  getsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, &length);
  say("SO_SNDTIMEO", "%ld.%06ld", (long)limit.tv_sec, (long)limit.tv_usec);
  tell("done");
}
SCENARIO_BOTH(accept_inherited, .app = inherited_app, .peer = connecting_peer, .user = NOBODY);

// ---- Ended before it was accepted

static void ended_before_app(void) {
  int fd = listener(APP, 8);
  tell_value(port_of(fd));
  hear("ended");
  int connection = accept_one(fd);
  say_poll("poll of the closed one", connection, POLLRDHUP);
  say_recv("recv", connection, 0);
  say_recv("recv at the end", connection, 0);
  connection = accept_one(fd);
  say_poll("poll of the reset one", connection, POLLHUP);
  say_remote("remote of the reset one", connection);
  say_recv("recv from the reset one", connection, 0);
  say_recv("recv again", connection, 0);
  result("send", send(connection, "x", 1, MSG_NOSIGNAL));
}

static void ended_before_peer(void) {
  int port = (int)hear_value(), fd = tcp(0);
  NEED(connect_to(fd, APP, port) == 0);
  write_all(fd, "hello", 5);
  close(fd);
  fd = tcp(0);
  NEED(connect_to(fd, APP, port) == 0);
  reset(fd);
  tell("ended");
}
SCENARIO_BOTH(accept_ended_before, .app = ended_before_app, .peer = ended_before_peer);

// ---- Waiting for one by each of the kernel's ways

static void waiting_app(void) {
  int fd = listener(APP, 8), port = port_of(fd);
  set_nonblocking(fd, true);
  tell_value(port);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  struct timeval limit = {.tv_sec = 8};
  tell("one");
  result("select", select(fd + 1, &set, NULL, NULL, &limit));
  close(accept(fd, NULL, NULL));
  say_poll_now("poll, none there", fd);
  int level = epoll_create1(0), edge = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP};
  epoll_ctl(level, EPOLL_CTL_ADD, fd, &event);
  event.events |= EPOLLET;
  epoll_ctl(edge, EPOLL_CTL_ADD, fd, &event);
  result("epoll, none there", epoll_wait(level, &event, 1, 0));
  tell("one");
  result("epoll, level", epoll_wait(level, &event, 1, 8000));
  say("its mask", "%s", mask_names(event.events));
  result("level again", epoll_wait(level, &event, 1, 0));
  result("epoll, edge", epoll_wait(edge, &event, 1, 8000));
  say("its mask", "%s", mask_names(event.events));
  result("edge again", epoll_wait(edge, &event, 1, 50));
  tell("one");
  result("edge, one more came", epoll_wait(edge, &event, 1, 8000));
  int count = 0;
  while (accept(fd, NULL, NULL) >= 0) count++;
  say("accepted", "%d", count);
  result("level, all taken", epoll_wait(level, &event, 1, 0));
  tell("done");
}

static void waiting_peer(void) {
  int port = (int)hear_value();
  for (int i = 0; i < 3; i++) {
    hear("one");
    NEED(connect_to(tcp(0), APP, port) == 0);
  }
  hear("done");
}
SCENARIO_BOTH(accept_waiting, .app = waiting_app, .peer = waiting_peer);

// ---- Another thread's shutdown ends a blocked accept

static void *shut_soon(void *fd) {
  usleep(100000);
  shutdown((int)(intptr_t)fd, SHUT_RDWR);
  return NULL;
}

static void shut_while_blocked_app(void) {
  int fd = listener(APP, 4);
  pthread_t thread;
  NEED(pthread_create(&thread, NULL, shut_soon, (void *)(intptr_t)fd) == 0);
  success("accept", accept(fd, NULL, NULL));
  pthread_join(thread, NULL);
}
SCENARIO_BOTH(accept_shut_while_blocked, .app = shut_while_blocked_app);

static void *accept_blocking(void *fd) {
  accept((int)(intptr_t)fd, NULL, NULL);
  return NULL;
}

static void cancelled_app(void) {
  int fd = listener(APP, 4);
  pthread_t thread;
  NEED(pthread_create(&thread, NULL, accept_blocking, (void *)(intptr_t)fd) == 0);
  usleep(100000);
  result("pthread_cancel", pthread_cancel(thread));
  void *ended;
  result("pthread_join", pthread_join(thread, &ended));
  say("cancelled", "%s", ended == PTHREAD_CANCELED ? "yes" : "no");
  int port = port_of(fd);
  tell_value(port);
  tell_value(1);
  hear("connected");
  success("accept later", accept(fd, NULL, NULL));
  tell("done");
}
SCENARIO_BOTH(accept_cancelled, .app = cancelled_app, .peer = connecting_peer);

static void defer_app(void) {
  int fd = tcp(0);
  NEED(bind_to(fd, APP, 0) == 0);
  result("TCP_DEFER_ACCEPT", set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5));
  say_option("reads back", fd, IPPROTO_TCP, TCP_DEFER_ACCEPT);
  NEED(listen(fd, 4) == 0);
  tell_value(port_of(fd));
  hear("connected");
  say_quiet("no data yet", fd, POLLIN);
  tell("send");
  int connection = accept_one(fd);
  say_recv("recv", connection, MSG_DONTWAIT);
  tell("done");
}

static void defer_peer(void) {
  int port = (int)hear_value(), fd = tcp(0);
  NEED(connect_to(fd, APP, port) == 0);
  tell("connected");
  hear("send");
  write_all(fd, "hello", 5);
  hear("done");
}
SCENARIO_BOTH(accept_deferred, .app = defer_app, .peer = defer_peer);
