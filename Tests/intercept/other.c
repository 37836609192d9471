// Another preloaded library, that wraps what ours does; and a plugin.
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static int calls;

int other_calls(void);
int other_calls(void) { return calls; }

int socket(int domain, int type, int protocol) {
  int (*next)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
  calls++;
  return next(domain, type, protocol);
}

ssize_t read(int fd, void *data, size_t bytes) {
  ssize_t (*next)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
  calls++;
  return next(fd, data, bytes);
}

int execve(const char *path, char *const arguments[], char *const environment[]) {
  int (*next)(const char *, char *const *, char *const *) =
    (int (*)(const char *, char *const *, char *const *))dlsym(RTLD_NEXT, "execve");
  calls++;
  return next(path, arguments, environment);
}
