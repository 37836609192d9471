// Sockets used by several threads at once, cancelled calls, and signal handlers that use sockets.
#include "differential.h"

// Tells all that comes up to the end.
static void reading_peer(void) {
  int fd = connected_peer();
  char bytes[101] = {0};
  long total = 0;
  for (ssize_t got; (got = recv(fd, bytes + total, 100 - total, 0)) > 0;) total += got;
  say("received", "%s", bytes);
}

enum { THREADS = 8, ROUNDS = 25 };

static int server_port;

static void *connect_often(void *unused) {
  (void)unused;
  long good = 0;
  for (int i = 0; i < ROUNDS; i++) {
    int fd = tcp(0);
    char byte = 0;
    good += connect_to(fd, PEER, server_port) == 0 && send(fd, "x", 1, 0) == 1 && recv(fd, &byte, 1, 0) == 1 && byte == 'x';
    close(fd);
  }
  return (void *)good;
}

static void threads_app(void) {
  server_port = (int)hear_value();
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) NEED(pthread_create(&threads[i], NULL, connect_often, NULL) == 0);
  long good = 0;
  for (int i = 0; i < THREADS; i++) {
    void *value;
    pthread_join(threads[i], &value);
    good += (long)value;
  }
  say("exchanges", "%ld", good);
}

static void threads_peer(void) {
  int server = listener(PEER, 128);
  tell_value(port_of(server));
  for (int i = 0; i < THREADS * ROUNDS; i++) {
    int fd = accept_one(server);
    char byte;
    NEED(read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1);
    close(fd);
  }
}
SCENARIO_BOTH(threads_many, .app = threads_app, .peer = threads_peer);

// One thread reads while another writes, on the same descriptor.
static void *send_much(void *fd) {
  static char bytes[1 << 20];
  for (int i = 0; i < 8; i++) write_all((int)(intptr_t)fd, bytes, sizeof bytes);
  shutdown((int)(intptr_t)fd, SHUT_WR);
  return NULL;
}

static long receive_all(int fd) {
  static char bytes[1 << 16];
  long total = 0;
  for (ssize_t got; (got = recv(fd, bytes, sizeof bytes, 0)) > 0;) total += got;
  return total;
}

static void both_ways(int fd) {
  pthread_t thread;
  NEED(pthread_create(&thread, NULL, send_much, (void *)(intptr_t)fd) == 0);
  result("received", receive_all(fd));
  pthread_join(thread, NULL);
  say_poll("poll", fd, POLLHUP | POLLOUT);
}

static void both_ways_app(void) { both_ways(connected_app()); }
static void both_ways_peer(void) { both_ways(connected_peer()); }
SCENARIO_BOTH(threads_both_ways, .app = both_ways_app, .peer = both_ways_peer);

// ---- Cancellation

static int cancelled_fd;

static void *cancel_recv(void *unused) {
  recv(cancelled_fd, &(char){0}, 1, 0);
  return unused;
}

static void *cancel_connect(void *unused) {
  connect_to(cancelled_fd, ABSENT, 9);
  return unused;
}

static void cancel(const char *label, void *(*body)(void *)) {
  pthread_t thread;
  void *value;
  NEED(pthread_create(&thread, NULL, body, NULL) == 0);
  usleep(100000);
  pthread_cancel(thread);
  pthread_join(thread, &value);
  say(label, "%s", value == PTHREAD_CANCELED ? "cancelled" : "returned");
}

static void cancellation_app(void) {
  int fd = connected_app();
  cancelled_fd = fd;
  cancel("recv", cancel_recv);
  cancelled_fd = tcp(0);
  cancel("connect", cancel_connect);
  result("connect again", connect_to(cancelled_fd, UNROUTED, 9));
  say_remote("a new socket works", tcp(0));
  result("after", send(fd, "after", 5, MSG_NOSIGNAL));
}
SCENARIO_BOTH(threads_cancellation, .app = cancellation_app, .peer = reading_peer);

// ---- Signals

static void in_handler(int number) {
  (void)number;
  int fd = socket(family, SOCK_STREAM, 0); // async-signal-safe (signal-safety(7))
  if (fd >= 0) signals_seen++;
  close(fd);
}

static void handler_app(void) {
  int fd = connected_app();
  signal(SIGUSR1, in_handler);
  pester(SIGUSR1);
  long good = 0;
  for (int i = 0; i < 200; i++) {
    int other = tcp(0);
    good += bind_to(other, APP, 0) == 0 && listen(other, 1) == 0;
    close(other);
  }
  for (long end = milliseconds() + 3000; !signals_seen && milliseconds() < end;) {}
  stop_pestering();
  say("sockets", "%ld", good);
  say("sockets in the handler", "%s", signals_seen > 0 ? "yes" : "no");
  result("after", send(fd, "after", 5, MSG_NOSIGNAL));
}
SCENARIO(threads_signal_handler, .app = handler_app, .peer = reading_peer);
