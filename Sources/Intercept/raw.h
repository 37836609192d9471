// Bare system calls: no errno, no cancellation, no libc state, so they work in early constructors, in the children of
// vfork and clone, and whatever else is preloaded. Each returns >= 0 or a negative errno.
#ifndef NETCOND_INTERCEPT_RAW_H
#define NETCOND_INTERCEPT_RAW_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>

_Static_assert(sizeof(long) == 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "64-bit little-endian Linux only");

static inline long nc_raw(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
  return x0;
#else
#error "netcond's library knows the system calls of x86-64 and aarch64"
#endif
}

static inline int nc_raw_close(int fd) { return (int)nc_raw(SYS_close, fd, 0, 0, 0, 0, 0); }

static inline int nc_raw_fcntl(int fd, int command, long argument) {
  return (int)nc_raw(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

static inline int nc_raw_getsockopt(int fd, int level, int option, void *value, socklen_t *length) {
  return (int)nc_raw(SYS_getsockopt, fd, level, option, (long)value, (long)length, 0);
}

static inline int nc_raw_setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
  return (int)nc_raw(SYS_setsockopt, fd, level, option, (long)value, (long)length, 0);
}

static inline long nc_raw_sendmsg(int fd, const struct msghdr *message, int flags) {
  return nc_raw(SYS_sendmsg, fd, (long)message, flags, 0, 0, 0);
}

static inline long nc_raw_recvmsg(int fd, struct msghdr *message, int flags) {
  return nc_raw(SYS_recvmsg, fd, (long)message, flags, 0, 0, 0);
}

static inline int nc_raw_shutdown(int fd, int how) { return (int)nc_raw(SYS_shutdown, fd, how, 0, 0, 0, 0); }

#endif
