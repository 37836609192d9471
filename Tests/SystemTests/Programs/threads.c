// Many threads of one process open, use and close sockets. usage: threads COUNT THREADS ADDRESS PORT OWN-ADDRESS
//
// In turn: a connection to ADDRESS PORT that gets a token (4 bytes) back, either side closing first; an idle socket with
// an option set; a listener, bound and closed; a connection without waiting, given up on or refused; copies of an fd.
// Prints "sockets N connections N leaked N": the fds more than before the first.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static uint32_t next_turn, count, connections;
static struct sockaddr_in server, own;

static int open_socket(int flags) {
  int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
  CHECK(fd >= 0);
  return fd;
}

static void exchange(uint32_t token, int is_first) {
  int fd = open_socket(SOCK_CLOEXEC);
  CHECK(connect(fd, (struct sockaddr *)&server, sizeof server) == 0);
  CHECK(send(fd, &token, sizeof token, MSG_NOSIGNAL) == sizeof token);
  uint32_t back = ~token;
  CHECK(recv(fd, &back, sizeof back, MSG_WAITALL) == sizeof back && back == token);
  if (is_first)
    CHECK(shutdown(fd, SHUT_WR) == 0);
  else
    CHECK(recv(fd, &back, 1, 0) == 0);
  CHECK(close(fd) == 0);
  __atomic_fetch_add(&connections, 1, __ATOMIC_RELAXED);
}

static void idle(void) {
  int fd = open_socket(0), one = 1;
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
  CHECK(close(fd) == 0);
}

static void listening(void) {
  int fd = open_socket(0);
  struct sockaddr_in name = own;
  socklen_t length = sizeof name;
  CHECK(bind(fd, (struct sockaddr *)&name, sizeof name) == 0 && listen(fd, 4) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)&name, &length) == 0 && name.sin_port != 0);
  CHECK(close(fd) == 0);
}

// Nobody listens at port 1.
static void refused(int waits) {
  int fd = open_socket(SOCK_NONBLOCK);
  struct sockaddr_in nobody = server;
  nobody.sin_port = htons(1);
  CHECK(connect(fd, (struct sockaddr *)&nobody, sizeof nobody) == -1 && errno == EINPROGRESS);
  if (waits) {
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t length = sizeof error;
    CHECK(poll(&writable, 1, 20000) == 1);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ECONNREFUSED);
  }
  CHECK(close(fd) == 0);
}

static void copies(void) {
  int fd = open_socket(0), copy = dup(fd);
  CHECK(copy >= 0 && close(fd) == 0);
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  CHECK(getsockname(copy, (struct sockaddr *)&name, &length) == 0 && name.sin_family == AF_INET);
  CHECK(close(copy) == 0);
}

static void *run(void *unused) {
  for (uint32_t turn; (turn = __atomic_fetch_add(&next_turn, 1, __ATOMIC_RELAXED)) < count;) {
    switch (turn % 8) {
    case 0:
    case 1: exchange(turn, 0); break;
    case 2: exchange(turn, 1); break;
    case 3: idle(); break;
    case 4: listening(); break;
    case 5: refused(1); break;
    case 6: refused(0); break;
    default: copies(); break;
    }
  }
  return unused;
}

static int open_fds(void) {
  DIR *folder = opendir("/proc/self/fd");
  int fds = 0;
  CHECK(folder != NULL);
  while (readdir(folder) != NULL) fds++;
  closedir(folder);
  return fds;
}

static struct sockaddr_in address_of(const char *text, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  CHECK(inet_pton(AF_INET, text, &address.sin_addr) == 1);
  return address;
}

int main(int argument_count, char **arguments) {
  CHECK(argument_count == 6);
  count = (uint32_t)atol(arguments[1]);
  int threads = atoi(arguments[2]);
  server = address_of(arguments[3], arguments[4]);
  own = address_of(arguments[5], "0");
  // What the first socket of a process brings stays open, and what a program gets that makes one after another.
  idle();
  int first = open_fds();
  for (int index = 0; index < 1000 && open_fds() == first; index++) idle();
  int before = open_fds();
  pthread_t ids[threads];
  for (int index = 0; index < threads; index++) CHECK(pthread_create(&ids[index], NULL, run, NULL) == 0);
  for (int index = 0; index < threads; index++) pthread_join(ids[index], NULL);
  printf("sockets %u connections %u leaked %d\n", count, connections, open_fds() - before);
}
