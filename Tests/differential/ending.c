// How a connection ends: FIN and RST from either side, with and without data that nobody read or sent yet.
#include "differential.h"

// Each scenario runs for a connection that the app opened and for one that it accepted.
#define ENDING(id, app_, peer_)                                                                                        \
  static void id##_connected_app(void) { app_(connected_app()); }                                                      \
  static void id##_connected_peer(void) { peer_(connected_peer()); }                                                   \
  static void id##_accepted_app(void) { app_(accepted_app()); }                                                        \
  static void id##_accepted_peer(void) { peer_(accepted_peer()); }                                                     \
  SCENARIO_BOTH(ending_##id##_connected, .app = id##_connected_app, .peer = id##_connected_peer);                      \
  SCENARIO_BOTH(ending_##id##_accepted, .app = id##_accepted_app, .peer = id##_accepted_peer)

// What all can be learnt of a connection that has ended.
static void say_end(int fd) {
  say_recv("after the end, recv", fd, MSG_DONTWAIT);
  say_recv("after the end, recv again", fd, MSG_DONTWAIT);
  result("after the end, send", send(fd, "x", 1, MSG_NOSIGNAL));
  say_recv("after the end, recv after send", fd, MSG_DONTWAIT);
  say_error("after the end, SO_ERROR", fd);
  say_poll_now("after the end, poll", fd);
  say_remote("after the end, remote", fd);
  result("after the end, shutdown", shutdown(fd, SHUT_WR));
  result("after the end, close", close(fd));
}

// ---- The peer's FIN

static void fin_app(int fd) {
  say_poll("poll", fd, POLLRDHUP);
  say_recv("recv", fd, 0);
  say_recv("recv again", fd, 0);
  result("send", send(fd, "still", 5, 0));
  say_poll_now("poll after", fd);
  say_error("SO_ERROR", fd);
  say_remote("remote", fd);
  result("shutdown", shutdown(fd, SHUT_WR));
  say_poll("poll when both have ended", fd, POLLHUP);
  result("send after", send(fd, "x", 1, MSG_NOSIGNAL));
  hear("done"); // the peer has closed: it has acknowledged our end before
  say_remote("remote when the peer has closed", fd);
  result("shutdown again", shutdown(fd, SHUT_WR));
  say_remote("remote in the end", fd);
}

static void fin_peer(int fd) {
  shutdown(fd, SHUT_WR);
  say_recv("recv", fd, MSG_WAITALL);
  say_recv("recv at the end", fd, 0);
  close(fd);
  tell("done");
}
ENDING(peer_fin, fin_app, fin_peer);

// Bytes before the FIN are all there.
static void fin_after_data_app(int fd) {
  char bytes[65536];
  long total = 0;
  say_poll("poll", fd, POLLRDHUP);
  for (ssize_t got; (got = recv(fd, bytes, sizeof bytes, 0)) > 0;) total += got;
  result("bytes", total);
  say_poll_now("poll after", fd);
}

static void fin_after_data_peer(int fd) {
  static char bytes[50000]; // fits a window, so that the FIN gets through before anything is read
  write_all(fd, bytes, sizeof bytes);
  close(fd);
}
ENDING(peer_fin_after_data, fin_after_data_app, fin_after_data_peer);

// The peer has closed: what the app writes is answered by a reset.
static void write_to_closed_app(int fd) {
  hear("closed");
  say_poll("poll", fd, POLLRDHUP);
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  say_poll("poll after", fd, POLLHUP);
  say_error("SO_ERROR", fd);
  result("send again", send(fd, "x", 1, MSG_NOSIGNAL));
  say_recv("recv", fd, 0);
}

static void write_to_closed_peer(int fd) {
  close(fd);
  tell("closed");
}
ENDING(write_to_closed, write_to_closed_app, write_to_closed_peer);

// ---- The peer's RST

static void reset_app(int fd) {
  hear("reset");
  say_poll("poll", fd, POLLHUP);
  say_end(fd);
}

static void reset_peer(int fd) {
  reset(fd);
  tell("reset");
}
ENDING(peer_reset, reset_app, reset_peer);

static void reset_told_by_send_app(int fd) {
  hear("reset");
  say_poll("poll", fd, POLLHUP);
  result("send", send(fd, "x", 1, MSG_NOSIGNAL));
  result("send again", send(fd, "x", 1, MSG_NOSIGNAL));
  say_end(fd);
}
ENDING(peer_reset_told_by_send, reset_told_by_send_app, reset_peer);

static void reset_told_by_option_app(int fd) {
  hear("reset");
  say_poll("poll", fd, POLLHUP);
  say_error("SO_ERROR", fd);
  say_error("SO_ERROR again", fd);
  say_poll_now("poll after", fd);
  say_end(fd);
}
ENDING(peer_reset_told_by_option, reset_told_by_option_app, reset_peer);

static void reset_after_data_app(int fd) {
  hear("reset");
  say_poll("poll", fd, POLLHUP);
  say_recv("the data", fd, 0);
  say_end(fd);
}

static void reset_after_data_peer(int fd) {
  write_all(fd, "hello", 5);
  hear("go");
  reset(fd);
  tell("reset");
}

static void reset_unread_app(int fd) {
  NEED(wait_for(fd, POLLIN) == POLLIN);
  tell("go");
  reset_after_data_app(fd);
}
ENDING(peer_reset_unread, reset_unread_app, reset_after_data_peer);

// A close with bytes unread is a reset, too.
static void peer_unread_app(int fd) {
  write_all(fd, "unread", 6);
  tell("go");
  say_poll("poll", fd, POLLHUP);
  say_end(fd);
}

static void peer_unread_peer(int fd) {
  hear("go");
  NEED(wait_for(fd, POLLIN) != 0);
  close(fd);
}
ENDING(peer_close_unread, peer_unread_app, peer_unread_peer);

static void reset_after_fin_app(int fd) {
  say_poll("poll", fd, POLLRDHUP);
  tell("go");
  say_poll("poll after", fd, POLLHUP);
  say_end(fd);
}

static void reset_after_fin_peer(int fd) {
  shutdown(fd, SHUT_WR);
  hear("go");
  reset(fd);
}
ENDING(peer_reset_after_fin, reset_after_fin_app, reset_after_fin_peer);

// The app looks only when both have come: it reads an end all the same.
static void reset_behind_fin_peer(int fd) {
  NEED(send(fd, "rest", 4, 0) == 4);
  shutdown(fd, SHUT_WR);
  reset(fd);
  tell("reset");
}
ENDING(peer_reset_behind_fin, reset_after_data_app, reset_behind_fin_peer);

static void reset_after_our_fin_app(int fd) {
  result("shutdown", shutdown(fd, SHUT_WR));
  tell("go");
  say_poll("poll", fd, POLLHUP);
  say_end(fd);
}

static void reset_on_word_peer(int fd) {
  hear("go");
  say_recv("recv", fd, 0);
  reset(fd);
}
ENDING(peer_reset_after_our_fin, reset_after_our_fin_app, reset_on_word_peer);

// ---- A reset meets a blocked call

static void blocked_read_app(int fd) {
  tell("go");
  say_recv("recv", fd, 0);
  say_recv("recv again", fd, 0);
}

static void reset_soon_peer(int fd) {
  hear("go");
  usleep(100000);
  reset(fd);
}
ENDING(reset_during_read, blocked_read_app, reset_soon_peer);

static void blocked_write_app(int fd) {
  static char bytes[64 << 20];
  tell("go");
  ssize_t written = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
  say("first send", "%s", written > 0 ? "some" : written == 0 ? "none" : errno_name(errno));
  result("next send", send(fd, bytes, sizeof bytes, MSG_NOSIGNAL));
  result("last send", send(fd, bytes, sizeof bytes, MSG_NOSIGNAL));
}
ENDING(reset_during_write, blocked_write_app, reset_soon_peer);

static void blocked_poll_app(int fd) {
  tell("go");
  say("poll", "%s", mask_names(wait_for(fd, POLLIN)));
  say_end(fd);
}
ENDING(reset_during_poll, blocked_poll_app, reset_soon_peer);

// ---- The app closes

static void close_app(int fd) {
  result("close", close(fd));
  hear("done");
}

static void seeing_peer(int fd) {
  say_poll("poll", fd, POLLRDHUP);
  say_recv("recv", fd, 0);
  tell("done");
}
ENDING(app_close, close_app, seeing_peer);

static void reset_by_app(int fd) {
  reset(fd);
  hear("done");
}

static void reset_seen_peer(int fd) {
  say_poll("poll", fd, POLLHUP);
  say_recv("recv", fd, 0);
  tell("done");
}
ENDING(app_reset, reset_by_app, reset_seen_peer);

static void app_unread_app(int fd) {
  NEED(wait_for(fd, POLLIN) != 0);
  result("close", close(fd));
  hear("done");
}

static void app_unread_peer(int fd) {
  write_all(fd, "unread", 6);
  reset_seen_peer(fd);
}
ENDING(app_close_unread, app_unread_app, app_unread_peer);

// Some read, some not.
static void app_half_read_app(int fd) {
  char bytes[3];
  read_all(fd, bytes, 3);
  result("close", close(fd));
  hear("done");
}
ENDING(app_close_half_read, app_half_read_app, app_unread_peer);

// The peer did not read yet, so that much of it is still to be sent; close() returns, and all arrives.
static void app_unsent_app(int fd) {
  long total = fill(fd);
  long start = milliseconds();
  result("close", close(fd));
  say_took("close", start, 0, 500);
  tell_value(total);
  hear("done");
}

static void app_unsent_peer(int fd) {
  static char bytes[65536];
  long expected = hear_value(), total = 0;
  for (ssize_t got; (got = recv(fd, bytes, sizeof bytes, 0)) > 0;) total += got;
  say("all arrived", "%s", total == expected ? "yes" : "no");
  say_recv("recv at the end", fd, 0);
  tell("done");
}
ENDING(app_close_unsent, app_unsent_app, app_unsent_peer);

// The same when the process ends without closing.
static void app_exit_unsent_app(int fd) {
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    tell_value(fill(fd));
    _exit(7);
  }
  close(fd);
  say_child("child", child);
  hear("done");
}
ENDING(app_exit_unsent, app_exit_unsent_app, app_unsent_peer);

static void app_killed_app(int fd) {
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    raise(SIGKILL);
    _exit(0);
  }
  close(fd);
  say_child("child", child);
  hear("done");
}
ENDING(app_killed, app_killed_app, seeing_peer);

// ---- SO_LINGER with a time: close waits for the acknowledgement, but not for ever

static int lingering(int fd, int seconds) {
  struct linger linger = {1, seconds};
  return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void linger_idle_app(int fd) {
  result("SO_LINGER", lingering(fd, 5));
  write_all(fd, "hello", 5);
  long start = milliseconds();
  result("close", close(fd));
  say_took("close", start, 0, 1000);
  hear("done");
}

static void linger_idle_peer(int fd) {
  say_recv("recv", fd, 0);
  say_recv("recv at the end", fd, 0);
  close(fd);
  tell("done");
}
ENDING(linger_sent, linger_idle_app, linger_idle_peer);

static void linger_full_app(int fd) {
  lingering(fd, 1);
  fill(fd);
  long start = milliseconds();
  result("close", close(fd));
  say_took("close", start, 800, 3000);
  tell("closed");
  hear("done");
}

static void linger_full_peer(int fd) {
  static char bytes[65536];
  hear("closed");
  ssize_t got;
  do got = recv(fd, bytes, sizeof bytes, 0);
  while (got > 0);
  result("recv at the end", got);
  tell("done");
}
ENDING(linger_unsent, linger_full_app, linger_full_peer);

// ---- Nobody at the other end any more (the peer's kernel drops what it would answer)

static void vanish(bool gone) {
  const char *route = family == AF_INET ? "blackhole 10.80.0.2/32" : "blackhole fd80::2/128";
  char command[120];
  snprintf(command, sizeof command, "ip %s route %s %s", family == AF_INET ? "" : "-6", gone ? "add" : "del", route);
  NEED(system(command) == 0);
}

static void vanished_peer(int fd) {
  hear("vanish");
  vanish(true);
  tell("vanished");
  hear("done");
  vanish(false);
  close(fd);
}

static void keepalive_app(int fd) {
  result("SO_KEEPALIVE", set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
  result("TCP_KEEPIDLE", set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1));
  result("TCP_KEEPINTVL", set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1));
  result("TCP_KEEPCNT", set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 2));
  tell("vanish");
  hear("vanished");
  long start = milliseconds();
  say("poll", "%s", mask_names(wait_for(fd, POLLIN | POLLRDHUP)));
  say_took("time", start, 1500, 6000);
  say_end(fd);
  tell("done");
}
ENDING(keepalive, keepalive_app, vanished_peer);

static void user_timeout_app(int fd) {
  result("TCP_USER_TIMEOUT", set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 1000));
  tell("vanish");
  hear("vanished");
  long start = milliseconds();
  result("send", send(fd, "x", 1, 0));
  say("poll", "%s", mask_names(wait_for(fd, POLLIN | POLLRDHUP)));
  say_took("time", start, 700, 5000);
  say_end(fd);
  tell("done");
}
ENDING(user_timeout, user_timeout_app, vanished_peer);
