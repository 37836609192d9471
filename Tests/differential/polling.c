// poll, select and epoll: what each tells of a socket, in each state.
#include "differential.h"
#include <sys/select.h>
#include <sys/time.h>

static void talking_peer(void) {
  int fd = connected_peer();
  for (;;) {
    char word[16] = {0};
    long length = hear_value();
    if (length < 0) break;
    memset(word, 'w', sizeof word);
    write_all(fd, word, length);
    tell("sent");
  }
  close(fd);
  tell("closed");
}

static void word(int fd, long length) {
  int before = 0, now = 0;
  ioctl(fd, FIONREAD, &before);
  tell_value(length);
  hear("sent");
  for (long end = milliseconds() + 3000; now < before + length && milliseconds() < end;) ioctl(fd, FIONREAD, &now);
}

static void say_epoll(const char *label, int epoll, int timeout) {
  struct epoll_event event = {0};
  int count = epoll_wait(epoll, &event, 1, timeout);
  say(label, "%d %s", count, count > 0 ? mask_names(event.events) : "-");
}

static int epoll_on(int fd, uint32_t events) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = events};
  NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
  return epoll;
}

static void level_app(void) {
  int fd = connected_app(), epoll = epoll_on(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI);
  say_epoll("idle", epoll, 0);
  word(fd, 3);
  say_epoll("with data", epoll, 2000);
  say_epoll("still", epoll, 0);
  say_recv("recv", fd, 0);
  say_epoll("read", epoll, 0);
  struct epoll_event event = {.events = EPOLLIN};
  result("modify", epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
  say_epoll("for reading", epoll, 0);
  result("add again", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
  tell_value(-1);
  hear("closed");
  say_epoll("closed by the peer", epoll, 2000);
  shutdown(fd, SHUT_WR);
  say_poll("poll", fd, POLLHUP);
  say_epoll("ended both ways", epoll, 2000);
  result("delete", epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
  say_epoll("deleted", epoll, 0);
}
SCENARIO_BOTH(polling_epoll_level, .app = level_app, .peer = talking_peer);

static void edge_app(void) {
  int fd = connected_app();
  int epoll = epoll_on(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  say_epoll("first", epoll, 1000);
  say_epoll("no edge", epoll, 0);
  word(fd, 3);
  say_epoll("data", epoll, 2000);
  say_epoll("no more edge", epoll, 50);
  word(fd, 3);
  say_epoll("more data", epoll, 2000);
  say_recv("recv", fd, 0);
  say_epoll("reading is no edge", epoll, 50);
  fill(fd);
  say_epoll("full", epoll, 0);
  tell_value(-1);
  hear("closed");
  // OUT may come a moment later: what was unsent goes first.
  struct epoll_event event = {0};
  result("closed", epoll_wait(epoll, &event, 1, 2000));
  say("its mask", "%s", mask_names(event.events & ~POLLOUT));
  say_poll("poll", fd, POLLOUT | POLLHUP);
}

// Closing with the app's bytes unread resets; then the edge tells of all.
SCENARIO_BOTH(polling_epoll_edge, .app = edge_app, .peer = talking_peer);

static void oneshot_app(void) {
  int fd = connected_app(), epoll = epoll_on(fd, EPOLLIN | EPOLLONESHOT);
  word(fd, 2);
  say_epoll("first", epoll, 2000);
  word(fd, 2);
  say_epoll("disarmed", epoll, 50);
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
  epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
  say_epoll("armed again", epoll, 2000);
  tell_value(-1);
  hear("closed");
}
SCENARIO(polling_epoll_oneshot, .app = oneshot_app, .peer = talking_peer);

// One edge more may tell of the same connection, right behind the first (docs/compatibility.md, `second-edge`): it depends
// on when the app looks. No third one may.
static void take_second_edge(int epoll) {
  struct epoll_event event;
  if (epoll_wait(epoll, &event, 1, 20) == 1 && event.events != EPOLLOUT) say("second edge", "not of the connection");
}

// Registered before it is connected, as nginx and boost::asio do.
static void before_connect_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  int level = epoll_on(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP), edge = epoll_on(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  say_epoll("unconnected", level, 0);
  say_epoll("unconnected, edge", edge, 0);
  result("connect", connect_to(fd, PEER, port));
  say_epoll("connected", level, 3000);
  say_epoll("connected, edge", edge, 3000);
  take_second_edge(edge);
  say_epoll("no more edge", edge, 50);
  hear("accepted");
  tell("ready");
  word(fd, 3);
  say_epoll("data", level, 2000);
  say_epoll("data, edge", edge, 2000);
  tell_value(-1);
  hear("closed");
  say_poll("poll", fd, POLLRDHUP);
  say_epoll("end, edge", edge, 2000);
}
SCENARIO_BOTH(polling_epoll_before_connect, .app = before_connect_app, .peer = talking_peer);

static void refused_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK);
  int edge = epoll_on(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  say_epoll("unconnected", edge, 0);
  result("connect", connect_to(fd, PEER, port));
  say_poll("poll", fd, POLLHUP);
  say_epoll("refused", edge, 3000);
  say_epoll("no more edge", edge, 50);
  say_error("SO_ERROR", fd);
  fd_set readable, writable, except;
  FD_ZERO(&readable);
  FD_ZERO(&writable);
  FD_ZERO(&except);
  FD_SET(fd, &readable);
  FD_SET(fd, &writable);
  FD_SET(fd, &except);
  struct timeval now = {0};
  result("select", select(fd + 1, &readable, &writable, &except, &now));
  say("sets", "%d %d %d", FD_ISSET(fd, &readable) != 0, FD_ISSET(fd, &writable) != 0, FD_ISSET(fd, &except) != 0);
  tell("done");
}

static void refusing_peer(void) {
  int fd = tcp(0);
  NEED(bind_to(fd, PEER, 0) == 0);
  tell_value(port_of(fd));
  hear("done");
}
SCENARIO_BOTH(polling_refused, .app = refused_app, .peer = refusing_peer);

// A signal ends each wait, whatever its handler is to restart (signal(7)); soon after the call, so that one which looks before it
// sleeps is met looking.
static int wait_by(int way, int fd, int epoll, const sigset_t *mask) {
  struct pollfd one = {.fd = fd, .events = POLLIN};
  struct epoll_event event;
  const struct timespec limit = {.tv_nsec = 200000000};
  switch (way) {
  case 0: return mask == NULL ? poll(&one, 1, 200) : ppoll(&one, 1, &limit, mask);
  case 1: return mask == NULL ? epoll_wait(epoll, &event, 1, 200) : epoll_pwait(epoll, &event, 1, 200, mask);
  default: return epoll_pwait2(epoll, &event, 1, &limit, mask);
  }
}

static void say_interrupted(const char *label, int way, int fd, int epoll) {
  enum { TIMES = 50 };
  struct itimerval timer = {.it_value.tv_usec = 40, .it_interval.tv_usec = 20000}, off = {0};
  int first = 0, interrupted = 0;
  for (int i = 0; i < TIMES; i++) {
    signals_seen = 0;
    NEED(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    interrupted += wait_by(way, fd, epoll, NULL) < 0 && errno == EINTR;
    first += signals_seen == 1;
    NEED(setitimer(ITIMER_REAL, &off, NULL) == 0);
  }
  say(label, "%s %s", interrupted == TIMES ? "all" : "not all", first > TIMES / 2 ? "at once" : "late");
}

static void interrupted_app(void) {
  static const char *const ways[] = {"poll", "epoll", "epoll_pwait2"};
  int fd = connected_app(), epoll = epoll_on(fd, EPOLLIN);
  word(fd, 1);
  char byte;
  result("read", read(fd, &byte, 1)); // by now it is known whether to look
  on_signal(SIGALRM, SA_RESTART);
  on_signal(SIGUSR1, 0);
  sigset_t none, usr1, now;
  sigemptyset(&none);
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  for (int way = 0; way < 3; way++) {
    say_interrupted(ways[way], way, fd, epoll);
    NEED(sigprocmask(SIG_BLOCK, &usr1, NULL) == 0);
    signals_seen = 0;
    raise(SIGUSR1);
    result("one that was blocked", wait_by(way, fd, epoll, &none));
    say("seen", "%d", signals_seen);
    raise(SIGUSR1);
    result("one that stays blocked", wait_by(way, fd, epoll, &usr1));
    say("seen", "%d", signals_seen);
    NEED(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    NEED(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
    say("then", "%d, %s", signals_seen, sigisemptyset(&now) ? "none blocked" : "some blocked");
    tell_value(1);
    result("what comes", wait_by(way, fd, epoll, NULL));
    result("read", read(fd, &byte, 1));
    hear("sent");
  }
  struct timespec limit = {.tv_nsec = 50000}, wrong = {.tv_nsec = -1};
  struct pollfd one = {.fd = fd, .events = POLLIN};
  struct epoll_event event;
  result("ppoll, 50 us", ppoll(&one, 1, &limit, NULL));
  result("ppoll, no time", ppoll(&one, 1, &wrong, NULL));
  result("epoll_pwait2, 50 us", epoll_pwait2(epoll, &event, 1, &limit, NULL));
  result("epoll_pwait2, no time", epoll_pwait2(epoll, &event, 1, &wrong, NULL));
  result("epoll_wait, no room", epoll_wait(epoll, &event, 0, 10));
  result("epoll_wait, not open", epoll_wait(90, &event, 1, 10));
  result("epoll_wait, no epoll", epoll_wait(fd, &event, 1, 10));
  result("poll, not open", poll(&(struct pollfd){.fd = 90, .events = POLLIN}, 1, 10));
  long start = milliseconds();
  result("epoll_wait", epoll_wait(epoll, &event, 1, 30));
  say_took("time", start, 30, 500);
  start = milliseconds();
  result("poll", poll(&one, 1, 30));
  say_took("time", start, 30, 500);
  tell_value(-1);
}
SCENARIO_BOTH(polling_interrupted, .app = interrupted_app, .peer = talking_peer);

static void select_app(void) {
  int fd = connected_app();
  fd_set readable, writable;
  struct timeval limit = {.tv_sec = 3};
  FD_ZERO(&readable);
  FD_ZERO(&writable);
  FD_SET(fd, &readable);
  FD_SET(fd, &writable);
  result("select", select(fd + 1, &readable, &writable, NULL, &limit));
  say("sets", "%d %d", FD_ISSET(fd, &readable) != 0, FD_ISSET(fd, &writable) != 0);
  word(fd, 3);
  FD_ZERO(&readable);
  FD_SET(fd, &readable);
  result("select with data", select(fd + 1, &readable, NULL, NULL, &limit));
  struct pollfd many[3] = {{.fd = fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}, {.fd = 90, .events = POLLIN}};
  result("poll of three", poll(many, 3, 0));
  say("masks", "%s %s %s", mask_names(many[0].revents), mask_names(many[1].revents), mask_names(many[2].revents));
  struct timespec moment = {.tv_nsec = 1000000};
  sigset_t none;
  sigemptyset(&none);
  result("ppoll", ppoll(many, 1, &moment, &none));
  struct pollfd nothing = {.fd = fd, .events = 0};
  result("poll of nothing", poll(&nothing, 1, 0));
  struct pollfd bands = {.fd = fd, .events = POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND};
  result("poll of bands", poll(&bands, 1, 0));
  say("bands", "%s%s%s%s", bands.revents & POLLRDNORM ? "RDNORM " : "", bands.revents & POLLWRNORM ? "WRNORM " : "",
      bands.revents & POLLRDBAND ? "RDBAND " : "", bands.revents & POLLWRBAND ? "WRBAND" : "");
  tell_value(-1);
  hear("closed");
}
SCENARIO_BOTH(polling_select, .app = select_app, .peer = talking_peer);

// A copy keeps the registration when the number that was registered is closed.
static void copies_app(void) {
  int fd = connected_app(), epoll = epoll_on(fd, EPOLLIN), copy = dup(fd);
  close(fd);
  tell_value(2);
  hear("sent");
  say_epoll("registered, closed, but copied", epoll, 2000);
  say_recv("recv", copy, 0);
  close(copy);
  say_epoll("all closed", epoll, 50);
  tell_value(-1);
}
SCENARIO(polling_copies, .app = copies_app, .peer = talking_peer);

static void full_app(void) {
  int fd = connected_app(), epoll = epoll_on(fd, EPOLLOUT | EPOLLET);
  say_epoll("writable", epoll, 1000);
  fill(fd);
  say_poll_now("full", fd);
  say_epoll("no edge while full", epoll, 50);
  tell("read");
  say_epoll("an edge when there is room", epoll, 5000);
  say_poll("poll", fd, POLLOUT);
  result("send", send(fd, "x", 1, MSG_DONTWAIT));
}

static void full_peer(void) {
  int fd = connected_peer();
  static char bytes[1 << 16];
  hear("read");
  while (recv(fd, bytes, sizeof bytes, 0) > 0) {}
}
SCENARIO_BOTH(polling_full, .app = full_app, .peer = full_peer);
