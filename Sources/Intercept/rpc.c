// The RPC connection: one for each process, opened at the first call, kept.
//
// Processes. atfork handlers miss clone() and vfork(), so the connection stands in a slot chosen by pid and owned by
// the pid stored in it. A process that finds its slot owned by another takes it over, lock and all: after fork() that
// is a stale copy whose holder lives elsewhere. Under vfork() the memory is shared with the parent, whose pid has (but
// for one in 16) another slot, so both connections stay known. A new process closes the connections it inherited.
// Pids come again, in pid namespaces even between parent and child: the owner is a pid and a count of forks.
//
// The app's hands. A program may close our fd or dup2 over it (closefrom, daemonising). Its SO_COOKIE is compared
// before each use; an fd that is not ours any more is left alone and another connection opened.
//
// Locks. Signals are blocked and cancellation is off from before the lock is taken until after it is given back, so
// neither can leave it held. All waits are bounded.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "rpc_slot.h"

enum { SLOT_COUNT = 16, ANSWER_SECONDS = 5, LOCK_RECHECK_MILLISECONDS = 100, HIGH_FD_MARGIN = 16, HIGH_FD_END = 1024 };

enum { UNLOCKED = 0, LOCKED = 1, CONTENDED = 2 };

static struct slot slots[SLOT_COUNT];

enum outcome {
  ANSWERED,
  REFUSED,  /* the kernel refused to send this message: nothing is wrong with the connection */
  NOT_SENT, /* the connection is dead; the daemon has not seen the request */
  LOST,     /* sent, then the connection died: it may have been carried out */
  SILENT,   /* no answer in time, or not an answer at all */
  MISMATCH, /* the daemon speaks another version */
};

// How often this memory was copied by fork. The kernel empties the page for the child, which then takes the next number;
// under vfork it stays the parent's. 0 where there is no such page.
static uint32_t fork_count(void) {
  static uint32_t *page, last;
  uint32_t *count = __atomic_load_n(&page, __ATOMIC_ACQUIRE);
  if (count == NULL) {
    long made = nc_raw(SYS_mmap, 0, sizeof *count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made < 0) return 0;
    if (nc_raw(SYS_madvise, made, sizeof *count, MADV_WIPEONFORK, 0, 0, 0) != 0 || // Linux 4.14
        !__atomic_compare_exchange_n(&page, &count, (uint32_t *)made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
      (void)nc_raw(SYS_munmap, made, sizeof *count, 0, 0, 0, 0);
    else
      count = (uint32_t *)made;
    if (count == NULL) return 0;
  }
  uint32_t known = 0, next = __atomic_load_n(&last, __ATOMIC_RELAXED) + 1;
  if (__atomic_load_n(count, __ATOMIC_RELAXED) == 0) {
    __atomic_store_n(&last, next, __ATOMIC_RELAXED);
    (void)__atomic_compare_exchange_n(count, &known, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }
  return __atomic_load_n(count, __ATOMIC_RELAXED);
}

// Tells this process from its ancestors and, under vfork, from its parent. A pid has 22 bits at most (proc(5), pid_max).
static uint64_t process_number(void) {
  uint64_t pid = (uint64_t)nc_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
  return (uint64_t)(fork_count() & 1023) << 22 | pid;
}

// Whether the slot's fd still is, in this process, the connection it was.
static bool is_open(const struct slot *slot) {
  uint64_t cookie = __atomic_load_n(&slot->cookie, __ATOMIC_RELAXED);
  return cookie != 0 && nc_cookie(__atomic_load_n(&slot->fd, __ATOMIC_RELAXED)) == cookie;
}

static void close_all(const struct slot *slot) {
  if (is_open(slot)) nc_raw_close(slot->fd);
  nc_prepared_close(slot);
}

static void drop(struct slot *slot) {
  close_all(slot);
  __atomic_store_n(&slot->cookie, 0, __ATOMIC_RELAXED);
  nc_prepared_forget(slot);
}

// The first call in a new process. Other slots are only read: under vfork they are our parent's.
static void settle(struct slot *own) {
  drop(own);
  for (int index = 0; index < SLOT_COUNT; index++)
    close_all(&slots[index]);
}

static struct slot *acquire(uint64_t process) {
  struct slot *slot = &slots[process % SLOT_COUNT];
  uint32_t *futex = (uint32_t *)&slot->owner;
  uint32_t taken = LOCKED;
  for (;;) {
    uint64_t seen = __atomic_load_n(&slot->owner, __ATOMIC_RELAXED);
    bool foreign = seen >> 32 != process;
    if (foreign || (uint32_t)seen == UNLOCKED) {
      if (!__atomic_compare_exchange_n(&slot->owner, &seen, process << 32 | taken, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED))
        continue;
      if (foreign) settle(slot);
      return slot;
    }
    if ((uint32_t)seen == LOCKED && !__atomic_compare_exchange_n(&slot->owner, &seen, process << 32 | CONTENDED, false,
                                                                 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
      continue;
    // Bounded, because a vfork child with our slot's index may take the lock over and wake nobody.
    struct timespec recheck = {.tv_nsec = LOCK_RECHECK_MILLISECONDS * 1000000L};
    (void)nc_raw(SYS_futex, (long)futex, FUTEX_WAIT_PRIVATE, CONTENDED, (long)&recheck, 0, 0);
    taken = CONTENDED;
  }
}

static void release(struct slot *slot, uint64_t process) {
  uint64_t seen = __atomic_load_n(&slot->owner, __ATOMIC_RELAXED);
  do
    if (seen >> 32 != process) return;
  while (!__atomic_compare_exchange_n(&slot->owner, &seen, process << 32, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
  if ((uint32_t)seen == CONTENDED) (void)nc_raw(SYS_futex, (long)&slot->owner, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

// Moves fd out of the way: programs expect the lowest numbers, and some close or reuse 3…9 blindly. Not higher than
// 1024, because the kernel's table of fds grows with the highest one.
int nc_raise_fd(int fd) {
  struct rlimit limit = {0};
  if (nc_raw(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0, 0) != 0) return fd;
  long end = limit.rlim_cur < HIGH_FD_END ? (long)limit.rlim_cur : HIGH_FD_END;
  long from = end > 2 * HIGH_FD_MARGIN ? end - HIGH_FD_MARGIN : end / 2;
  int high = nc_raw_fcntl(fd, F_DUPFD_CLOEXEC, from);
  if (high < 0) return fd;
  nc_raw_close(fd);
  return high;
}

static int explain_connect_failure(int error) {
  switch (error) {
  case -EACCES:
  case -EPERM:
    nc_report(NC_REPORT_DENIED, 0);
    return -ENETDOWN;
  case -EAGAIN: // the time-out, with the daemon's queue of connections full
  case -ETIMEDOUT:
    nc_report(NC_REPORT_SILENT, 0);
    return -ENETDOWN;
  default:
    nc_report(NC_REPORT_ABSENT, 0);
    return -ENETDOWN;
  }
}

// Returns 0, or a negative errno fit for the app.
static int open_connection(struct slot *slot) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *path = nc_network_path();
  size_t bytes = strlen(path) + 1;
  if (bytes > sizeof address.sun_path) return explain_connect_failure(-ENAMETOOLONG);
  memcpy(address.sun_path, path, bytes);

  int fd = (int)nc_raw(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, 0, 0, 0);
  if (fd < 0) return fd; // EMFILE, ENFILE, ENOBUFS, ENOMEM: errors of socket() itself
  struct timeval limit = {.tv_sec = ANSWER_SECONDS};
  (void)nc_raw_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  (void)nc_raw_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int error = (int)nc_raw(SYS_connect, fd, (long)&address, sizeof address, 0, 0, 0);
  if (error < 0) {
    nc_raw_close(fd);
    return explain_connect_failure(error);
  }
  fd = nc_raise_fd(fd);
  __atomic_store_n(&slot->fd, fd, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->cookie, nc_cookie(fd), __ATOMIC_RELAXED);
  return 0;
}

// `error` is set for REFUSED only.
static enum outcome send_request(const struct slot *slot, const struct nc_request *request, int fd, int *error) {
  struct iovec part = {.iov_base = (void *)request, .iov_len = sizeof *request};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof fd)];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
  }
  long sent = nc_raw_sendmsg(slot->fd, &message, MSG_NOSIGNAL);
  if (sent == (long)sizeof *request) return ANSWERED;
  switch (sent) {
  case -EAGAIN: return SILENT;
  case -ETOOMANYREFS: // more fds in flight than RLIMIT_NOFILE
  case -ENOBUFS:
  case -ENOMEM: *error = (int)sent; return REFUSED;
  case -EBADF: // the app's fd, closed by another thread just now; or our own, likewise
    *error = (int)sent;
    return is_open(slot) ? REFUSED : NOT_SENT;
  default: return NOT_SENT; // EPIPE, ECONNRESET: the daemon has gone since the last call
  }
}

long nc_receive_with_fd(int from, void *data, size_t bytes, int flags, int *fd) {
  struct iovec part = {.iov_base = data, .iov_len = bytes};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof *fd)];
  } control;
  // CMSG_LEN, not CMSG_SPACE: the padding would hold a second fd.
  struct msghdr message = {
    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof *fd)};
  long received = nc_raw_recvmsg(from, &message, flags);
  *fd = -1;
  if (received <= 0) return received;
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof *fd))
    memcpy(fd, CMSG_DATA(header), sizeof *fd);
  else if ((message.msg_flags & MSG_CTRUNC) != 0)
    *fd = -EMFILE;
  return received;
}

static enum outcome await_reply(const struct slot *slot, const struct nc_request *request, struct nc_reply *reply,
                                int *received, bool close_on_exec) {
  int fd;
  long bytes = nc_receive_with_fd(slot->fd, reply, sizeof *reply, close_on_exec ? MSG_CMSG_CLOEXEC : 0, &fd);
  if (bytes == -EAGAIN) return SILENT;
  if (bytes <= 0) return LOST;
  enum outcome outcome = SILENT;
  // Magic and version stand first in every version; the rest may differ.
  if (bytes >= (long)offsetof(struct nc_reply, op) && reply->magic == NC_RPC_MAGIC) {
    if (reply->version != NC_RPC_VERSION)
      outcome = MISMATCH;
    else if (bytes == sizeof *reply && reply->op == request->op && reply->sequence == request->sequence)
      outcome = ANSWERED;
  }
  if (fd >= 0 && (outcome != ANSWERED || reply->status != 0 || received == NULL)) {
    nc_raw_close(fd);
    fd = -1;
  }
  if (received != NULL) *received = fd < 0 ? -1 : fd;
  return outcome;
}

// What may be asked again when it may have been done already: binding twice is EINVAL, connecting twice EALREADY.
static bool is_repeatable(uint16_t op) { return op != NC_OP_BIND && op != NC_OP_CONNECT; }

int nc_slot_exchange(struct slot *slot, struct nc_request *request, int fd, struct nc_reply *reply, int *received,
                     bool close_on_exec) {
  request->magic = NC_RPC_MAGIC;
  request->version = NC_RPC_VERSION;
  uint64_t taken = fd >= 0 ? nc_prepared_cookie(slot, fd) : 0;
  for (int attempt = 0;; attempt++) {
    if (!is_open(slot)) {
      int error = open_connection(slot);
      if (error != 0) return error;
      taken = 0; // another connection must not name it
    }
    int error = -ENETDOWN;
    request->sequence = ++slot->sequence;
    request->cookie = reply == NULL && request->op == NC_OP_CONNECT ? taken : 0;
    enum outcome outcome = send_request(slot, request, request->cookie != 0 ? -1 : fd, &error);
    if (outcome == ANSWERED && reply == NULL) return 0;
    if (outcome == ANSWERED) outcome = await_reply(slot, request, reply, received, close_on_exec);
    if (outcome == ANSWERED) return -reply->status;
    if (outcome == REFUSED) return error;
    drop(slot);
    taken = 0;
    if (outcome == MISMATCH) {
      nc_report(NC_REPORT_VERSION, reply->version);
      return -EPROTONOSUPPORT;
    }
    bool again = outcome == NOT_SENT || (outcome == LOST && is_repeatable(request->op));
    if (!again || attempt > 0) {
      nc_report(outcome == SILENT ? NC_REPORT_SILENT : NC_REPORT_ABSENT, 0);
      return -ENETDOWN;
    }
  }
}

struct slot *nc_slot_enter(struct hold *hold) {
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &hold->cancel);
  uint64_t all = ~UINT64_C(0);
  (void)nc_raw(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, (long)&all, (long)&hold->signals, sizeof all, 0, 0);
  hold->process = process_number();
  hold->slot = acquire(hold->process);
  return hold->slot;
}

void nc_slot_leave(struct hold *hold) {
  release(hold->slot, hold->process);
  (void)nc_raw(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, (long)&hold->signals, 0, sizeof hold->signals, 0, 0);
  (void)pthread_setcancelstate(hold->cancel, &hold->cancel);
}

struct slot *nc_slot_seen(void) { return &slots[process_number() % SLOT_COUNT]; }

int nc_rpc(struct nc_request *request, int fd, struct nc_reply *reply, int *received, bool close_on_exec) {
  if (received != NULL) *received = -1;
  struct hold hold;
  int result = nc_slot_exchange(nc_slot_enter(&hold), request, fd, reply, received, close_on_exec);
  nc_slot_leave(&hold);
  return result;
}

int nc_ask_names(int fd, struct nc_reply *reply) {
  struct nc_request request = {.op = NC_OP_NAMES};
  return nc_rpc(&request, fd, reply, NULL, false);
}

int nc_post(struct nc_request *request, int fd) {
  request->flags |= NC_REQUEST_POSTED;
  return nc_rpc(request, fd, NULL, NULL, false);
}
