// A bit of everything that a program does with sockets, both ends in one process: run under valgrind and sanitizers,
// which watch the memory. usage: transfer ADDRESS
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
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

#include "check.h"

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

static int datagram_socket(struct sockaddr_in *name) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
  socklen_t length = sizeof *name;
  *name = address;
  name->sin_port = 0;
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)name, sizeof *name) == 0);
  CHECK(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)name, &length) == 0 && name->sin_port != 0);
  return fd;
}

static void datagrams(void) {
  struct sockaddr_in here, there, from;
  int sender = datagram_socket(&here), receiver = datagram_socket(&there);
  char *data = malloc(5000), *got = malloc(5000), control[256];
  memset(data, 'd', 5000);
  CHECK(sendto(sender, data, 5000, 0, (struct sockaddr *)&there, sizeof there) == 5000);
  struct iovec part = {got, 5000};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof from,
                           .msg_control = control, .msg_controllen = sizeof control};
  CHECK(recvmsg(receiver, &message, 0) == 5000 && memcmp(data, got, 5000) == 0 && from.sin_port == here.sin_port);
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  CHECK(header != NULL && header->cmsg_type == IP_PKTINFO && header->cmsg_len == CMSG_LEN(sizeof(struct in_pktinfo)));
  CHECK(connect(sender, (struct sockaddr *)&there, sizeof there) == 0 && send(sender, "", 0, 0) == 0);
  CHECK(write(sender, "truncated", 9) == 9 && recv(receiver, got, 10, 0) == 0);
  CHECK(recv(receiver, got, 4, MSG_PEEK | MSG_TRUNC) == 9 && read(receiver, got, 4) == 4 && memcmp(got, "trun", 4) == 0);
  struct mmsghdr both[2] = {{.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}},
                            {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}}};
  part.iov_len = 7;
  CHECK(sendmmsg(sender, both, 2, 0) == 2 && recvmmsg(receiver, both, 2, 0, NULL) == 2 && both[1].msg_len == 7);
  // Nobody is there any more: the next call tells.
  close(receiver);
  CHECK(send(sender, "x", 1, 0) == 1);
  struct pollfd readable = {.fd = sender, .events = POLLIN};
  CHECK(poll(&readable, 1, 10000) == 1 && recv(sender, got, 1, 0) == -1 && errno == ECONNREFUSED);
  close(sender);
  free(data), free(got);
}

static void names(const char *text) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
  CHECK(getaddrinfo(text, "http", &hints, &found) == 0 && found->ai_addrlen == sizeof(struct sockaddr_in));
  CHECK(((struct sockaddr_in *)found->ai_addr)->sin_port == htons(80));
  freeaddrinfo(found);
  CHECK(getaddrinfo("localhost", NULL, &hints, &found) == 0);
  freeaddrinfo(found);
  CHECK(getaddrinfo("no-such-host.invalid", NULL, &hints, &found) != 0);
  char host[NI_MAXHOST];
  CHECK(getnameinfo((struct sockaddr *)&address, sizeof address, host, sizeof host, NULL, 0, NI_NUMERICHOST) == 0);
  CHECK(strcmp(host, text) == 0 && gethostbyname(text) != NULL);
  struct ifaddrs *interfaces;
  int seen = 0;
  CHECK(getifaddrs(&interfaces) == 0);
  for (const struct ifaddrs *one = interfaces; one != NULL; one = one->ifa_next)
    if (one->ifa_addr != NULL && one->ifa_addr->sa_family == AF_INET)
      seen += ((struct sockaddr_in *)one->ifa_addr)->sin_addr.s_addr == address.sin_addr.s_addr;
  CHECK(seen == 1);
  freeifaddrs(interfaces);
  struct if_nameindex *indices = if_nameindex();
  CHECK(indices != NULL && indices[0].if_index != 0);
  if_freenameindex(indices);
}

int main(int count, char **arguments) {
  CHECK(count == 2 && inet_pton(AF_INET, arguments[1], &address.sin_addr) == 1);
  alarm(60);
  streams();
  nonblocking();
  datagrams();
  names(arguments[1]);
  puts("ok");
}
