// Connects COUNT times, each time with another token: usage: tokens COUNT THREADS ADDRESS PORT [SOURCE…]
//
// Sends the token (4 bytes) and expects it back, then the end. Sources are this machine's addresses to use in turn: one
// has too few ports for what lies in TIME_WAIT. Prints "connected N seconds S".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "token %u, line %d: %s: %s\n", token, __LINE__, #condition, strerror(errno));                    \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

enum { MOST_SOURCES = 16 };

static uint32_t next_token, count;
static struct sockaddr_in server = {.sin_family = AF_INET}, sources[MOST_SOURCES];
static unsigned source_count;

static struct sockaddr_in address_of(const char *text) {
  uint32_t token = 0;
  struct sockaddr_in address = {.sin_family = AF_INET};
  CHECK(inet_pton(AF_INET, text, &address.sin_addr) == 1);
  return address;
}

static void connect_once(uint32_t token) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  CHECK(fd >= 0);
  if (source_count > 0) {
    CHECK(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) == 0);
    CHECK(bind(fd, (struct sockaddr *)&sources[token % source_count], sizeof sources[0]) == 0);
  }
  CHECK(connect(fd, (struct sockaddr *)&server, sizeof server) == 0);
  CHECK(send(fd, &token, sizeof token, MSG_NOSIGNAL) == sizeof token);
  uint32_t back = ~token;
  CHECK(recv(fd, &back, sizeof back, MSG_WAITALL) == sizeof back && back == token);
  CHECK(recv(fd, &back, 1, 0) == 0 && close(fd) == 0);
}

static void *run(void *unused) {
  for (uint32_t token; (token = __atomic_fetch_add(&next_token, 1, __ATOMIC_RELAXED)) < count;) connect_once(token);
  return unused;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argument_count, char **arguments) {
  uint32_t token = 0;
  CHECK(argument_count >= 5 && argument_count - 5 <= MOST_SOURCES);
  count = (uint32_t)atol(arguments[1]);
  int threads = atoi(arguments[2]);
  server = address_of(arguments[3]);
  server.sin_port = htons((uint16_t)atoi(arguments[4]));
  for (int index = 5; index < argument_count; index++) sources[source_count++] = address_of(arguments[index]);
  double start = now();
  pthread_t ids[threads];
  for (int index = 0; index < threads; index++) CHECK(pthread_create(&ids[index], NULL, run, NULL) == 0);
  for (int index = 0; index < threads; index++) pthread_join(ids[index], NULL);
  printf("connected %u seconds %.2f\n", count, now() - start);
}
