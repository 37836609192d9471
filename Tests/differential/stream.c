// A connection's bytes in bulk, by each of the calls that move them; and when small ones leave.
#include "differential.h"
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

enum { BULK = 6 << 20 };

static uint32_t sum_of(uint32_t sum, const unsigned char *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) sum = sum * 31 + bytes[i];
  return sum;
}

static unsigned char *bulk(void) {
  unsigned char *bytes = malloc(BULK);
  uint32_t state = 12345;
  for (size_t i = 0; i < BULK; i++) {
    state = state * 1103515245 + 12345;
    bytes[i] = (unsigned char)(state >> 16);
  }
  return bytes;
}

static void say_received(int fd) {
  static unsigned char bytes[40000];
  uint32_t sum = 0;
  long total = 0;
  for (ssize_t got; (got = recv(fd, bytes, 1 + (size_t)(total % 39999), 0)) > 0; total += got) sum = sum_of(sum, bytes, got);
  say("received", "%ld bytes, sum %08x", total, sum);
}

static void send_pieces(int fd, const unsigned char *bytes, size_t count, ssize_t (*move)(int, const unsigned char *, size_t)) {
  size_t piece = 1;
  for (size_t done = 0; done < count; piece = piece * 7 % 100003 + 1) {
    ssize_t sent = move(fd, bytes + done, piece < count - done ? piece : count - done);
    NEED(sent > 0);
    done += sent;
  }
  shutdown(fd, SHUT_WR);
}

static ssize_t by_write(int fd, const unsigned char *bytes, size_t count) { return write(fd, bytes, count); }
static ssize_t by_send(int fd, const unsigned char *bytes, size_t count) { return send(fd, bytes, count, MSG_NOSIGNAL); }
static ssize_t by_more(int fd, const unsigned char *bytes, size_t count) { return send(fd, bytes, count, MSG_MORE); }
static ssize_t by_writev(int fd, const unsigned char *bytes, size_t count) {
  size_t half = count / 2;
  return writev(fd, (struct iovec[]){{(void *)bytes, half}, {(void *)(bytes + half), count - half}}, 2);
}
static ssize_t by_sendmsg(int fd, const unsigned char *bytes, size_t count) {
  struct iovec vector = {(void *)bytes, count};
  return sendmsg(fd, &(struct msghdr){.msg_iov = &vector, .msg_iovlen = 1}, 0);
}
static ssize_t by_waiting(int fd, const unsigned char *bytes, size_t count) {
  NEED(wait_for(fd, POLLOUT) != 0);
  return send(fd, bytes, count, MSG_DONTWAIT);
}

static void send_by(ssize_t (*move)(int, const unsigned char *, size_t)) {
  int fd = connected_app();
  send_pieces(fd, bulk(), BULK, move);
  say_recv("the end", fd, 0);
}

static void receiving_peer(void) { say_received(connected_peer()); }
static void write_app(void) { send_by(by_write); }
static void send_app(void) { send_by(by_send); }
static void more_app(void) { send_by(by_more); }
static void writev_app(void) { send_by(by_writev); }
static void sendmsg_app(void) { send_by(by_sendmsg); }
static void waiting_app(void) { send_by(by_waiting); }
SCENARIO(stream_write, .app = write_app, .peer = receiving_peer);
SCENARIO(stream_send, .app = send_app, .peer = receiving_peer);
SCENARIO(stream_more, .app = more_app, .peer = receiving_peer);
SCENARIO(stream_writev, .app = writev_app, .peer = receiving_peer);
SCENARIO_BOTH(stream_sendmsg, .app = sendmsg_app, .peer = receiving_peer);
SCENARIO_BOTH(stream_nonblocking, .app = waiting_app, .peer = receiving_peer);

static void sendfile_app(void) {
  int fd = connected_app(), file = memfd_create("bulk", 0);
  unsigned char *bytes = bulk();
  write_all(file, bytes, BULK);
  off_t at_ = 0;
  while (at_ < BULK) NEED(sendfile(fd, file, &at_, 123456) > 0);
  shutdown(fd, SHUT_WR);
  say_recv("the end", fd, 0);
}
SCENARIO_BOTH(stream_sendfile, .app = sendfile_app, .peer = receiving_peer);

static void splice_app(void) {
  int fd = connected_app(), file = memfd_create("bulk", 0), ends[2];
  NEED(pipe(ends) == 0);
  write_all(file, bulk(), BULK);
  loff_t at_ = 0;
  while (at_ < BULK) {
    ssize_t count = splice(file, &at_, ends[1], NULL, 60000, 0);
    NEED(count > 0);
    for (ssize_t done = 0; done < count;) {
      ssize_t moved = splice(ends[0], NULL, fd, NULL, count - done, SPLICE_F_MORE);
      NEED(moved > 0);
      done += moved;
    }
  }
  shutdown(fd, SHUT_WR);
  say_recv("the end", fd, 0);
}
SCENARIO_BOTH(stream_splice, .app = splice_app, .peer = receiving_peer);

static void sending_peer(void) {
  int fd = connected_peer();
  send_pieces(fd, bulk(), BULK, by_write);
  say_recv("the end", fd, 0);
}

static void recv_app(void) {
  int fd = connected_app();
  say_received(fd);
}
SCENARIO_BOTH(stream_recv, .app = recv_app, .peer = sending_peer);

static void splice_out_app(void) {
  int fd = connected_app(), ends[2];
  static unsigned char bytes[1 << 16];
  NEED(pipe(ends) == 0);
  uint32_t sum = 0;
  long total = 0;
  for (ssize_t moved; (moved = splice(fd, NULL, ends[1], NULL, sizeof bytes, 0)) > 0; total += moved) {
    read_all(ends[0], bytes, moved);
    sum = sum_of(sum, bytes, moved);
  }
  say("spliced", "%ld bytes, sum %08x", total, sum);
}
SCENARIO_BOTH(stream_splice_out, .app = splice_out_app, .peer = sending_peer);

static void edge_app(void) {
  int fd = connected_app(), epoll = epoll_create1(0);
  static unsigned char bytes[30000];
  struct epoll_event event = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP};
  set_nonblocking(fd, true);
  NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
  uint32_t sum = 0;
  long total = 0;
  for (ssize_t got = 1; got != 0;) {
    NEED(epoll_wait(epoll, &event, 1, 5000) == 1);
    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0) {
      sum = sum_of(sum, bytes, got);
      total += got;
    }
    NEED(got == 0 || errno == EAGAIN);
  }
  say("received", "%ld bytes, sum %08x", total, sum);
}
SCENARIO_BOTH(stream_edge, .app = edge_app, .peer = sending_peer);

static void accepted_sender_app(void) {
  int fd = accepted_app();
  send_pieces(fd, bulk(), BULK, by_write);
  say_recv("the end", fd, 0);
}
static void accepted_receiver_peer(void) { say_received(accepted_peer()); }
SCENARIO_BOTH(stream_accepted, .app = accepted_sender_app, .peer = accepted_receiver_peer);

static void zero_copy_app(void) {
  int fd = connected_app();
  result("SO_ZEROCOPY", set_option(fd, SOL_SOCKET, SO_ZEROCOPY, 1));
  say_option("reads back", fd, SOL_SOCKET, SO_ZEROCOPY);
  result("send", send(fd, "hello", 5, MSG_ZEROCOPY));
  say("poll", "%s", mask_names(wait_for(fd, POLLERR)));
  char control[128];
  struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
  result("its notice", recvmsg(fd, &message, MSG_ERRQUEUE));
  shutdown(fd, SHUT_WR);
  say_recv("the end", fd, 0);
}
SCENARIO(stream_zero_copy, .app = zero_copy_app, .peer = receiving_peer);

// ---- When small ones leave

static void cork_app(void) {
  int fd = connected_app();
  result("TCP_CORK", set_option(fd, IPPROTO_TCP, TCP_CORK, 1));
  write_all(fd, "small", 5);
  tell("written");
  hear("quiet");
  result("uncork", set_option(fd, IPPROTO_TCP, TCP_CORK, 0));
  hear("seen");
  set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
  write_all(fd, "then", 4);
  tell("written");
  hear("seen"); // within the fifth of a second that Linux corks at most
  shutdown(fd, SHUT_WR);
}

static void cork_peer(void) {
  int fd = connected_peer();
  hear("written");
  say_quiet("corked", fd, POLLIN);
  tell("quiet");
  say_recv("uncorked", fd, 0);
  tell("seen");
  hear("written");
  long start = milliseconds();
  say_recv("corked for a while", fd, 0);
  say_took("time", start, 50, 1500);
  tell("seen");
  say_recv("the end", fd, 0);
}
SCENARIO(stream_cork, .app = cork_app, .peer = cork_peer);

// As servers do: each message in two pieces, corked, with TCP_NODELAY off meanwhile.
enum { CORKED_MESSAGES = 12, CORKED_CONNECTIONS = 6 };

static void toggle(int fd, int option, int value, const char *name) {
  if (set_option(fd, IPPROTO_TCP, option, value) != 0) result(name, -1);
  say_option(name, fd, IPPROTO_TCP, option);
}

static void send_corked(int fd) {
  const unsigned char *bytes = bulk();
  for (int i = 0; i < CORKED_MESSAGES; i++) {
    toggle(fd, TCP_NODELAY, 0, "TCP_NODELAY off");
    toggle(fd, TCP_CORK, 1, "TCP_CORK on");
    write_all(fd, bytes, 300);
    write_all(fd, bytes, 2000 + 100 * (size_t)i);
    toggle(fd, TCP_CORK, 0, "TCP_CORK off");
    toggle(fd, TCP_NODELAY, 1, "TCP_NODELAY on");
    hear("next");
  }
  result("too short", setsockopt(fd, IPPROTO_TCP, TCP_CORK, &fd, 3));
  result("nowhere", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, (void *)8, sizeof fd));
}

static void receive_corked(int fd) {
  unsigned char bytes[4096];
  for (int i = 0; i < CORKED_MESSAGES; i++) {
    size_t first = 300, second = 2000 + 100 * (size_t)i;
    read_all(fd, bytes, first + second);
    say("message", "%08x %08x", sum_of(0, bytes, first), sum_of(0, bytes + first, second));
    tell("next");
  }
}

static void corked_messages_app(void) {
  int fd = connected_app();
  send_corked(fd);
  hear("closed");
  result("after the end", set_option(fd, IPPROTO_TCP, TCP_NODELAY, 0));
  say_option("reads", fd, IPPROTO_TCP, TCP_NODELAY);
}
static void corked_messages_peer(void) {
  int fd = connected_peer();
  receive_corked(fd);
  close(fd);
  tell("closed");
}
SCENARIO(stream_corked_messages, .app = corked_messages_app, .peer = corked_messages_peer);

static void corked_server_app(void) {
  int server = listener(APP, 4);
  tell_value(port_of(server));
  for (int i = 0; i < CORKED_CONNECTIONS; i++) {
    int fd = accept_one(server);
    say_option("TCP_NODELAY", fd, IPPROTO_TCP, TCP_NODELAY);
    say_option("TCP_CORK", fd, IPPROTO_TCP, TCP_CORK);
    send_corked(fd);
    close(fd);
  }
}
static void corked_server_peer(void) {
  int port = (int)hear_value();
  for (int i = 0; i < CORKED_CONNECTIONS; i++) {
    int fd = tcp(0);
    NEED(connect_to(fd, APP, port) == 0);
    receive_corked(fd);
    close(fd);
  }
}
SCENARIO_BOTH(stream_corked_server, .app = corked_server_app, .peer = corked_server_peer);

// One message for each connection; every third is never uncorked, but ended.
enum { CORKED_ONCE = 24, ONCE_HEAD = 300, ONCE_BODY = 2500 };

static void corked_once_app(void) {
  int server = listener(APP, 4);
  tell_value(port_of(server));
  for (int i = 0; i < CORKED_ONCE; i++) {
    int fd = accept_one(server);
    say_option("TCP_CORK at first", fd, IPPROTO_TCP, TCP_CORK);
    toggle(fd, TCP_CORK, 1, "TCP_CORK on");
    write_all(fd, bulk(), ONCE_HEAD);
    write_all(fd, bulk(), ONCE_BODY);
    if (i % 3 != 0) toggle(fd, TCP_CORK, 0, "TCP_CORK off");
    close(fd);
  }
}

static void corked_once_peer(void) {
  int port = (int)hear_value();
  for (int i = 0; i < CORKED_ONCE; i++) {
    unsigned char bytes[ONCE_HEAD + ONCE_BODY];
    int fd = tcp(0);
    NEED(connect_to(fd, APP, port) == 0);
    read_all(fd, bytes, sizeof bytes);
    say("message", "%08x %08x", sum_of(0, bytes, ONCE_HEAD), sum_of(0, bytes + ONCE_HEAD, ONCE_BODY));
    say_recv("the end", fd, 0);
    close(fd);
  }
}
SCENARIO_BOTH(stream_corked_once, .app = corked_once_app, .peer = corked_once_peer);

// ---- Entry points that are not the plain ones

ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);

static void entries_app(void) {
  int port = (int)hear_value();
  int fd = (int)syscall(SYS_socket, family, SOCK_STREAM, 0);
  success("syscall socket", fd);
  struct address to = at(PEER, port);
  name_port(port, "server");
  result("syscall connect", syscall(SYS_connect, fd, &to.sa, to.length));
  hear("accepted");
  tell("ready");
  struct address name = {.length = sizeof name.storage};
  result("syscall getpeername", syscall(SYS_getpeername, fd, &name.sa, &name.length));
  say_address("name", &name.storage, name.length);
  int value = 0;
  socklen_t length = sizeof value;
  result("syscall getsockopt", syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &value, &length));
  say("SO_PROTOCOL", "%d", value);
  value = 1;
  result("syscall setsockopt", syscall(SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value));
  result("syscall sendto", syscall(SYS_sendto, fd, "one,", 4, 0, NULL, 0));
  struct iovec vector = {"two,", 4};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  result("syscall sendmsg", syscall(SYS_sendmsg, fd, &message, 0));
  struct mmsghdr messages = {.msg_hdr = message};
  result("syscall sendmmsg", syscall(SYS_sendmmsg, fd, &messages, 1, 0));
  result("syscall write", syscall(SYS_write, fd, "three,", 6));
  int copy = (int)syscall(SYS_dup3, fd, 45, 0);
  result("syscall dup3", copy);
  result("syscall close", syscall(SYS_close, fd));
  char bytes[20] = {0};
  tell("answer");
  wait_for(copy, POLLIN);
  result("__read_chk", __read_chk(copy, bytes, 2, sizeof bytes));
  result("__recv_chk", __recv_chk(copy, bytes, 2, sizeof bytes, 0));
  name.length = sizeof name.storage;
  result("__recvfrom_chk", __recvfrom_chk(copy, bytes, 2, sizeof bytes, 0, &name.sa, &name.length));
  say("length of the name", "%d", (int)name.length);
  struct pollfd one = {.fd = copy, .events = POLLIN};
  result("__poll_chk", __poll_chk(&one, 1, 0, sizeof one));
  result("syscall shutdown", syscall(SYS_shutdown, copy, SHUT_WR));
  say_recv("the rest", copy, MSG_WAITALL);
}

static void entries_peer(void) {
  int fd = connected_peer();
  hear("answer");
  write_all(fd, "123456789", 9);
  shutdown(fd, SHUT_WR);
  char bytes[100] = {0};
  long total = 0;
  for (ssize_t got; (got = recv(fd, bytes + total, 99 - total, 0)) > 0;) total += got;
  say("received", "%s", bytes);
}
SCENARIO_BOTH(stream_entry_points, .app = entries_app, .peer = entries_peer);

static void listening_entries_app(void) {
  int fd = (int)syscall(SYS_socket, family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct address here = at(APP, 0), name = {.length = sizeof name.storage};
  result("syscall bind", syscall(SYS_bind, fd, &here.sa, here.length));
  result("syscall listen", syscall(SYS_listen, fd, 4));
  result("syscall getsockname", syscall(SYS_getsockname, fd, &name.sa, &name.length));
  tell_value(port_of(fd));
  hear("connected");
  wait_for(fd, POLLIN);
  int connection = (int)syscall(SYS_accept4, fd, NULL, NULL, SOCK_NONBLOCK);
  success("syscall accept4", connection);
  say("nonblocking", "%s", fcntl(connection, F_GETFL) & O_NONBLOCK ? "yes" : "no");
  wait_for(connection, POLLIN);
  char bytes[20] = {0};
  result("syscall recvfrom", syscall(SYS_recvfrom, connection, bytes, 5, 0, NULL, NULL));
  say("bytes", "%s", bytes);
  say_recv("none left", connection, 0);
}

static void listening_entries_peer(void) {
  int fd = tcp(0);
  NEED(connect_to(fd, APP, (int)hear_value()) == 0);
  write_all(fd, "hello", 5);
  tell("connected");
  wait_for(fd, POLLIN);
}
SCENARIO_BOTH(stream_entry_points_listening, .app = listening_entries_app, .peer = listening_entries_peer);

static void fast_open_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  struct address to = at(PEER, port);
  result("sendto MSG_FASTOPEN", sendto(fd, "hello", 5, MSG_FASTOPEN, &to.sa, to.length));
  hear("accepted");
  tell("ready");
  say_poll("poll", fd, POLLOUT);
  shutdown(fd, SHUT_WR);
  say_recv("the end", fd, 0);
}
SCENARIO_BOTH(stream_fast_open, .app = fast_open_app, .peer = receiving_peer);
