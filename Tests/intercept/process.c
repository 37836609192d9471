// Scenarios of the RPC connection: what fork, threads and the app's own hands do to it, and a daemon that is not there.
#include <sched.h>

#include "app.h"

// The library's connection: the one SOCK_SEQPACKET socket of this process.
static int rpc_fd(void) {
  for (int fd = 3; fd < 1024; fd++) {
    int type = 0;
    socklen_t length = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET) return fd;
  }
  return -1;
}

static void low_numbers(void) {
  int next = dup(0);
  close(next);
  CHECK(tcp(0) == next && tcp(0) == next + 1);
  CHECK(rpc_fd() >= 100 && (fcntl(rpc_fd(), F_GETFD) & FD_CLOEXEC) != 0);
}

static void rpc_closed(void) {
  tcp(0);
  CHECK(close(rpc_fd()) == 0 && rpc_fd() == -1);
  tcp(0);
  CHECK(rpc_fd() >= 0 && command("connections") == 2);
}

static void rpc_overwritten(void) {
  int ends[2];
  struct stat status;
  tcp(0);
  int number = rpc_fd();
  CHECK(pipe(ends) == 0 && dup2(ends[1], number) == number);
  tcp(0);
  CHECK(fstat(number, &status) == 0 && S_ISFIFO(status.st_mode));
  char byte;
  CHECK(write(number, "x", 1) == 1 && read(ends[0], &byte, 1) == 1);
  CHECK(command("connections") == 2);
}

static void rpc_dropped(void) {
  int fd = tcp(SOCK_NONBLOCK);
  command("drop");
  FAILS(connect_port(fd, 82), EINPROGRESS);
  CHECK(command("connections") == 2);
}

static int status_of(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  return status;
}

static void forked(void) {
  int server = listener(0);
  pid_t child = fork();
  if (child == 0) {
    int inherited = rpc_fd();
    int client = tcp(0); // opens the child's connection and closes its copy of the parent's
    int own = rpc_fd();
    CHECK(inherited >= 0 && own >= 0 && connect_port(client, port_of_fd(server)) == 0);
    int count = 0;
    for (int fd = 3; fd < 1024; fd++) {
      int type = 0;
      socklen_t length = sizeof type;
      if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET) count++;
    }
    CHECK(count == 1 && write(client, "child", 5) == 5);
    _exit(0);
  }
  char text[6] = {0};
  int accepted = accept(server, NULL, NULL);
  CHECK(read(accepted, text, 5) == 5 && strcmp(text, "child") == 0);
  CHECK(status_of(child) == 0);
  tcp(0);
  CHECK(command("connections") == 2);
}

static void vforked(void) {
  tcp(0);
  int number = rpc_fd();
  pid_t child = vfork();
  if (child == 0) _exit(socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : 1);
  CHECK(status_of(child) == 0);
  tcp(0);
  CHECK(rpc_fd() == number);
  CHECK(command("connections") == 2);
}

static void *open_many(void *unused) {
  for (int count = 0; count < 100; count++) {
    int fd = tcp(SOCK_CLOEXEC);
    CHECK(port_of_fd(fd) == 0);
    close(fd);
  }
  return unused;
}

static void *fork_many(void *unused) {
  for (int count = 0; count < 20; count++) {
    pid_t child = fork();
    if (child == 0) {
      open_many(NULL);
      _exit(0);
    }
    CHECK(status_of(child) == 0);
  }
  return unused;
}

static void threads(void) {
  pthread_t thread[5];
  for (int index = 0; index < 5; index++)
    CHECK(pthread_create(&thread[index], NULL, index == 0 ? fork_many : open_many, NULL) == 0);
  for (int index = 0; index < 5; index++) pthread_join(thread[index], NULL);
}

// Two processes whose number is the same, each in a namespace of its own: what the one inherits is not its own.
static void pid_namespaces(void) {
  if (geteuid() != 0 || unshare(CLONE_NEWPID) != 0) return;
  pid_t outer = fork();
  if (outer == 0) {
    CHECK(getpid() == 1 && unshare(CLONE_NEWPID) == 0);
    tcp(0);
    pid_t inner = fork();
    CHECK(inner != 0 || getpid() == 1);
    open_many(NULL);
    if (inner == 0) _exit(0);
    CHECK(status_of(inner) == 0);
    _exit(0);
  }
  CHECK(status_of(outer) == 0 && command("connections") == 2);
}

static void on_tick(int number) {
  (void)number;
  int error = errno, fd = socket(AF_INET, SOCK_STREAM, 0); // a request from inside a handler must not deadlock
  if (fd >= 0) close(fd);
  errno = error;
}

static void handler(void) {
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  ualarm(500, 500);
  open_many(NULL);
  ualarm(0, 0);
}

static void fails(int code) {
  FAILS(socket(AF_INET, SOCK_STREAM, 0), code);
  FAILS(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), code);
  FAILS((int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), code);
}

static void net_down(void) { fails(ENETDOWN); }
static void wrong_version(void) { fails(EPROTONOSUPPORT); }
static void silent(void) { FAILS(socket(AF_INET, SOCK_STREAM, 0), ENETDOWN); }

const struct scenario process_scenarios[] = {
  {"low-fd-numbers", low_numbers},
  {"rpc-fd-closed", rpc_closed},
  {"rpc-fd-overwritten", rpc_overwritten},
  {"rpc-dropped", rpc_dropped},
  {"fork", forked},
  {"vfork", vforked},
  {"threads-and-forks", threads},
  {"pid-namespaces", pid_namespaces},
  {"signal-handler", handler},
  {"no-daemon", net_down},
  {"wrong-version", wrong_version},
  {"silent-daemon", silent},
  {NULL, NULL},
};
