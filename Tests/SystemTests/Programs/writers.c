// All the ways to write much to a connection, in turn and in large pieces, so that shared send memory comes into play; each
// connection's receiver tells how much came and its hash.
//
//   writers serve ADDRESS COUNT    tells "ready PORT" on fd 9, takes COUNT connections one after the other, and prints
//                                  bytes and hash of each
//   writers send ADDRESS PORT      two connections; prints what serve is to print, then what else it saw
//   writers raw FD BYTES SEED      (started by send, without the library) writes to the fd it has inherited
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { LARGE = 65536, MEBIBYTE = 1 << 20, MOST = 4 << 20 };

struct digest {
  uint64_t bytes, hash;
};

static void digest(struct digest *sum, const void *data, size_t bytes) {
  const uint8_t *at = data;
  for (size_t index = 0; index < bytes; index++) sum->hash = (sum->hash ^ at[index]) * UINT64_C(1099511628211); // FNV-1a
  sum->bytes += bytes;
}

static void tell(const struct digest *sum) {
  printf("%llu bytes %016llx\n", (unsigned long long)sum->bytes, (unsigned long long)sum->hash);
}

static uint8_t *pattern(size_t bytes, uint64_t seed) {
  uint8_t *data = malloc(bytes);
  CHECK(data != NULL);
  for (size_t index = 0; index < bytes; index++) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    data[index] = (uint8_t)seed;
  }
  return data;
}

static struct sockaddr_in address_of(const char *text, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  CHECK(inet_pton(AF_INET, text, &address.sin_addr) == 1);
  return address;
}

static void serve(const char *text, int count) {
  struct sockaddr_in address = address_of(text, 0);
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 8) == 0);
  CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
  dprintf(9, "ready %d\n", ntohs(address.sin_port));
  close(9);
  char *buffer = malloc(MEBIBYTE);
  for (; count > 0; count--) {
    int fd = accept(listener, NULL, NULL);
    struct digest sum = {0};
    ssize_t received;
    while ((received = recv(fd, buffer, MEBIBYTE, 0)) > 0) digest(&sum, buffer, (size_t)received);
    CHECK(received == 0);
    tell(&sum);
    fflush(stdout);
    close(fd);
  }
}

static void write_all(int fd, struct digest *sum, const uint8_t *data, size_t bytes, size_t piece) {
  for (size_t done = 0; done < bytes;) {
    size_t step = bytes - done < piece ? bytes - done : piece;
    ssize_t sent = write(fd, data + done, step);
    CHECK(sent == (ssize_t)step); // it waits, so all of it
    digest(sum, data + done, (size_t)sent);
    done += (size_t)sent;
  }
}

static void by_calls(int fd, struct digest *sum, const uint8_t *data) {
  static const size_t sizes[] = {1, 100, 2047, 2048, 5000, 16384, 65535, 65536, 65537, 200000, 1 << 20, 3 << 20, 7, 70000};
  for (size_t index = 0; index < sizeof sizes / sizeof *sizes; index++) {
    size_t bytes = sizes[index], half = bytes / 2;
    struct iovec parts[] = {{(void *)data, half}, {NULL, 0}, {(void *)(data + half), bytes - half}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    CHECK(write(fd, data, bytes) == (ssize_t)bytes);
    CHECK(send(fd, data, bytes, MSG_NOSIGNAL) == (ssize_t)bytes);
    CHECK(writev(fd, parts, 3) == (ssize_t)bytes);
    CHECK(sendmsg(fd, &message, 0) == (ssize_t)bytes);
    CHECK(sendto(fd, data, bytes, 0, NULL, 0) == (ssize_t)bytes);
    for (int times = 0; times < 5; times++) digest(sum, data, bytes);
  }
  for (int times = 0; times < 100; times++) write_all(fd, sum, data, 300, 300); // bulk is over for now
}

static void by_kernel(int fd, struct digest *sum, const uint8_t *data) {
  int file = memfd_create("file", 0), ends[2];
  CHECK(file >= 0 && write(file, data, MEBIBYTE) == MEBIBYTE);
  write_all(fd, sum, data, MEBIBYTE, LARGE);
  off_t offset = 0;
  while (offset < MEBIBYTE) CHECK(sendfile(fd, file, &offset, (size_t)(MEBIBYTE - offset)) > 0);
  digest(sum, data, MEBIBYTE);
  write_all(fd, sum, data, MEBIBYTE, LARGE);
  CHECK(pipe(ends) == 0);
  for (int done = 0; done < MEBIBYTE; done += LARGE) {
    CHECK(write(ends[1], data + done, LARGE) == LARGE);
    for (ssize_t left = LARGE, moved; left > 0; left -= moved) {
      moved = splice(ends[0], NULL, fd, NULL, (size_t)left, 0);
      CHECK(moved > 0);
    }
  }
  digest(sum, data, MEBIBYTE);
  close(ends[0]);
  close(ends[1]);
  close(file);
}

static void await_child(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// A child with a copy of our memory, then one that is another program and has no library.
static void by_children(int fd, struct digest *sum, const uint8_t *data, char *self) {
  pid_t child = fork();
  if (child == 0) {
    struct digest none = {0};
    write_all(fd, &none, data, 2 * MEBIBYTE, LARGE);
    _exit(0);
  }
  await_child(child);
  digest(sum, data, 2 * MEBIBYTE);
  write_all(fd, sum, data, MEBIBYTE, LARGE);
  char number[16], bytes[16];
  snprintf(number, sizeof number, "%d", fd);
  snprintf(bytes, sizeof bytes, "%d", MEBIBYTE);
  child = fork();
  if (child == 0) {
    char *const arguments[] = {self, "raw", number, bytes, "77", NULL}, *const environment[] = {"LD_PRELOAD=", NULL};
    CHECK(fcntl(fd, F_SETFD, 0) == 0);
    syscall(SYS_execve, "/proc/self/exe", arguments, environment); // past the library, which would preload itself again
    _exit(1);
  }
  await_child(child);
  uint8_t *raw = pattern(MEBIBYTE, 77);
  digest(sum, raw, MEBIBYTE);
  free(raw);
  int copy = dup(fd);
  write_all(copy, sum, data, 3 * MEBIBYTE, LARGE);
  close(copy);
}

static void without_waiting(int fd, struct digest *sum, const uint8_t *data) {
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  for (size_t done = 0; done < MOST;) {
    ssize_t sent = write(fd, data + done, MOST - done < 150000 ? MOST - done : 150000);
    if (sent < 0) {
      CHECK(errno == EAGAIN);
      struct pollfd state = {.fd = fd, .events = POLLOUT};
      CHECK(poll(&state, 1, 20000) == 1 && state.revents == POLLOUT);
      continue;
    }
    CHECK(sent > 0);
    digest(sum, data + done, (size_t)sent);
    done += (size_t)sent;
  }
  CHECK(fcntl(fd, F_SETFL, 0) == 0);
}

static volatile sig_atomic_t ticks;
static void tick(int number) { (void)number, ticks++; }

// Interrupted again and again: what a call returns is what has gone.
static void interrupted(int fd, struct digest *sum, const uint8_t *data) {
  struct sigaction action = {.sa_handler = tick};
  struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
  for (size_t done = 0; done < MOST;) {
    ssize_t sent = write(fd, data + done, MOST - done);
    if (sent < 0) {
      CHECK(errno == EINTR);
      continue;
    }
    digest(sum, data + done, (size_t)sent);
    done += (size_t)sent;
  }
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static void unreadable(int fd) {
  uint8_t *nothing = mmap(NULL, LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iovec part = {nothing, LARGE};
  CHECK(write(fd, nothing, LARGE) == -1 && errno == EFAULT);
  CHECK(writev(fd, &part, 1) == -1 && errno == EFAULT);
  CHECK(writev(fd, (struct iovec *)nothing, 2) == -1 && errno == EFAULT);
  munmap(nothing, LARGE);
}

static int has_arena(void) {
  char line[512];
  int found = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps) != NULL) found |= strstr(line, "netcond-arena") != NULL;
  fclose(maps);
  return found;
}

static int connected(const struct sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0);
  return fd;
}

static void send_all(const char *text, int port, char *self) {
  struct sockaddr_in address = address_of(text, port);
  uint8_t *data = pattern(MOST, 42);
  struct digest sum = {0};
  int fd = connected(&address);
  write_all(fd, &sum, data, MOST, LARGE);
  int had = has_arena();
  by_calls(fd, &sum, data);
  by_kernel(fd, &sum, data);
  by_children(fd, &sum, data, self);
  without_waiting(fd, &sum, data);
  interrupted(fd, &sum, data);
  unreadable(fd);
  write_all(fd, &sum, data, MEBIBYTE, LARGE);
  for (int other = fd + 1; other < 1100; other++) close(other); // as daemons do, the library's among them
  write_all(fd, &sum, data, MOST, LARGE);
  tell(&sum);
  // Closed where no library sees it, and the number is another connection's.
  syscall(SYS_close, fd);
  struct digest next = {0};
  CHECK(connected(&address) == fd);
  write_all(fd, &next, data, MOST, 100000);
  tell(&next);
  close(fd);
  printf("shared memory: %s\n", had ? "yes" : "no");
}

int main(int count, char **arguments) {
  if (count == 4 && strcmp(arguments[1], "serve") == 0) {
    serve(arguments[2], atoi(arguments[3]));
  } else if (count == 4 && strcmp(arguments[1], "send") == 0) {
    send_all(arguments[2], atoi(arguments[3]), arguments[0]);
  } else if (count == 5 && strcmp(arguments[1], "raw") == 0) {
    struct digest sum = {0};
    size_t bytes = (size_t)atoi(arguments[3]);
    write_all(atoi(arguments[2]), &sum, pattern(bytes, (uint64_t)atoi(arguments[4])), bytes, 50000);
  } else {
    return 2;
  }
  return 0;
}
