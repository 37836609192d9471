// Control messages (cmsg(3)) and descriptors of other processes, as functions: macros, variadic calls and glibc's newer
// wrappers are not imported by Swift. Declared with plain types only, and defined in C: several Clang modules declare
// struct msghdr and its kin, and the importer would pick any.
#ifndef NC_SOCKET_H
#define NC_SOCKET_H

#include <stddef.h>

/// Descriptors that one received message has room for: more than any request may carry, so that all of them arrive and
/// can be closed; what does not fit the kernel closes itself (MSG_CTRUNC).
#define NC_CONTROL_DESCRIPTORS 8

/// The bytes of control data for NC_CONTROL_DESCRIPTORS descriptors.
size_t nc_control_bytes(void);

/// Describes a message (struct msghdr) of `count` pieces (struct iovec) at `vectors`, with `control_bytes` bytes of room
/// for control data (or NULL, 0).
void nc_message_prepare(void *message, void *vectors, size_t count, void *control, size_t control_bytes);

/// Whether a received message did not fit.
int nc_message_is_truncated(const void *message);

/// Whether control data did not fit, or descriptors in it could not be had (RLIMIT_NOFILE).
int nc_message_lost_descriptors(const void *message);

/// The descriptors that came with a received message, at most `capacity` of them; further ones are closed.
int nc_take_descriptors(void *message, int *out, int capacity);

/// Sends `bytes` bytes at `data` in one message, with descriptor `passed` unless it is -1; never waits, never raises
/// SIGPIPE. 0, or a negated errno (EMSGSIZE where only a part could be sent).
int nc_send_with_fd(int fd, const void *data, size_t bytes, int passed);

/// Sends one message: `header`, then `count` pieces (struct iovec) at `vectors`, at most 1,000; never waits, never raises
/// SIGPIPE. 0, or a negated errno.
int nc_send_datagram(int fd, const void *header, size_t header_bytes, const void *vectors, size_t count);

/// Receives up to `capacity` bytes of a stream without waiting. `*is_marked`: a descriptor came with the last one, which the
/// kernel has dropped; unix(7) ends a receipt there.
/// Returns the bytes, 0 at the end, or a negated errno.
long nc_receive_marked(int fd, void *data, size_t capacity, int *is_marked);

/// A file in memory of `bytes` bytes, whose size never changes (memfd_create(2), F_SEAL_SHRINK, F_SEAL_GROW). A descriptor, or
/// a negated errno.
int nc_make_shared_memory(size_t bytes);

/// Reads entries of a directory into `entries`, as many as `bytes` hold (getdents64(2)): `struct dirent` one after the other.
/// Bytes; 0 at the end, or a negated errno.
long nc_read_directory(int fd, void *entries, unsigned bytes);

/// Borrows descriptor `number` of process `pid` (pidfd_getfd(2), Linux 5.6; needs the right to trace it). A descriptor, or
/// a negated errno.
int nc_borrow_descriptor(int pid, int number);

/// Adds `bits` to the marks of an app's end: the complement of its SO_INCOMING_CPU (netcond_rpc.h, NC_MARK_ERROR_SHIFT).
void nc_add_marks(int fd, int bits);

/// Makes `bits` the only marks of an app's end, which no app has yet.
void nc_set_marks(int fd, int bits);

/// Bytes of the kernel's memory that messages sent on `fd` and not yet read hold (SIOCOUTQ; of a unix socket that is its
/// sk_wmem_alloc); 0 on failure.
int nc_unread_memory(int fd);

/// Whether the next byte to be received is an urgent one, or its mark where it was taken (SIOCATMARK).
int nc_is_at_mark(int fd);

/// Takes the urgent byte without waiting (MSG_OOB); -1 where there is none.
int nc_take_urgent(int fd);

/// The inode of a socket, as /proc/PID/fd shows it; 0 on failure.
unsigned long nc_socket_inode(int fd);

/// The process at the other end of a unix connection (SO_PEERCRED, unix(7)); 0 on failure.
int nc_peer_process(int fd);

/// The effective user at the other end, when it connected; that of nobody (-1) on failure.
unsigned nc_peer_user(int fd);

#endif
