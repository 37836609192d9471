// Scenarios of exec: each way to start a program, with an environment that holds nothing of the network. And of plugins.
#include <alloca.h>
#include <dlfcn.h>
#include <spawn.h>

#include "app.h"

static char self[] = "/proc/self/exe";

// Libc's own function, whatever is preloaded.
static bool is_virtual(int fd) {
  int (*native)(int, struct sockaddr *, socklen_t *);
  void *libc = dlopen("libc.so.6", RTLD_NOW), *found = dlsym(libc, "getsockname");
  memcpy(&native, &found, sizeof native);
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  CHECK(native(fd, (struct sockaddr *)&address, &length) == 0);
  return address.ss_family == AF_UNIX;
}

// What the programs started here check of themselves.

static void child_inside(void) {
  const char *library = getenv("LD_PRELOAD"), *network = getenv("ZT_NC_NETWORK"), *other = getenv("KEPT");
  CHECK(library != NULL && library[0] == '/' && strchr(library, ':') == NULL && access(library, R_OK) == 0);
  CHECK(network != NULL && network[0] == '/' && other != NULL && strcmp(other, "as it was") == 0);
  CHECK(is_virtual(tcp(0)));
}

static void child_inside_with_other(void) {
  const char *library = getenv("LD_PRELOAD");
  CHECK(library != NULL && strncmp(library, "libm.so.6:/", 11) == 0 && strchr(library + 11, ':') == NULL);
  CHECK(is_virtual(tcp(0)));
}

static void child_inside_bare(void) { CHECK(is_virtual(tcp(0))); }

static void child_outside(void) {
  CHECK(getenv("LD_PRELOAD") == NULL && strcmp(getenv("ZT_NC_NETWORK"), "") == 0);
  CHECK(!is_virtual(tcp(0)));
}

static void child_elsewhere(void) {
  CHECK(strcmp(getenv("ZT_NC_NETWORK"), "/nowhere/nc_1") == 0 && getenv("LD_PRELOAD") != NULL);
}

static void check_child(pid_t child) {
  int status;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static char *const clean[] = {"KEPT=as it was", NULL};
static char *const arguments[] = {"app", "exec-child-inside", NULL};

static void by_execve(void) { execve(self, arguments, clean); }
static void by_execv(void) { environ = (char **)clean, execv(self, arguments); }
static void by_execvp(void) { environ = (char **)clean, execvp(self, arguments); }
static void by_execvpe(void) { execvpe(self, arguments, clean); }
static void by_execl(void) { environ = (char **)clean, execl(self, "app", "exec-child-inside", (char *)NULL); }
static void by_execlp(void) { environ = (char **)clean, execlp(self, "app", "exec-child-inside", (char *)NULL); }
static void by_execle(void) { execle(self, "app", "exec-child-inside", (char *)NULL, clean); }
static void by_fexecve(void) { fexecve(open(self, O_RDONLY | O_CLOEXEC), arguments, clean); }
static void by_execveat(void) { execveat(AT_FDCWD, self, arguments, clean, 0); }
static void by_syscall(void) { syscall(SYS_execve, self, arguments, clean); }
static void by_syscall_at(void) { syscall(SYS_execveat, open(self, O_PATH), "", arguments, clean, AT_EMPTY_PATH); }

static void every_exec(void) {
  void (*const ways[])(void) = {by_execve,  by_execv,   by_execvp,   by_execvpe, by_execl,     by_execlp,
                                by_execle,  by_fexecve, by_execveat, by_syscall, by_syscall_at};
  for (unsigned way = 0; way < sizeof ways / sizeof ways[0]; way++) {
    pid_t child = fork();
    if (child == 0) {
      ways[way]();
      _exit(100);
    }
    check_child(child);
    // The same in a child that shares this memory; environ, which some of them set, is put back.
    char **before = environ;
    child = vfork();
    if (child == 0) {
      ways[way]();
      _exit(100);
    }
    environ = before;
    check_child(child);
  }
}

static void every_spawn(void) {
  pid_t child;
  CHECK(posix_spawn(&child, self, NULL, NULL, arguments, clean) == 0);
  check_child(child);
  CHECK(posix_spawnp(&child, self, NULL, NULL, arguments, clean) == 0);
  check_child(child);
}

static void shells(void) {
  char command[300], mine[256];
  ssize_t bytes = readlink(self, mine, sizeof mine - 1);
  CHECK(bytes > 0);
  mine[bytes] = 0;
  snprintf(command, sizeof command, "%s exec-child-inside", mine);
  CHECK(clearenv() == 0 && setenv("KEPT", "as it was", 1) == 0);
  CHECK(system(command) == 0);
  CHECK(clearenv() == 0 && setenv("KEPT", "as it was", 1) == 0);
  FILE *child = popen(command, "r");
  CHECK(child != NULL && fgetc(child) == EOF && pclose(child) == 0);
}

static void spawned(const char *scenario, char *const environment[]) {
  char *const words[] = {"app", (char *)scenario, NULL};
  pid_t child = fork();
  if (child == 0) {
    execve(self, words, environment);
    _exit(100);
  }
  check_child(child);
}

static void environments(void) {
  spawned("exec-child-inside-bare", NULL);
  spawned("exec-child-inside-bare", environ);
  char *const other[] = {"LD_PRELOAD=libm.so.6", NULL};
  spawned("exec-child-inside-with-other", other);
  char *const blank[] = {"LD_PRELOAD=", "KEPT=as it was", NULL};
  spawned("exec-child-inside", blank);
  char *const elsewhere[] = {"ZT_NC_NETWORK=/nowhere/nc_1", NULL};
  spawned("exec-child-elsewhere", elsewhere);
  char *const outside[] = {"ZT_NC_NETWORK=", NULL};
  spawned("exec-child-outside", outside);
  // Thousands of variables: the copy is on the stack.
  enum { MANY = 10000 };
  static char *many[MANY + 2];
  for (int index = 0; index < MANY; index++) many[index] = "A=b";
  many[MANY] = "KEPT=as it was";
  spawned("exec-child-inside", many);
}

// Started with relative paths of library and network, which hold no longer.
static void relative(void) {
  CHECK(getenv("ZT_NC_NETWORK")[0] != '/' && getenv("LD_PRELOAD")[0] == '.');
  CHECK(setenv("KEPT", "as it was", 1) == 0 && chdir("/") == 0);
  CHECK(is_virtual(tcp(0)));
  spawned("exec-child-inside", environ);
  spawned("exec-child-inside", clean);
}

// A connection, a listener and an idle socket arrive at another program, as 0 and 3 and 4: inetd's way.
static void child_inherits(void) {
  char text[8] = {0};
  CHECK(read(0, text, sizeof text) == 5 && strcmp(text, "hello") == 0 && write(1, "world", 5) == 5);
  close(0), close(1);
  int client = tcp(0);
  CHECK(client == 0 && connect_port(client, port_of_fd(3)) == 0);
  int accepted = accept(3, NULL, NULL);
  CHECK(accepted == 1 && write(accepted, "again", 5) == 5 && read(client, text, sizeof text) == 5);
  CHECK(send(4, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
  CHECK(connect_port(4, port_of_fd(3)) == 0);
}

static void inherited(void) {
  int server = listener(0), client = tcp(SOCK_CLOEXEC), idle = tcp(0);
  CHECK(connect_port(client, port_of_fd(server)) == 0);
  int accepted = accept(server, NULL, NULL);
  pid_t child = fork();
  if (child == 0) {
    int listening = fcntl(server, F_DUPFD, 20), other = fcntl(idle, F_DUPFD, 20);
    dup2(accepted, 0), dup2(accepted, 1), dup2(listening, 3), dup2(other, 4);
    close_range(5, ~0U, 0);
    char *const words[] = {"app", "exec-child-inherits", NULL};
    execve(self, words, environ);
    _exit(100);
  }
  char text[8] = {0};
  close(accepted);
  CHECK(write(client, "hello", 5) == 5 && read(client, text, sizeof text) == 5 && strcmp(text, "world") == 0);
  CHECK(read(client, text, 1) == 0); // closed there
  check_child(child);
}

static void on_alarm(int number) {
  (void)number;
  by_execve();
  _exit(100);
}

static void from_handler(void) {
  pid_t child = fork();
  if (child == 0) {
    signal(SIGALRM, on_alarm);
    // Mostly inside of malloc when it comes.
    ualarm(2000, 0);
    for (;;) free(malloc(1 + (size_t)rand() % 100000));
  }
  check_child(child);
}

// EXEC_TARGET cannot be preloaded: told once, however often it is started.
static void unpreloadable(void) {
  char *const words[] = {"target", NULL};
  const char *target = getenv("EXEC_TARGET");
  for (int count = 0; count < 2; count++) {
    pid_t child;
    CHECK(posix_spawn(&child, target, NULL, NULL, words, environ) == 0);
    check_child(child);
  }
  pid_t child = fork();
  if (child == 0) {
    execv(target, words);
    _exit(100);
  }
  check_child(child);
}

static int socket_of(void *plugin) {
  int (*open_one)(void);
  CHECK(plugin != NULL);
  void *found = dlsym(plugin, "plugin_socket");
  memcpy(&open_one, &found, sizeof open_one);
  return open_one();
}

// plugin.so stands in the RUNPATH of this program, which is searched for its own calls only.
static void plugins(void) {
  CHECK(is_virtual(socket_of(dlopen("plugin.so", RTLD_NOW | RTLD_LOCAL))));
  CHECK(is_virtual(socket_of(dlopen("plugin-deep.so", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND))));
  CHECK(dlopen("no-such-plugin.so", RTLD_NOW) == NULL && strstr(dlerror(), "no-such-plugin.so") != NULL);
  // A world of its own: its libc is not ours, so its sockets are the host's. It must work, though.
  int apart = socket_of(dlmopen(LM_ID_NEWLM, "plugin.so", RTLD_NOW));
  CHECK(apart >= 0 && !is_virtual(apart));
  // Ourselves a second time, in there.
  char *copy = strdup(getenv("LD_PRELOAD"));
  void *second = dlmopen(LM_ID_NEWLM, copy, RTLD_NOW);
  CHECK(second != NULL);
  int (*open_one)(int, int, int);
  void *found = dlsym(second, "socket");
  memcpy(&open_one, &found, sizeof open_one);
  CHECK(is_virtual(open_one(AF_INET, SOCK_STREAM, 0)) && is_virtual(tcp(0)));
}

const struct scenario exec_scenarios[] = {
  {"exec-child-inside", child_inside},
  {"exec-child-inside-bare", child_inside_bare},
  {"exec-child-inside-with-other", child_inside_with_other},
  {"exec-child-outside", child_outside},
  {"exec-child-elsewhere", child_elsewhere},
  {"exec-child-inherits", child_inherits},
  {"exec-every-way", every_exec},
  {"exec-spawn", every_spawn},
  {"exec-shells", shells},
  {"exec-environments", environments},
  {"exec-relative-paths", relative},
  {"exec-inherited", inherited},
  {"exec-in-handler", from_handler},
  {"exec-unpreloadable", unpreloadable},
  {"plugins", plugins},
  {NULL, NULL},
};
