// The program's commands, which run.py uses:
//   list                     each scenario: name and the app's user id
//   app NAME, peer NAME      runs one side of a scenario; the private line is descriptor DIFFERENTIAL_LINE
//   child NAME FD            what a program does that a scenario's app executes
//   hold                     makes a network namespace and keeps it until stdin ends
//   in FILE PROGRAM ARG…     runs a program in the network namespace FILE
// Whatever is started dies with the thread that started it (PR_SET_PDEATHSIG), so an aborted run leaves nothing behind.
#include "differential.h"
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>

extern const struct scenario *const __start_scenarios[], *const __stop_scenarios[];

int family = AF_INET;
int line_fd = -1;
int child_fd = -1;
static const struct scenario *running;
static char program[PATH_MAX];

char **child_words(int fd) {
  static char number[12];
  static char *words[5];
  snprintf(number, sizeof number, "%d", fd);
  words[0] = program;
  words[1] = "child";
  words[2] = (char *)running->name;
  words[3] = number;
  return words;
}

static const struct scenario *find(const char *name) {
  for (const struct scenario *const *entry = __start_scenarios; entry < __stop_scenarios; entry++)
    if (strcmp((*entry)->name, name) == 0) return *entry;
  fprintf(stderr, "no scenario %s\n", name);
  exit(64);
}

static int list(void) {
  for (const struct scenario *const *entry = __start_scenarios; entry < __stop_scenarios; entry++)
    printf("%s %d\n", (*entry)->name, (*entry)->user);
  return 0;
}

static int hold(void) {
  NEED(unshare(CLONE_NEWNET) == 0);
  NEED(write(1, "\n", 1) == 1);
  char byte;
  return read(0, &byte, 1) != 0;
}

static int inside(char **words) {
  int namespace = open(words[0], O_RDONLY | O_CLOEXEC);
  NEED(namespace >= 0 && setns(namespace, CLONE_NEWNET) == 0);
  execvp(words[1], words + 1);
  broken(__FILE__, __LINE__, words[1]);
}

static void become(int user) {
  if (user == 0) return;
  NEED(setgroups(0, NULL) == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0);
}

static int run(const char *name, bool is_app) {
  // Above the numbers that a scenario may care for, and at the same one in both runs.
  int given = atoi(getenv("DIFFERENTIAL_LINE"));
  line_fd = 1000;
  NEED(given != line_fd && dup2(given, line_fd) == line_fd && close(given) == 0);
  unsetenv("DIFFERENTIAL_LINE");
  NEED(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
  running = find(name);
  family = running->family;
  if (is_app) become(running->user);
  void (*side)(void) = is_app ? running->app : running->peer;
  if (side) side();
  return 0;
}

static int run_child(const char *name, const char *fd) {
  running = find(name);
  family = running->family;
  child_fd = atoi(fd);
  running->child();
  return 0;
}

int main(int count, char **words) {
  NEED(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
  if (count == 2 && strcmp(words[1], "list") == 0) return list();
  if (count == 2 && strcmp(words[1], "hold") == 0) return hold();
  if (count >= 4 && strcmp(words[1], "in") == 0) return inside(words + 2);
  if (count == 3 && strcmp(words[1], "app") == 0) return run(words[2], true);
  if (count == 3 && strcmp(words[1], "peer") == 0) return run(words[2], false);
  if (count == 4 && strcmp(words[1], "child") == 0) return run_child(words[2], words[3]);
  return 64;
}
