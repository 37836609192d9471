// The data calls on streams: those that carry an address or control messages, and all on what is not connected yet.
//
// On a stream Linux's TCP ignores the address of a send, and returns none on receipt (length 0). A unix socket would
// say EISCONN, return its own kind of address, and pass fds to the daemon.
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>

#include "intercept.h"

static ssize_t result_of(ssize_t result) { return result < 0 ? -errno : result; }

// Not connected and not connecting: Linux refuses at once where the pair would wait for ever.
static bool is_idle(int fd, const struct nc_name *name) {
  switch (name->state) {
  case NC_STATE_LISTENING: return true;
  case NC_STATE_NEW: return nc_tcp_state(fd) == TCP_CLOSE;
  default: return false;
  }
}

static ssize_t broken_pipe(int flags) {
  if ((flags & MSG_NOSIGNAL) == 0) {
    long pid = nc_raw(SYS_getpid, 0, 0, 0, 0, 0, 0), thread = nc_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
    (void)nc_raw(SYS_tgkill, pid, thread, SIGPIPE, 0, 0, 0);
  }
  return -EPIPE;
}

// MSG_FASTOPEN connects first. A socket that does not wait gets EINPROGRESS with nothing queued, as Linux says while it
// has no cookie of the peer (RFC 7413).
static int prepare_send(int fd, struct nc_name *name, int flags, const struct sockaddr *address, socklen_t length) {
  if ((flags & MSG_FASTOPEN) == 0 || address == NULL || name->state == NC_STATE_CONNECTED)
    return is_idle(fd, name) ? (int)broken_pipe(flags) : 0;
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

ssize_t nc_stream_send(int fd, struct nc_name *name, const struct msghdr *message, int flags) {
  if ((int)message->msg_namelen < 0 || message->msg_namelen > sizeof(struct sockaddr_storage)) return -EINVAL;
  int error = message->msg_control != NULL ? check_control(message) : 0;
  if (error != 0) return error;
  error = prepare_send(fd, name, flags, message->msg_name, message->msg_namelen);
  if (error != 0) return error;
  struct msghdr plain = {.msg_iov = message->msg_iov, .msg_iovlen = message->msg_iovlen};
  return result_of(nc_native()->sendmsg(fd, &plain, flags & ~MSG_FASTOPEN));
}

ssize_t nc_stream_receive(int fd, const struct nc_name *name, struct msghdr *message, int flags) {
  if (is_idle(fd, name)) return -ENOTCONN;
  struct msghdr plain = *message;
  plain.msg_name = NULL;
  plain.msg_namelen = 0;
  ssize_t received = result_of(nc_native()->recvmsg(fd, &plain, flags));
  if (received < 0) return received;
  message->msg_namelen = 0;
  message->msg_controllen = plain.msg_controllen;
  message->msg_flags = plain.msg_flags;
  return received;
}
