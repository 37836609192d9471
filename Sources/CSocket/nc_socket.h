// Control messages (cmsg(3)) as functions: they are made of macros, which Swift does not import.
#ifndef NC_SOCKET_H
#define NC_SOCKET_H

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/// Room for the control data of one received message: more descriptors than any request may carry, so that all of them
/// arrive here and can be closed; what does not fit the kernel closes itself (MSG_CTRUNC).
#define NC_CONTROL_DESCRIPTORS 8
static inline size_t nc_control_bytes(void) { return CMSG_SPACE(NC_CONTROL_DESCRIPTORS * sizeof(int)); }

/// Describes a message of `count` pieces at `vectors`, with `control_bytes` bytes of room for control data (or NULL, 0).
/// Here rather than in Swift, because several modules declare struct msghdr and the importer picks either.
static inline void nc_message_prepare(
    struct msghdr *message, struct iovec *vectors, size_t count, void *control, size_t control_bytes) {
  memset(message, 0, sizeof *message);
  message->msg_iov = vectors;
  message->msg_iovlen = count;
  message->msg_control = control;
  message->msg_controllen = control_bytes;
}

/// Whether a received message, or its control data, did not fit.
static inline int nc_message_is_truncated(const struct msghdr *message) {
  return (message->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
}

/// Sends `bytes` bytes at `data` in one message, with descriptor `passed` unless it is -1; never waits, never raises
/// SIGPIPE. 0, or a negated errno (EMSGSIZE where only a part could be sent).
static inline int nc_send_with_fd(int fd, const void *data, size_t bytes, int passed) {
  struct iovec vector = {.iov_base = (void *)data, .iov_len = bytes};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (passed >= 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  const ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return -errno;
  return (size_t)sent == bytes ? 0 : -EMSGSIZE;
}

/// The descriptors that came with a received message, at most `capacity` of them; further ones are closed.
static inline int nc_take_descriptors(struct msghdr *message, int *out, int capacity) {
  int count = 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t total = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < total; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      if (count < capacity) out[count++] = fd;
      else close(fd);
    }
  }
  return count;
}

#endif
