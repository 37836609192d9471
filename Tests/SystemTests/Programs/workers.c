// A listener shared by forked workers. usage: workers WAY WORKERS COUNT ADDRESS PORT
//
// Each connection brings a token below COUNT (4 bytes, this machine's order), which is sent back; then the worker closes.
// WAY is how the workers wait: blocking, poll, epoll (level-triggered), edge, exclusive (EPOLLEXCLUSIVE).
// Says "ready" on stdout once it listens, and at a line on stdin the workers end and the sums are told:
// "accepted N once N least N", the latter the fewest connections of a worker.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "worker %d, line %d: %s: %s\n", getpid(), __LINE__, #condition, strerror(errno));                \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

enum { MOST_WORKERS = 64 };

// What all workers write and the parent reads.
struct sums {
  uint32_t of_worker[MOST_WORKERS];
  uint8_t of_token[];
};

static struct sums *sums;
static uint32_t count;

static void serve(int fd, int worker) {
  uint32_t token;
  CHECK(recv(fd, &token, sizeof token, MSG_WAITALL) == sizeof token && token < count);
  __atomic_fetch_add(&sums->of_token[token], 1, __ATOMIC_RELAXED);
  sums->of_worker[worker]++;
  CHECK(send(fd, &token, sizeof token, MSG_NOSIGNAL) == sizeof token);
  CHECK(close(fd) == 0);
}

// Accepts once; false if there was nothing.
static int accept_one(int listener, int worker) {
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);
  if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED)) return 0;
  CHECK(fd >= 0 && length == sizeof peer && peer.sin_family == AF_INET);
  serve(fd, worker);
  return 1;
}

static void wait_by_epoll(int listener, int worker, uint32_t events) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event interest = {.events = EPOLLIN | events}, event;
  CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &interest) == 0);
  for (;;) {
    CHECK(epoll_wait(epoll, &event, 1, -1) == 1 || errno == EINTR);
    if ((events & EPOLLET) == 0)
      accept_one(listener, worker);
    else
      while (accept_one(listener, worker)) {}
  }
}

static void work(int listener, int worker, const char *way) {
  if (strcmp(way, "epoll") == 0) wait_by_epoll(listener, worker, 0);
  if (strcmp(way, "edge") == 0) wait_by_epoll(listener, worker, EPOLLET);
  if (strcmp(way, "exclusive") == 0) wait_by_epoll(listener, worker, EPOLLEXCLUSIVE);
  for (;;) {
    struct pollfd readable = {.fd = listener, .events = POLLIN};
    if (strcmp(way, "poll") == 0) CHECK(poll(&readable, 1, -1) == 1);
    accept_one(listener, worker);
  }
}

static int listen_at(const char *address, const char *port, int flags) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  int fd = socket(AF_INET, SOCK_STREAM | flags, 0), one = 1;
  CHECK(inet_pton(AF_INET, address, &name.sin_addr) == 1);
  CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
  CHECK(bind(fd, (struct sockaddr *)&name, sizeof name) == 0 && listen(fd, 511) == 0);
  return fd;
}

int main(int argument_count, char **arguments) {
  CHECK(argument_count == 6);
  int workers = atoi(arguments[2]);
  count = (uint32_t)atol(arguments[3]);
  CHECK(workers > 0 && workers <= MOST_WORKERS);
  sums = mmap(NULL, sizeof *sums + count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(sums != MAP_FAILED);
  int is_blocking = strcmp(arguments[1], "blocking") == 0;
  int listener = listen_at(arguments[4], arguments[5], is_blocking ? 0 : SOCK_NONBLOCK);
  pid_t pids[MOST_WORKERS];
  for (int worker = 0; worker < workers; worker++) {
    pids[worker] = fork();
    if (pids[worker] == 0) work(listener, worker, arguments[1]);
    CHECK(pids[worker] > 0);
  }
  puts("ready");
  fflush(stdout);
  (void)getchar();
  int status;
  // One that is gone already failed, and said why.
  CHECK(waitpid(-1, &status, WNOHANG) == 0);
  for (int worker = 0; worker < workers; worker++) kill(pids[worker], SIGKILL);
  uint32_t accepted = 0, once = 0, least = UINT32_MAX;
  for (uint32_t token = 0; token < count; token++) {
    accepted += sums->of_token[token];
    once += sums->of_token[token] == 1;
  }
  for (int worker = 0; worker < workers; worker++) {
    CHECK(waitpid(pids[worker], &status, 0) == pids[worker]);
    if (sums->of_worker[worker] < least) least = sums->of_worker[worker];
  }
  printf("accepted %u once %u least %u\n", accepted, once, least);
}
