// The interposed symbols (intercept.map lists them again for the linker).
//
// Each passes the call on to libc unless there is a virtual network and the fd belongs to it. Calls that carry no
// address are passed on unseen: the kernel does the right thing on both kinds of socket.
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "intercept.h"

#define NC_EXPORT __attribute__((visibility("default")))

static inline long finish(long result) {
  if (__builtin_expect(result >= 0, 1)) return result;
  errno = (int)-result;
  return -1;
}

static inline bool is_ours(int fd, struct nc_name *name) { return nc_active() && nc_identify(fd, name); }

NC_EXPORT int socket(int domain, int type, int protocol) {
  if (!nc_active() || !nc_wants(domain, type)) return nc_native()->socket(domain, type, protocol);
  return (int)finish(nc_socket(domain, type, protocol));
}

static int bind_fd(int fd, const struct sockaddr *address, socklen_t length) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->bind(fd, address, length);
  return (int)finish(nc_bind(fd, &name, address, length));
}

NC_EXPORT int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t length) {
  return bind_fd(fd, address.__sockaddr__, length);
}

NC_EXPORT int listen(int fd, int backlog) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->listen(fd, backlog);
  return (int)finish(nc_listen(fd, &name, backlog));
}

static int accept_fd(int fd, struct sockaddr *address, socklen_t *length) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->accept(fd, address, length);
  return (int)finish(nc_accept(fd, &name, address, length, 0));
}

NC_EXPORT int accept(int fd, __SOCKADDR_ARG address, socklen_t *length) {
  return accept_fd(fd, address.__sockaddr__, length);
}

static int accept4_fd(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->accept4(fd, address, length, flags);
  return (int)finish(nc_accept(fd, &name, address, length, flags));
}

NC_EXPORT int accept4(int fd, __SOCKADDR_ARG address, socklen_t *length, int flags) {
  return accept4_fd(fd, address.__sockaddr__, length, flags);
}

static int connect_fd(int fd, const struct sockaddr *address, socklen_t length) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->connect(fd, address, length);
  return (int)finish(nc_connect(fd, &name, address, length));
}

NC_EXPORT int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length) {
  return connect_fd(fd, address.__sockaddr__, length);
}

static int getsockname_fd(int fd, struct sockaddr *address, socklen_t *length) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->getsockname(fd, address, length);
  return (int)finish(nc_getsockname(fd, &name, address, length));
}

NC_EXPORT int getsockname(int fd, __SOCKADDR_ARG address, socklen_t *length) {
  return getsockname_fd(fd, address.__sockaddr__, length);
}

static int getpeername_fd(int fd, struct sockaddr *address, socklen_t *length) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->getpeername(fd, address, length);
  return (int)finish(nc_getpeername(&name, address, length));
}

NC_EXPORT int getpeername(int fd, __SOCKADDR_ARG address, socklen_t *length) {
  return getpeername_fd(fd, address.__sockaddr__, length);
}

NC_EXPORT int getsockopt(int fd, int level, int option, void *value, socklen_t *length) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->getsockopt(fd, level, option, value, length);
  return (int)finish(nc_getsockopt(fd, &name, level, option, value, length));
}

NC_EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->setsockopt(fd, level, option, value, length);
  return (int)finish(nc_setsockopt(fd, level, option, value, length));
}

NC_EXPORT int shutdown(int fd, int how) {
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->shutdown(fd, how);
  return (int)finish(nc_shutdown(fd, &name, how));
}

NC_EXPORT ssize_t sendto(int fd, const void *data, size_t bytes, int flags, __CONST_SOCKADDR_ARG address,
                         socklen_t length) {
  const struct sockaddr *target = address.__sockaddr__;
  struct nc_name name;
  if (target == NULL || !is_ours(fd, &name)) return nc_native()->sendto(fd, data, bytes, flags, target, length);
  return finish(nc_sendto(fd, &name, data, bytes, flags, target, length));
}

static ssize_t recvfrom_fd(int fd, void *data, size_t bytes, int flags, struct sockaddr *source, socklen_t *length) {
  struct nc_name name;
  if (source == NULL || !is_ours(fd, &name)) return nc_native()->recvfrom(fd, data, bytes, flags, source, length);
  return finish(nc_recvfrom(fd, &name, data, bytes, flags, length));
}

NC_EXPORT ssize_t recvfrom(int fd, void *restrict data, size_t bytes, int flags, __SOCKADDR_ARG address,
                           socklen_t *restrict length) {
  return recvfrom_fd(fd, data, bytes, flags, address.__sockaddr__, length);
}

// What recvfrom becomes under _FORTIFY_SOURCE; libc's own would call the kernel directly.
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
NC_EXPORT ssize_t __recvfrom_chk(int fd, void *data, size_t bytes, size_t room, int flags, struct sockaddr *address,
                                 socklen_t *length) {
  if (bytes > room) __builtin_trap(); // an overflow about to happen: libc too ends the process
  return recvfrom_fd(fd, data, bytes, flags, address, length);
}

NC_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  struct nc_name name;
  bool plain = message == NULL || (message->msg_name == NULL && message->msg_controllen == 0);
  if (plain || !is_ours(fd, &name)) return nc_native()->sendmsg(fd, message, flags);
  return finish(nc_sendmsg(fd, &name, message, flags));
}

NC_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  struct nc_name name;
  if (message == NULL || message->msg_name == NULL || !is_ours(fd, &name))
    return nc_native()->recvmsg(fd, message, flags);
  return finish(nc_recvmsg(fd, &name, message, flags));
}

// syscall() takes its arguments as longs, whatever they are; those not passed are read as garbage, as libc's does.
NC_EXPORT long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
  long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
  va_end(list);
  if (nc_active()) {
    switch (number) {
    case SYS_socket: return socket((int)a, (int)b, (int)c);
    case SYS_bind: return bind_fd((int)a, (const struct sockaddr *)b, (socklen_t)c);
    case SYS_listen: return listen((int)a, (int)b);
#ifdef SYS_accept
    case SYS_accept: return accept_fd((int)a, (struct sockaddr *)b, (socklen_t *)c);
#endif
    case SYS_accept4: return accept4_fd((int)a, (struct sockaddr *)b, (socklen_t *)c, (int)d);
    case SYS_connect: return connect_fd((int)a, (const struct sockaddr *)b, (socklen_t)c);
    case SYS_getsockname: return getsockname_fd((int)a, (struct sockaddr *)b, (socklen_t *)c);
    case SYS_getpeername: return getpeername_fd((int)a, (struct sockaddr *)b, (socklen_t *)c);
    case SYS_getsockopt: return getsockopt((int)a, (int)b, (int)c, (void *)d, (socklen_t *)e);
    case SYS_setsockopt: return setsockopt((int)a, (int)b, (int)c, (const void *)d, (socklen_t)e);
    default: break;
    }
  }
  // Any system call may be meant here, also one whose result is a large unsigned number: only -4095…-1 are errors.
  long result = nc_raw(number, a, b, c, d, e, f);
  return (unsigned long)result > -4096ul ? finish(result) : result;
}
