// A bit of everything that a program does with sockets, both ends in one process: run under valgrind and sanitizers,
// which watch the memory. usage: transfer ADDRESS
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, strerror(errno));                                     \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

enum { BYTES = 300000 };

static struct sockaddr_in address = {.sin_family = AF_INET};

static int listener(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  address.sin_port = 0;
  CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
  CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0);
  socklen_t length = sizeof address;
  CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0 && address.sin_port != 0);
  return fd;
}

// Sends the pattern, ends its direction, and reads what comes back to the end.
static void *connecting(void *unused) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
  char *data = malloc(BYTES), *back = malloc(BYTES);
  for (int index = 0; index < BYTES; index++) data[index] = (char)(index * 7 + index / 251);
  struct iovec parts[] = {{data, 1000}, {data + 1000, 9000}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2, .msg_name = &address, .msg_namelen = sizeof address};
  CHECK(sendmsg(fd, &message, MSG_NOSIGNAL) == 10000);
  for (int done = 10000; done < BYTES;) {
    ssize_t sent = write(fd, data + done, (size_t)(BYTES - done));
    CHECK(sent > 0);
    done += (int)sent;
  }
  CHECK(shutdown(fd, SHUT_WR) == 0);
  for (int done = 0; done < BYTES;) {
    ssize_t received = recv(fd, back + done, (size_t)(BYTES - done), 0);
    CHECK(received > 0);
    done += (int)received;
  }
  CHECK(recv(fd, back, 1, 0) == 0 && close(fd) == 0);
  CHECK(memcmp(data, back, BYTES) == 0);
  free(data);
  free(back);
  return unused;
}

static void echo(int fd) {
  char *data = malloc(BYTES + 1);
  int have = 0;
  for (;;) {
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    ssize_t received = recvfrom(fd, data + have, (size_t)(BYTES + 1 - have), 0, (struct sockaddr *)&from, &length);
    CHECK(received >= 0);
    if (received == 0) break;
    have += (int)received;
  }
  CHECK(have == BYTES);
  for (int done = 0; done < have;) {
    ssize_t sent = send(fd, data + done, (size_t)(have - done), MSG_NOSIGNAL);
    CHECK(sent > 0);
    done += (int)sent;
  }
  free(data);
  CHECK(close(fd) == 0);
}

static void streams(void) {
  int server = listener();
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, connecting, NULL) == 0);
  struct sockaddr_in peer, name;
  socklen_t length = sizeof peer;
  int accepted = accept(server, (struct sockaddr *)&peer, &length);
  CHECK(accepted >= 0 && length == sizeof peer && peer.sin_addr.s_addr == address.sin_addr.s_addr);
  length = sizeof name;
  CHECK(getpeername(accepted, (struct sockaddr *)&name, &length) == 0 && name.sin_port == peer.sin_port);
  echo(accepted);
  CHECK(pthread_join(thread, NULL) == 0 && close(server) == 0);
}

static int outcome(int fd) {
  struct pollfd writable = {.fd = fd, .events = POLLOUT};
  CHECK(poll(&writable, 1, 10000) == 1);
  int error = -1;
  socklen_t length = sizeof error;
  CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
  return error;
}

static void nonblocking(void) {
  int server = listener(), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == -1 && errno == EINPROGRESS && outcome(fd) == 0);
  int accepted = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  char byte;
  CHECK(accepted >= 0 && read(accepted, &byte, 1) == -1 && errno == EAGAIN);
  // A child has its own ends of them all.
  pid_t child = fork();
  if (child == 0) {
    CHECK(write(fd, "x", 1) == 1);
    close(fd), close(accepted);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  struct pollfd readable = {.fd = accepted, .events = POLLIN};
  CHECK(poll(&readable, 1, 10000) == 1 && read(accepted, &byte, 1) == 1 && byte == 'x');
  int of_child = accept(server, NULL, NULL);
  CHECK(of_child >= 0 && read(of_child, &byte, 1) == 0);
  close(of_child), close(accepted), close(fd), close(server);
  fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == -1 && errno == EINPROGRESS);
  CHECK(outcome(fd) == ECONNREFUSED && close(fd) == 0);
}

int main(int count, char **arguments) {
  CHECK(count == 2 && inet_pton(AF_INET, arguments[1], &address.sin_addr) == 1);
  alarm(60);
  streams();
  nonblocking();
  puts("ok");
}
