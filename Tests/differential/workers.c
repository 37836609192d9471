// Forked workers that share one inherited listener: each connection goes to exactly one, whatever they wait with.
#include "differential.h"

enum { WORKERS = 4, CONNECTIONS = 80 };

enum waiting { BLOCKING, BY_POLL, BY_EPOLL, BY_EPOLL_EDGE, BY_EPOLL_EXCLUSIVE };

static void wait_for_one(enum waiting waiting, int listener, int epoll) {
  struct epoll_event event;
  if (waiting == BY_POLL)
    wait_for(listener, POLLIN);
  else if (waiting != BLOCKING)
    epoll_wait(epoll, &event, 1, 8000);
}

// Echoes each connection's byte with its own number; 'q' ends it.
static void work(enum waiting waiting, int listener, int number) {
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  if (waiting == BY_EPOLL_EDGE) event.events |= EPOLLET;
  if (waiting == BY_EPOLL_EXCLUSIVE) event.events |= EPOLLEXCLUSIVE;
  if (waiting >= BY_EPOLL) NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == 0);
  for (;;) {
    wait_for_one(waiting, listener, epoll);
    for (;;) {
      int fd = accept(listener, NULL, NULL);
      if (fd < 0 && errno == EAGAIN) break;
      NEED(fd >= 0);
      char byte, answer[2] = {0, (char)('0' + number)};
      NEED(read(fd, &byte, 1) == 1);
      answer[0] = byte;
      write_all(fd, answer, 2);
      close(fd);
      if (byte == 'q') return;
    }
  }
}

static void workers(enum waiting waiting) {
  int fd = listener(APP, 128);
  if (waiting != BLOCKING) set_nonblocking(fd, true);
  pid_t children[WORKERS];
  for (int i = 0; i < WORKERS; i++) {
    children[i] = fork();
    NEED(children[i] >= 0);
    if (children[i] == 0) {
      work(waiting, fd, i);
      _exit(0);
    }
  }
  tell_value(port_of(fd));
  close(fd);
  for (int i = 0; i < WORKERS; i++) say_child("worker", children[i]);
  tell("ended");
}

static void workers_peer(void) {
  int port = (int)hear_value(), answers = 0, wrong = 0, fds[8];
  for (int round = 0; round < CONNECTIONS / 8; round++) { // eight at a time
    for (int i = 0; i < 8; i++) {
      fds[i] = tcp(0);
      NEED(connect_to(fds[i], APP, port) == 0);
    }
    for (int i = 0; i < 8; i++) write_all(fds[i], (char[]){(char)('a' + i)}, 1);
    for (int i = 0; i < 8; i++) {
      char answer[4] = {0};
      read_all(fds[i], answer, 2);
      answers += answer[0] == 'a' + i;
      wrong += recv(fds[i], answer, 1, 0) != 0; // then the end, and nothing else
      close(fds[i]);
    }
  }
  say("answers", "%d", answers);
  say("wrong", "%d", wrong);
  for (int i = 0; i < WORKERS; i++) {
    int fd = tcp(0);
    NEED(connect_to(fd, APP, port) == 0);
    write_all(fd, "q", 1);
    char answer[2];
    read_all(fd, answer, 2);
    close(fd);
  }
  hear("ended");
  // The last process's end closes the listener, as soon as it is noticed.
  int refused = 0;
  for (long end = milliseconds() + 3000; !refused && milliseconds() < end;) {
    int fd = tcp(0);
    refused = connect_to(fd, APP, port) < 0 && errno == ECONNREFUSED;
    close(fd);
  }
  say("refused when all have ended", "%s", refused ? "yes" : "no");
}

static void blocking_app(void) { workers(BLOCKING); }
static void poll_app(void) { workers(BY_POLL); }
static void epoll_app(void) { workers(BY_EPOLL); }
static void edge_app(void) { workers(BY_EPOLL_EDGE); }
static void exclusive_app(void) { workers(BY_EPOLL_EXCLUSIVE); }
SCENARIO_BOTH(workers_blocking, .app = blocking_app, .peer = workers_peer);
SCENARIO_BOTH(workers_poll, .app = poll_app, .peer = workers_peer);
SCENARIO_BOTH(workers_epoll, .app = epoll_app, .peer = workers_peer);
SCENARIO_BOTH(workers_epoll_edge, .app = edge_app, .peer = workers_peer);
SCENARIO_BOTH(workers_epoll_exclusive, .app = exclusive_app, .peer = workers_peer);

// ---- Many connections of a worker are reset at once: it is told so of each, whoever made the listener

enum { RESETS = 200, OTHERS = 300 };

static void count_resets(int listener) {
  static int fds[RESETS];
  int resets = 0;
  for (int i = 0; i < OTHERS; i++) NEED(open("/dev/null", O_RDONLY) >= 0);
  for (int i = 0; i < RESETS; i++) {
    fds[i] = accept_one(listener);
    write_all(fds[i], "!", 1);
  }
  for (int i = 0; i < RESETS; i++) {
    char byte;
    wait_for(fds[i], POLLHUP);
    resets += recv(fds[i], &byte, 1, 0) < 0 && errno == ECONNRESET;
    close(fds[i]);
  }
  result("resets", resets);
}

static void resets_app(void) {
  int fd = listener(APP, RESETS);
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    count_resets(fd);
    exit(0);
  }
  tell_value(port_of(fd));
  close(fd);
  say_child("worker", child);
}

static void resets_peer(void) {
  static int fds[RESETS];
  int port = (int)hear_value();
  for (int i = 0; i < RESETS; i++) {
    fds[i] = tcp(0);
    NEED(connect_to(fds[i], APP, port) == 0);
  }
  for (int i = 0; i < RESETS; i++) {
    char byte;
    read_all(fds[i], &byte, 1);
  }
  for (int i = 0; i < RESETS; i++) reset(fds[i]);
}
SCENARIO_BOTH(workers_resets, .app = resets_app, .peer = resets_peer);
