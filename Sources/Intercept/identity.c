// What an fd is, asked of the kernel each time: about 250 ns, and right after dup, fork, exec and fd passing.
//
// The daemon's end may have a name (getpeername), which is asked for first; else marks at the app's end tell. A pair always has
// a peer, thus getpeername fails at once on an fd that cannot be ours: no socket, or one of another family that is not
// connected.
//
// Two programs joined directly hold both ends: the connecting one sees the name DIRECT at its peer, the accepted one at
// its own end, and none at its peer.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>

#include "intercept.h"

// Returns 1 with the name, 0 for a unix socket without one of our names, negative for anything else.
static int read_name(long number, int fd, struct nc_name *name) {
  struct sockaddr_un address;
  socklen_t length = sizeof address;
  if (nc_raw(number, fd, (long)&address, (long)&length, 0, 0, 0) < 0) return -1;
  if (length < sizeof address.sun_family || address.sun_family != AF_UNIX) return -1;
  if (length != offsetof(struct sockaddr_un, sun_path) + sizeof *name) return 0;
  memcpy(name, address.sun_path, sizeof *name);
  return memcmp(name->magic, NC_NAME_MAGIC, NC_NAME_MAGIC_BYTES) == 0 && name->version == NC_RPC_VERSION;
}

static bool stands(int fd) {
  int priority = 0;
  socklen_t length = sizeof priority;
  return nc_raw_getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, &length) == 0 && priority == NC_STANDING;
}

bool nc_is_marked(int marks) { return (marks & NC_MARK_STREAM_MASK) == NC_MARK_STREAM; }

// What marks tell: all but the addresses, which are of family 0 then.
static bool read_marks(int fd, struct nc_name *name) {
  int marks = nc_marks(fd);
  if (!nc_is_marked(marks)) return false;
  memset(name, 0, sizeof *name);
  name->family = (marks & NC_MARK_V6) != 0 ? AF_INET6 : AF_INET;
  name->type = SOCK_STREAM;
  name->protocol = IPPROTO_TCP;
  name->state = (marks & NC_MARK_MADE) == 0 || stands(fd) ? NC_STATE_CONNECTED : NC_STATE_NEW;
  return true;
}

bool nc_identify(int fd, struct nc_name *name) {
  int peer = read_name(SYS_getpeername, fd, name);
  if (peer < 0) return false;
  if (peer > 0 && name->state == NC_STATE_DIRECT) name->state = NC_STATE_CONNECTED;
  if (peer > 0) return true;
  if (read_marks(fd, name)) return true;
  if (read_name(SYS_getsockname, fd, name) <= 0) return false;
  if (name->state == NC_STATE_DIRECT) {
    struct nc_address local = name->local;
    name->local = name->remote;
    name->remote = local;
    name->family = (uint8_t)name->error;
    name->error = 0;
    name->state = NC_STATE_CONNECTED;
    return true;
  }
  return false;
}

bool nc_made_by_socket(int fd) {
  int marks = nc_marks(fd);
  return nc_is_marked(marks) && (marks & NC_MARK_MADE) != 0;
}

uint64_t nc_cookie(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  return nc_raw_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

int nc_marks(int fd) {
  int word = 0;
  socklen_t length = sizeof word;
  return nc_raw_getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &word, &length) == 0 ? ~word : 0;
}

void nc_set_marks(int fd, int marks) {
  int word = ~marks;
  (void)nc_raw_setsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &word, sizeof word);
}

void nc_mark(int fd, int marks) { nc_set_marks(fd, nc_marks(fd) | marks); }

void nc_unmark(int fd, int marks) { nc_set_marks(fd, nc_marks(fd) & ~marks); }

static int owed_error(int marks) { return marks >> NC_MARK_ERROR_SHIFT & NC_MARK_ERROR_MASK; }

bool nc_owes_error(int fd) { return owed_error(nc_marks(fd)) != 0; }

void nc_owe_error(int fd, int error) {
  int marks = nc_marks(fd);
  if (owed_error(marks) == error) return;
  nc_set_marks(fd, (marks & ~(NC_MARK_ERROR_MASK << NC_MARK_ERROR_SHIFT)) | error << NC_MARK_ERROR_SHIFT);
}

int nc_take_owed_error(int fd) {
  int owed = owed_error(nc_marks(fd));
  if (owed != 0) nc_owe_error(fd, 0);
  return owed;
}

int nc_error_as_tcp(int fd, const struct nc_name *name, int error) {
  // The kernel only knows that the daemon's end closed with data unread. Closed without any name: the daemon died.
  if (name->state == NC_STATE_FAILED && name->error != 0) return name->error;
  if (name->state == NC_STATE_DATAGRAM) return ENETDOWN; // with its end closed: the daemon died
  int marks = nc_marks(fd);
  if (name->state == NC_STATE_NEW) return (marks & NC_MARK_SHUT) != 0 ? ECONNRESET : ENETDOWN;
  int owed = owed_error(marks);
  if (owed == 0) return error;
  nc_owe_error(fd, 0);
  return owed;
}

int nc_take_error(int fd, const struct nc_name *name) {
  if (name->state == NC_STATE_DATAGRAM) {
    int pending = nc_datagram_pending_error(fd);
    if (pending != 0) return pending;
  }
  int error = 0;
  socklen_t length = sizeof error;
  if (nc_raw_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return 0;
  int marks = nc_marks(fd);
  // The daemon closes its end of a listener or an attempt that the app shut down, with filler unread: no error of TCP's.
  bool is_shut = name->state != NC_STATE_CONNECTED && (marks & NC_MARK_SHUT) != 0;
  if (error != 0 && !is_shut) return nc_error_as_tcp(fd, name, error);
  return name->state == NC_STATE_CONNECTED || name->state == NC_STATE_NEW ? nc_take_owed_error(fd) : 0;
}

int nc_tcp_state(int fd) {
  struct nc_request request = {.op = NC_OP_GETSOCKOPT, .argument = {IPPROTO_TCP, TCP_INFO, 1}};
  struct nc_reply reply;
  if (nc_rpc(&request, fd, &reply, NULL, false) != 0 || reply.argument[0] < 1) return 0;
  return reply.data[0]; // tcpi_state, the first byte of struct tcp_info
}

bool nc_is_over(int fd) {
  struct pollfd state = {.fd = fd};
  struct timespec now = {0};
  if (nc_raw(SYS_ppoll, (long)&state, 1, (long)&now, 0, 0, 0) != 1 || (state.revents & POLLHUP) == 0) return false;
  // Shut down both ways by the app alone looks the same here; the daemon knows.
  switch (nc_tcp_state(fd)) {
  case 0:
  case TCP_CLOSE:
  case TCP_TIME_WAIT: return true;
  default: return false;
  }
}
