// Scenarios of listen() and accept(), the options, and the calls that carry addresses.
#include "app.h"

static void accept_flags(void) {
  int server = listener(SOCK_NONBLOCK | SOCK_CLOEXEC);
  FAILS(accept(server, NULL, NULL), EAGAIN);
  command("offer 3");
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  int plain = accept(server, (struct sockaddr *)&peer, &length);
  CHECK(plain >= 0 && peer.sin_port == htons(1000) && peer.sin_addr.s_addr == htonl(0x0a000009));
  CHECK((fcntl(plain, F_GETFL) & O_NONBLOCK) == 0 && (fcntl(plain, F_GETFD) & FD_CLOEXEC) == 0);
  int both = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  CHECK((fcntl(both, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(both, F_GETFD) & FD_CLOEXEC) != 0);
  length = 8;
  int raw = (int)syscall(SYS_accept4, server, &peer, &length, SOCK_CLOEXEC);
  CHECK(raw >= 0 && length == sizeof peer && peer.sin_port == htons(1002));
  CHECK((fcntl(raw, F_GETFL) & O_NONBLOCK) == 0 && (fcntl(raw, F_GETFD) & FD_CLOEXEC) != 0);
  FAILS(accept4(server, NULL, NULL, 77), EINVAL);
  CHECK(option_of(server, SOL_SOCKET, SO_ACCEPTCONN) == 1 && option_of(plain, SOL_SOCKET, SO_ACCEPTCONN) == 0);
  CHECK(option_of(plain, SOL_SOCKET, SO_TYPE) == SOCK_STREAM && option_of(plain, SOL_SOCKET, SO_DOMAIN) == AF_INET);
  CHECK(option_of(plain, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP);
}

static void accept_emfile(void) {
  int server = listener(0);
  command("offer 1");
  struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  int last = -1;
  for (int fd; (fd = dup(0)) >= 0;) last = fd;
  CHECK(last >= 0);
  FAILS(accept(server, NULL, NULL), EMFILE);
  FAILS(accept(server, NULL, NULL), EMFILE);
  close(last);
  CHECK(accept(server, NULL, NULL) == last);
  close(last);
  CHECK(dup(0) == last);
  FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
  close(last);
  CHECK(socket(AF_INET, SOCK_STREAM, 0) == last);
}

static void *offer_one(void *control) {
  command_on(*(int *)control, "offer 1");
  return NULL;
}

static void accept_blocking(void) {
  int server = listener(0), control = control_open();
  struct timeval soon = {.tv_usec = 20000}, never = {0}, inherited;
  socklen_t length = sizeof inherited;
  CHECK(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
  FAILS(accept(server, NULL, NULL), EAGAIN);
  command_on(control, "offer 1");
  int timed = accept(server, NULL, NULL);
  CHECK(getsockopt(timed, SOL_SOCKET, SO_RCVTIMEO, &inherited, &length) == 0 && inherited.tv_usec == 20000);
  CHECK(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never) == 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, offer_one, &control) == 0);
  CHECK(accept(server, NULL, NULL) >= 0);
  pthread_join(thread, NULL);
}

static void *accept_for_ever(void *server) {
  accept(*(int *)server, NULL, NULL);
  return NULL;
}

static void accept_cancelled(void) {
  int server = listener(0);
  pthread_t thread;
  void *result;
  CHECK(pthread_create(&thread, NULL, accept_for_ever, &server) == 0);
  CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
}

static void *accept_until_shut(void *server) {
  int result = accept(*(int *)server, NULL, NULL);
  return (void *)(long)(result == -1 ? errno : 0);
}

static void listener_shut(void) {
  int server = listener(0);
  pthread_t thread;
  void *result;
  CHECK(pthread_create(&thread, NULL, accept_until_shut, &server) == 0);
  CHECK(shutdown(server, SHUT_WR) == 0);
  CHECK(shutdown(server, SHUT_RD) == 0);
  CHECK(pthread_join(thread, &result) == 0 && (long)result == EINVAL);
  FAILS(accept(server, NULL, NULL), EINVAL);
}

static void bind_names(void) {
  int fd = tcp(0), other = tcp(0);
  CHECK(port_of_fd(fd) == 0);
  struct sockaddr_in address = at_port(7001), told = {0};
  socklen_t length = 4;
  CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
  FAILS(bind(fd, (struct sockaddr *)&address, sizeof address), EINVAL);
  FAILS(bind(other, (struct sockaddr *)&address, sizeof address), EADDRINUSE);
  CHECK(getsockname(fd, (struct sockaddr *)&told, &length) == 0 && length == sizeof told);
  CHECK(ntohs(told.sin_port) == 7001 && told.sin_addr.s_addr == 0); // four bytes were asked for
  CHECK(syscall(SYS_listen, other, 4) == 0 && port_of_fd(other) >= 40000);
  CHECK(syscall(SYS_getpid) == getpid());
}

static void options(void) {
  int fd = tcp(0), one = 1, big = 1 << 20;
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
  CHECK(option_of(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof big) == 0 && option_of(fd, SOL_SOCKET, SO_SNDBUF) == big);
  struct pollfd writable = {.fd = fd, .events = POLLOUT};
  CHECK(poll(&writable, 1, 0) == 0); // a send buffer raised on the pair would show here
  CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
  FAILS(getsockopt(fd, SOL_SOCKET, 9999, &one, &(socklen_t){4}), ENOPROTOOPT);
}

static void set_to(int fd, int option, int value) {
  CHECK(setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value) == 0);
  CHECK(option_of(fd, IPPROTO_TCP, option) == value);
}

static void toggle(int fd) {
  set_to(fd, TCP_NODELAY, 0);
  set_to(fd, TCP_CORK, 1);
  set_to(fd, TCP_CORK, 0);
  set_to(fd, TCP_NODELAY, 1);
}

// Servers do this for each message: after the first ones the daemon is told of nothing.
static void options_toggled(void) {
  int server = listener(0), client = tcp(0);
  CHECK(connect_port(client, port_of_fd(server)) == 0);
  for (int i = 0; i < 4; i++) toggle(client);
  long before = command("ops");
  for (int i = 0; i < 20; i++) toggle(client);
  CHECK(command("ops") == before);
  FAILS(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &server, 2), EINVAL);
  FAILS(setsockopt(client, IPPROTO_TCP, TCP_CORK, (void *)8, 4), EFAULT);
  char byte = 0;
  CHECK(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &byte, &(socklen_t){1}) == 0 && byte == 1);
  int copy = dup(client);
  set_to(copy, TCP_CORK, 1);
  CHECK(option_of(client, IPPROTO_TCP, TCP_CORK) == 1);
  if (fork() == 0) {
    toggle(client);
    set_to(client, TCP_NODELAY, 0);
    _exit(0);
  }
  CHECK(wait(NULL) > 0 && option_of(copy, IPPROTO_TCP, TCP_NODELAY) == 0 && option_of(copy, IPPROTO_TCP, TCP_CORK) == 0);
  CHECK(command("ops") == before);
  // The number goes to a foreign socket, which the library does not see.
  int one = 1, pair[2];
  CHECK(fclose(fdopen(copy, "r+")) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pair[0] == copy);
  FAILS(setsockopt(copy, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), EOPNOTSUPP);
  FAILS(setsockopt(copy, IPPROTO_TCP, TCP_CORK, &one, sizeof one), EOPNOTSUPP);
  CHECK(option_of(copy, SOL_SOCKET, SO_DONTROUTE) == 0 && option_of(copy, SOL_SOCKET, SO_BROADCAST) == 0);
}

// The connections of a program that corks often coalesce from their first cork on.
static void options_corked_often(void) {
  int server = listener(0), client = -1;
  for (int connection = 0; connection < 8; connection++) {
    client = tcp(0);
    CHECK(connect_port(client, port_of_fd(server)) == 0);
    for (int i = 0; connection < 7 && i < 3; i++) toggle(client);
  }
  long before = command("ops");
  set_to(client, TCP_CORK, 1);
  CHECK(command("ops") == before + 1);
  for (int i = 0; i < 3; i++) {
    set_to(client, TCP_CORK, 0);
    set_to(client, TCP_CORK, 1);
  }
  CHECK(command("ops") == before + 1);
}

// A socket that connects again after a failure keeps what was set last, whether the daemon knows of it or not.
static void options_after_failure(void) {
  int fd = tcp(0);
  set_to(fd, TCP_NODELAY, 1);
  FAILS(connect_port(fd, 1), ECONNREFUSED);
  set_to(fd, TCP_NODELAY, 0);
  int server = listener(0);
  CHECK(connect_port(fd, port_of_fd(server)) == 0);
  CHECK(option_of(fd, IPPROTO_TCP, TCP_NODELAY) == 0);
  set_to(fd, TCP_NODELAY, 1);
}

static void addresses_in_transfer(void) {
  int server = listener(0), client = tcp(0);
  CHECK(connect_port(client, port_of_fd(server)) == 0);
  int accepted = accept(server, NULL, NULL);
  struct sockaddr_in elsewhere = at_port(9), source;
  socklen_t length = sizeof source;
  char text[4] = {0}, control[64] = {0};
  CHECK(sendto(client, "abc", 3, 0, (struct sockaddr *)&elsewhere, sizeof elsewhere) == 3);
  CHECK(recvfrom(accepted, text, 3, 0, (struct sockaddr *)&source, &length) == 3 && length == 0);
  struct iovec part = {.iov_base = text, .iov_len = 3};
  struct msghdr message = {.msg_name = &elsewhere, .msg_namelen = sizeof elsewhere, .msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = control, .msg_controllen = CMSG_LEN(sizeof(int))};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  CHECK(sendmsg(client, &message, 0) == 3);
  header->cmsg_type = 99;
  FAILS(sendmsg(client, &message, 0), EINVAL);
  message.msg_controllen = 0;
  CHECK(recvmsg(accepted, &message, 0) == 3 && message.msg_namelen == 0 && strcmp(text, "abc") == 0);
  int idle = tcp(0);
  FAILS(recvfrom(idle, text, 1, 0, (struct sockaddr *)&source, &length), ENOTCONN);
  FAILS(sendto(idle, text, 1, MSG_NOSIGNAL, (struct sockaddr *)&elsewhere, sizeof elsewhere), EPIPE);
}

const struct scenario listen_scenarios[] = {
  {"accept-flags", accept_flags},
  {"accept-emfile-keeps-connection", accept_emfile},
  {"accept-blocking", accept_blocking},
  {"accept-cancelled", accept_cancelled},
  {"listener-shutdown", listener_shut},
  {"bind-names", bind_names},
  {"options", options},
  {"options-toggled", options_toggled},
  {"options-corked-often", options_corked_often},
  {"options-after-failure", options_after_failure},
  {"addresses-in-transfer", addresses_in_transfer},
  {NULL, NULL},
};
