// connect(): the request starts an attempt in the daemon; its outcome shows on the fd.
//
// Linux keeps the attempt at the socket, not at the call: the call may end early (EINTR, SO_SNDTIMEO) while the attempt
// goes on, and the first connect() after the outcome collects it (0 or the error), the next says EISCONN or tries
// anew. NC_MARK_COLLECTED is that difference.
//
// The request awaits a reply only where that may tell of more than an attempt under way: for a socket that is not plainly
// fresh, and where no connect to this address has been let through within the last second. Else it is posted; should the
// daemon refuse it at once, the socket ends as by any failed connect.
//
// Waiting. A send of one byte from a page that cannot be read waits exactly as Linux's connect does: until the daemon
// drains the filler (then EFAULT, nothing sent), with SO_SNDTIMEO, cancellation, and the restart after a handler
// installed with SA_RESTART, which no poll() has. Measured on Linux 6.18; should a kernel look at the page before it
// waits, the socket is still in state NEW and poll() does the waiting.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>

#include "intercept.h"

static const void *unreadable_page(void) {
  static const void *page;
  const void *known = __atomic_load_n(&page, __ATOMIC_RELAXED);
  if (known != NULL) return known;
  // A page behind the end of a file: valgrind takes it for readable, where it would complain of one without rights.
  int empty = (int)nc_raw(SYS_memfd_create, (long)"netcond", MFD_CLOEXEC, 0, 0, 0, 0);
  long made = empty >= 0 ? nc_raw(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, empty, 0)
                         : nc_raw(SYS_mmap, 0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (empty >= 0) nc_raw_close(empty);
  if (made < 0) return NULL;
  __atomic_store_n(&page, (const void *)made, __ATOMIC_RELAXED); // two threads at once: one page too many, once
  return (const void *)made;
}

static int collect(int fd, int result) {
  nc_mark(fd, NC_MARK_COLLECTED);
  return result;
}

// The daemon's end is closed: `sent` is what the kernel said, EPIPE or the pending ECONNRESET.
static int outcome_of_closed(int fd, int sent) {
  struct nc_name name;
  if (!nc_identify(fd, &name)) return -EBADF;
  switch (name.state) {
  case NC_STATE_FAILED:
    (void)nc_take_error(fd, &name);
    return collect(fd, -(name.error != 0 ? name.error : ECONNABORTED));
  case NC_STATE_CONNECTED: // and over already; EPIPE: in an orderly way
    return collect(fd, sent == EPIPE ? 0 : -sent);
  default:
    if ((nc_marks(fd) & NC_MARK_SHUT) == 0) return -ENETDOWN;
    (void)nc_take_error(fd, &name);
    return -ECONNRESET;
  }
}

// Waits for the outcome; `pending` is the error of a call that ends before it.
static int await_outcome(int fd, int pending) {
  int flags = nc_raw_fcntl(fd, F_GETFL, 0);
  if (flags < 0) return flags;
  if ((flags & O_NONBLOCK) != 0) return pending;
  const void *page = unreadable_page();
  int saved = errno;
  for (;;) {
    // A cancellation point, as connect() is.
    int error = EFAULT;
    if (page != NULL && nc_native()->sendto(fd, page, 1, MSG_NOSIGNAL, NULL, 0) < 0) error = errno;
    errno = saved;
    switch (error) {
    case EFAULT: break;
    case EAGAIN: return pending;
    case EPIPE:
    case ECONNRESET: return outcome_of_closed(fd, error);
    default: return -error;
    }
    struct nc_name name;
    if (!nc_look(fd, &name)) return -EBADF;
    if (name.state == NC_STATE_CONNECTED) return collect(fd, 0);
    if (name.state == NC_STATE_FAILED) return outcome_of_closed(fd, EPIPE);
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    int ready = poll(&writable, 1, -1);
    error = errno;
    errno = saved;
    if (ready < 0) return -error;
    if ((writable.revents & (POLLHUP | POLLERR)) != 0) return outcome_of_closed(fd, EPIPE);
  }
}

// A socket of the kernel can connect again after a failure; a pair whose other end is gone cannot. The last resort is a
// fresh pair put over the fd: dups in other processes and epoll registrations keep the old one.
int nc_renew(int fd, struct nc_name *name) {
  int flags = nc_raw_fcntl(fd, F_GETFL, 0);
  int descriptor_flags = nc_raw_fcntl(fd, F_GETFD, 0);
  if (flags < 0 || descriptor_flags < 0) return -EBADF;
  int fresh = nc_create_like(fd, name->family, name->type, name->protocol, true);
  if (fresh < 0) return fresh;
  nc_copy_timeouts(fd, fresh);
  nc_toggle_copy(fd, fresh);
  (void)nc_raw_fcntl(fresh, F_SETFL, flags);
  int placed = (int)nc_raw(SYS_dup3, fresh, fd, (descriptor_flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0, 0, 0, 0);
  nc_raw_close(fresh);
  if (placed < 0) return placed;
  nc_hint_mark(fd, NC_HINT_LOOK);
  if (name->type == SOCK_STREAM) nc_mark(fd, NC_MARK_NAMED);
  return nc_identify(fd, name) ? 0 : -EBADF;
}

int nc_revive(int fd, struct nc_name *name) {
  int marks = nc_marks(fd);
  bool is_at_end = false;
  switch (name->state) {
  case NC_STATE_FAILED: is_at_end = (marks & NC_MARK_COLLECTED) != 0; break;
  case NC_STATE_NEW:
  case NC_STATE_LISTENING: is_at_end = (marks & NC_MARK_SHUT) != 0; break;
  default: break;
  }
  return is_at_end ? nc_renew(fd, name) : 0;
}

// connect(AF_UNSPEC): Linux drops the connection with a RST and leaves an idle socket, with an error pending
// (tcp_disconnect). The old pair is told to reset by a copy of it, after the fresh one has its options.
static int disconnect(int fd, struct nc_name *name) {
  int state = nc_tcp_state(fd);
  if (name->state == NC_STATE_NEW && state == TCP_CLOSE) return 0;
  bool is_reset = name->state == NC_STATE_CONNECTED || state == TCP_SYN_SENT;
  int former = nc_raw_fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (former < 0) return former;
  int error = nc_renew(fd, name);
  if (error == 0 && is_reset) {
    struct linger abort = {.l_onoff = 1, .l_linger = 0};
    (void)nc_setsockopt(former, name, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    nc_owe_error(fd, ECONNRESET);
  }
  nc_raw_close(former);
  return error;
}

static int begin(int fd, const struct nc_name *name, const struct sockaddr *address, socklen_t length) {
  struct nc_request request = {.op = NC_OP_CONNECT};
  struct nc_reply reply;
  int error = nc_address_read(name->family, address, length, &request.address);
  if (error != 0) return error;
  // Whether there is a way depends on no port; on an IPv6 socket, IPV6_V6ONLY speaks for IPv4.
  struct nc_address host = request.address;
  host.port = 0;
  uint64_t key = nc_route_hash(name->daemon_nonce, &host);
  bool may_post = name->state == NC_STATE_NEW && host.family == name->family && nc_route_is_known(key);
  int marks = may_post ? nc_marks(fd) : 0;
  if (may_post && (marks & (NC_MARK_BEGUN | NC_MARK_NAMED | NC_MARK_SHUT | NC_MARK_COLLECTED)) == 0) {
    nc_set_marks(fd, marks | NC_MARK_BEGUN);
    error = nc_post(&request, fd);
    return error == 0 ? -EINPROGRESS : error;
  }
  error = nc_rpc(&request, fd, &reply, NULL, false);
  if (error != 0 && error != -EINPROGRESS) return error;
  if (name->state == NC_STATE_NEW) nc_mark(fd, NC_MARK_BEGUN);
  nc_route_note(key);
  return -EINPROGRESS;
}

int nc_connect(int fd, struct nc_name *name, const struct sockaddr *source, socklen_t length) {
  struct sockaddr_storage copy;
  const struct sockaddr *address = (const struct sockaddr *)&copy;
  int copied = nc_address_copy(source, length, &copy);
  if (copied != 0) return copied;
  if (length < sizeof(sa_family_t)) return -EINVAL;
  if (name->state == NC_STATE_DATAGRAM) return nc_datagram_connect(fd, name, address, length);
  if (address->sa_family == AF_UNSPEC) return disconnect(fd, name);
  for (;;) {
    int error;
    switch (name->state) {
    case NC_STATE_LISTENING: return -EISCONN;
    case NC_STATE_CONNECTED:
      if ((nc_marks(fd) & NC_MARK_COLLECTED) != 0 || !nc_made_by_socket(fd)) return -EISCONN;
      return collect(fd, 0);
    case NC_STATE_FAILED:
      if ((nc_marks(fd) & NC_MARK_COLLECTED) == 0) {
        error = nc_take_error(fd, name);
        return collect(fd, -(error != 0 ? error : ECONNABORTED));
      }
      break;
    default: break;
    }
    error = nc_revive(fd, name);
    if (error != 0) return error;
    error = begin(fd, name, address, length);
    if (error == -EINPROGRESS || error == -EALREADY) return await_outcome(fd, error);
    // The outcome of an earlier attempt may have come while we asked: then that is the answer.
    if (!nc_identify(fd, name) || name->state == NC_STATE_NEW || name->state == NC_STATE_LISTENING) return error;
  }
}
