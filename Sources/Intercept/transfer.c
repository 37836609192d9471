// The data calls on streams: those that carry an address or control messages, and all on what is not connected yet.
//
// On a stream Linux's TCP ignores the address of a send, and returns none on receipt (length 0). A unix socket would
// say EISCONN, return its own kind of address, and pass fds to the daemon.
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "intercept.h"

static ssize_t result_of(ssize_t result) { return result < 0 ? -errno : result; }

// Not connected and not connecting: Linux refuses at once where the pair would wait for ever. After a failed connect
// that is so once connect() itself has told of the failure (Linux then disconnects, __inet_stream_connect); told of by
// SO_ERROR or by a read, the socket stays at its end.
static bool is_idle(int fd, const struct nc_name *name) {
  switch (name->state) {
  case NC_STATE_LISTENING: return true;
  case NC_STATE_NEW: return (nc_marks(fd) & NC_MARK_SHUT) != 0 || nc_tcp_state(fd) == TCP_CLOSE;
  case NC_STATE_FAILED: return (nc_marks(fd) & NC_MARK_COLLECTED) != 0;
  default: return false;
  }
}

static int broken_pipe(int flags) {
  if ((flags & MSG_NOSIGNAL) == 0) {
    long pid = nc_raw(SYS_getpid, 0, 0, 0, 0, 0, 0), thread = nc_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
    (void)nc_raw(SYS_tgkill, pid, thread, SIGPIPE, 0, 0, 0);
  }
  return -EPIPE;
}

// TCP tells of a pending error before it speaks of a broken pipe (sk_stream_error); a unix socket does not.
ssize_t nc_stream_broken(int fd, const struct nc_name *name, int flags, int error) {
  if (error == ECONNRESET) error = nc_error_as_tcp(fd, name, error);
  else error = nc_take_error(fd, name);
  return error == 0 || error == EPIPE ? broken_pipe(flags) : -error;
}

// MSG_FASTOPEN connects first. A socket that does not wait gets EINPROGRESS with nothing queued, as Linux says while it
// has no cookie of the peer (RFC 7413).
static int prepare_send(int fd, struct nc_name *name, int flags, const struct sockaddr *address, socklen_t length) {
  if ((flags & MSG_FASTOPEN) == 0 || address == NULL || name->state == NC_STATE_CONNECTED)
    return is_idle(fd, name) ? (int)nc_stream_broken(fd, name, flags, EPIPE) : 0;
  return nc_connect(fd, name, address, length);
}

// Linux's TCP lets SCM_RIGHTS and SCM_CREDENTIALS pass without effect, ignores foreign levels (__sock_cmsg_send), and
// refuses what it does not know; timestamps and marks, which it knows, we refuse too.
static int check_control(const struct msghdr *message) {
  struct msghdr copy = *message;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&copy); header != NULL; header = CMSG_NXTHDR(&copy, header)) {
    if (header->cmsg_len < sizeof *header) return -EINVAL;
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type != SCM_RIGHTS && header->cmsg_type != SCM_CREDENTIALS) return -EINVAL;
  }
  return 0;
}

// Urgent data is the pair's own, but the daemon must know that some will come.
static int announce_urgent(int fd, const struct nc_name *name) {
  if (name->state != NC_STATE_CONNECTED || (nc_marks(fd) & NC_MARK_URGENT) != 0) return 0;
  int error;
  do {
    struct nc_request request = {.op = NC_OP_URGENT};
    struct nc_reply reply;
    error = nc_rpc(&request, fd, &reply, NULL, false);
  } while (error == -EAGAIN);
  if (error == 0) nc_mark(fd, NC_MARK_URGENT);
  return error;
}

ssize_t nc_stream_send(int fd, struct nc_name *name, const struct msghdr *message, int flags) {
  if ((int)message->msg_namelen < 0 || message->msg_namelen > sizeof(struct sockaddr_storage)) return -EINVAL;
  int error = message->msg_control != NULL ? check_control(message) : 0;
  if (error != 0) return error;
  error = prepare_send(fd, name, flags, message->msg_name, message->msg_namelen);
  if (error != 0) return error;
  error = (flags & MSG_OOB) != 0 ? announce_urgent(fd, name) : 0;
  // A connection that is over says so itself.
  if (error != 0 && error != -ENOTSOCK && error != -ENOTCONN) return error;
  struct msghdr plain = {.msg_iov = message->msg_iov, .msg_iovlen = message->msg_iovlen};
  ssize_t sent = result_of(nc_native()->sendmsg(fd, &plain, (flags & ~MSG_FASTOPEN) | MSG_NOSIGNAL));
  if (sent != -EPIPE && sent != -ECONNRESET) return sent;
  // The state may have changed while the call waited: a connect that was under way has failed.
  if (!nc_identify(fd, name)) return -EBADF;
  return nc_stream_broken(fd, name, flags, (int)-sent);
}

void nc_stream_cut(int fd) {
  struct pollfd state = {.fd = fd};
  struct timespec now = {0};
  struct nc_name name;
  if (nc_raw(SYS_ppoll, (long)&state, 1, (long)&now, 0, 0, 0) != 1 || (state.revents & POLLHUP) == 0) return;
  if (!nc_identify(fd, &name) || name.type != SOCK_STREAM || name.state != NC_STATE_CONNECTED) return;
  if (!nc_owes_error(fd)) nc_owe_error(fd, ECONNRESET);
}

// A reset behind the peer's FIN, which is EPIPE, is nothing to a reader: the end was there before (tcp_fin, SOCK_DONE).
ssize_t nc_stream_reset(int fd, const struct nc_name *name) {
  int error = nc_error_as_tcp(fd, name, ECONNRESET);
  return error == EPIPE ? 0 : -error;
}

// tcp(7): MSG_TRUNC discards the bytes. They go to a page that nobody reads, as often as it takes; 4 MiB at once.
static ssize_t discard(int fd, const struct msghdr *message, int flags) {
  enum { PAGE = 4096 };
  char page[PAGE];
  struct iovec parts[UIO_MAXIOV];
  size_t wanted = 0, count = 0;
  for (size_t index = 0; index < message->msg_iovlen; index++) wanted += message->msg_iov[index].iov_len;
  for (; wanted > 0 && count < UIO_MAXIOV; count++) {
    size_t bytes = wanted < PAGE ? wanted : PAGE;
    parts[count] = (struct iovec){.iov_base = page, .iov_len = bytes};
    wanted -= bytes;
  }
  struct msghdr plain = {.msg_iov = parts, .msg_iovlen = count};
  return result_of(nc_native()->recvmsg(fd, &plain, flags & ~MSG_TRUNC));
}

ssize_t nc_stream_receive(int fd, const struct nc_name *name, struct msghdr *message, int flags) {
  if ((flags & MSG_ERRQUEUE) != 0) return -EAGAIN; // nothing is ever queued there
  if (is_idle(fd, name)) {
    if ((flags & MSG_OOB) != 0 && name->state != NC_STATE_LISTENING) return -EINVAL;
    int error = name->state == NC_STATE_NEW ? nc_take_error(fd, name) : 0;
    return error != 0 ? -error : -ENOTCONN;
  }
  struct msghdr plain = *message;
  plain.msg_name = NULL;
  plain.msg_namelen = 0;
  ssize_t received;
  if ((flags & MSG_TRUNC) != 0) {
    received = discard(fd, message, flags);
    plain.msg_controllen = 0;
    plain.msg_flags = 0;
  } else {
    received = result_of(nc_native()->recvmsg(fd, &plain, flags));
  }
  if (received == -ECONNRESET) {
    struct nc_name now;
    return nc_identify(fd, &now) ? nc_stream_reset(fd, &now) : -EBADF;
  }
  if (received < 0) return received;
  message->msg_namelen = 0;
  message->msg_controllen = plain.msg_controllen;
  message->msg_flags = plain.msg_flags;
  return received;
}
