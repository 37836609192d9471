// The interposed symbols that start programs.
//
// Here lies no more than the environment; libc does the rest. Its system() and popen() take the process's own one
// without passing here again, so that is mended before.
#include <alloca.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "exports.h"

// Replaces `environment` by one that keeps the network, in memory of the calling function.
#define KEEP_NETWORK(environment)                                                                                      \
  do {                                                                                                                 \
    size_t room_ = nc_active() ? nc_environment_room(environment) : 0;                                                 \
    if (room_ > 0) (environment) = nc_environment_build((environment), alloca(room_));                                 \
  } while (0)

NC_EXPORT int execve(const char *path, char *const arguments[], char *const environment[]) {
  KEEP_NETWORK(environment);
  if (nc_active()) nc_target_check(AT_FDCWD, path, 0, environment);
  return nc_native()->execve(path, arguments, environment);
}

NC_EXPORT int execv(const char *path, char *const arguments[]) { return execve(path, arguments, environ); }

NC_EXPORT int execvpe(const char *name, char *const arguments[], char *const environment[]) {
  KEEP_NETWORK(environment);
  if (nc_active()) nc_target_check_name(name, environment);
  return nc_native()->execvpe(name, arguments, environment);
}

NC_EXPORT int execvp(const char *name, char *const arguments[]) { return execvpe(name, arguments, environ); }

NC_EXPORT int fexecve(int fd, char *const arguments[], char *const environment[]) {
  KEEP_NETWORK(environment);
  if (nc_active()) nc_target_check(fd, "", AT_EMPTY_PATH, environment);
  return nc_native()->fexecve(fd, arguments, environment);
}

NC_EXPORT int execveat(int folder, const char *path, char *const arguments[], char *const environment[], int flags) {
  KEEP_NETWORK(environment);
  if (nc_active()) nc_target_check(folder, path, flags, environment);
  // glibc has it since 2.34 only.
  return (int)finish(nc_raw(SYS_execveat, folder, (long)path, (long)arguments, (long)environment, flags, 0));
}

static size_t count_arguments(const char *first, va_list *next) {
  size_t count = 0;
  for (const char *argument = first; argument != NULL; argument = va_arg(*next, const char *)) count++;
  return count;
}

// Fills `arguments` with `first`, those that follow, and the null behind them.
static void collect(char *arguments[], size_t count, const char *first, va_list *next) {
  arguments[0] = (char *)first;
  for (size_t index = 1; index <= count; index++) arguments[index] = va_arg(*next, char *);
}

// Makes an array `arguments` in the calling function, and leaves `list` behind it.
#define COLLECT(arguments, list, first)                                                                                \
  va_list list;                                                                                                        \
  va_start(list, first);                                                                                               \
  size_t count_ = count_arguments((first), &list);                                                                     \
  va_end(list);                                                                                                        \
  char **arguments = alloca((count_ + 1) * sizeof(char *));                                                            \
  va_start(list, first);                                                                                               \
  collect(arguments, count_, (first), &list)

NC_EXPORT int execl(const char *path, const char *first, ...) {
  COLLECT(arguments, list, first);
  va_end(list);
  return execv(path, arguments);
}

NC_EXPORT int execlp(const char *name, const char *first, ...) {
  COLLECT(arguments, list, first);
  va_end(list);
  return execvp(name, arguments);
}

NC_EXPORT int execle(const char *path, const char *first, ...) {
  COLLECT(arguments, list, first);
  char *const *environment = va_arg(list, char *const *);
  va_end(list);
  return execve(path, arguments, environment);
}

NC_EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path,
                          const posix_spawn_file_actions_t *restrict actions,
                          const posix_spawnattr_t *restrict attributes, char *const arguments[restrict],
                          char *const environment[restrict]) {
  KEEP_NETWORK(environment);
  if (nc_active()) nc_target_check(AT_FDCWD, path, 0, environment);
  return nc_native()->posix_spawn(pid, path, actions, attributes, arguments, environment);
}

NC_EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict name,
                           const posix_spawn_file_actions_t *restrict actions,
                           const posix_spawnattr_t *restrict attributes, char *const arguments[restrict],
                           char *const environment[restrict]) {
  KEEP_NETWORK(environment);
  if (nc_active()) nc_target_check_name(name, environment);
  return nc_native()->posix_spawnp(pid, name, actions, attributes, arguments, environment);
}

NC_EXPORT int system(const char *command) {
  if (nc_active()) nc_environment_keep();
  return nc_native()->system(command);
}

NC_EXPORT FILE *popen(const char *command, const char *mode) {
  if (nc_active()) nc_environment_keep();
  return nc_native()->popen(command, mode);
}
