// TCP's urgent data: MSG_OOB both ways, the mark, SO_OOBINLINE, SIGURG.
#include "differential.h"

static void oob_app(void) {
  int fd = connected_app();
  int mark = -1;
  hear("sent");
  say_poll("poll", fd, POLLPRI);
  result("SIOCATMARK", ioctl(fd, SIOCATMARK, &mark));
  say("at the mark", "%d", mark);
  say_recv("up to the mark", fd, 0);
  result("SIOCATMARK", ioctl(fd, SIOCATMARK, &mark));
  say("at the mark", "%d", mark);
  say_recv("MSG_OOB | MSG_PEEK", fd, MSG_OOB | MSG_PEEK);
  say_recv("MSG_OOB", fd, MSG_OOB);
  say_recv("MSG_OOB again", fd, MSG_OOB);
  say_poll_now("poll after", fd);
  say_recv("beyond the mark", fd, 0);
  result("SIOCATMARK", ioctl(fd, SIOCATMARK, &mark));
  say("at the mark", "%d", mark);
  result("SO_OOBINLINE", set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1));
  tell("more");
  hear("sent");
  say_poll("poll inline", fd, POLLPRI);
  say_recv("MSG_OOB inline", fd, MSG_OOB);
  say_recv("before", fd, 0);
  say_recv("from the mark", fd, 0);
  tell("done");
}

static void oob_peer(void) {
  int fd = connected_peer();
  for (int i = 0; i < 2; i++) {
    NEED(send(fd, "abc", 3, 0) == 3 && send(fd, "!", 1, MSG_OOB) == 1 && send(fd, "de", 2, 0) == 2);
    tell("sent");
    if (i == 0) hear("more");
  }
  hear("done");
}
SCENARIO_BOTH(urgent_data, .app = oob_app, .peer = oob_peer);

static void oob_send_app(void) {
  int fd = connected_app();
  result("send", send(fd, "abc", 3, 0));
  result("MSG_OOB", send(fd, "xyz!", 4, MSG_OOB));
  result("send after", send(fd, "de", 2, 0));
  tell("sent");
  hear("done");
}

static void oob_send_peer(void) {
  int fd = connected_peer();
  hear("sent");
  say_poll("poll", fd, POLLPRI);
  char bytes[7] = {0};
  say_recv("MSG_OOB", fd, MSG_OOB);
  read_all(fd, bytes, 6);
  say("before the mark", "%s", bytes);
  say_recv("after", fd, 0);
  tell("done");
}
SCENARIO_BOTH(urgent_send, .app = oob_send_app, .peer = oob_send_peer);

static void sigurg_app(void) {
  int fd = connected_app();
  on_signal(SIGURG, 0);
  result("F_SETOWN", fcntl(fd, F_SETOWN, getpid()));
  say("F_GETOWN is this process", "%s", fcntl(fd, F_GETOWN) == getpid() ? "yes" : "no");
  tell("ready");
  for (long end = milliseconds() + 5000; !signals_seen && milliseconds() < end;) usleep(10000);
  say("SIGURG", "%d", signals_seen);
  tell("done");
}

static void sigurg_peer(void) {
  int fd = connected_peer();
  hear("ready");
  send(fd, "!", 1, MSG_OOB);
  hear("done");
}
SCENARIO(urgent_sigurg, .app = sigurg_app, .peer = sigurg_peer);
