// epoll(7) and ppoll(2), which the Glibc module leaves out.
#ifndef NC_EPOLL_H
#define NC_EPOLL_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/// ppoll(2) without a signal mask.
static inline long nc_ppoll(struct pollfd *waiting, nfds_t count, struct timespec *bound) {
  return syscall(SYS_ppoll, waiting, count, bound, NULL, 0);
}

#endif
