// Sockets made ahead. A program that makes TCP sockets again and again gets a dispenser, one for each family: a socket in
// whose queue the daemon tells of app's ends, so that socket() is a receipt. What is not taken has no number here; each message
// goes to one process only, whoever shares the dispenser after fork. It lives and is closed with the connection (rpc.c).
//
// Two ways. Where this program may take descriptors from the daemon's process (pidfd_getfd(2), Linux 5.6: as for ptrace), the
// message holds the number of one there. Elsewhere the descriptor comes with it; then it is in flight meanwhile, and while any
// socket is, the kernel looks for cycles of such at each close of a unix socket (Linux 6.18, unix_gc: some 5 µs).
//
// What was taken is remembered by fd until a request carries it: a connect then needs no descriptor, the daemon still has
// its own of the same socket.
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "rpc_slot.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

enum {
  DISPENSER_HABIT = 8, /* that many sockets within a second: there will be more */
  DISPENSER_MILLISECONDS = 1000,
  TAKEN_MILLISECONDS = 100,  /* the daemon gives its own descriptor back 200 ms after it saw that the socket was taken */
  DISPENSER_LEAST_FDS = 256, /* whoever may have fewer needs each number */
  PIDFS_TYPE = 0x50494446,   /* PIDFS_MAGIC of linux/magic.h: each process has an inode there (Linux 6.9) */
};

static bool is_dispenser_open(const struct dispenser *dispenser) {
  uint64_t cookie = __atomic_load_n(&dispenser->cookie, __ATOMIC_RELAXED);
  return cookie != 0 && nc_cookie(__atomic_load_n(&dispenser->fd, __ATOMIC_RELAXED)) == cookie;
}

// The inode of a pidfd; 0 for any other fd, and where the kernel has no filesystem for them.
static uint64_t process_inode(int fd) {
  struct statfs system;
  struct stat file;
  if (nc_raw(SYS_fstatfs, fd, (long)&system, 0, 0, 0, 0) != 0 || system.f_type != PIDFS_TYPE) return 0;
  return nc_raw(SYS_newfstatat, fd, (long)"", (long)&file, AT_EMPTY_PATH, 0, 0) == 0 ? file.st_ino : 0;
}

static void close_daemon(const struct slot *slot) {
  uint64_t inode = __atomic_load_n(&slot->daemon_inode, __ATOMIC_RELAXED);
  if (inode != 0 && process_inode(slot->daemon) == inode) nc_raw_close(slot->daemon);
}

void nc_prepared_close(const struct slot *slot) {
  for (int index = 0; index < 2; index++)
    if (is_dispenser_open(&slot->dispensers[index])) nc_raw_close(slot->dispensers[index].fd);
  close_daemon(slot);
}

void nc_prepared_forget(struct slot *slot) {
  for (int index = 0; index < 2; index++) __atomic_store_n(&slot->dispensers[index].cookie, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->daemon_inode, 0, __ATOMIC_RELAXED);
  memset(slot->taken, 0, sizeof slot->taken);
}

static uint32_t milliseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return (uint32_t)time.tv_sec * 1000 + (uint32_t)time.tv_nsec / 1000000;
}

uint64_t nc_prepared_cookie(struct slot *slot, int fd) {
  struct taken *taken = &slot->taken[(unsigned)fd % TAKEN_COUNT];
  uint64_t cookie = taken->cookie;
  if (cookie == 0 || nc_cookie(fd) != cookie) return 0;
  taken->cookie = 0;
  return milliseconds() - taken->time < TAKEN_MILLISECONDS ? cookie : 0;
}

// Whether the daemon's end of an unused socket is open: then a receipt would wait.
static bool is_alive(int fd) {
  char byte;
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  return nc_raw_recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT) == -EAGAIN;
}

// Makes of a fetched end what the daemon makes of those that it passes: unwritable, and marked.
static bool finish(int fd, const struct nc_prepared *prepared) {
  static const char filler[8192]; // the daemon asks for no more
  const int least = 1;
  if (prepared->filler_bytes > sizeof filler) return false;
  long filled = nc_raw(SYS_sendto, fd, (long)filler, prepared->filler_bytes, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
  if (filled != (long)prepared->filler_bytes) return false;
  if (nc_raw_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) != 0) return false;
  nc_set_marks(fd, prepared->marks);
  return true;
}

// Takes the socket that a message tells of from the daemon's process. Returns an fd, -EMFILE, -EAGAIN where it is no more, or -EPERM
// where this program may take none any more: it has changed its user.
static int fetch(struct slot *slot, const struct nc_prepared *prepared, bool close_on_exec) {
  if (slot->daemon_inode == 0) return -EPERM;
  int fd = (int)nc_raw(SYS_pidfd_getfd, slot->daemon, prepared->descriptor, 0, 0, 0, 0);
  if (fd == -EPERM) {
    close_daemon(slot);
    __atomic_store_n(&slot->daemon_inode, 0, __ATOMIC_RELAXED);
  }
  if (fd == -EPERM || fd == -EMFILE) return fd;
  if (fd < 0) return -EAGAIN;
  // The number may be another's by now, there or here.
  if (nc_cookie(fd) != prepared->cookie || !finish(fd, prepared)) {
    nc_raw_close(fd);
    return -EAGAIN;
  }
  if (!close_on_exec) (void)nc_raw_fcntl(fd, F_SETFD, 0);
  slot->taken[(unsigned)fd % TAKEN_COUNT] = (struct taken){.cookie = prepared->cookie, .time = milliseconds()};
  return fd;
}

static int take(struct slot *slot, int family, bool close_on_exec) {
  struct dispenser *dispenser = &slot->dispensers[family == AF_INET6];
  while (is_dispenser_open(dispenser)) {
    struct nc_prepared prepared;
    int fd, flags = MSG_DONTWAIT | (close_on_exec ? MSG_CMSG_CLOEXEC : 0);
    long bytes = nc_receive_with_fd(dispenser->fd, &prepared, sizeof prepared, flags, &fd);
    if (bytes == -EAGAIN) return -EAGAIN;
    if (bytes <= 0) { // the daemon has gone
      nc_raw_close(dispenser->fd);
      break;
    }
    bool is_sound = bytes == sizeof prepared && prepared.magic == NC_RPC_MAGIC && prepared.version == NC_RPC_VERSION;
    if (is_sound && (prepared.flags & NC_PREPARED_LOW) != 0) {
      struct nc_request refill = {.op = NC_OP_REFILL, .flags = NC_REQUEST_POSTED, .argument = {family}};
      (void)nc_slot_exchange(slot, &refill, -1, NULL, NULL, false);
    }
    if (is_sound && prepared.descriptor >= 0) {
      fd = fetch(slot, &prepared, close_on_exec);
      if (fd == -EAGAIN) continue;
      if (fd != -EPERM) return fd;
      nc_raw_close(dispenser->fd);
      break;
    }
    // As in a reply: the kernel had no number left for it and dropped it.
    if (is_sound && fd < 0) return -EMFILE;
    if (is_sound && is_alive(fd)) return fd;
    if (fd >= 0) nc_raw_close(fd);
  }
  __atomic_store_n(&dispenser->cookie, 0, __ATOMIC_RELAXED);
  return -EAGAIN;
}

int nc_take_prepared(int family, bool close_on_exec) {
  const struct slot *seen = nc_slot_seen();
  if (__atomic_load_n(&seen->dispensers[family == AF_INET6].cookie, __ATOMIC_RELAXED) == 0) return -EAGAIN;
  // A filter that the program has put on itself may not know of fetching.
  if (nc_is_sandboxed() && __atomic_load_n(&seen->daemon_inode, __ATOMIC_RELAXED) != 0) return -EAGAIN;
  struct hold hold;
  int fd = take(nc_slot_enter(&hold), family, close_on_exec);
  nc_slot_leave(&hold);
  return fd;
}

// Whether this program may take descriptors from the daemon's process; if so, opens the way. Nothing of it is tried under a filter of
// system calls, which may end the program for it.
static bool may_fetch(struct slot *slot) {
  if (slot->daemon_inode != 0) return true;
  if (nc_is_sandboxed() || nc_raw(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) != 0) return false;
  int daemon;
  socklen_t length = sizeof daemon;
  if (nc_raw_getsockopt(slot->fd, SOL_SOCKET, SO_PEERPIDFD, &daemon, &length) != 0) return false;
  // Rights are looked at before the number is.
  uint64_t inode = process_inode(daemon);
  if (inode == 0 || nc_raw(SYS_pidfd_getfd, daemon, INT32_MAX, 0, 0, 0, 0) != -EBADF) {
    nc_raw_close(daemon);
    return false;
  }
  slot->daemon = nc_raise_fd(daemon);
  __atomic_store_n(&slot->daemon_inode, inode, __ATOMIC_RELAXED);
  return true;
}

static void open_dispenser(struct slot *slot, struct dispenser *dispenser, int family) {
  struct rlimit limit = {0};
  if (nc_raw(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0, 0) != 0 || limit.rlim_cur < DISPENSER_LEAST_FDS) return;
  struct nc_request request = {
    .op = NC_OP_DISPENSER, .argument = {family, may_fetch(slot) ? NC_DISPENSER_FETCHES : 0}};
  struct nc_reply reply;
  int fd;
  if (nc_slot_exchange(slot, &request, -1, &reply, &fd, true) != 0 || fd < 0) return;
  fd = nc_raise_fd(fd);
  __atomic_store_n(&dispenser->fd, fd, __ATOMIC_RELAXED);
  __atomic_store_n(&dispenser->cookie, nc_cookie(fd), __ATOMIC_RELAXED);
}

void nc_want_prepared(int family) {
  if (__atomic_load_n(&nc_slot_seen()->dispensers[family == AF_INET6].cookie, __ATOMIC_RELAXED) != 0) return;
  uint32_t now = milliseconds();
  struct hold hold;
  struct slot *slot = nc_slot_enter(&hold);
  struct dispenser *dispenser = &slot->dispensers[family == AF_INET6];
  if (dispenser->count == 0 || now - dispenser->since >= DISPENSER_MILLISECONDS) {
    dispenser->since = now;
    dispenser->count = 0;
  }
  if (++dispenser->count >= DISPENSER_HABIT && dispenser->cookie == 0) {
    dispenser->count = 0;
    open_dispenser(slot, dispenser, family);
  }
  nc_slot_leave(&hold);
}
