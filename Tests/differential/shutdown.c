// shutdown(): each direction, in each state.
#include "differential.h"

static void unconnected_app(void) {
  int fd = tcp(0);
  result("SHUT_RD", shutdown(fd, SHUT_RD));
  result("SHUT_WR", shutdown(fd, SHUT_WR));
  result("SHUT_RDWR", shutdown(fd, SHUT_RDWR));
  result("no such way", shutdown(fd, 3));
  result("not open", shutdown(90, SHUT_WR));
  result("no socket", shutdown(1, SHUT_WR));
  say_poll_now("poll", fd);
  say_recv("recv", fd, MSG_DONTWAIT);
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  say_error("SO_ERROR", fd);
  result("listen after all", listen(fd, 1));
}
SCENARIO_BOTH(shutdown_unconnected, .app = unconnected_app);

static void write_app(void) {
  int fd = connected_app();
  result("no such way", shutdown(fd, 3));
  result("negative way", shutdown(fd, -1));
  write_all(fd, "request", 7);
  result("SHUT_WR", shutdown(fd, SHUT_WR));
  say_poll_now("poll", fd);
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  result("SHUT_WR again", shutdown(fd, SHUT_WR));
  on_signal(SIGPIPE, 0);
  result("write", write(fd, "x", 1));
  say("SIGPIPE", "%d", signals_seen);
  tell("answer");
  static char bytes[300000];
  long total = 0;
  for (ssize_t got; (got = recv(fd, bytes, sizeof bytes, 0)) > 0;) total += got;
  result("received", total);
  say_poll("poll at the end", fd, POLLHUP);
  say_error("SO_ERROR", fd);
  result("SHUT_RD at the end", shutdown(fd, SHUT_RD));
  hear("closed");
  say_poll_now("poll when the peer has closed", fd);
}

static void write_peer(void) {
  int fd = connected_peer();
  static char bytes[300000];
  say_recv("recv", fd, 0);
  say_recv("recv at the end", fd, 0);
  say_poll_now("poll", fd);
  hear("answer");
  write_all(fd, bytes, sizeof bytes);
  close(fd);
  tell("closed");
}
SCENARIO_BOTH(shutdown_write, .app = write_app, .peer = write_peer);

static void read_app(void) {
  int fd = connected_app();
  result("SHUT_RD", shutdown(fd, SHUT_RD));
  say_poll_now("poll", fd);
  say_recv("recv", fd, 0);
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  tell("go");
  hear("sent");
  // What came before is readable, what comes after is as well: Linux closes nothing towards the peer.
  usleep(100000);
  say_recv("recv of what came after", fd, MSG_DONTWAIT);
  say_recv("recv again", fd, MSG_DONTWAIT);
  say_poll_now("poll after", fd);
  result("SHUT_RD again", shutdown(fd, SHUT_RD));
  tell("done");
}

static void read_peer(void) {
  int fd = connected_peer();
  hear("go");
  say_recv("recv", fd, 0);
  result("send", send(fd, "late", 4, MSG_NOSIGNAL));
  tell("sent");
  hear("done");
  say_poll("poll", fd, POLLRDHUP);
}
SCENARIO_BOTH(shutdown_read, .app = read_app, .peer = read_peer);

static void read_unread_app(void) {
  int fd = connected_app();
  NEED(wait_for(fd, POLLIN) != 0);
  result("SHUT_RD", shutdown(fd, SHUT_RD));
  say_poll_now("poll", fd);
  say_recv("recv", fd, 0);
  say_recv("recv again", fd, MSG_DONTWAIT);
  tell("done");
  hear("seen");
}

static void read_unread_peer(void) {
  int fd = connected_peer();
  write_all(fd, "early", 5);
  hear("done");
  say_quiet("nothing comes of it", fd, POLLIN | POLLRDHUP);
  tell("seen");
}
SCENARIO_BOTH(shutdown_read_unread, .app = read_unread_app, .peer = read_unread_peer);

static void both_app(void) {
  int fd = connected_app();
  write_all(fd, "last", 4);
  result("SHUT_RDWR", shutdown(fd, SHUT_RDWR));
  say_poll_now("poll", fd);
  say_recv("recv", fd, 0);
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  result("again", shutdown(fd, SHUT_RDWR));
  say_error("SO_ERROR", fd);
  tell("close");
  hear("closed");
  say_poll("poll when the peer has closed", fd, POLLHUP);
  say_remote("remote", fd);
  result("shutdown after all", shutdown(fd, SHUT_RDWR));
  result("close", close(fd));
}

static void both_peer(void) {
  int fd = connected_peer();
  say_recv("recv", fd, 0);
  say_recv("recv at the end", fd, 0);
  say_poll_now("poll", fd);
  hear("close");
  close(fd);
  tell("closed");
}
SCENARIO_BOTH(shutdown_both, .app = both_app, .peer = both_peer);

// Both sides at once.
static void simultaneous_app(void) {
  int fd = connected_app();
  tell("go");
  result("SHUT_WR", shutdown(fd, SHUT_WR));
  say_recv("recv", fd, 0);
  say_poll("poll", fd, POLLHUP);
  say_error("SO_ERROR", fd);
  result("close", close(fd));
}

static void simultaneous_peer(void) {
  int fd = connected_peer();
  hear("go");
  result("SHUT_WR", shutdown(fd, SHUT_WR));
  say_recv("recv", fd, 0);
  say_poll("poll", fd, POLLHUP);
}
SCENARIO_BOTH(shutdown_simultaneous, .app = simultaneous_app, .peer = simultaneous_peer);

// Another thread's shutdown wakes a blocked read; its close does not.
static void *shut_soon(void *fd) {
  usleep(100000);
  shutdown((int)(intptr_t)fd, SHUT_RD);
  return NULL;
}

static void wakes_app(void) {
  int fd = connected_app();
  pthread_t thread;
  NEED(pthread_create(&thread, NULL, shut_soon, (void *)(intptr_t)fd) == 0);
  say_recv("recv", fd, 0);
  pthread_join(thread, NULL);
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  tell("done");
}

static void wakes_peer(void) {
  int fd = connected_peer();
  say_recv("recv", fd, 0);
  hear("done");
}
SCENARIO_BOTH(shutdown_wakes_reader, .app = wakes_app, .peer = wakes_peer);

static void *write_until_error(void *fd) {
  static char bytes[1 << 20];
  while (send((int)(intptr_t)fd, bytes, sizeof bytes, MSG_NOSIGNAL) > 0) {}
  say("the writer's end", "%s", errno_name(errno));
  return NULL;
}

static void wakes_writer_app(void) {
  int fd = connected_app();
  pthread_t thread;
  NEED(pthread_create(&thread, NULL, write_until_error, (void *)(intptr_t)fd) == 0);
  usleep(200000);
  result("SHUT_WR", shutdown(fd, SHUT_WR));
  pthread_join(thread, NULL);
  tell("done");
}

static void silent_peer(void) {
  connected_peer();
  hear("done");
}
SCENARIO_BOTH(shutdown_wakes_writer, .app = wakes_writer_app, .peer = silent_peer);
