// The interposed symbols that steer a socket (intercept.map lists them again for the linker), and syscall().
//
// Each passes the call on to libc unless there is a virtual network and the fd belongs to it.
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exports.h"

static inline bool is_ours(int fd, struct nc_name *name) { return nc_active() && nc_look(fd, name); }

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
  return (int)finish(nc_getpeername(fd, &name, address, length));
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
  int mirror = nc_toggle_to_set_again(fd, level, option);
  if (mirror != 0) return (int)finish(nc_raw_setsockopt(fd, SOL_SOCKET, mirror, value, length));
  struct nc_name name;
  if (!is_ours(fd, &name)) return nc_native()->setsockopt(fd, level, option, value, length);
  if (name.state == NC_STATE_DATAGRAM) nc_datagram_settle(fd);
  int error = nc_setsockopt(fd, &name, level, option, value, length);
  if (error == 0 && name.state == NC_STATE_DATAGRAM) nc_datagram_option_set(fd, level, option, value, length);
  return (int)finish(error);
}

NC_EXPORT int shutdown(int fd, int how) {
  struct nc_name name;
  if ((nc_is_sandboxed() && nc_hint(fd) == NC_HINT_STREAM) || !is_ours(fd, &name)) return nc_native()->shutdown(fd, how);
  return (int)finish(nc_shutdown(fd, &name, how));
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
    case SYS_shutdown: return shutdown((int)a, (int)b);
    case SYS_read: return read((int)a, (void *)b, (size_t)c);
    case SYS_readv: return readv((int)a, (const struct iovec *)b, (int)c);
    case SYS_write: return write((int)a, (const void *)b, (size_t)c);
    case SYS_writev: return writev((int)a, (const struct iovec *)b, (int)c);
    case SYS_sendto:
      return nc_export_sendto((int)a, (const void *)b, (size_t)c, (int)d, (const struct sockaddr *)e, (socklen_t)f);
    case SYS_recvfrom:
      return nc_export_recvfrom((int)a, (void *)b, (size_t)c, (int)d, (struct sockaddr *)e, (socklen_t *)f);
    case SYS_sendmsg: return sendmsg((int)a, (const struct msghdr *)b, (int)c);
    case SYS_recvmsg: return recvmsg((int)a, (struct msghdr *)b, (int)c);
    case SYS_sendmmsg: return sendmmsg((int)a, (struct mmsghdr *)b, (unsigned)c, (int)d);
    case SYS_recvmmsg: return recvmmsg((int)a, (struct mmsghdr *)b, (unsigned)c, (int)d, (struct timespec *)e);
#ifdef SYS_poll
    case SYS_poll: return poll((struct pollfd *)a, (nfds_t)b, (int)c);
#endif
    case SYS_dup: return dup((int)a);
#ifdef SYS_dup2
    case SYS_dup2: return dup2((int)a, (int)b);
#endif
    case SYS_dup3: return dup3((int)a, (int)b, (int)c);
    case SYS_fcntl: return fcntl((int)a, (int)b, c);
    case SYS_ioctl: return ioctl((int)a, (unsigned long)b, c);
    case SYS_pidfd_getfd: return pidfd_getfd((int)a, (int)b, (unsigned)c);
    case SYS_prctl: return prctl((int)a, b, c, d, e);
    case SYS_seccomp: return nc_export_seccomp((unsigned)a, (unsigned)b, (void *)c);
    case SYS_execve: return execve((const char *)a, (char *const *)b, (char *const *)c);
    case SYS_execveat: return execveat((int)a, (const char *)b, (char *const *)c, (char *const *)d, (int)e);
    default: break;
    }
  }
  // Any system call may be meant here, also one whose result is a large unsigned number: only -4095…-1 are errors.
  long result = nc_raw(number, a, b, c, d, e, f);
  return (unsigned long)result > -4096ul ? finish(result) : result;
}
