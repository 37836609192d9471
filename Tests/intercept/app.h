// Shared by the test programs: checks that name their line, and the fake daemon's control socket.
#ifndef INTERCEPT_TEST_APP_H
#define INTERCEPT_TEST_APP_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      int error_ = errno;                                                                                              \
      printf("line %d: %s (errno %d %s)\n", __LINE__, #condition, error_, strerror(error_));                           \
      fflush(stdout);                                                                                                  \
      _exit(1);                                                                                                        \
    }                                                                                                                  \
  } while (0)

#define FAILS(call, code) CHECK((errno = 0, (call) == -1 && errno == (code)))

struct scenario {
  const char *name;
  void (*run)(void);
};

extern const struct scenario connect_scenarios[], listen_scenarios[], process_scenarios[], oracle_scenarios[],
  exec_scenarios[], descriptor_scenarios[];

static inline int control_open(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, getenv("FAKE_CONTROL"));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
  return fd;
}

static inline long command_on(int fd, const char *text) {
  char answer[64] = {0};
  CHECK(write(fd, text, strlen(text)) > 0 && read(fd, answer, sizeof answer - 1) > 0);
  return atol(answer);
}

static inline long command(const char *text) {
  int fd = control_open();
  long answer = command_on(fd, text);
  close(fd);
  return answer;
}

static inline struct sockaddr_in at_port(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f000001)};
}

static inline int connect_port(int fd, int port) {
  struct sockaddr_in address = at_port(port);
  return connect(fd, (struct sockaddr *)&address, sizeof address);
}

static inline int tcp(int flags) {
  int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
  CHECK(fd >= 0);
  return fd;
}

static inline int port_of_fd(int fd) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
  return ntohs(address.sin_port);
}

static inline int listener(int flags) {
  int fd = tcp(flags);
  struct sockaddr_in any = at_port(0);
  CHECK(bind(fd, (struct sockaddr *)&any, sizeof any) == 0 && listen(fd, 16) == 0);
  return fd;
}

static inline int option_of(int fd, int level, int option) {
  int value = -1;
  socklen_t length = sizeof value;
  CHECK(getsockopt(fd, level, option, &value, &length) == 0);
  return value;
}

#endif
