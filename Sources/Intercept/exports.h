// What the files of interposed symbols share.
#ifndef NETCOND_INTERCEPT_EXPORTS_H
#define NETCOND_INTERCEPT_EXPORTS_H

#include <errno.h>

#include "intercept.h"

#define NC_EXPORT __attribute__((visibility("default")))

/// Turns a negative errno into -1 with errno set.
static inline long finish(long result) {
  if (__builtin_expect(result >= 0, 1)) return result;
  errno = (int)-result;
  return -1;
}

/// sendto() and recvfrom() with plain pointers: in C their addresses are transparent unions.
ssize_t nc_export_sendto(int fd, const void *data, size_t bytes, int flags, const struct sockaddr *address,
                         socklen_t length);
ssize_t nc_export_recvfrom(int fd, void *data, size_t bytes, int flags, struct sockaddr *address, socklen_t *length);

/// seccomp(2), for which libc has no function.
long nc_export_seccomp(unsigned operation, unsigned flags, void *argument);

#endif
