// The preloaded library: unmodified programs get sockets of a virtual network.
//
// Theory of operation. A virtual socket is one end ("the app's end") of a unix socketpair whose other end a daemon
// holds; data, poll, close, dup, fork and exec are therefore the kernel's own and no code here runs for them. Only the
// calls that make a socket, steer it, or name an address pass here:
//
//   exports.c    the interposed symbols that steer a socket; for each fd, ours or not
//   exports_poll.c   poll() and ppoll(), for the errors of datagram sockets; exports_epoll.c   epoll_wait() and its kin
//   exports_data.c   those that move data: they pass on to libc at once what hints.c says is none of ours
//   exports_sandbox.c   whether the program has put a seccomp filter on itself
//   identity.c   what an fd is: nc_identify reads the abstract names the daemon gave to the ends of the pair
//   rpc.c        one kept SOCK_SEQPACKET connection to the daemon for each process; prepared.c   TCP sockets made ahead
//   exports_exec.c exec.c exec_target.c   what a program passes on to those it starts, and which cannot take it
//   create.c connect.c listen.c names.c options.c toggles.c ioctl.c shutdown.c   a topic each
//   transfer.c   the data calls on streams; arena.c   shared memory for what is written in bulk; spin.c   looking before sleeping
//   datagram.c   those on datagram sockets; datagram_names.c, _routes.c, _control.c, _errors.c   what goes with them
//   facts.c interfaces.c ifaddrs.c   the interfaces that a program sees
//   resolve_….c (resolve.h)          names and addresses; exports_names.c and exports_res.c are the calls
//   address.c report.c native.c raw.h   conversions, messages on stderr, libc's own functions, bare system calls
//
// There is no table of fds (hints.c says only what is surely not ours): what must be remembered stands in the kernel, at
// the socket: its names, and a word of ours in its SO_INCOMING_CPU, which unix sockets do not use otherwise. That holds
// across dup, fork, exec and fd passing, where a table goes wrong.
//
// Functions here return what the kernel would: >= 0, or a negative errno. exports.c turns that into errno.
#ifndef NETCOND_INTERCEPT_H
#define NETCOND_INTERCEPT_H

// The fortified inline definitions of libc would clash with ours; nothing here copies by guesswork.
#undef _FORTIFY_SOURCE

#include <spawn.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "netcond_rpc.h"
#include "raw.h"

// native.c

struct addrinfo;
struct gaicb;
struct hostent;
struct ifaddrs;
struct if_nameindex;
struct sigevent;

/// Libc's own functions, found behind this library by dlsym: result, name, parameters. Used where libc's wrapper matters:
/// calls passed through, and waits that must be cancellation points. All else is a bare system call (raw.h).
#define NC_NATIVE_FUNCTIONS(F)                                                                                         \
  F(int, getaddrinfo, (const char *, const char *, const struct addrinfo *, struct addrinfo **))                       \
  F(int, getaddrinfo_a, (int, struct gaicb **, int, struct sigevent *))                                                \
  F(int, getnameinfo, (const struct sockaddr *, socklen_t, char *, socklen_t, char *, socklen_t, int))                 \
  F(struct hostent *, gethostbyname, (const char *))                                                                   \
  F(struct hostent *, gethostbyname2, (const char *, int))                                                             \
  F(struct hostent *, gethostbyaddr, (const void *, socklen_t, int))                                                   \
  F(int, gethostbyname_r, (const char *, struct hostent *, char *, size_t, struct hostent **, int *))                  \
  F(int, gethostbyname2_r, (const char *, int, struct hostent *, char *, size_t, struct hostent **, int *))            \
  F(int, gethostbyaddr_r,                                                                                              \
    (const void *, socklen_t, int, struct hostent *, char *, size_t, struct hostent **, int *))                        \
  F(int, getifaddrs, (struct ifaddrs **))                                                                              \
  F(struct if_nameindex *, if_nameindex, (void))                                                                       \
  F(unsigned, if_nametoindex, (const char *))                                                                          \
  F(char *, if_indextoname, (unsigned, char *))                                                                        \
  F(int, socket, (int, int, int))                                                                                      \
  F(int, bind, (int, const struct sockaddr *, socklen_t))                                                              \
  F(int, listen, (int, int))                                                                                           \
  F(int, accept, (int, struct sockaddr *, socklen_t *))                                                                \
  F(int, accept4, (int, struct sockaddr *, socklen_t *, int))                                                          \
  F(int, connect, (int, const struct sockaddr *, socklen_t))                                                           \
  F(int, getsockname, (int, struct sockaddr *, socklen_t *))                                                           \
  F(int, getpeername, (int, struct sockaddr *, socklen_t *))                                                           \
  F(int, getsockopt, (int, int, int, void *, socklen_t *))                                                             \
  F(int, setsockopt, (int, int, int, const void *, socklen_t))                                                         \
  F(int, shutdown, (int, int))                                                                                         \
  F(int, ioctl, (int, unsigned long, ...))                                                                             \
  F(ssize_t, read, (int, void *, size_t))                                                                              \
  F(ssize_t, readv, (int, const struct iovec *, int))                                                                  \
  F(ssize_t, write, (int, const void *, size_t))                                                                       \
  F(ssize_t, writev, (int, const struct iovec *, int))                                                                 \
  F(ssize_t, send, (int, const void *, size_t, int))                                                                   \
  F(ssize_t, sendto, (int, const void *, size_t, int, const struct sockaddr *, socklen_t))                             \
  F(ssize_t, sendmsg, (int, const struct msghdr *, int))                                                               \
  F(int, sendmmsg, (int, struct mmsghdr *, unsigned, int))                                                             \
  F(ssize_t, recv, (int, void *, size_t, int))                                                                         \
  F(ssize_t, recvfrom, (int, void *, size_t, int, struct sockaddr *, socklen_t *))                                     \
  F(ssize_t, recvmsg, (int, struct msghdr *, int))                                                                     \
  F(int, recvmmsg, (int, struct mmsghdr *, unsigned, int, struct timespec *))                                          \
  F(int, poll, (struct pollfd *, nfds_t, int))                                                                         \
  F(int, ppoll, (struct pollfd *, nfds_t, const struct timespec *, const sigset_t *))                                  \
  F(int, epoll_wait, (int, struct epoll_event *, int, int))                                                            \
  F(int, epoll_pwait, (int, struct epoll_event *, int, int, const sigset_t *))                                         \
  F(int, epoll_pwait2, (int, struct epoll_event *, int, const struct timespec *, const sigset_t *))                    \
  F(int, prctl, (int, ...))                                                                                            \
  F(int, dup, (int))                                                                                                   \
  F(int, dup2, (int, int))                                                                                             \
  F(int, dup3, (int, int, int))                                                                                        \
  F(int, fcntl, (int, int, ...))                                                                                       \
  F(int, fcntl64, (int, int, ...))                                                                                     \
  F(int, execve, (const char *, char *const[], char *const[]))                                                         \
  F(int, execvpe, (const char *, char *const[], char *const[]))                                                        \
  F(int, fexecve, (int, char *const[], char *const[]))                                                                 \
  F(int, posix_spawn,                                                                                                  \
    (pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],              \
     char *const[]))                                                                                                   \
  F(int, posix_spawnp,                                                                                                 \
    (pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],              \
     char *const[]))                                                                                                   \
  F(int, system, (const char *))                                                                                       \
  F(FILE *, fopen, (const char *, const char *))                                                                       \
  F(FILE *, fopen64, (const char *, const char *))                                                                     \
  F(FILE *, popen, (const char *, const char *))                                                                       \
  F(void *, dlopen, (const char *, int))

struct nc_native {
#define NC_DECLARE(result, symbol, parameters) result(*symbol) parameters;
  NC_NATIVE_FUNCTIONS(NC_DECLARE)
#undef NC_DECLARE
};

enum nc_mode { NC_MODE_UNKNOWN = 0, NC_MODE_OFF = 1, NC_MODE_ON = 2 };

extern int nc_mode;
extern struct nc_native nc_native_table;

/// Reads the environment and fills the table. Idempotent; called by the constructor, or before it by whoever is first.
void nc_start(void);

/// A function of libc that is not in the table, or NULL.
void *nc_find_native(const char *symbol);

/// The path of the daemon's RPC socket: ZT_NC_NETWORK as it stood when the process began, made absolute.
const char *nc_network_path(void);
const char *nc_network_path_as_given(void);

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

/// Bits kept at a socket in the kernel (see nc_marks).
enum nc_mark {
  NC_MARK_COLLECTED = 1 << 0, /* the outcome of connect() was handed to a caller of connect() */
  NC_MARK_SHUT = 1 << 1,      /* shut down by the app before it was connected, as a listener, or for receiving datagrams */
  NC_MARK_URGENT = 1 << 2,    /* a stream: the daemon expects urgent data */
  /* Streams: NC_MARK_NODELAY and NC_MARK_COALESCES (netcond_rpc.h), and one bit for each time that TCP_CORK was set, up to 3 */
  NC_MARK_FIRST_CORK = 1 << 5,
  NC_MARK_CORKS = 7 << 5,
  NC_MARK_BEGUN = 1 << 8,  /* connect() was called, and may be under way */
  NC_MARK_NAMED = 1 << 9,  /* bound, or may be: whether it can connect depends on that, too */
  /* Datagram sockets: */
  NC_MARK_CONNECTED = 1 << 2,   /* has a peer */
  NC_MARK_BOUND = 1 << 3,       /* has a port: no NC_OP_ROUTE is needed for that */
  NC_MARK_PKTINFO = 1 << 4,     /* IP_PKTINFO: the option is on, recvmsg gives its control message; likewise below */
  NC_MARK_PKTINFO6 = 1 << 5,    /* IPV6_RECVPKTINFO */
  NC_MARK_RECVTTL = 1 << 6,     /* IP_RECVTTL */
  NC_MARK_HOPLIMIT6 = 1 << 7,   /* IPV6_RECVHOPLIMIT */
  NC_MARK_RECVTOS = 1 << 8,     /* IP_RECVTOS */
  NC_MARK_TCLASS6 = 1 << 9,     /* IPV6_RECVTCLASS */
  NC_MARK_TIMESTAMP = 1 << 10,  /* SO_TIMESTAMP */
  NC_MARK_TIMESTAMPNS = 1 << 11, /* SO_TIMESTAMPNS */
  NC_MARK_RECVERR = 1 << 12,    /* IP_RECVERR */
  NC_MARK_RECVERR6 = 1 << 13,   /* IPV6_RECVERR */
  NC_MARK_ORIGDSTADDR = 1 << 14, /* IP_RECVORIGDSTADDR */
  NC_MARK_DONTFRAG = 1 << 15,    /* IP_PMTUDISC_DO or _PROBE, IPV6_DONTFRAG: a send may be EMSGSIZE by the way's MTU */
  NC_MARK_SHUT_SENDS = 1 << 17,  /* shut down for sending datagrams */
  NC_MARK_CORK = 1 << 18,        /* UDP_CORK */
  NC_MARK_TOLD = 1 << 16,        /* the errno of the ERROR record at the head of the pair was told to the app already */
};

/// Whether `fd` is the app's end of a virtual socket; if so, its current state in `name`. A connection's addresses may be of
/// family 0: not told yet (nc_getsockname asks).
bool nc_identify(int fd, struct nc_name *name);

/// Whether the app's end was made by socket(), not by accept().
bool nc_made_by_socket(int fd);

/// The kernel's number of a socket, which no other ever has (SO_COOKIE, Linux 5.12 for unix); 0: no socket.
uint64_t nc_cookie(int fd);

/// The marks of a socket: the complement of its SO_INCOMING_CPU, which is -1 at the start (socket(7), Linux 4.4).
int nc_marks(int fd);
/// Whether marks are those of a stream, which the daemon makes: no other socket has such.
bool nc_is_marked(int marks);
void nc_mark(int fd, int marks);
/// Makes them the only ones.
void nc_set_marks(int fd, int marks);
void nc_unmark(int fd, int marks);

/// What TCP would say where the pair says `error` (ECONNRESET, which stands for all that ends a connection).
int nc_error_as_tcp(int fd, const struct nc_name *name, int error);

/// Lets the next look at the socket's error, by SO_ERROR, a send or a receipt, find `error`; 0: none.
void nc_owe_error(int fd, int error);
bool nc_owes_error(int fd);
/// Takes that error; 0 for none.
int nc_take_owed_error(int fd);

/// Takes the pending error of the socket (SO_ERROR: it clears itself) as TCP would name it; 0 for none.
int nc_take_error(int fd, const struct nc_name *name);

/// The daemon's TCP state of the socket (TCP_CLOSE, TCP_SYN_SENT, … of netinet/tcp.h), 0 if it does not tell.
int nc_tcp_state(int fd);

/// Whether a connection has ended both ways, by reset or in order: Linux calls such a socket not connected.
bool nc_is_over(int fd);

// hints.c

enum nc_hint {
  NC_HINT_FOREIGN = 0, /* surely no virtual socket */
  NC_HINT_LOOK = 1,    /* may be one: nc_identify tells */
  NC_HINT_STREAM = 2,  /* was a connection when somebody looked: plain reads are the kernel's own */
};

enum { NC_HINT_END = 1 << 16 /* numbers from here on are always looked at */ };

extern uint8_t nc_hints[NC_HINT_END];

static inline uint8_t nc_hint_byte(int fd) {
  return (unsigned)fd < NC_HINT_END ? __atomic_load_n(&nc_hints[fd], __ATOMIC_RELAXED) : NC_HINT_LOOK;
}
static inline enum nc_hint nc_hint(int fd) { return (enum nc_hint)(nc_hint_byte(fd) & 3); }

/// Notes that `fd` is a virtual socket from now on.
void nc_hint_mark(int fd, enum nc_hint kind);
/// Notes that `to` is a copy of `from`.
void nc_hint_copy(int from, int to);
/// nc_identify(); and a connection is known for one from then on: what is sent on it need not be looked at again.
bool nc_look(int fd, struct nc_name *name);
/// Looks at the fds that the process began with.
void nc_hints_begin(void);

// exports_sandbox.c

extern int nc_sandbox;

/// Whether this process has put a seccomp filter on itself: a call that the app has not made itself may end it.
static inline bool nc_is_sandboxed(void) { return __atomic_load_n(&nc_sandbox, __ATOMIC_RELAXED) != 0; }

// rpc.c

/// NC_OP_NAMES: the addresses of `fd`, which gives a connection its name. Returns 0 or a negative errno.
int nc_ask_names(int fd, struct nc_reply *reply);

/// Moves an fd of ours out of the program's way. Returns its new number, or `fd` where that fails.
int nc_raise_fd(int fd);

/// Receives a message, and the fd that came with it: -1 for none, -EMFILE where the kernel had no number left for it and dropped it.
/// Returns the message's size, 0, or a negative errno.
long nc_receive_with_fd(int from, void *data, size_t bytes, int flags, int *fd);

/// Sends `request` (magic, version and sequence are filled in here) with `fd` (or -1) and awaits the reply.
/// An fd in the reply goes to `received` (may be null), with or without FD_CLOEXEC.
/// Returns 0 or a negative errno: the daemon's status, -ENETDOWN where no daemon answers, -EPROTONOSUPPORT where it
/// speaks another version.
int nc_rpc(struct nc_request *request, int fd, struct nc_reply *reply, int *received, bool close_on_exec);
/// Sends `request` without awaiting anything (NC_REQUEST_POSTED). Returns 0 or a negative errno.
int nc_post(struct nc_request *request, int fd);

// prepared.c

/// Takes a TCP socket that the daemon has made ahead. Returns an fd, -EMFILE, or -EAGAIN where there is none.
int nc_take_prepared(int family, bool close_on_exec);
/// A socket was asked for by a request: whoever does that again and again gets them made ahead.
void nc_want_prepared(int family);

// exec.c

/// Notes where this library is. Called once, while the process starts.
void nc_exec_begin(void);

/// Writes the absolute form of `path` into `room` (cut to `bytes`); `path` itself where that does not fit, or where the
/// working folder cannot be told.
void nc_make_absolute(const char *path, char *room, size_t bytes);

/// The bytes of memory that nc_environment_build needs for `environment` (null: empty); 0: it needs no change, or its
/// ZT_NC_NETWORK is empty, which asks for the host's network.
size_t nc_environment_room(char *const environment[]);

/// A copy of `environment` in `room` (aligned for pointers) in which the program stays on this process's network.
char **nc_environment_build(char *const environment[], void *room);

/// Whether `environment` asks for the host's network.
bool nc_environment_leaves(char *const environment[]);

/// The same for this process's own environment, which libc itself passes on. Not for signal handlers.
void nc_environment_keep(void);

// exec_target.c

/// Says on stderr if the program cannot be preloaded, once for a process and program. NETCOND_EXEC_WARNINGS=0 at the
/// start of the process: never. Any path is fine here: what is wrong with it is exec's to say.
void nc_target_begin(void);
void nc_target_check(int folder, const char *path, int flags, char *const environment[]);
/// The same for a name that is searched for in PATH, as by execvp().
void nc_target_check_name(const char *name, char *const environment[]);

// report.c

enum nc_report {
  NC_REPORT_ABSENT = 0,  /* nobody listens at the path */
  NC_REPORT_DENIED = 1,  /* the path's permissions keep us out */
  NC_REPORT_SILENT = 2,  /* no answer in time */
  NC_REPORT_VERSION = 3, /* `detail` is the daemon's version */
};

/// Writes to stderr, unless that is a virtual socket.
void nc_say(struct iovec *pieces, int count);

/// Says on stderr what is wrong and how to cure it; each kind once for a process (and those it forks).
void nc_report(enum nc_report kind, unsigned detail);

// address.c

/// Copies an address of the app's, as the kernel would: `*copy` is zero beyond `length`. Returns 0, -EFAULT or -EINVAL.
int nc_address_copy(const struct sockaddr *source, socklen_t length, struct sockaddr_storage *copy);

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
/// With the options and the bound address of the socket `model`, unless that is -1.
int nc_create_like(int model, int family, int type, int protocol, bool close_on_exec);
/// Puts a fresh socket over `fd`, with the flags, time-outs, options and bound address of the old one.
int nc_renew(int fd, struct nc_name *name);
/// Does that where Linux's socket is idle again and ours at its end: after a failed connect that was told of, and after
/// the shutdown of a listener or of an attempt under way.
int nc_revive(int fd, struct nc_name *name);

int nc_bind(int fd, struct nc_name *name, const struct sockaddr *address, socklen_t length);
int nc_listen(int fd, struct nc_name *name, int backlog);
/// Drops the connections queued on a listener.
void nc_drop_queued(int fd);
int nc_accept(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length, int flags);
int nc_connect(int fd, struct nc_name *name, const struct sockaddr *address, socklen_t length);
int nc_getsockname(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length);
int nc_getpeername(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length);
int nc_getsockopt(int fd, const struct nc_name *name, int level, int option, void *value, socklen_t *length);
int nc_setsockopt(int fd, const struct nc_name *name, int level, int option, const void *value, socklen_t length);
int nc_ioctl(int fd, const struct nc_name *name, unsigned long request, void *argument);
int nc_shutdown(int fd, const struct nc_name *name, int how);
/// The accepted connection inherits the time-outs of its listener, as in Linux.
void nc_inherit_timeouts(int from, int to);
void nc_copy_timeouts(int from, int to);


// toggles.c

/// The option of the app's end that stands for TCP_NODELAY or TCP_CORK where the daemon need not know: setting and reading
/// is the kernel's own; 0: the daemon is to be asked.
int nc_toggle_to_set(int fd, const struct nc_name *name, int level, int option);
int nc_toggle_to_read(int fd, const struct nc_name *name, int level, int option);
/// The same for setting without a name, of a connection that is known as one: a server does it twice for each answer.
int nc_toggle_to_set_again(int fd, int level, int option);
/// The NC_OPTION_ flags of a request that turns such an option on or off.
int nc_toggle_flags(int fd, const struct nc_name *name, int level, int option, bool is_on);
/// Notes that the daemon has taken such a request; `coalesces` is its reply.
void nc_toggle_taken(int fd, int level, int option, bool is_on, bool coalesces);
/// The fresh socket `to` has the options that the daemon knew of `from`: also what it did not know.
void nc_toggle_copy(int from, int to);

/// ioctl()s of netdevice(7), on a socket of `family`. Returns false where `request` is none of them.
bool nc_interface_ioctl(int family, unsigned long request, void *argument, int *result);

/// The data calls, all as messages; `name` is what nc_identify told. A stream's `message` is not const: MSG_FASTOPEN
/// connects, which may change `name`.
ssize_t nc_stream_send(int fd, struct nc_name *name, const struct msghdr *message, int flags);
/// A send said `error` (EPIPE, or ECONNRESET), without a signal: TCP's error instead, or SIGPIPE unless MSG_NOSIGNAL.
ssize_t nc_stream_broken(int fd, const struct nc_name *name, int flags, int error);
/// A send has sent less than it was to: where a reset cut it short, the kernel has used up the error, which the next call
/// is to tell (unix_stream_sendmsg takes it, and returns what was sent).
void nc_stream_cut(int fd);
/// What a receipt returns where the kernel says ECONNRESET.
ssize_t nc_stream_reset(int fd, const struct nc_name *name);
ssize_t nc_stream_receive(int fd, const struct nc_name *name, struct msghdr *message, int flags);
ssize_t nc_datagram_send(int fd, const struct nc_name *name, const struct msghdr *message, int flags);
ssize_t nc_datagram_receive(int fd, const struct nc_name *name, struct msghdr *message, int flags);

// spin.c

enum { NC_SPINS_UNKNOWN = 0, NC_SPINS_NOT, NC_SPINS };
extern int nc_spins;

/// Finds out by an established stream whether this process may look before it sleeps.
void nc_spin_learn(int fd);
static inline void nc_spin_learn_once(int fd) {
  if (__atomic_load_n(&nc_spins, __ATOMIC_RELAXED) == NC_SPINS_UNKNOWN) nc_spin_learn(fd);
}

/// Returns when there is something to receive, or an end; at once where the fd does not wait; after 0.1 ms at the latest.
/// True: a signal has come that makes the receipt fail with EINTR.
bool nc_spin(int fd);

/// Whether calls that wait are to look first.
static inline bool nc_looks_first(void) {
  return __builtin_expect(__atomic_load_n(&nc_spins, __ATOMIC_RELAXED) == NC_SPINS, 0) && !nc_is_sandboxed();
}

/// How long a call with this time-out may look, in nanoseconds: NULL waits for ever; 0 for one that waits not at all, or that the
/// kernel is to judge.
int64_t nc_spin_limit(const struct timespec *timeout);

/// A call that waits: `look` is a system call that does not, and says 0 where there is nothing; `sleep` is libc's, with the mask of
/// signals to wait with, as ppoll(2) has it.
struct nc_wait {
  long (*look)(const void *call);
  int (*sleep)(const void *call, const sigset_t *mask);
  const void *call;
};

/// Looks until there is something, for 0.1 ms, for `limit` nanoseconds, or until a signal comes, whichever is least, and then
/// sleeps. `mask` may be null: signals end the wait as they would without looking. Returns what the call returns, errno included.
int nc_spin_wait(const struct nc_wait *wait, int64_t limit, const sigset_t *mask);

// arena.c

extern bool nc_arenas_used;

/// Whether any connection of this process may have shared send memory.
static inline bool nc_arenas_are_used(void) {
  return __builtin_expect(__atomic_load_n(&nc_arenas_used, __ATOMIC_RELAXED), 0);
}

enum { NC_ARENA_LARGE_BYTES = 16 * 1024 /* a write that counts as bulk */ };

/// A write to an established stream, by way of shared memory. False: none of it has gone, and the kernel's own call is to be
/// made. Else `*sent` is that call's result, with errno.
/// `is_apps`: the list of parts is the app's, and may be anywhere.
bool nc_arena_send(int fd, const struct iovec *parts, size_t count, bool is_apps, int flags, ssize_t *sent);

/// An established stream has taken `bytes` bytes at once, NC_ARENA_LARGE_BYTES or more.
void nc_arena_note(int fd, ssize_t bytes);

// datagram_routes.c

/// What the daemon has allowed within the last second, by keys that this makes of addresses.
uint64_t nc_route_hash(uint64_t seed, const struct nc_address *address);
bool nc_route_is_known(uint64_t key);
void nc_route_note(uint64_t key);

// datagram_names.c: the other calls, on datagram sockets

int nc_datagram_bind(int fd, const struct nc_name *name, const struct nc_address *address);
/// Takes effect at once; AF_UNSPEC takes the peer away.
int nc_datagram_connect(int fd, const struct nc_name *name, const struct sockaddr *address, socklen_t length);
int nc_datagram_peername(int fd, const struct nc_name *name, struct sockaddr *address, socklen_t *length);
int nc_datagram_shutdown(int fd, int how);
/// Waits until the daemon has taken from the pair what was sent before an option is set: the request would overtake it.
void nc_datagram_settle(int fd);
/// Notes an option that the daemon has taken, where sends and receipts here depend on it.
void nc_datagram_option_set(int fd, int level, int option, const void *value, socklen_t length);
/// FIONREAD: the payload of the next datagram in bytes, 0 where there is none.
int nc_datagram_next_bytes(int fd);
/// The pending error of a datagram socket (SO_ERROR), which is taken; 0 for none.
int nc_datagram_pending_error(int fd);

#endif
