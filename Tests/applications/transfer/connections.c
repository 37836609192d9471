// connections serve ADDRESS PORT                          until TERM
// connections ask ADDRESS PORT COUNT PARALLEL CLOSES      CLOSES is client, server or both (in turn)
//
// Many short connections, PARALLEL of them at once. Each carries a token of random bytes that the server echoes and the
// client checks; then one side closes first, as the token's first byte says, and so keeps the connection in TIME_WAIT.
// The client prints "connections COUNT SECONDS", the server, at its end, "served COUNT".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { token_size = 32, quiet_milliseconds = 60 * 1000 };

struct connection {
  int fd;
  bool connected, closing; // closing: its token is done, the other side's end is waited for
  size_t received;
  unsigned char token[token_size], echo[token_size];
};

static int poller;
static volatile sig_atomic_t terminated;

static void die(const char *format, ...) {
  va_list words;
  va_start(words, format);
  vfprintf(stderr, format, words);
  va_end(words);
  fputc('\n', stderr);
  exit(1);
}

static struct addrinfo *resolve(const char *address, const char *port) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found;
  if (getaddrinfo(address, port, &hints, &found) != 0) die("no address: %s port %s", address, port);
  return found;
}

static void add(struct connection *connection, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event) != 0) die("epoll_ctl: %m");
}

static void end(struct connection *connection) {
  if (close(connection->fd) != 0) die("close: %m");
}

// MARK: the server

static void on_term(int signal) {
  (void)signal;
  terminated = 1;
}

static void accept_all(int listener) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (fd < 0) die("accept: %m");
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) die("no memory");
    connection->fd = fd;
    add(connection, EPOLLIN);
  }
}

// True when the connection has been served, and is closed.
static bool serve(struct connection *connection) {
  unsigned char beyond;
  ssize_t got;
  if (connection->closing) {
    got = recv(connection->fd, &beyond, 1, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got != 0) die("recv where the client should close: %zd (%m)", got);
    end(connection);
    return true;
  }
  got = recv(connection->fd, connection->token + connection->received, token_size - connection->received, 0);
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) die("recv of a token: %zd (%m)", got);
  connection->received += got;
  if (connection->received < token_size) return false;
  if (send(connection->fd, connection->token, token_size, MSG_NOSIGNAL) != token_size) die("send: %m");
  connection->closing = true;
  if (connection->token[0] & 1) return false; // the client closes
  end(connection);
  return true;
}

static void run_server(const struct addrinfo *address) {
  int on = 1, listener = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, address->ai_addr, address->ai_addrlen) != 0 || listen(listener, 1024) != 0) die("bind, listen: %m");
  puts("listening");
  fflush(stdout);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) != 0) die("epoll_ctl: %m");
  sigset_t term, none;
  sigemptyset(&none);
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, NULL); // it comes while the server waits, and nowhere else
  struct sigaction action = {.sa_handler = on_term};
  sigaction(SIGTERM, &action, NULL);
  unsigned long served = 0;
  while (!terminated) {
    struct epoll_event events[64];
    int ready = epoll_pwait(poller, events, 64, -1, &none);
    if (ready < 0 && errno != EINTR) die("epoll_pwait: %m");
    for (int i = 0; i < ready; i++) {
      struct connection *connection = events[i].data.ptr;
      if (connection == NULL) {
        accept_all(listener);
      } else if (serve(connection)) {
        served++;
        free(connection);
      }
    }
  }
  printf("served %lu\n", served);
}

// MARK: the client

static void begin(struct connection *connection, const struct addrinfo *address, int closes, unsigned long number) {
  memset(connection, 0, sizeof *connection);
  connection->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connection->fd < 0) die("socket, connection %lu: %m", number);
  if (getrandom(connection->token, token_size, 0) != token_size) die("getrandom: %m");
  bool client_closes = closes == 'b' ? number & 1 : closes == 'c';
  connection->token[0] = (connection->token[0] & ~1) | client_closes;
  if (connect(connection->fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)
    die("connect, connection %lu: %m", number);
  add(connection, EPOLLOUT);
}

static void send_token(struct connection *connection, unsigned long number) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0)
    die("connect, about connection %lu: %s", number, strerror(error));
  connection->connected = true;
  if (send(connection->fd, connection->token, token_size, MSG_NOSIGNAL) != token_size) die("send: %m");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  if (epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event) != 0) die("epoll_ctl: %m");
}

// True when the connection is done, and closed.
static bool check(struct connection *connection, unsigned long number) {
  unsigned char beyond;
  if (!connection->closing) {
    ssize_t got = recv(connection->fd, connection->echo + connection->received, token_size - connection->received, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) die("recv, about connection %lu: %zd (%m)", number, got);
    connection->received += got;
    if (connection->received < token_size) return false;
    if (memcmp(connection->token, connection->echo, token_size) != 0) die("about connection %lu: another's token", number);
    connection->closing = true;
  }
  if ((connection->token[0] & 1) == 0) {
    ssize_t got = recv(connection->fd, &beyond, 1, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got != 0) die("recv where the server should close: %zd (%m)", got);
  }
  end(connection);
  return true;
}

static void run_client(const struct addrinfo *address, unsigned long count, unsigned long parallel, int closes) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  if (parallel > count) parallel = count;
  struct connection *connections = calloc(parallel, sizeof *connections);
  unsigned long begun = 0, done = 0;
  while (begun < parallel) begin(&connections[begun], address, closes, begun), begun++;
  while (done < count) {
    struct epoll_event events[64];
    int ready = epoll_wait(poller, events, 64, quiet_milliseconds);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) die("nothing happens for %d s, %lu connections are done", quiet_milliseconds / 1000, done);
    for (int i = 0; i < ready; i++) {
      struct connection *connection = events[i].data.ptr;
      if (!connection->connected) {
        send_token(connection, begun);
      } else if (check(connection, begun)) {
        done++;
        if (begun < count) begin(connection, address, closes, begun), begun++;
      }
    }
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("connections %lu %.2f\n", count, (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9);
}

int main(int argc, char **argv) {
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (argc == 4 && strcmp(argv[1], "serve") == 0) {
    run_server(resolve(argv[2], argv[3]));
  } else if (argc == 7 && strcmp(argv[1], "ask") == 0) {
    run_client(resolve(argv[2], argv[3]), strtoul(argv[4], NULL, 10), strtoul(argv[5], NULL, 10), argv[6][0]);
  } else {
    die("usage: connections serve ADDRESS PORT, or connections ask ADDRESS PORT COUNT PARALLEL client|server|both");
  }
  return 0;
}
