// Scenarios of connect(): outcomes, names, interruptions, retries.
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "app.h"

static void exchange(int from, int to) {
  char text[6] = {0};
  struct pollfd readable = {.fd = to, .events = POLLIN}; // `to` may be non-blocking
  CHECK(write(from, "hello", 5) == 5 && poll(&readable, 1, -1) == 1);
  CHECK(read(to, text, 5) == 5 && strcmp(text, "hello") == 0);
}

static void blocking(void) {
  int server = listener(0), client = tcp(0);
  errno = 77;
  CHECK(connect_port(client, port_of_fd(server)) == 0 && errno == 77);
  struct sockaddr_in peer, local;
  socklen_t length = sizeof peer;
  int accepted = accept(server, (struct sockaddr *)&peer, &length);
  CHECK(accepted >= 0 && length == sizeof peer && errno == 77);
  CHECK(getsockname(client, (struct sockaddr *)&local, &length) == 0 && memcmp(&peer, &local, sizeof peer) == 0);
  CHECK(getpeername(client, (struct sockaddr *)&peer, &length) == 0 && ntohs(peer.sin_port) == port_of_fd(server));
  exchange(client, accepted);
  exchange(accepted, client);
  FAILS(connect_port(client, port_of_fd(server)), EISCONN);
  FAILS(connect_port(accepted, port_of_fd(server)), EISCONN);
  CHECK(shutdown(client, SHUT_WR) == 0 && read(accepted, &peer, 1) == 0);
}

static void nonblocking_success(void) {
  int client = tcp(SOCK_NONBLOCK);
  CHECK((fcntl(client, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(client, F_GETFD) & FD_CLOEXEC) == 0);
  struct pollfd writable = {.fd = client, .events = POLLIN | POLLOUT};
  FAILS(connect_port(client, 82), EINPROGRESS);
  CHECK(poll(&writable, 1, 0) == 0);
  FAILS(connect_port(client, 82), EALREADY);
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  FAILS(getpeername(client, (struct sockaddr *)&peer, &length), ENOTCONN);
  command("complete");
  CHECK(poll(&writable, 1, -1) == 1 && writable.revents == POLLOUT);
  CHECK(option_of(client, SOL_SOCKET, SO_ERROR) == 0);
  CHECK(connect_port(client, 82) == 0);
  FAILS(connect_port(client, 82), EISCONN);
  CHECK(getpeername(client, (struct sockaddr *)&peer, &length) == 0 && ntohs(peer.sin_port) == 82);
  exchange(client, client);
}

static void nonblocking_refused(void) {
  int client = tcp(SOCK_NONBLOCK | SOCK_CLOEXEC);
  CHECK((fcntl(client, F_GETFD) & FD_CLOEXEC) != 0);
  FAILS(connect_port(client, 82), EINPROGRESS);
  command("refuse");
  struct pollfd all = {.fd = client, .events = POLLIN | POLLOUT | POLLRDHUP};
  CHECK(poll(&all, 1, -1) == 1 && all.revents == (POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP));
  CHECK(option_of(client, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
  CHECK(option_of(client, SOL_SOCKET, SO_ERROR) == 0);
  FAILS(connect_port(client, 1), ECONNABORTED);
  FAILS(connect_port(client, 82), EINPROGRESS);
  CHECK((fcntl(client, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(client, F_GETFD) & FD_CLOEXEC) != 0);
  command("complete");
  CHECK(poll(&all, 1, -1) == 1 && all.revents == POLLOUT);
}

static void blocking_refused(void) {
  int client = tcp(0);
  FAILS(connect_port(client, 1), ECONNREFUSED);
  CHECK(option_of(client, SOL_SOCKET, SO_ERROR) == 0);
  int server = listener(0);
  CHECK(connect_port(client, port_of_fd(server)) == 0);
  FAILS(connect_port(tcp(0), 83), ENETUNREACH);
}

static volatile sig_atomic_t done;
static pthread_t main_thread;
static int handled;

static void on_signal(int number) {
  (void)number;
  handled++;
}

// Signals until the interrupted call has returned: whenever it blocks, one is sure to come.
static void *pester(void *unused) {
  struct timespec pause = {.tv_nsec = 1000000};
  while (!done) {
    pthread_kill(main_thread, SIGUSR1);
    nanosleep(&pause, NULL);
  }
  return unused;
}

static void *pester_then_complete(void *control) {
  struct timespec pause = {.tv_nsec = 1000000};
  for (int count = 0; count < 50; count++) {
    pthread_kill(main_thread, SIGUSR1);
    nanosleep(&pause, NULL);
  }
  command_on(*(int *)control, "complete");
  return NULL;
}

static void interrupted(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, NULL);
  main_thread = pthread_self();
  int client = tcp(0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, pester, NULL) == 0);
  int result = connect_port(client, 82), error = errno;
  done = 1;
  pthread_join(thread, NULL);
  CHECK(result == -1 && error == EINTR && handled > 0);
  command("complete"); // the attempt went on
  struct pollfd writable = {.fd = client, .events = POLLOUT};
  CHECK(poll(&writable, 1, -1) == 1 && writable.revents == POLLOUT);
  CHECK(connect_port(client, 82) == 0);
  FAILS(connect_port(client, 82), EISCONN);
}

static void restarted(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  main_thread = pthread_self();
  int client = tcp(0), control = control_open();
  // Begun before the thread runs, so that it cannot complete an attempt that is still to come.
  fcntl(client, F_SETFL, O_RDWR | O_NONBLOCK);
  FAILS(connect_port(client, 82), EINPROGRESS);
  fcntl(client, F_SETFL, O_RDWR);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, pester_then_complete, &control) == 0);
  CHECK(connect_port(client, 82) == 0 && handled > 0);
  pthread_join(thread, NULL);
}

static void send_timeout(void) {
  int client = tcp(0);
  struct timeval soon = {.tv_usec = 20000};
  CHECK(setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon) == 0);
  FAILS(connect_port(client, 82), EINPROGRESS);
  FAILS(connect_port(client, 82), EALREADY);
}

static void ipv6(void) {
  int server = socket(AF_INET6, SOCK_STREAM, 0), client = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}, peer;
  socklen_t length = sizeof address;
  CHECK(bind(server, (struct sockaddr *)&address, length) == 0 && listen(server, 4) == 0);
  CHECK(getsockname(server, (struct sockaddr *)&address, &length) == 0 && address.sin6_port != 0);
  CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
  CHECK(getpeername(client, (struct sockaddr *)&peer, &length) == 0 && length == sizeof peer);
  CHECK(memcmp(&peer, &address, sizeof peer) == 0);
  CHECK(accept(server, (struct sockaddr *)&peer, &length) >= 0);
  command("offer 1"); // a peer with an IPv4 address, 10.0.0.9:1000
  CHECK(accept(server, (struct sockaddr *)&peer, &length) >= 0);
  struct in6_addr mapped;
  inet_pton(AF_INET6, "::ffff:10.0.0.9", &mapped);
  CHECK(memcmp(&peer.sin6_addr, &mapped, sizeof mapped) == 0 && peer.sin6_port == htons(1000));
}

static void shut_while_connecting(void) {
  int client = tcp(SOCK_NONBLOCK);
  FAILS(shutdown(client, SHUT_RDWR), ENOTCONN);
  FAILS(connect_port(client, 82), EINPROGRESS);
  CHECK(shutdown(client, SHUT_RDWR) == 0);
  struct pollfd all = {.fd = client, .events = POLLIN};
  CHECK(poll(&all, 1, -1) == 1 && (all.revents & POLLHUP) != 0);
}

static void fast_open(void) {
  int server = listener(0), client = tcp(0);
  struct sockaddr_in address = at_port(port_of_fd(server));
  char text[4] = {0};
  CHECK(sendto(client, "abc", 3, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address) == 3);
  CHECK(read(accept(server, NULL, NULL), text, 3) == 3 && strcmp(text, "abc") == 0);
}

// Where a connect to the address was let through before, the next ones await no reply: whatever the daemon says at once is
// told as what it says later.
static void posted(void) {
  int server = listener(0), port = port_of_fd(server), unreachable = 83, pending = 82;
  int fd = tcp(0);
  CHECK(connect_port(tcp(0), port) == 0);
  long replies = command("replies");
  CHECK(connect_port(fd, port) == 0);
  CHECK(command("replies") == replies);
  FAILS(connect_port(fd, port), EISCONN);

  int refused = tcp(0);
  FAILS(connect_port(refused, unreachable), ENETUNREACH);
  CHECK(option_of(refused, SOL_SOCKET, SO_ERROR) == 0);
  CHECK(connect_port(refused, port) == 0);

  int early = tcp(SOCK_NONBLOCK);
  FAILS(connect_port(early, unreachable), EINPROGRESS);
  struct pollfd writable = {.fd = early, .events = POLLOUT};
  CHECK(poll(&writable, 1, 5000) == 1);
  CHECK(option_of(early, SOL_SOCKET, SO_ERROR) == ENETUNREACH);

  int attempt = tcp(SOCK_NONBLOCK);
  FAILS(connect_port(attempt, pending), EINPROGRESS);
  FAILS(connect_port(attempt, pending), EALREADY);
  command("complete");
  writable.fd = attempt;
  CHECK(poll(&writable, 1, 5000) == 1);
  CHECK(connect_port(attempt, pending) == 0);
  FAILS(connect_port(attempt, pending), EISCONN);

  int bound = tcp(0);
  struct sockaddr_in address = at_port(7002);
  CHECK(bind(bound, (struct sockaddr *)&address, sizeof address) == 0);
  FAILS(connect_port(bound, unreachable), ENETUNREACH);
  CHECK(port_of_fd(bound) == 7002); // still the same socket
}

static int lowest_number(void) {
  int fd = fcntl(0, F_DUPFD, 0);
  close(fd);
  return fd;
}

static void use(int fd, int port) {
  CHECK(fd >= 0 && connect_port(fd, port) == 0);
  CHECK(write(fd, "x", 1) == 1);
  close(fd);
}

// A program that makes socket after socket takes them from a queue: without a request, and each as it was asked for.
static void ahead(void) {
  int server = listener(0), port = port_of_fd(server);
  for (int i = 0; i < 8; i++) use(tcp(0), port);
  long replies = command("replies");
  for (int i = 0; i < 10; i++) {
    int number = lowest_number(), fd = tcp(i % 2 == 0 ? SOCK_CLOEXEC : SOCK_NONBLOCK);
    CHECK(fd == number);
    CHECK(((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0) == (i % 2 == 0));
    CHECK(((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0) == (i % 2 != 0));
    CHECK(fcntl(fd, F_SETFL, O_RDWR) == 0);
    CHECK(option_of(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP && option_of(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    CHECK(poll(&writable, 1, 0) == 0); // as all that are not connected, here
    CHECK(command("replies") == replies); // and what was asked for meanwhile has been done
    use(fd, port);
  }
  struct rlimit limit, none;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  none = limit;
  none.rlim_cur = (rlim_t)lowest_number();
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  use(tcp(0), port);
  command("misfill-prepared"); // those that the program finds other than it is told are dropped
  for (int i = 0; i < 10; i++) use(tcp(0), port);
  command("end-prepared"); // as where the daemon has died: what lies in the queue is dead
  use(tcp(0), port);
}

// After fork each process makes its own, and what one of them closes is not missing to the other.
static void ahead_shared(void) {
  int server = listener(0), port = port_of_fd(server);
  for (int i = 0; i < 10; i++) use(tcp(0), port);
  for (int child = 0; child < 4; child++) {
    if (fork() == 0) {
      for (int i = 0; i < 14; i++) use(tcp(0), port);
      for (int fd = 3; fd < 1024; fd++) close(fd);
      use(tcp(0), port);
      _exit(0);
    }
    use(tcp(0), port);
  }
  int status;
  while (wait(&status) > 0) CHECK(status == 0);
  use(tcp(0), port);
}

// A connect names a socket that was just taken, without an fd; whatever else has been done with it, or who else does it, passes it.
static void ahead_named(void) {
  int server = listener(0), port = port_of_fd(server);
  for (int i = 0; i < 10; i++) use(tcp(0), port);
  long named = command("named");
  CHECK(named > 0);
  use(tcp(0), port);
  CHECK(command("named") == ++named);

  int fd = tcp(0), copy = dup(fd);
  use(copy, port); // by another number
  close(fd);
  fd = tcp(0);
  int one = 1;
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
  use(fd, port);
  fd = tcp(0);
  struct sockaddr_in address = at_port(0);
  CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
  use(fd, port);
  fd = tcp(0);
  usleep(150 * 1000); // the daemon may not have its own any more
  use(fd, port);
  fd = tcp(0);
  if (fork() == 0) {
    use(fd, port);
    _exit(0);
  }
  int status;
  CHECK(wait(&status) > 0 && status == 0);
  close(fd);
  fd = tcp(0);
  command("drop"); // another connection must not name it
  use(fd, port);
  CHECK(command("named") == named);
}

// Whoever has laid down rights that the daemon has may not fetch any more, and is passed what is made ahead.
static void ahead_demoted(void) {
  int server = listener(0), port = port_of_fd(server);
  for (int i = 0; i < 10; i++) use(tcp(0), port);
  if (geteuid() != 0) return;
  long named = command("named");
  CHECK(named > 0);
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct left[2] = {{.effective = 1 << CAP_DAC_OVERRIDE, .permitted = 1 << CAP_DAC_OVERRIDE}};
  CHECK(syscall(SYS_capset, &header, left) == 0);
  for (int i = 0; i < 10; i++) use(tcp(0), port);
  for (int i = 0; i < 10; i++) { // made ahead again
    long replies = command("replies");
    use(tcp(0), port);
    CHECK(command("replies") == replies);
  }
  CHECK(command("named") == named);
}

// Nothing is fetched under a filter that may not know of it.
static void ahead_sandboxed(void) {
  int server = listener(0), port = port_of_fd(server);
  for (int i = 0; i < 10; i++) use(tcp(0), port);
  struct sock_filter program[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_getfd, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {.len = sizeof program / sizeof program[0], .filter = program};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
  for (int i = 0; i < 30; i++) use(tcp(0), port);
  if (fork() == 0) { // opens a connection of its own
    for (int i = 0; i < 30; i++) use(tcp(0), port);
    _exit(0);
  }
  int status;
  CHECK(wait(&status) > 0 && status == 0);
}

const struct scenario connect_scenarios[] = {
  {"connect-blocking", blocking},
  {"connect-nonblocking-success", nonblocking_success},
  {"connect-nonblocking-refused", nonblocking_refused},
  {"connect-blocking-refused-then-again", blocking_refused},
  {"connect-interrupted", interrupted},
  {"connect-restarted", restarted},
  {"connect-send-timeout", send_timeout},
  {"connect-ipv6", ipv6},
  {"connect-posted", posted},
  {"sockets-ahead", ahead},
  {"sockets-ahead-shared", ahead_shared},
  {"sockets-ahead-named", ahead_named},
  {"sockets-ahead-demoted", ahead_demoted},
  {"sockets-ahead-sandboxed", ahead_sandboxed},
  {"connect-shutdown", shut_while_connecting},
  {"connect-fast-open", fast_open},
  {NULL, NULL},
};
