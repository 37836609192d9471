// Scenarios of fds: by which ways a virtual socket may come to a number, and what else happens to numbers.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>

#include "app.h"

// Whether the library knows an idle socket at this number: the pair itself would make this wait for ever.
static bool is_known(int fd) {
  errno = 0;
  return send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 && errno == EPIPE;
}

static void give(int channel, int fd) {
  char byte = 'x';
  struct iovec part = {&byte, 1};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof fd)];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  CHECK(sendmsg(channel, &message, 0) == 1);
}

enum way { BY_RECVMSG, BY_RECVMMSG, BY_SYSCALL, BY_SYSCALL_MANY, WAYS };

static int take(int channel, enum way way) {
  char byte;
  struct iovec part = {&byte, 1};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct mmsghdr message = {.msg_hdr = {
                              .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control}};
  switch (way) {
  case BY_RECVMSG: CHECK(recvmsg(channel, &message.msg_hdr, 0) == 1); break;
  case BY_RECVMMSG: CHECK(recvmmsg(channel, &message, 1, 0, NULL) == 1); break;
  case BY_SYSCALL: CHECK(syscall(SYS_recvmsg, channel, &message.msg_hdr, 0) == 1); break;
  default: CHECK(syscall(SYS_recvmmsg, channel, &message, 1, 0, NULL) == 1); break;
  }
  int fd;
  memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
  return fd;
}

static int status_of(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  return status;
}

// A process that never had a socket gets them from another.
static void passed(void) {
  int channel[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0);
  pid_t child = fork();
  if (child == 0) {
    for (int way = 0; way < WAYS; way++) {
      int fd = take(channel[1], (enum way)way);
      CHECK(is_known(fd) && close(fd) == 0);
    }
    _exit(0);
  }
  for (int way = 0; way < WAYS; way++) give(channel[0], tcp(0));
  CHECK(status_of(child) == 0);
}

static void stolen(void) {
  int go[2], number[2];
  CHECK(pipe(go) == 0 && pipe(number) == 0);
  pid_t child = fork();
  if (child == 0) {
    char byte;
    int fd = fcntl(tcp(0), F_DUPFD, 40);
    CHECK(write(number[1], &fd, sizeof fd) == sizeof fd && read(go[0], &byte, 1) == 1);
    _exit(0);
  }
  int theirs, process = pidfd_open(child, 0);
  CHECK(process >= 0 && read(number[0], &theirs, sizeof theirs) == sizeof theirs);
  int fd = pidfd_getfd(process, theirs, 0), other = (int)syscall(SYS_pidfd_getfd, process, theirs, 0);
  CHECK(fd >= 0 && is_known(fd) && other >= 0 && is_known(other));
  CHECK(write(go[1], "x", 1) == 1 && status_of(child) == 0);
}

static void copied(void) {
  int fd = tcp(0);
  CHECK(is_known(dup(fd)) && is_known(dup2(fd, 50)) && is_known(dup3(fd, 51, O_CLOEXEC)));
  CHECK(is_known(fcntl(fd, F_DUPFD, 60)) && is_known(fcntl(fd, F_DUPFD_CLOEXEC, 60)));
  CHECK(is_known((int)syscall(SYS_dup, fd)) && is_known((int)syscall(SYS_dup3, fd, 52, 0)));
  CHECK(is_known((int)syscall(SYS_fcntl, fd, F_DUPFD, 60)));
  // A number far up, where no note is taken.
  struct rlimit limit = {.rlim_cur = 70000, .rlim_max = 70000};
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) CHECK(is_known(dup2(fd, 69999)));
}

// A number changes hands: what was an established connection becomes an idle socket, in each way.
static void reused(void) {
  int server = listener(0);
  for (int way = 0; way < 4; way++) {
    int client = tcp(0), idle = tcp(0), channel[2];
    CHECK(connect_port(client, port_of_fd(server)) == 0);
    int accepted = accept(server, NULL, NULL);
    CHECK(write(client, "x", 1) == 1 && write(accepted, "x", 1) == 1);
    int number = client;
    switch (way) {
    case 0: CHECK(close(client) == 0 && tcp(0) == number); break;
    case 1: CHECK(dup2(idle, client) == number); break;
    case 2:
      CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0);
      give(channel[0], idle);
      CHECK(close(client) == 0 && take(channel[1], BY_RECVMSG) == number);
      close(channel[0]), close(channel[1]);
      break;
    default: // Behind everybody's back, by the kernel alone
      CHECK(close_range((unsigned)client, (unsigned)client, 0) == 0 && tcp(0) == number);
      break;
    }
    CHECK(is_known(number));
    close(number), close(accepted), close(idle);
  }
  // And a file, where a socket was.
  int idle = tcp(0), number = idle, ends[2];
  CHECK(close(idle) == 0 && pipe(ends) == 0 && ends[0] == number);
  char byte;
  CHECK(write(ends[1], "f", 1) == 1 && read(number, &byte, 1) == 1 && byte == 'f');
}

// The library's own connection is among what they close.
static void all_closed(void) {
  tcp(0);
  CHECK(close_range(3, ~0U, 0) == 0);
  CHECK(tcp(0) == 3);
  closefrom(3);
  CHECK(tcp(0) == 3);
  CHECK(close_range(3, ~0U, CLOSE_RANGE_UNSHARE) == 0);
  CHECK(tcp(0) == 3 && command("connections") == 4);
}

static void no_standard_fds(void) {
  int control = control_open();
  close(0), close(1), close(2);
  int server = listener(0), client = tcp(0), accepted = -1;
  bool is_right = server == 0 && client == 1 && connect_port(client, port_of_fd(server)) == 0;
  is_right = is_right && (accepted = accept(server, NULL, NULL)) == 2;
  // The complaint that nothing answers any more is not for the peer of fd 2.
  command_on(control, "stop-accepting");
  int status = -1;
  pid_t child = fork();
  if (child == 0) _exit(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == ENETDOWN ? 0 : 1);
  char byte;
  is_right = is_right && waitpid(child, &status, 0) == child && status == 0;
  is_right = is_right && recv(client, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN;
  _exit(is_right ? 0 : 1); // there is nowhere to say more
}

static void few_numbers(void) {
  int next = dup(0);
  close(next);
  struct rlimit limit = {.rlim_cur = (rlim_t)next + 2, .rlim_max = (rlim_t)next + 2};
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  int fd = tcp(0);
  FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
  CHECK(is_known(fd) && close(fd) == 0);
  CHECK(is_known(tcp(0)));
}

// libc's streams call read and write inside of libc.
static void stdio(void) {
  int server = listener(0), client = tcp(0);
  CHECK(connect_port(client, port_of_fd(server)) == 0);
  FILE *here = fdopen(client, "r+"), *there = fdopen(accept(server, NULL, NULL), "r+");
  char line[32];
  CHECK(here != NULL && there != NULL && fprintf(here, "GET %d\n", 1) == 6 && fflush(here) == 0);
  CHECK(fgets(line, sizeof line, there) != NULL && strcmp(line, "GET 1\n") == 0);
  CHECK(fputs("200 OK\n", there) >= 0 && fclose(there) == 0);
  CHECK(fgets(line, sizeof line, here) != NULL && strcmp(line, "200 OK\n") == 0 && fgetc(here) == EOF);
  CHECK(fclose(here) == 0);
  int number = tcp(0); // fclose() closed inside of libc
  CHECK(number == client && is_known(number));
}

static void daemonised(void) {
  int server = listener(0), done[2];
  CHECK(pipe(done) == 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK(daemon(0, 0) == 0); // forks again, and closes 0 to 2
    int accepted = accept(server, NULL, NULL);
    char byte;
    CHECK(read(accepted, &byte, 1) == 1 && write(accepted, &byte, 1) == 1);
    CHECK(is_known(tcp(0)) && write(done[1], "x", 1) == 1);
    _exit(0);
  }
  CHECK(status_of(child) == 0);
  int client = tcp(0), port = port_of_fd(server);
  close(server), close(done[1]);
  CHECK(connect_port(client, port) == 0 && write(client, "y", 1) == 1);
  char byte;
  CHECK(read(client, &byte, 1) == 1 && byte == 'y' && read(done[0], &byte, 1) == 1);
}

static void *blocked(void *number) {
  char byte;
  int fd = (int)(intptr_t)number;
  switch (fd < 0 ? 0 : fd % 3) {
  case 0: (void)read(fd, &byte, 1); break;
  case 1: (void)recv(fd, &byte, 1, 0); break;
  default: (void)recvmsg(fd, &(struct msghdr){.msg_iov = &(struct iovec){&byte, 1}, .msg_iovlen = 1}, 0); break;
  }
  return NULL;
}

// Reads are cancellation points, and what they hold is given back.
static void cancelled(void) {
  int server = listener(0);
  for (int turn = 0; turn < 6; turn++) {
    int client = tcp(0);
    CHECK(connect_port(client, port_of_fd(server)) == 0);
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, blocked, (void *)(intptr_t)client) == 0 && pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED && port_of_fd(client) != 0);
  }
}

// Only root may; who is not is not asked.
static void chrooted(void) {
  if (geteuid() != 0) return;
  tcp(0);
  CHECK(chdir("/sys") == 0 && chroot(".") == 0);
  CHECK(is_known(tcp(0))); // by the connection that stands
  pid_t child = fork();
  if (child == 0) {
    FAILS(socket(AF_INET, SOCK_STREAM, 0), ENETDOWN); // there is no path to the daemon in there
    _exit(0);
  }
  CHECK(status_of(child) == 0);
}

static void child_has_idle(void) {
  CHECK(access("/proc/self/fd", F_OK) != 0 && is_known(70) && is_known(5000));
  CHECK(write(1, "", 0) == 0 && is_known(tcp(0)));
}

static void without_proc(void) {
  struct rlimit limit = {.rlim_cur = 8192, .rlim_max = 8192};
  char self[256] = {0};
  if (geteuid() != 0 || setrlimit(RLIMIT_NOFILE, &limit) != 0 || unshare(CLONE_NEWNS) != 0) return;
  CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("none", "/proc", "tmpfs", 0, NULL) == 0);
  int fd = tcp(0);
  CHECK(dup2(fd, 70) == 70 && dup2(fd, 5000) == 5000);
  execl(self, self, "fds-child-has-idle", (char *)NULL);
  CHECK(false);
}

// A sandbox in which an fd may be read and written, and nothing asked about it.
static void child_sandboxed(void) {
  struct sock_filter program[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpeername, 5, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockname, 4, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockopt, 3, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog filter = {.len = sizeof program / sizeof program[0], .filter = program};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
  char text[8];
  CHECK(read(0, text, sizeof text) == 5 && write(0, text, 5) == 5 && shutdown(0, SHUT_WR) == 0);
  CHECK(fcntl(0, F_GETFL) >= 0 && dup2(0, 9) == 9 && printf("in the sandbox\n") > 0);
}

static void sandboxed(void) {
  int server = listener(0), client = tcp(SOCK_CLOEXEC);
  CHECK(connect_port(client, port_of_fd(server)) == 0);
  int accepted = accept(server, NULL, NULL);
  pid_t child = fork();
  if (child == 0) {
    dup2(accepted, 0);
    execl("/proc/self/exe", "app", "fds-child-sandboxed", (char *)NULL);
    _exit(100);
  }
  char text[8];
  CHECK(write(client, "hello", 5) == 5 && read(client, text, sizeof text) == 5);
  CHECK(status_of(child) == 0);
}

const struct scenario descriptor_scenarios[] = {
  {"fds-passed", passed},
  {"fds-stolen", stolen},
  {"fds-copied", copied},
  {"fds-reused", reused},
  {"fds-all-closed", all_closed},
  {"fds-no-standard", no_standard_fds},
  {"fds-few-numbers", few_numbers},
  {"fds-stdio", stdio},
  {"fds-daemonised", daemonised},
  {"fds-cancelled", cancelled},
  {"fds-chrooted", chrooted},
  {"fds-without-proc", without_proc},
  {"fds-child-has-idle", child_has_idle},
  {"fds-sandboxed", sandboxed},
  {"fds-child-sandboxed", child_sandboxed},
  {NULL, NULL},
};
