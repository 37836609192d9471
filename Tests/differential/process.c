// Sockets through fork, vfork, posix_spawn, exec, dup, descriptors sent to other processes and closing in bulk.
#include "differential.h"
#include <spawn.h>
#include <sys/syscall.h>

extern char **environ;

// The app's processes send words, in an order of their own making; the peer tells all of them up to the end.
static void reading_peer(void) {
  int fd = connected_peer();
  char bytes[1001] = {0};
  long total = 0;
  for (ssize_t got; (got = recv(fd, bytes + total, 1000 - total, 0)) > 0;) total += got;
  say("received", "%s", bytes);
  close(fd);
}

static void put(int fd, const char *word) { result(word, send(fd, word, strlen(word), MSG_NOSIGNAL)); }

// ---- fork

static void fork_app(void) {
  int fd = connected_app();
  pid_t child = fork();
  if (child == 0) {
    say_remote("the child's remote", fd);
    say_local("the child's local", fd);
    put(fd, "child ");
    close(fd);
    _exit(3);
  }
  say_child("child", child);
  put(fd, "parent ");
  say_poll_now("poll", fd);
  child = fork();
  if (child == 0) {
    hear("close");
    put(fd, "last"); // the parent has closed: the end is at the last copy's close
    _exit(0);
  }
  close(fd);
  tell("closed");
  say_child("second child", child);
}

static void fork_peer(void) {
  int fd = connected_peer();
  hear("closed");
  char bytes[14] = {0};
  read_all(fd, bytes, 13);
  say("received", "%s", bytes);
  say_quiet("no end while a child has it", fd, POLLRDHUP);
  tell("close");
  say_recv("recv", fd, 0);
  say_recv("the end", fd, 0);
}
SCENARIO_BOTH(process_fork, .app = fork_app, .peer = fork_peer);

static void fork_new_socket_app(void) {
  pid_t child = fork();
  if (child == 0) {
    int fd = connected_app();
    put(fd, "by the child");
    _exit(0);
  }
  say_child("child", child);
}
SCENARIO_BOTH(process_fork_new_socket, .app = fork_new_socket_app, .peer = reading_peer);

static void vfork_app(void) {
  int fd = connected_app();
  char **words = child_words(fd);
  pid_t child = vfork();
  if (child == 0) {
    execv(words[0], words);
    _exit(9);
  }
  say_child("child", child);
  put(fd, "parent");
}

static void put_child(void) {
  say_remote("the child's remote", child_fd);
  say_option("the child's SO_TYPE", child_fd, SOL_SOCKET, SO_TYPE);
  say_option("the child's SO_PROTOCOL", child_fd, SOL_SOCKET, SO_PROTOCOL);
  put(child_fd, "child ");
}
SCENARIO_BOTH(process_vfork_exec, .app = vfork_app, .peer = reading_peer, .child = put_child);

static void spawn_app(void) {
  int fd = connected_app();
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fd, 40);
  posix_spawn_file_actions_addclose(&actions, fd);
  char **words = child_words(40);
  pid_t child;
  result("posix_spawn", posix_spawn(&child, words[0], &actions, NULL, words, environ));
  say_child("child", child);
  put(fd, "parent");
}
SCENARIO_BOTH(process_spawn, .app = spawn_app, .peer = reading_peer, .child = put_child);

// A cleaned environment keeps the network.
static void clean_child(void) {
  say_remote("the child's remote", child_fd);
  put(child_fd, "child ");
  int fd = tcp(0);
  result("the child's connect to nobody", connect_to(fd, UNROUTED, 9));
  say_local("the child's own socket", listener(APP, 1));
}

static void clean_app(void) {
  int fd = connected_app();
  char **words = child_words(fd), *none[] = {NULL}, *one[] = {"PATH=/usr/bin:/bin", NULL};
  pid_t child = fork();
  if (child == 0) {
    execve(words[0], words, none);
    _exit(9);
  }
  say_child("execve", child);
  result("posix_spawn", posix_spawn(&child, words[0], NULL, NULL, words, one));
  say_child("spawned", child);
  child = fork();
  if (child == 0) {
    clearenv();
    execvp(words[0], words);
    _exit(9);
  }
  say_child("execvp after clearenv", child);
  put(fd, "parent");
}
SCENARIO_BOTH(process_clean_environment, .app = clean_app, .peer = reading_peer, .child = clean_child);

// Through a shell, which knows nothing of sockets.
static void shell_app(void) {
  int fd = connected_app();
  char command[100];
  snprintf(command, sizeof command, "printf system >&%d", fd);
  result("system", system(command));
  snprintf(command, sizeof command, "cat >&%d", fd);
  FILE *pipe = popen(command, "w");
  NEED(pipe);
  fprintf(pipe, "%s", " popen");
  result("pclose", pclose(pipe));
  pid_t child = fork();
  if (child == 0) {
    dup2(fd, 0);
    dup2(fd, 1);
    execlp("sh", "sh", "-c", "read line; printf ' %s' \"$line\"", NULL);
    _exit(9);
  }
  tell("line");
  say_child("sh on the socket", child);
}

static void shell_peer(void) {
  int fd = connected_peer();
  hear("line");
  write_all(fd, "a line\n", 7);
  char bytes[101] = {0};
  long total = 0;
  for (ssize_t got; (got = recv(fd, bytes + total, 100 - total, 0)) > 0;) total += got;
  say("received", "%s", bytes);
}
SCENARIO_BOTH(process_shell, .app = shell_app, .peer = shell_peer);

static void cloexec_app(void) {
  int fd = connected_app(), kept = dup(fd);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  pid_t child = fork();
  char **words = child_words(kept);
  if (child == 0) {
    execv(words[0], words);
    _exit(9);
  }
  say_child("child", child);
}

static void cloexec_child(void) {
  put(child_fd, "child");
  result("the closed one", fcntl(child_fd - 1, F_GETFD));
}
SCENARIO(process_cloexec, .app = cloexec_app, .peer = reading_peer, .child = cloexec_child);

// A listener handed to a new program, as inetd and socket activation do.
static void listener_app(void) {
  int fd = listener(APP, 4);
  name_port(port_of(fd), "server");
  tell_value(port_of(fd));
  char **words = child_words(fd);
  pid_t child;
  NEED(posix_spawn(&child, words[0], NULL, NULL, words, environ) == 0);
  close(fd);
  say_child("child", child);
}

static void listener_child(void) {
  say_option("SO_ACCEPTCONN", child_fd, SOL_SOCKET, SO_ACCEPTCONN);
  int fd = accept_one(child_fd);
  success("accept", fd);
  put(fd, "served");
}

static void listener_peer(void) {
  int fd = tcp(0);
  NEED(connect_to(fd, APP, (int)hear_value()) == 0);
  say_recv("recv", fd, MSG_WAITALL);
  say_recv("the end", fd, 0);
}
SCENARIO_BOTH(process_listener_exec, .app = listener_app, .peer = listener_peer, .child = listener_child);

// A socket that only the child connects.
static void unconnected_app(void) {
  int port = (int)hear_value(), fd = tcp(0);
  name_port(port, "server");
  pid_t child = fork();
  if (child == 0) {
    result("connect", connect_to(fd, PEER, port));
    put(fd, "child ");
    _exit(0);
  }
  say_child("child", child);
  say_remote("remote is there for the parent", fd);
  hear("accepted");
  tell("ready");
  put(fd, "parent");
}

SCENARIO_BOTH(process_child_connects, .app = unconnected_app, .peer = reading_peer);

// ---- dup and its kin

static void dup_app(void) {
  int fd = connected_app();
  int copy = dup(fd), other = dup2(fd, 50), third = dup3(fd, 51, O_CLOEXEC), fourth = fcntl(fd, F_DUPFD, 60);
  int fifth = fcntl(fd, F_DUPFD_CLOEXEC, 70);
  say("numbers", "%d %d %d %d", other, third, fourth, fifth);
  say("CLOEXEC", "%d %d %d", fcntl(other, F_GETFD), fcntl(third, F_GETFD), fcntl(fifth, F_GETFD));
  close(fd);
  say_remote("remote", copy);
  put(copy, "dup ");
  put(other, "dup2 ");
  put(third, "dup3 ");
  put(fourth, "F_DUPFD ");
  result("dup2 over a socket", dup2(copy, other) == other ? 0 : -1);
  put(other, "over ");
  int unconnected = tcp(0);
  result("dup2 of another over it", dup2(unconnected, other) == other ? 0 : -1);
  say_remote("remote of that", other);
  result("dup2 of a file over it", dup2(open("/dev/null", O_RDWR), other) == other ? 0 : -1);
  say_remote("remote of the file", other);
  close(copy);
  close(third);
  close(fourth);
  put(fifth, "last");
  result("close", close(fifth));
  result("close again", close(fifth));
  say_remote("remote of the closed", fifth);
}
SCENARIO_BOTH(process_dup, .app = dup_app, .peer = reading_peer);

// What a dup knows of a connect through the other number.
static void dup_connect_app(void) {
  int port = (int)hear_value(), fd = tcp(SOCK_NONBLOCK), copy = dup(fd);
  name_port(port, "server");
  result("connect", connect_to(fd, PEER, port));
  say_poll("poll of the copy", copy, POLLOUT);
  say_error("SO_ERROR of the copy", copy);
  say_remote("remote of the copy", copy);
  result("connect the copy", connect_to(copy, PEER, port));
  result("connect again", connect_to(fd, PEER, port));
  hear("accepted");
  tell("ready");
  put(copy, "copy");
}
SCENARIO_BOTH(process_dup_connect, .app = dup_connect_app, .peer = reading_peer);

static void bulk_close_app(void) {
  int fd = connected_app(), low = dup(fd), high = fcntl(fd, F_DUPFD, 200);
  result("close_range", syscall(SYS_close_range, 100, 900, 0));
  result("gone", fcntl(high, F_GETFD));
  put(low, "low ");
  high = fcntl(fd, F_DUPFD, 200);
  result("close_range to be closed at exec", syscall(SYS_close_range, 100, 900, 4));
  say("FD_CLOEXEC", "%d", fcntl(high, F_GETFD));
  put(high, "high ");
  pid_t child = fork();
  if (child == 0) {
    closefrom(3); // the line as well
    int other = socket(family, SOCK_STREAM, 0);
    success("a socket after closefrom", other);
    result("connect of it", connect_to(other, UNROUTED, 9));
    _exit(0);
  }
  say_child("child", child);
  put(fd, "last");
}
SCENARIO_BOTH(process_bulk_close, .app = bulk_close_app, .peer = reading_peer);

// ---- Descriptors sent over a unix socket, to a process that was there before

static void give(int line, int fd) {
  char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'f';
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  NEED(sendmsg(line, &message, 0) == 1);
}

static int take(int line) {
  char control[CMSG_SPACE(sizeof(int))], byte;
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  NEED(recvmsg(line, &message, 0) == 1);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  NEED(header && header->cmsg_type == SCM_RIGHTS);
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

static void passing_app(void) {
  int line[2];
  NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, line) == 0);
  pid_t child = fork();
  if (child == 0) {
    close(line[0]);
    int fd = take(line[1]);
    say_remote("the receiver's remote", fd);
    put(fd, "receiver ");
    close(fd);
    int server = take(line[1]);
    int connection = accept_one(server);
    say_remote("the receiver's connection", connection);
    say_recv("its recv", connection, 0);
    close(server);
    give(line[1], connection);
    close(connection);
    _exit(0);
  }
  close(line[1]);
  int fd = connected_app();
  give(line[0], fd);
  close(fd);
  int server = listener(APP, 4);
  name_port(port_of(server), "listener");
  tell_value(port_of(server));
  give(line[0], server);
  close(server);
  int connection = take(line[0]);
  say_child("child", child);
  say_local("given back", connection);
  put(connection, "thanks");
}

static void passing_peer(void) {
  int fd = connected_peer(), port = (int)hear_value(), other = tcp(0);
  say_recv("recv", fd, 0);
  say_recv("the end", fd, 0);
  NEED(connect_to(other, APP, port) == 0);
  write_all(other, "hello", 5);
  say_recv("from the connection given back", other, MSG_WAITALL);
}
SCENARIO_BOTH(process_passing, .app = passing_app, .peer = passing_peer);

static void daemon_app(void) {
  int fd = connected_app();
  pid_t child = fork();
  if (child == 0) {
    int out = dup(1);
    NEED(daemon(0, 0) == 0);
    dup2(out, 1);
    put(fd, "daemon");
    tell("put");
    _exit(0);
  }
  say_child("its parent", child);
  hear("seen");
}

static void daemon_peer(void) {
  int fd = connected_peer();
  hear("put");
  say_recv("recv", fd, 0);
  tell("seen");
}
SCENARIO(process_daemon, .app = daemon_app, .peer = daemon_peer);
