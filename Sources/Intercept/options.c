// getsockopt() and setsockopt().
//
// Answered from the name: what the app asked socket() for. Native: what acts on the app's own calls (time-outs, low
// water, the cookie) and SO_ERROR, translated. All else is the daemon's, which knows Linux's rules for each option; above
// all SO_SNDBUF: raised natively it would make an unconnected socket writable. What acts on the app's own calls but has
// rules is both: the daemon judges, then the pair's end gets it too. TCP_NODELAY and TCP_CORK: see toggles.c.
//
// What cannot fail, and is set on each connection by many programs, is told without waiting for a reply.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "intercept.h"

// Values that the headers may be older than.
enum { RCVTIMEO_NEW = 66, SNDTIMEO_NEW = 67, ATTACH_BPF = 50, ATTACH_REUSEPORT_EBPF = 52 };

// Set once this process (or its ancestor by fork) has set a time-out: spares every accept two system calls.
static bool timeouts_used;

static bool is_timeout(int option) {
  return option == SO_RCVTIMEO || option == SO_SNDTIMEO || option == RCVTIMEO_NEW || option == SNDTIMEO_NEW;
}

static bool is_native(int level, int option) {
  return level == SOL_SOCKET && is_timeout(option);
}

// SO_REUSEADDR: bind() finds it at the app's end (the socket may be set up by one process, bound by another).
// SO_OOBINLINE, SO_PEEK_OFF, SO_RCVLOWAT: unix streams have them as TCP does.
static bool is_native_as_well(int level, int option) {
  if (level != SOL_SOCKET) return false;
  return option == SO_REUSEADDR || option == SO_OOBINLINE || option == SO_PEEK_OFF || option == SO_RCVLOWAT;
}

// Copies between our memory and the app's by the kernel, which says EFAULT where a plain copy would crash. Where it may
// not (a seccomp filter), the app's pointers are taken to be good.
static int copy_in(void *to, const void *from, size_t bytes) {
  struct iovec ours = {.iov_base = to, .iov_len = bytes}, its = {.iov_base = (void *)from, .iov_len = bytes};
  long copied = bytes == 0 ? 0 : nc_raw(SYS_process_vm_readv, getpid(), (long)&ours, 1, (long)&its, 1, 0);
  if (copied == (long)bytes) return 0;
  if (copied >= 0 || copied == -EFAULT) return -EFAULT;
  memcpy(to, from, bytes);
  return 0;
}

static int copy_out(void *to, const void *from, size_t bytes) {
  struct iovec ours = {.iov_base = (void *)from, .iov_len = bytes}, its = {.iov_base = to, .iov_len = bytes};
  long copied = bytes == 0 ? 0 : nc_raw(SYS_process_vm_writev, getpid(), (long)&ours, 1, (long)&its, 1, 0);
  if (copied == (long)bytes) return 0;
  if (copied >= 0 || copied == -EFAULT) return -EFAULT;
  memcpy(to, from, bytes);
  return 0;
}

void nc_copy_timeouts(int from, int to) {
  static const int options[] = {SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVLOWAT};
  for (int index = 0; index < 3; index++) {
    char value[16]; // struct timeval, or an int
    socklen_t length = sizeof value;
    if (nc_raw_getsockopt(from, SOL_SOCKET, options[index], value, &length) == 0)
      (void)nc_raw_setsockopt(to, SOL_SOCKET, options[index], value, length);
  }
}

void nc_inherit_timeouts(int from, int to) {
  if (__atomic_load_n(&timeouts_used, __ATOMIC_RELAXED)) nc_copy_timeouts(from, to);
}

static int give(const void *data, size_t bytes, void *value, socklen_t room, socklen_t *length) {
  socklen_t given = (socklen_t)(bytes < room ? bytes : room);
  int error = copy_out(value, data, given);
  return error != 0 ? error : copy_out(length, &given, sizeof given);
}

static int protocol_of(const struct nc_name *name) {
  return name->protocol == 0 && name->type == SOCK_STREAM ? IPPROTO_TCP : name->protocol;
}

// The options of SOL_SOCKET that need no daemon; false for the others.
static bool is_known_here(int fd, const struct nc_name *name, int option, int *number) {
  switch (option) {
  case SO_ERROR: *number = nc_take_error(fd, name); return true;
  case SO_TYPE: *number = name->type; return true;
  case SO_DOMAIN: *number = name->family; return true;
  case SO_PROTOCOL: *number = protocol_of(name); return true;
  case SO_ACCEPTCONN: 
    *number = name->state == NC_STATE_LISTENING && (nc_marks(fd) & NC_MARK_SHUT) == 0;
    return true;
  default: return false;
  }
}

// SO_PEERNAME: as getpeername(), but there may not be more room than it takes.
static int peer_name(int fd, const struct nc_name *name, void *value, socklen_t room, socklen_t *length) {
  char address[sizeof(struct sockaddr_in6)];
  socklen_t full = sizeof address;
  int error = nc_getpeername(fd, name, (struct sockaddr *)address, &full);
  if (error != 0) return error;
  return full < room ? -EINVAL : give(address, full, value, room, length);
}

// SO_ERROR of a connection: the kernel takes it and looks at the app's pointers, which are good then.
static int connection_error(int fd, const struct nc_name *name, void *value, socklen_t *length) {
  int error = nc_raw_getsockopt(fd, SOL_SOCKET, SO_ERROR, value, length);
  if (error != 0) return error;
  int number = 0;
  size_t bytes = *length < sizeof number ? *length : sizeof number;
  memcpy(&number, value, bytes);
  int told = number != 0 ? nc_error_as_tcp(fd, name, number) : nc_take_owed_error(fd);
  if (told != number) memcpy(value, &told, bytes);
  return 0;
}

int nc_getsockopt(int fd, const struct nc_name *name, int level, int option, void *value, socklen_t *length) {
  if (is_native(level, option) || (level == SOL_SOCKET && option == SO_COOKIE))
    return nc_raw_getsockopt(fd, level, option, value, length);
  if (level == SOL_SOCKET && option == SO_ERROR && name->state == NC_STATE_CONNECTED)
    return connection_error(fd, name, value, length);
  socklen_t room;
  if (copy_in(&room, length, sizeof room) != 0) return -EFAULT;
  if ((int)room < 0) return -EINVAL;
  if (level == SOL_SOCKET && option == SO_PEERNAME) return peer_name(fd, name, value, room, length);
  int mirror = nc_toggle_to_read(fd, name, level, option);
  if (mirror != 0) return nc_raw_getsockopt(fd, SOL_SOCKET, mirror, value, length);
  int number;
  if (level == SOL_SOCKET && is_known_here(fd, name, option, &number))
    return give(&number, sizeof number, value, room, length);
  struct nc_request request = {.op = NC_OP_GETSOCKOPT, .argument = {level, option, (int)room}};
  struct nc_reply reply;
  int error = nc_rpc(&request, fd, &reply, NULL, false);
  if (error != 0) return error;
  int bytes = reply.argument[0];
  if (bytes < 0 || bytes > NC_REPLY_DATA_BYTES) bytes = NC_REPLY_DATA_BYTES;
  return give(reply.data, (size_t)bytes, value, room, length);
}

// A program of the app's is named by an fd, which the daemon does not see.
static bool names_bad_fd(int level, int option, const void *value, socklen_t length) {
  if (level != SOL_SOCKET || (option != ATTACH_BPF && option != ATTACH_REUSEPORT_EBPF)) return false;
  int program;
  if (length != sizeof program || copy_in(&program, value, sizeof program) != 0) return false;
  return nc_raw_fcntl(program, F_GETFD, 0) == -EBADF;
}

// Whether the daemon takes `value`, an int, in any case: its answer need not be waited for.
static bool cannot_fail(const struct nc_name *name, int level, int option, int value) {
  if (name->type != SOCK_STREAM || (name->state != NC_STATE_CONNECTED && name->state != NC_STATE_NEW)) return false;
  if (level == SOL_SOCKET) return option == SO_KEEPALIVE || option == SO_LINGER;
  if (level != IPPROTO_TCP) return false;
  switch (option) {
  case TCP_NODELAY: return true;
  case TCP_KEEPIDLE:
  case TCP_KEEPINTVL: return value >= 1 && value <= 32767;
  case TCP_KEEPCNT: return value >= 1 && value <= 127;
  default: return false;
  }
}

int nc_setsockopt(int fd, const struct nc_name *name, int level, int option, const void *value, socklen_t length) {
  if (is_native(level, option)) {
    __atomic_store_n(&timeouts_used, true, __ATOMIC_RELAXED);
    return nc_raw_setsockopt(fd, level, option, value, length);
  }
  if ((int)length < 0) return -EINVAL;
  int mirror = nc_toggle_to_set(fd, name, level, option);
  if (mirror != 0) return nc_raw_setsockopt(fd, SOL_SOCKET, mirror, value, length);
  if (names_bad_fd(level, option, value, length)) return -EBADF;
  struct nc_request request = {.op = NC_OP_SETSOCKOPT, .argument = {level, option, (int)length}};
  struct nc_reply reply;
  size_t bytes = length < NC_REQUEST_DATA_BYTES ? length : NC_REQUEST_DATA_BYTES;
  if (value == NULL && length > 0)
    request.argument[3] = NC_OPTION_NULL;
  else if (copy_in(request.data, value, bytes) != 0)
    return -EFAULT;
  int number = 0;
  memcpy(&number, request.data, sizeof number);
  int error;
  reply.argument[0] = 0;
  socklen_t whole = option == SO_LINGER && level == SOL_SOCKET ? sizeof(struct linger) : sizeof number;
  if (request.argument[3] == 0 && length >= whole && cannot_fail(name, level, option, number)) {
    error = nc_post(&request, fd);
  } else {
    request.argument[3] |= nc_toggle_flags(fd, name, level, option, number != 0);
    error = nc_rpc(&request, fd, &reply, NULL, false);
  }
  if (error != 0) return error;
  if (is_native_as_well(level, option)) (void)nc_raw_setsockopt(fd, level, option, value, length);
  nc_toggle_taken(fd, level, option, number != 0, reply.argument[0] != 0);
  return 0;
}
