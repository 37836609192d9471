// The calls that move bytes on a TCP connection, their flags, and calls on sockets that are in no state for them.
#include "differential.h"
#include <linux/sockios.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>

// Reads to the end and tells all of it.
static void say_all(int fd) {
  char bytes[1001] = {0};
  long total = 0;
  for (ssize_t got; (got = recv(fd, bytes + total, 1000 - total, 0)) > 0;) total += got;
  say("received", "%ld %s", total, bytes);
}

// The peer sends a word when it is told to, keeps the connection, and tells what came in the end.
static void words_peer(void) {
  int fd = connected_peer();
  for (;;) {
    char word[64] = {0};
    long length = hear_value();
    if (length == 0) break;
    NEED(length < 60);
    hear("word");
    for (long i = 0; i < length; i++) word[i] = (char)('a' + i % 26);
    write_all(fd, word, length);
  }
  shutdown(fd, SHUT_WR);
  say_all(fd);
}

static void order(int fd, long length) {
  tell_value(length);
  tell("word");
  int there = 0;
  for (long end = milliseconds() + 5000; there < length && milliseconds() < end;) ioctl(fd, FIONREAD, &there);
}

static void peek_app(void) {
  int fd = connected_app();
  order(fd, 6);
  char bytes[100] = {0};
  result("peek 3", recv(fd, bytes, 3, MSG_PEEK));
  say("bytes", "%.3s", bytes);
  result("peek more", recv(fd, bytes, 100, MSG_PEEK));
  result("peek nothing", recv(fd, bytes, 0, MSG_PEEK));
  say_recv("recv", fd, 0);
  say_recv("peek an empty one", fd, MSG_PEEK | MSG_DONTWAIT);
  order(fd, 4);
  struct iovec vector = {bytes, 2};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  result("peek by recvmsg", recvmsg(fd, &message, MSG_PEEK));
  say("its flags", "%#x", message.msg_flags);
  result("peek into two", readv(fd, (struct iovec[]){{bytes, 1}, {bytes + 50, 3}}, 2));
  say("bytes of both", "%c %.3s", bytes[0], bytes + 50);
  tell_value(0);
  say_poll("poll", fd, POLLRDHUP);
  say_recv("peek the end", fd, MSG_PEEK);
}
SCENARIO_BOTH(messages_peek, .app = peek_app, .peer = words_peer);

static void trunc_app(void) {
  int fd = connected_app();
  order(fd, 10);
  char bytes[100];
  memset(bytes, '-', sizeof bytes);
  result("MSG_TRUNC discards", recv(fd, bytes, 4, MSG_TRUNC));
  say("buffer", "%.4s", bytes);
  result("MSG_TRUNC with no buffer", recv(fd, NULL, 2, MSG_TRUNC));
  say_recv("the rest", fd, 0);
  order(fd, 5);
  result("MSG_TRUNC and MSG_PEEK", recv(fd, bytes, 3, MSG_TRUNC | MSG_PEEK));
  say_recv("still there", fd, 0);
  tell_value(0);
}
SCENARIO_BOTH(messages_trunc, .app = trunc_app, .peer = words_peer);

static void waitall_app(void) {
  int fd = connected_app();
  char bytes[100] = {0};
  order(fd, 3);
  tell_value(4);
  tell("word");
  result("MSG_WAITALL", recv(fd, bytes, 7, MSG_WAITALL));
  order(fd, 3);
  result("with MSG_DONTWAIT", recv(fd, bytes, 7, MSG_WAITALL | MSG_DONTWAIT));
  order(fd, 5);
  struct timeval limit = {.tv_usec = 100000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  result("until the time-out", recv(fd, bytes, 9, MSG_WAITALL));
  result("time-out with none", recv(fd, bytes, 9, MSG_WAITALL));
  limit.tv_usec = 0;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  order(fd, 2);
  on_signal(SIGUSR1, 0);
  pester(SIGUSR1);
  ssize_t got = recv(fd, bytes, 9, MSG_WAITALL);
  stop_pestering();
  say("interrupted with some", "%zd", got);
  order(fd, 2);
  tell_value(0);
  result("until the end", recv(fd, bytes, 9, MSG_WAITALL));
  result("at the end", recv(fd, bytes, 9, MSG_WAITALL));
}
SCENARIO_BOTH(messages_waitall, .app = waitall_app, .peer = words_peer);

static void waiting_app(void) {
  int fd = connected_app();
  say_recv("MSG_DONTWAIT", fd, MSG_DONTWAIT);
  say_recv("MSG_ERRQUEUE", fd, MSG_ERRQUEUE);
  say_recv("MSG_OOB with none", fd, MSG_OOB);
  set_nonblocking(fd, true);
  say_recv("nonblocking", fd, 0);
  say_recv("nonblocking MSG_WAITALL", fd, MSG_WAITALL);
  set_nonblocking(fd, false);
  struct timeval limit = {.tv_usec = 150000};
  result("SO_RCVTIMEO", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  long start = milliseconds();
  say_recv("with a time-out", fd, 0);
  say_took("time", start, 100, 1000);
  limit.tv_usec = 0;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  on_signal(SIGUSR1, 0);
  pester(SIGUSR1);
  char byte;
  ssize_t got = recv(fd, &byte, 1, 0);
  int error = errno;
  stop_pestering();
  errno = error;
  result("interrupted", got);
  result("recv nothing", recv(fd, &byte, 0, MSG_DONTWAIT));
  result("send nothing", send(fd, &byte, 0, 0));
  result("bad pointer", send(fd, (void *)8, 10, 0));
  order(fd, 3);
  result("bad pointer to recv", recv(fd, (void *)8, 10, 0));
  say_recv("nothing lost", fd, 0);
  tell_value(0);
}
SCENARIO_BOTH(messages_waiting, .app = waiting_app, .peer = words_peer);

// A signal soon after the call: most of many receipts end by the first one. (A few may meet it before they have begun.)
static void interrupted_soon(const char *label, int fd, int flags) {
  enum { TIMES = 50 };
  struct itimerval timer = {.it_value.tv_usec = 40, .it_interval.tv_usec = 20000}, off = {0};
  int first = 0, interrupted = 0;
  char byte;
  on_signal(SIGALRM, flags);
  for (int i = 0; i < TIMES; i++) {
    signals_seen = 0;
    NEED(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    interrupted += recv(fd, &byte, 1, 0) < 0 && errno == EINTR;
    first += signals_seen == 1;
    NEED(setitimer(ITIMER_REAL, &off, NULL) == 0);
  }
  say(label, "%s %s", interrupted == TIMES ? "all" : interrupted == 0 ? "none" : "some", first > TIMES / 2 ? "at once" : "late");
}

static void interrupted_app(void) {
  int fd = connected_app();
  interrupted_soon("EINTR", fd, 0);
  struct timeval limit = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  interrupted_soon("SA_RESTART, with a time-out", fd, SA_RESTART);
  // Without a time-out the call goes on, until there is something.
  limit.tv_sec = 0;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  struct itimerval timer = {.it_value.tv_usec = 40};
  signals_seen = 0;
  NEED(setitimer(ITIMER_REAL, &timer, NULL) == 0);
  tell_value(3);
  tell("word");
  say_recv("SA_RESTART", fd, 0);
  signal(SIGALRM, SIG_IGN);
  NEED(setitimer(ITIMER_REAL, &timer, NULL) == 0);
  tell_value(2);
  tell("word");
  say_recv("ignored", fd, 0);
  tell_value(0);
}
SCENARIO_BOTH(messages_interrupted, .app = interrupted_app, .peer = words_peer);

static void send_timeout_app(void) {
  int fd = connected_app();
  struct timeval limit = {.tv_usec = 200000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  fill(fd);
  say_poll_now("poll", fd);
  long start = milliseconds();
  result("send", send(fd, "x", 1, 0));
  say_took("time", start, 150, 1000);
  result("MSG_DONTWAIT", send(fd, "x", 1, MSG_DONTWAIT));
  limit.tv_usec = 0;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  on_signal(SIGUSR1, 0);
  pester(SIGUSR1);
  ssize_t sent = send(fd, "x", 1, 0);
  int error = errno;
  stop_pestering();
  errno = error;
  result("interrupted", sent);
  tell("full");
  say_poll("writable again", fd, POLLOUT);
}

static void send_timeout_peer(void) {
  int fd = connected_peer();
  hear("full");
  static char bytes[65536];
  while (recv(fd, bytes, sizeof bytes, 0) > 0) {}
}
SCENARIO_BOTH(messages_full, .app = send_timeout_app, .peer = send_timeout_peer);

// ---- With addresses, which TCP ignores

static void addresses_app(void) {
  int fd = connected_app();
  struct address to = at(PEER, 9), other = at(ABSENT, 9);
  result("sendto there", sendto(fd, "one,", 4, 0, &to.sa, to.length));
  result("sendto elsewhere", sendto(fd, "two,", 4, 0, &other.sa, other.length));
  result("sendto with a bad family", sendto(fd, "three,", 6, 0, &(struct sockaddr){.sa_family = AF_UNIX}, 16));
  struct iovec vector[2] = {{"four", 4}, {",", 1}};
  struct msghdr message = {.msg_name = &other, .msg_namelen = other.length, .msg_iov = vector, .msg_iovlen = 2};
  result("sendmsg", sendmsg(fd, &message, 0));
  result("sendto no length", sendto(fd, "five", 4, 0, &to.sa, 0));
  order(fd, 5);
  struct address from;
  memset(&from, 0xee, sizeof from);
  from.length = sizeof from.storage;
  char bytes[100];
  result("recvfrom", recvfrom(fd, bytes, 2, 0, &from.sa, &from.length));
  say("length", "%d", (int)from.length);
  say("address untouched", "%s", *(unsigned char *)&from == 0xee ? "yes" : "no");
  struct msghdr received = {.msg_name = &from, .msg_namelen = sizeof from.storage, .msg_iov = &(struct iovec){bytes, 2},
                            .msg_iovlen = 1, .msg_control = bytes + 50, .msg_controllen = 50, .msg_flags = 0x55};
  result("recvmsg", recvmsg(fd, &received, 0));
  say("name length", "%d", (int)received.msg_namelen);
  say("control length", "%d", (int)received.msg_controllen);
  say("flags", "%#x", received.msg_flags);
  tell_value(0);
  shutdown(fd, SHUT_WR);
  say_poll("poll", fd, POLLHUP);
}

static void addresses_peer(void) {
  int fd = connected_peer();
  NEED(hear_value() == 5);
  hear("word");
  write_all(fd, "abcde", 5);
  NEED(hear_value() == 0);
  say_all(fd);
}
SCENARIO_BOTH(messages_sendto, .app = addresses_app, .peer = addresses_peer);

static void several_app(void) {
  int fd = connected_app();
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec vector[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
  result("writev", writev(fd, vector, 3));
  result("writev none", writev(fd, vector, 0));
  result("writev too many", writev(fd, vector, 2000));
  struct msghdr message = {.msg_iov = vector, .msg_iovlen = 3};
  result("sendmsg", sendmsg(fd, &message, MSG_NOSIGNAL));
  message.msg_iovlen = 2000;
  result("sendmsg too many", sendmsg(fd, &message, MSG_NOSIGNAL));
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  struct cmsghdr *header = (struct cmsghdr *)control;
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  result("sendmsg SCM_RIGHTS", sendmsg(fd, &message, 0));
  header->cmsg_type = 999;
  result("sendmsg with an unknown control message", sendmsg(fd, &message, 0));
  struct mmsghdr both[2] = {{.msg_hdr = {.msg_iov = vector, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = vector + 2, .msg_iovlen = 1}}};
  result("sendmmsg", sendmmsg(fd, both, 2, 0));
  say("lengths", "%u %u", both[0].msg_len, both[1].msg_len);
  result("MSG_MORE", send(fd, "f", 1, MSG_MORE));
  result("MSG_EOR", send(fd, "g", 1, MSG_EOR));
  result("MSG_CONFIRM", send(fd, "h", 1, MSG_CONFIRM));
  result("MSG_DONTROUTE", send(fd, "i", 1, MSG_DONTROUTE));
  result("write", write(fd, "j", 1));
  tell_value(0);
  shutdown(fd, SHUT_WR);
  say_recv("recv", fd, 0);
}

static void counting_peer(void) {
  int fd = connected_peer();
  NEED(hear_value() == 0);
  say_all(fd);
}
SCENARIO_BOTH(messages_several, .app = several_app, .peer = counting_peer);

static void receive_several_app(void) {
  int fd = connected_app();
  order(fd, 10);
  char first[4] = {0}, second[4] = {0};
  struct iovec vectors[2] = {{first, 3}, {second, 3}};
  struct mmsghdr both[2] = {{.msg_hdr = {.msg_iov = vectors, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = vectors + 1, .msg_iovlen = 1}}};
  result("recvmmsg", recvmmsg(fd, both, 2, 0, NULL));
  say("what", "%s %s, %u %u", first, second, both[0].msg_len, both[1].msg_len);
  char rest[3] = {0};
  result("read", read(fd, rest, 2));
  result("recvmmsg nonblocking", recvmmsg(fd, both, 2, MSG_DONTWAIT, NULL));
  say("what", "%s, %u", first, both[0].msg_len);
  result("recvmmsg of none", recvmmsg(fd, both, 2, MSG_DONTWAIT, NULL));
  tell_value(0);
}
SCENARIO_BOTH(messages_receive_several, .app = receive_several_app, .peer = words_peer);

static void sigio_app(void) {
  int fd = connected_app();
  on_signal(SIGIO, 0);
  fcntl(fd, F_SETOWN, getpid());
  result("O_ASYNC", fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC));
  order(fd, 3);
  for (long end = milliseconds() + 5000; !signals_seen && milliseconds() < end;) usleep(10000);
  say("SIGIO", "%s", signals_seen > 0 ? "yes" : "no");
  tell_value(0);
}
SCENARIO(messages_sigio, .app = sigio_app, .peer = words_peer);

// ---- Without a connection

static void unconnected_app(void) {
  int fd = tcp(0);
  char byte = 'x';
  struct address to = at(PEER, 9);
  say_poll_now("poll", fd);
  set_nonblocking(fd, true);
  result("recv", recv(fd, &byte, 1, 0));
  result("read", read(fd, &byte, 1));
  result("recv MSG_PEEK", recv(fd, &byte, 1, MSG_PEEK));
  result("recv MSG_OOB", recv(fd, &byte, 1, MSG_OOB));
  result("recv MSG_ERRQUEUE", recv(fd, &byte, 1, MSG_ERRQUEUE));
  result("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  result("send nothing", send(fd, &byte, 0, MSG_NOSIGNAL));
  result("sendto", sendto(fd, &byte, 1, MSG_NOSIGNAL, &to.sa, to.length));
  result("sendmsg", sendmsg(fd, &(struct msghdr){.msg_iov = &(struct iovec){&byte, 1}, .msg_iovlen = 1}, MSG_NOSIGNAL));
  on_signal(SIGPIPE, 0);
  result("write", write(fd, &byte, 1));
  say("SIGPIPE", "%d", signals_seen);
  say_error("SO_ERROR", fd);
  NEED(bind_to(fd, APP, 0) == 0);
  result("recv when bound", recv(fd, &byte, 1, 0));
  result("send when bound", send(fd, &byte, 1, MSG_NOSIGNAL));
  say_poll_now("poll when bound", fd);
  int there = -1;
  result("FIONREAD", ioctl(fd, FIONREAD, &there));
  say("bytes there", "%d", there);
}
SCENARIO_BOTH(messages_unconnected, .app = unconnected_app);

static void sigpipe_app(void) {
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    int fd = tcp(0);
    send(fd, "x", 1, 0);
    _exit(0);
  }
  say_child("the unconnected sender", child);
  int fd = connected_app();
  shutdown(fd, SHUT_WR);
  child = fork();
  if (child == 0) {
    write(fd, "x", 1) < 0 ? _exit(1) : _exit(0);
  }
  say_child("after SHUT_WR", child);
  signal(SIGPIPE, SIG_IGN);
  result("ignored", write(fd, "x", 1));
  tell("done");
}

static void quiet_peer(void) {
  connected_peer();
  hear("done");
}
SCENARIO_BOTH(messages_sigpipe, .app = sigpipe_app, .peer = quiet_peer);

// ---- As a file

static void file_app(void) {
  int fd = connected_app();
  struct stat facts;
  result("fstat", fstat(fd, &facts));
  say("is a socket", "%s", S_ISSOCK(facts.st_mode) ? "yes" : "no");
  say("mode", "%o", facts.st_mode & 07777);
  result("lseek", lseek(fd, 0, SEEK_CUR));
  char byte;
  result("pread", pread(fd, &byte, 1, 0));
  result("pwrite", pwrite(fd, "x", 1, 0));
  result("ftruncate", ftruncate(fd, 0));
  result("fsync", fsync(fd));
  say("isatty", "%d %s", isatty(fd), errno_name(errno));
  char path[64], text[64] = {0};
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  NEED(readlink(path, text, sizeof text - 1) > 0);
  say("link", "%.8s", text);
  success("open by /proc", open(path, O_RDWR));
  FILE *file = fdopen(dup(fd), "r+");
  NEED(file);
  fprintf(file, "%s", "printed");
  result("fflush", fflush(file));
  order(fd, 5);
  say("fgetc", "%c", fgetc(file));
  fclose(file);
  int source = open("/proc/self/comm", O_RDONLY);
  result("sendfile", sendfile(fd, source, NULL, 4));
  int ends[2];
  NEED(pipe(ends) == 0 && write(ends[1], "spliced", 7) == 7);
  result("splice", splice(ends[0], NULL, fd, NULL, 7, 0));
  tell_value(0);
  shutdown(fd, SHUT_WR);
  say("splice out", "%zd", splice(fd, NULL, ends[1], NULL, 100, 0));
  wait_for(fd, POLLHUP);
}

static void file_peer(void) {
  int fd = connected_peer();
  NEED(hear_value() == 5);
  hear("word");
  write_all(fd, "abcde", 5);
  NEED(hear_value() == 0);
  say_all(fd);
}
SCENARIO_BOTH(messages_file, .app = file_app, .peer = file_peer);

static void lowat_app(void) {
  int fd = connected_app();
  result("SO_RCVLOWAT", set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 5));
  say_option("reads back", fd, SOL_SOCKET, SO_RCVLOWAT);
  result("SO_SNDLOWAT", set_option(fd, SOL_SOCKET, SO_SNDLOWAT, 5));
  order(fd, 3);
  say_quiet("poll with three", fd, POLLIN);
  say_recv("MSG_DONTWAIT", fd, MSG_DONTWAIT | MSG_PEEK);
  order(fd, 4);
  say_poll("poll with more", fd, POLLIN);
  say_recv("recv", fd, 0);
  order(fd, 2);
  tell_value(0);
  say_poll("poll at the end", fd, POLLRDHUP);
  say_recv("recv of the rest", fd, 0);
}
SCENARIO_BOTH(messages_lowat, .app = lowat_app, .peer = words_peer);

static void queues_app(void) {
  int fd = connected_app(), count = -1;
  result("FIONREAD", ioctl(fd, FIONREAD, &count));
  say("none there", "%d", count);
  order(fd, 7);
  result("FIONREAD", ioctl(fd, FIONREAD, &count));
  say("there", "%d", count);
  int unsent = -1;
  result("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &unsent));
  say("nothing unsent", "%d", unsent);
  result("SIOCOUTQNSD", ioctl(fd, SIOCOUTQNSD, &unsent));
  say("nothing not sent", "%d", unsent);
  write_all(fd, "word", 4);
  for (long end = milliseconds() + 3000; milliseconds() < end; usleep(1000)) {
    NEED(ioctl(fd, SIOCOUTQ, &unsent) == 0);
    if (unsent == 0) break;
  }
  say("acknowledged", "%d", unsent);
  result("SIOCATMARK", ioctl(fd, SIOCATMARK, &count));
  say("mark", "%d", count);
  result("unknown", ioctl(fd, 0x8999, &count));
  result("FIONBIO", ioctl(fd, FIONBIO, &(int){1}));
  say_recv("recv", fd, 0);
  say_recv("nonblocking", fd, 0);
  tell_value(0);
  say_poll("poll", fd, POLLRDHUP);
  result("FIONREAD at the end", ioctl(fd, FIONREAD, &count));
  say("there at the end", "%d", count);
}
SCENARIO_BOTH(messages_queues, .app = queues_app, .peer = words_peer);
