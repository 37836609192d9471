#include "nc_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

size_t nc_control_bytes(void) { return CMSG_SPACE(NC_CONTROL_DESCRIPTORS * sizeof(int)); }

void nc_message_prepare(void *message, void *vectors, size_t count, void *control, size_t control_bytes) {
  const struct msghdr prepared = {
      .msg_iov = vectors, .msg_iovlen = count, .msg_control = control, .msg_controllen = control_bytes};
  memcpy(message, &prepared, sizeof prepared);
}

int nc_message_is_truncated(const void *message) {
  return (((const struct msghdr *)message)->msg_flags & MSG_TRUNC) != 0;
}

int nc_message_lost_descriptors(const void *message) {
  return (((const struct msghdr *)message)->msg_flags & MSG_CTRUNC) != 0;
}

int nc_take_descriptors(void *opaque, int *out, int capacity) {
  struct msghdr *message = opaque;
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

int nc_send_with_fd(int fd, const void *data, size_t bytes, int passed) {
  struct iovec vector = {.iov_base = (void *)data, .iov_len = bytes};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
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

int nc_send_datagram(int fd, const void *header, size_t header_bytes, const void *vectors, size_t count) {
  struct iovec parts[1001];
  if (count > 1000) return -EMSGSIZE;
  parts[0] = (struct iovec){.iov_base = (void *)header, .iov_len = header_bytes};
  memcpy(parts + 1, vectors, count * sizeof *parts);
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = count + 1};
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

long nc_read_directory(int fd, void *entries, unsigned bytes) {
  const long read = syscall(SYS_getdents64, fd, entries, bytes);
  return read < 0 ? -errno : read;
}

int nc_borrow_descriptor(int pid, int number) {
  const int process = pidfd_open(pid, 0);
  if (process < 0) return -errno;
  const int fd = pidfd_getfd(process, number, 0);
  const int code = errno;
  close(process);
  return fd >= 0 ? fd : -code;
}

void nc_add_marks(int fd, int bits) {
  int word = -1;
  socklen_t size = sizeof word;
  if (getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &word, &size) != 0) return;
  nc_set_marks(fd, ~word | bits);
}

void nc_set_marks(int fd, int bits) {
  const int word = ~bits;
  setsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &word, sizeof word);
}

int nc_unread_memory(int fd) {
  int bytes = 0;
  return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

int nc_is_at_mark(int fd) {
  int mark = 0;
  return ioctl(fd, SIOCATMARK, &mark) == 0 && mark != 0;
}

int nc_take_urgent(int fd) {
  unsigned char byte;
  return recv(fd, &byte, 1, MSG_OOB | MSG_DONTWAIT) == 1 ? byte : -1;
}

unsigned long nc_socket_inode(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

int nc_peer_process(int fd) {
  struct ucred credentials;
  socklen_t size = sizeof credentials;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 ? credentials.pid : 0;
}

unsigned nc_peer_user(int fd) {
  struct ucred credentials;
  socklen_t size = sizeof credentials;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 ? credentials.uid : (unsigned)-1;
}

long nc_receive_marked(int fd, void *data, size_t capacity, int *is_marked) {
  struct iovec vector = {.iov_base = data, .iov_len = capacity};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  // Without room for it the descriptor is not installed, and MSG_CTRUNC tells that there was one.
  ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT);
  *is_marked = received > 0 && (message.msg_flags & MSG_CTRUNC) != 0;
  return received < 0 ? -errno : received;
}

int nc_make_shared_memory(size_t bytes) {
  int fd = memfd_create("netcond-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -errno;
  if (ftruncate(fd, (off_t)bytes) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) return fd;
  int error = errno;
  close(fd);
  return -error;
}
