// What Linux says: run natively and intercepted, this must print the same. Each line is one call's result.
#include "app.h"

static void say(const char *what, long result) {
  if (result < 0)
    printf("%s: %s\n", what, strerrorname_np(errno));
  else
    printf("%s: ok\n", what);
}

static void sockets(void) {
  static const int domains[] = {AF_INET, AF_INET6};
  static const int types[] = {0, SOCK_STREAM, SOCK_RDM, SOCK_SEQPACKET, SOCK_DCCP, 7, 9, 11, 15, 0x10 | 1, 0x1001, -1};
  static const int protocols[] = {0, 6, 17, 1, 132, 263, 300, -1};
  for (int d = 0; d < 2; d++)
    for (unsigned t = 0; t < sizeof types / sizeof types[0]; t++)
      for (unsigned p = 0; p < sizeof protocols / sizeof protocols[0]; p++) {
        errno = 0;
        int fd = socket(domains[d], types[t], protocols[p]);
        const char *result = fd >= 0 ? "ok" : strerrorname_np(errno);
        printf("socket(%d, %#x, %d): %s\n", domains[d], types[t], protocols[p], result);
        if (fd >= 0) close(fd);
      }
}

static void addresses(void) {
  int fd = tcp(0), fd6 = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in in = at_port(0);
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
  struct sockaddr *a = (struct sockaddr *)&in, *a6 = (struct sockaddr *)&in6;
  say("connect 8", connect(fd, a, 8));
  say("connect 1", connect(fd, a, 1));
  say("connect -1", connect(fd, a, (socklen_t)-1));
  say("connect 200", connect(fd, a, 200));
  say("connect null", connect(fd, NULL, 16));
  say("connect in6", connect(fd, a6, sizeof in6));
  say("connect6 in", connect(fd6, a, sizeof in));
  say("connect6 in as long", connect(fd6, a, sizeof in6));
  say("connect6 20", connect(fd6, a6, 20));
  say("bind 8", bind(fd, a, 8));
  say("bind 200", bind(fd, a, 200));
  say("bind null", bind(fd, NULL, 16));
  say("bind in6", bind(fd, a6, sizeof in6));
  say("bind6 in", bind(fd6, a, sizeof in));
  say("bind6 20", bind(fd6, a6, 20));
  struct sockaddr unspecified = {0};
  say("bind unspecified", bind(tcp(0), &unspecified, sizeof unspecified));
  say("connect unspecified", connect(fd, &unspecified, sizeof unspecified));
  socklen_t negative = (socklen_t)-1, zero = 0;
  say("getsockname negative", getsockname(fd, a, &negative));
  say("getsockname null length", getsockname(fd, a, NULL));
  say("getsockname null", getsockname(fd, NULL, &zero));
  printf("length %u\n", zero);
  say("getpeername", getpeername(fd, a, &negative));
  say("accept idle", accept(fd, NULL, NULL));
  say("accept4 flags", accept4(fd, NULL, NULL, 77));
  say("accept -1", accept(-1, NULL, NULL));
  say("shutdown idle", shutdown(tcp(0), SHUT_RDWR));
  say("shutdown 7", shutdown(fd, 7));
  say("bind once", bind(fd, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET}, sizeof in));
  say("bind twice", bind(fd, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET}, sizeof in));
}

static void life(void) {
  int server = listener(0), port = port_of_fd(server), client = tcp(SOCK_NONBLOCK);
  say("connect", connect_port(client, port));
  struct pollfd all = {.fd = client, .events = POLLIN | POLLOUT | POLLRDHUP};
  poll(&all, 1, -1);
  printf("poll %#x\n", all.revents);
  say("connect", connect_port(client, port));
  say("connect", connect_port(client, port));
  say("listen", listen(client, 1));
  say("bind", bind(client, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET}, 16));
  say("connect a listener", connect_port(server, port));
  say("listen again", listen(server, 7));
  int accepted = accept(server, NULL, NULL);
  say("connect an accepted one", connect_port(accepted, port));
  say("shutdown", shutdown(accepted, SHUT_WR));
  poll(&all, 1, -1);
  all.events = POLLIN | POLLRDHUP;
  poll(&all, 1, -1);
  printf("poll %#x\n", all.revents);
  int refused = tcp(SOCK_NONBLOCK), bound = tcp(0);
  struct sockaddr_in any = at_port(0);
  CHECK(bind(bound, (struct sockaddr *)&any, sizeof any) == 0);
  say("connect refused", connect_port(refused, port_of_fd(bound)));
  all = (struct pollfd){.fd = refused, .events = POLLIN | POLLOUT | POLLRDHUP};
  // A pair's end tells of the close an instant before its send buffer is empty (docs/compatibility.md, refused-poll).
  do
    poll(&all, 1, -1);
  while ((all.revents & POLLOUT) == 0);
  printf("poll %#x\n", all.revents);
  say("connect", connect_port(refused, port_of_fd(bound)));
  say("connect", connect_port(refused, port_of_fd(bound)));
  all.fd = refused;
  poll(&all, 1, -1);
  printf("error %s\n", strerrorname_np(option_of(refused, SOL_SOCKET, SO_ERROR)));
  say("connect", connect_port(refused, port_of_fd(bound)));
  say("shutdown listener", shutdown(server, SHUT_WR));
  say("shutdown listener", shutdown(server, SHUT_RD));
  say("accept", accept(server, NULL, NULL));
}

static void options(void) {
  int fd = tcp(0), value[4];
  socklen_t length = sizeof value, two = 2, negative = (socklen_t)-1, four = 4;
  say("type", getsockopt(fd, SOL_SOCKET, SO_TYPE, value, &length));
  printf("%d %u\n", value[0], length);
  value[0] = 0;
  say("type in two bytes", getsockopt(fd, SOL_SOCKET, SO_TYPE, value, &two));
  printf("%d %u\n", value[0], two);
  say("negative", getsockopt(fd, SOL_SOCKET, SO_TYPE, value, &negative));
  say("null value", getsockopt(fd, SOL_SOCKET, SO_TYPE, NULL, &four));
  say("null length", getsockopt(fd, SOL_SOCKET, SO_TYPE, value, NULL));
  say("set negative", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, (socklen_t)-1));
  say("set null", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4));
  say("set null 2", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 2));
  say("set time short", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, value, 4));
  printf("%d %d %d\n", option_of(fd, SOL_SOCKET, SO_PROTOCOL), option_of(fd, SOL_SOCKET, SO_DOMAIN),
         option_of(fd, SOL_SOCKET, SO_ACCEPTCONN));
}

const struct scenario oracle_scenarios[] = {
  {"oracle-sockets", sockets},
  {"oracle-addresses", addresses},
  {"oracle-life", life},
  {"oracle-options", options},
  {NULL, NULL},
};
