// The preloaded library: unmodified programs get sockets of a virtual network.
//
// Theory of operation. A virtual socket is one end ("the app's end") of a unix socketpair whose other end a daemon
// holds; data, poll, close, dup, fork and exec are therefore the kernel's own and no code here runs for them. Only the
// calls that make a socket, steer it, or name an address pass here:
//
//   exports.c    the interposed symbols; for each fd, ours or not; the only place that calls on to libc for the others
//   identity.c   what an fd is: nc_identify reads the abstract names the daemon gave to the ends of the pair
//   rpc.c        one kept SOCK_SEQPACKET connection to the daemon for each process
//   create.c connect.c listen.c names.c options.c transfer.c shutdown.c   a topic each
//   address.c report.c native.c raw.h   conversions, messages on stderr, libc's own functions, bare system calls
//
// There is no table of fds: what must be remembered stands in the kernel, at the socket (its names; for two bits of
// ours, its otherwise unused SO_PRIORITY). That holds across dup, fork, exec and fd passing, where a table goes wrong.
//
// Functions here return what the kernel would: >= 0, or a negative errno. exports.c turns that into errno.
#ifndef NETCOND_INTERCEPT_H
#define NETCOND_INTERCEPT_H

// The fortified inline definitions of libc would clash with ours; nothing here copies by guesswork.
#undef _FORTIFY_SOURCE

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "netcond_rpc.h"
#include "raw.h"

// native.c

/// Libc's own functions, found behind this library by dlsym. Used where libc's wrapper matters: calls passed through,
/// and waits that must be cancellation points. All else is a bare system call (raw.h).
struct nc_native {
  int (*socket)(int, int, int);
  int (*bind)(int, const struct sockaddr *, socklen_t);
  int (*listen)(int, int);
  int (*accept)(int, struct sockaddr *, socklen_t *);
  int (*accept4)(int, struct sockaddr *, socklen_t *, int);
  int (*connect)(int, const struct sockaddr *, socklen_t);
  int (*getsockname)(int, struct sockaddr *, socklen_t *);
  int (*getpeername)(int, struct sockaddr *, socklen_t *);
  int (*getsockopt)(int, int, int, void *, socklen_t *);
  int (*setsockopt)(int, int, int, const void *, socklen_t);
  int (*shutdown)(int, int);
  ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
  ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
  ssize_t (*recvmsg)(int, struct msghdr *, int);
  ssize_t (*sendmsg)(int, const struct msghdr *, int);
};

enum nc_mode { NC_MODE_UNKNOWN = 0, NC_MODE_OFF = 1, NC_MODE_ON = 2 };

extern int nc_mode;
extern struct nc_native nc_native_table;

/// Reads the environment and fills the table. Idempotent; called by the constructor, or before it by whoever is first.
void nc_start(void);

/// The path of the daemon's RPC socket: ZT_NC_NETWORK as it stood when the process began.
const char *nc_network_path(void);

/// Libc's functions.
static inline const struct nc_native *nc_native(void) {
  if (__builtin_expect(__atomic_load_n(&nc_mode, __ATOMIC_ACQUIRE) == NC_MODE_UNKNOWN, 0)) nc_start();
  return &nc_native_table;
}

/// Whether this process has a virtual network at all.
static inline bool nc_active(void) {
  int mode = __atomic_load_n(&nc_mode, __ATOMIC_ACQUIRE);
  if (__builtin_expect(mode == NC_MODE_UNKNOWN, 0)) {
    nc_start();
    mode = nc_mode;
  }
  return mode == NC_MODE_ON;
}

// identity.c

/// Bits kept at a socket in the kernel (see nc_marks). SO_PRIORITY takes 0…6 from anyone.
enum nc_mark {
  NC_MARK_COLLECTED = 1, /* the outcome of connect() was handed to a caller of connect() */
  NC_MARK_SHUT = 2,      /* shut down by the app before it was connected, or as a listener */
};

/// Whether `fd` is the app's end of a virtual socket; if so, its current state in `name`.
bool nc_identify(int fd, struct nc_name *name);

/// Whether the app's end has a name of its own: made by socket(), not by accept().
bool nc_made_by_socket(int fd);

int nc_marks(int fd);
void nc_mark(int fd, int marks);

/// Takes the pending error of the socket (SO_ERROR: it clears itself) as TCP would name it; 0 for none.
int nc_take_error(int fd, const struct nc_name *name);

/// The daemon's TCP state of the socket (TCP_CLOSE, TCP_SYN_SENT, … of netinet/tcp.h), 0 if it does not tell.
int nc_tcp_state(int fd);

// rpc.c

/// Sends `request` (magic, version and sequence are filled in here) with `fd` (or -1) and awaits the reply.
/// An fd in the reply goes to `received` (may be null), with or without FD_CLOEXEC.
/// Returns 0 or a negative errno: the daemon's status, -ENETDOWN where no daemon answers, -EPROTONOSUPPORT where it
/// speaks another version.
int nc_rpc(struct nc_request *request, int fd, struct nc_reply *reply, int *received, bool close_on_exec);

// report.c

enum nc_report {
  NC_REPORT_ABSENT = 0,  /* nobody listens at the path */
  NC_REPORT_DENIED = 1,  /* the path's permissions keep us out */
  NC_REPORT_SILENT = 2,  /* no answer in time */
  NC_REPORT_VERSION = 3, /* `detail` is the daemon's version */
};

/// Says on stderr what is wrong and how to cure it; each kind once for a process (and those it forks).
void nc_report(enum nc_report kind, unsigned detail);

// address.c

/// Reads a sockaddr for a socket of `family`. Returns 0, -EINVAL (too short) or -EAFNOSUPPORT.
int nc_address_read(int family, const struct sockaddr *source, socklen_t length, struct nc_address *address);

/// Checks where an address goes to, as the kernel does: -EFAULT or -EINVAL.
int nc_address_check_room(const struct sockaddr *target, const socklen_t *length);

/// Writes `address` as a socket of `family` shows it; truncated to `*length`, which becomes the full length.
void nc_address_write(int family, const struct nc_address *address, struct sockaddr *target, socklen_t *length);

// The topics: each is given an fd already identified

/// Whether socket() with this domain and type is ours to answer.
bool nc_wants(int domain, int type);
int nc_socket(int domain, int type, int protocol);
int nc_create(int family, int type, int protocol, bool close_on_exec);

int nc_bind(int fd, const struct nc_name *name, const struct sockaddr *address, socklen_t length);
int nc_listen(int fd, const struct nc_name *name, int backlog);
int nc_accept(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length, int flags);
int nc_connect(int fd, struct nc_name *name, const struct sockaddr *address, socklen_t length);
int nc_getsockname(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length);
int nc_getpeername(const struct nc_name *name, struct sockaddr *address, socklen_t *length);
int nc_getsockopt(int fd, const struct nc_name *name, int level, int option, void *value, socklen_t *length);
int nc_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int nc_shutdown(int fd, const struct nc_name *name, int how);
/// The accepted connection inherits the time-outs of its listener, as in Linux.
void nc_inherit_timeouts(int from, int to);
void nc_copy_timeouts(int from, int to);

ssize_t nc_sendto(int fd, struct nc_name *name, const void *data, size_t bytes, int flags,
                  const struct sockaddr *address, socklen_t length);
ssize_t nc_recvfrom(int fd, const struct nc_name *name, void *data, size_t bytes, int flags, socklen_t *length);
ssize_t nc_sendmsg(int fd, struct nc_name *name, const struct msghdr *message, int flags);
ssize_t nc_recvmsg(int fd, const struct nc_name *name, struct msghdr *message, int flags);

#endif
