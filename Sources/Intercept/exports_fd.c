// The interposed symbols that copy an fd: the copy may be a virtual socket where the original may.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/pidfd.h>

#include "exports.h"

static int copied(int from, int to) {
  if (to >= 0 && nc_active()) nc_hint_copy(from, to);
  return to;
}

NC_EXPORT int dup(int fd) { return copied(fd, nc_native()->dup(fd)); }
NC_EXPORT int dup2(int from, int to) { return copied(from, nc_native()->dup2(from, to)); }
NC_EXPORT int dup3(int from, int to, int flags) { return copied(from, nc_native()->dup3(from, to, flags)); }

// The argument is a long or a pointer, or absent; libc reads it the same way.
static int control(int (*native)(int, int, ...), int fd, int command, void *argument) {
  int result = native(fd, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}

NC_EXPORT int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  return control(nc_native()->fcntl, fd, command, argument);
}

int fcntl64(int, int, ...);
NC_EXPORT int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  return control(nc_native()->fcntl64, fd, command, argument);
}

// Out of another process, whose fds may be anything. (glibc has it since 2.36 only.)
NC_EXPORT int pidfd_getfd(int process, int fd, unsigned flags) {
  int copy = (int)finish(nc_raw(SYS_pidfd_getfd, process, fd, flags, 0, 0, 0));
  if (copy >= 0 && nc_active()) nc_hint_mark(copy, NC_HINT_LOOK);
  return copy;
}
