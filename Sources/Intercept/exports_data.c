// The interposed symbols that move data (intercept.map lists them again for the linker).
//
// Most calls that come here are for files, pipes and established streams: hints.c answers for those, and they go on to
// libc at once. All else is identified, and handled as one message whatever the call's form was.
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "exports.h"

// With these a receipt on a connection is the kernel's own. (Truncation, urgent data and error queues are not.)
enum { PLAIN_RECEIVE = MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC };
enum { PLAIN_SEND = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_EOR };

static inline bool is_foreign(int fd) {
  return !nc_active() || __builtin_expect(nc_hint(fd) == NC_HINT_FOREIGN, 1);
}

enum way {
  WAY_FOREIGN, /* none of ours */
  WAY_STREAM,  /* an established stream, or (a stale hint) a foreign fd: the kernel's own call, and its errors looked at */
  WAY_HERE,    /* ours, with something to do */
};

// Where a call on `fd` goes; `name` is filled in for WAY_HERE.
static enum way find_way(int fd, bool is_plain, struct nc_name *name) {
  if (is_foreign(fd)) return WAY_FOREIGN;
  if (is_plain && nc_hint(fd) == NC_HINT_STREAM) return WAY_STREAM;
  if (!nc_look(fd, name)) return WAY_FOREIGN;
  bool is_connection = name->type == SOCK_STREAM && name->state == NC_STATE_CONNECTED;
  return is_plain && is_connection ? WAY_STREAM : WAY_HERE;
}

static inline bool is_plain_send(int flags) { return (flags & ~PLAIN_SEND) == 0; }
static inline bool is_plain_receive(int flags) { return (flags & ~PLAIN_RECEIVE) == 0; }

// A stream's send went out with MSG_NOSIGNAL. Returns true where `*result` is the call's; false where the fd is none of
// ours and the call must be made again as it was.
static bool is_sent(int fd, int flags, size_t bytes, ssize_t *result) {
  if (nc_is_sandboxed()) return *result >= 0 || errno != ENOTSOCK;
  if (__builtin_expect(*result >= 0, 1)) {
    if (__builtin_expect((size_t)*result < bytes, 0)) nc_stream_cut(fd);
    return true;
  }
  int error = errno;
  if (error == ENOTSOCK) return false;
  if (error != EPIPE && error != ECONNRESET) return true;
  struct nc_name name;
  if (!nc_identify(fd, &name)) {
    errno = error;
    return error != EPIPE;
  }
  *result = finish(nc_stream_broken(fd, &name, flags, error));
  return true;
}

// Likewise a receipt: of the errors of a connection, the kernel knows ECONNRESET only.
static ssize_t finish_received(int fd, ssize_t result) {
  struct nc_name name;
  if (result >= 0 || errno != ECONNRESET || nc_is_sandboxed()) return result;
  if (nc_identify(fd, &name)) return finish(nc_stream_reset(fd, &name));
  errno = ECONNRESET;
  return result;
}

static ssize_t send_message(int fd, struct nc_name *name, const struct msghdr *message, int flags) {
  if (name->type == SOCK_STREAM) return nc_stream_send(fd, name, message, flags);
  return nc_datagram_send(fd, name, message, flags);
}

static ssize_t receive_message(int fd, const struct nc_name *name, struct msghdr *message, int flags) {
  if (name->type == SOCK_STREAM) return nc_stream_receive(fd, name, message, flags);
  return nc_datagram_receive(fd, name, message, flags);
}

// Sending

static inline ssize_t noted(int fd, ssize_t sent) {
  if (__builtin_expect(sent >= NC_ARENA_LARGE_BYTES, 0)) nc_arena_note(fd, sent);
  return sent;
}

// The kernel's own send on an established stream, or what stands for it.
static ssize_t send_plain(int fd, const void *data, size_t bytes, int flags) {
  ssize_t sent;
  struct iovec part = {.iov_base = (void *)data, .iov_len = bytes};
  if (nc_arenas_are_used() && !nc_is_sandboxed() && nc_arena_send(fd, &part, 1, false, flags, &sent)) return sent;
  return noted(fd, nc_native()->send(fd, data, bytes, flags | MSG_NOSIGNAL));
}

static ssize_t send_plain_message(int fd, const struct msghdr *message, int flags) {
  ssize_t sent;
  if (nc_arenas_are_used() && !nc_is_sandboxed() &&
      nc_arena_send(fd, message->msg_iov, message->msg_iovlen, true, flags, &sent))
    return sent;
  return noted(fd, nc_native()->sendmsg(fd, message, flags | MSG_NOSIGNAL));
}

static ssize_t send_bytes(int fd, struct nc_name *name, const void *data, size_t bytes, int flags,
                          const struct sockaddr *address, socklen_t length) {
  struct iovec part = {.iov_base = (void *)data, .iov_len = bytes};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (address != NULL) {
    message.msg_name = (void *)address;
    message.msg_namelen = length;
  }
  return finish(send_message(fd, name, &message, flags));
}

NC_EXPORT ssize_t write(int fd, const void *data, size_t bytes) {
  struct nc_name name;
  enum way way = find_way(fd, true, &name);
  if (way == WAY_HERE) return send_bytes(fd, &name, data, bytes, 0, NULL, 0);
  if (way == WAY_STREAM && !nc_is_sandboxed()) {
    ssize_t sent = send_plain(fd, data, bytes, 0);
    if (is_sent(fd, 0, bytes, &sent)) return sent;
  }
  return nc_native()->write(fd, data, bytes);
}

NC_EXPORT ssize_t writev(int fd, const struct iovec *parts, int count) {
  struct nc_name name;
  enum way way = count < 0 || count > UIO_MAXIOV ? WAY_FOREIGN : find_way(fd, true, &name);
  if (way == WAY_HERE || (way == WAY_STREAM && !nc_is_sandboxed())) {
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    if (way == WAY_HERE) return finish(send_message(fd, &name, &message, 0));
    ssize_t sent = send_plain_message(fd, &message, 0);
    if (is_sent(fd, 0, 0, &sent)) return sent;
  }
  return nc_native()->writev(fd, parts, count);
}

NC_EXPORT ssize_t send(int fd, const void *data, size_t bytes, int flags) {
  struct nc_name name;
  enum way way = find_way(fd, is_plain_send(flags), &name);
  if (way == WAY_HERE) return send_bytes(fd, &name, data, bytes, flags, NULL, 0);
  if (way == WAY_STREAM) {
    ssize_t sent = send_plain(fd, data, bytes, flags);
    if (is_sent(fd, flags, bytes, &sent)) return sent;
  }
  return nc_native()->send(fd, data, bytes, flags);
}

ssize_t nc_export_sendto(int fd, const void *data, size_t bytes, int flags, const struct sockaddr *address,
                         socklen_t length) {
  if (address == NULL) return send(fd, data, bytes, flags);
  struct nc_name name;
  // A stream takes no address, so with one the call is never plain.
  if (find_way(fd, false, &name) != WAY_HERE) return nc_native()->sendto(fd, data, bytes, flags, address, length);
  return send_bytes(fd, &name, data, bytes, flags, address, length);
}

NC_EXPORT ssize_t sendto(int fd, const void *data, size_t bytes, int flags, __CONST_SOCKADDR_ARG address,
                         socklen_t length) {
  return nc_export_sendto(fd, data, bytes, flags, address.__sockaddr__, length);
}

NC_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  struct nc_name name;
  if (message == NULL || is_foreign(fd)) return nc_native()->sendmsg(fd, message, flags);
  enum way way =
    find_way(fd, message->msg_name == NULL && message->msg_controllen == 0 && is_plain_send(flags), &name);
  if (way == WAY_HERE) return finish(send_message(fd, &name, message, flags));
  if (way == WAY_STREAM) {
    ssize_t sent = send_plain_message(fd, message, flags);
    if (is_sent(fd, flags, 0, &sent)) return sent;
  }
  return nc_native()->sendmsg(fd, message, flags);
}

NC_EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
  struct nc_name name;
  if (messages == NULL || is_foreign(fd) || !nc_identify(fd, &name))
    return nc_native()->sendmmsg(fd, messages, count, flags);
  unsigned sent = 0;
  for (; sent < count && sent < UIO_MAXIOV; sent++) {
    ssize_t bytes = send_message(fd, &name, &messages[sent].msg_hdr, flags);
    if (bytes < 0) return sent > 0 ? (int)sent : (int)finish(bytes);
    messages[sent].msg_len = (unsigned)bytes;
  }
  return (int)sent;
}

// Receiving

// False, with errno: it was interrupted.
static inline bool look_first(int fd, int flags) {
  if (!nc_looks_first() || (flags & MSG_DONTWAIT) != 0 || !nc_spin(fd)) return true;
  errno = EINTR;
  return false;
}

static ssize_t receive_bytes(int fd, const struct nc_name *name, void *data, size_t bytes, int flags,
                             struct sockaddr *address, socklen_t *length) {
  struct iovec part = {.iov_base = data, .iov_len = bytes};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (address != NULL) {
    int error = nc_address_check_room(address, length);
    if (error != 0) return finish(error);
    message.msg_name = address;
    message.msg_namelen = *length;
  }
  ssize_t received = receive_message(fd, name, &message, flags);
  if (received >= 0 && address != NULL) *length = message.msg_namelen;
  return finish(received);
}

NC_EXPORT ssize_t read(int fd, void *data, size_t bytes) {
  struct nc_name name;
  switch (find_way(fd, true, &name)) {
  case WAY_FOREIGN: return nc_native()->read(fd, data, bytes);
  case WAY_STREAM:
    if (!look_first(fd, 0)) return -1;
    return finish_received(fd, nc_native()->read(fd, data, bytes));
  default: break;
  }
  if (bytes == 0) return 0; // whatever the socket's state, and taking no datagram (sock_read_iter)
  return receive_bytes(fd, &name, data, bytes, 0, NULL, NULL);
}

NC_EXPORT ssize_t readv(int fd, const struct iovec *parts, int count) {
  struct nc_name name;
  switch (count < 0 || count > UIO_MAXIOV ? WAY_FOREIGN : find_way(fd, true, &name)) {
  case WAY_FOREIGN: return nc_native()->readv(fd, parts, count);
  case WAY_STREAM:
    if (!look_first(fd, 0)) return -1;
    return finish_received(fd, nc_native()->readv(fd, parts, count));
  default: break;
  }
  struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
  return finish(receive_message(fd, &name, &message, 0));
}

NC_EXPORT ssize_t recv(int fd, void *data, size_t bytes, int flags) {
  struct nc_name name;
  switch (find_way(fd, is_plain_receive(flags), &name)) {
  case WAY_FOREIGN: return nc_native()->recv(fd, data, bytes, flags);
  case WAY_STREAM:
    if (!look_first(fd, flags)) return -1;
    return finish_received(fd, nc_native()->recv(fd, data, bytes, flags));
  default: return receive_bytes(fd, &name, data, bytes, flags, NULL, NULL);
  }
}

ssize_t nc_export_recvfrom(int fd, void *data, size_t bytes, int flags, struct sockaddr *address, socklen_t *length) {
  if (address == NULL) return recv(fd, data, bytes, flags);
  struct nc_name name;
  if (find_way(fd, false, &name) != WAY_HERE) return nc_native()->recvfrom(fd, data, bytes, flags, address, length);
  return receive_bytes(fd, &name, data, bytes, flags, address, length);
}

NC_EXPORT ssize_t recvfrom(int fd, void *restrict data, size_t bytes, int flags, __SOCKADDR_ARG address,
                           socklen_t *restrict length) {
  return nc_export_recvfrom(fd, data, bytes, flags, address.__sockaddr__, length);
}

// Fds that came over a unix socket may be virtual sockets of another process.
static void mark_passed(const struct msghdr *message) {
  if (message->msg_controllen < sizeof(struct cmsghdr) || !nc_active()) return;
  struct msghdr copy = *message;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&copy); header != NULL; header = CMSG_NXTHDR(&copy, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= header->cmsg_len; at += sizeof(int)) {
      int fd;
      memcpy(&fd, (const char *)header + at, sizeof fd);
      nc_hint_mark(fd, NC_HINT_LOOK);
    }
  }
}

NC_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  struct nc_name name;
  enum way way = WAY_FOREIGN;
  if (message != NULL && !is_foreign(fd))
    way = find_way(fd, message->msg_name == NULL && message->msg_controllen == 0 && is_plain_receive(flags), &name);
  if (way == WAY_HERE) return finish(receive_message(fd, &name, message, flags));
  if (way == WAY_STREAM && !look_first(fd, flags)) return -1;
  ssize_t received = nc_native()->recvmsg(fd, message, flags);
  if (received >= 0) mark_passed(message);
  return way == WAY_STREAM ? finish_received(fd, received) : received;
}

static bool has_passed(const struct timespec *end) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

// As the kernel's: the time-out is looked at after each message only (recvmmsg(2), BUGS).
NC_EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
  struct nc_name name;
  if (messages == NULL || is_foreign(fd) || !nc_identify(fd, &name)) {
    int received = nc_native()->recvmmsg(fd, messages, count, flags, timeout);
    for (int index = 0; index < received; index++) mark_passed(&messages[index].msg_hdr);
    return received;
  }
  struct timespec end = {0};
  if (timeout != NULL) {
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout->tv_sec;
    end.tv_nsec += timeout->tv_nsec;
    if (end.tv_nsec >= 1000000000) {
      end.tv_sec++;
      end.tv_nsec -= 1000000000;
    }
  }
  unsigned received = 0;
  for (; received < count && received < UIO_MAXIOV; received++) {
    if (received > 0 && timeout != NULL && has_passed(&end)) break;
    ssize_t bytes = receive_message(fd, &name, &messages[received].msg_hdr, flags & ~MSG_WAITFORONE);
    if (bytes < 0) return received > 0 ? (int)received : (int)finish(bytes);
    messages[received].msg_len = (unsigned)bytes;
    if ((flags & MSG_WAITFORONE) != 0) flags |= MSG_DONTWAIT;
  }
  return (int)received;
}

// What these become under _FORTIFY_SOURCE; libc's own would call the kernel directly. An overflow about to happen ends
// the process, as in libc.

ssize_t __read_chk(int, void *, size_t, size_t);
NC_EXPORT ssize_t __read_chk(int fd, void *data, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return read(fd, data, bytes);
}

ssize_t __recv_chk(int, void *, size_t, size_t, int);
NC_EXPORT ssize_t __recv_chk(int fd, void *data, size_t bytes, size_t room, int flags) {
  if (bytes > room) __builtin_trap();
  return recv(fd, data, bytes, flags);
}

ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
NC_EXPORT ssize_t __recvfrom_chk(int fd, void *data, size_t bytes, size_t room, int flags, struct sockaddr *address,
                                 socklen_t *length) {
  if (bytes > room) __builtin_trap();
  return nc_export_recvfrom(fd, data, bytes, flags, address, length);
}
