// What the preloaded library and the daemon say to each other: the one header both sides compile.
//
// Three things travel, all in host byte order unless said otherwise (both ends are always on one machine):
//   1. requests and replies on the RPC socket nc_<network id> (SOCK_SEQPACKET, one message = one struct);
//   2. accept records on a listener's socketpair;
//   3. abstract unix names, bound to the ends of a socketpair, that tell what the pair stands for.
// docs/rpc.md explains each; a change of layout or meaning raises NC_RPC_VERSION.
#ifndef NETCOND_RPC_H
#define NETCOND_RPC_H

#include <stddef.h>
#include <stdint.h>

#define NC_RPC_MAGIC 0x444e434eu /* "NCND" as bytes in memory on a little-endian machine */
#define NC_RPC_VERSION 1u

/// An internet address, 24 bytes. `family` 0 means "none".
struct nc_address {
  uint16_t family;   /* AF_INET, AF_INET6 or 0 */
  uint16_t port;     /* network byte order, as sin_port */
  uint32_t scope_id; /* sin6_scope_id; 0 for AF_INET */
  uint8_t bytes[16]; /* network byte order; AF_INET uses the first four, the rest is 0 */
};

/// What a request asks for. Each takes the named fields of struct nc_request; the others must be 0.
enum nc_op {
  NC_OP_SOCKET = 1,     /* argument = {family, type without flags, protocol}; reply carries the app's end as an fd */
  NC_OP_BIND = 2,       /* fd; address; argument[0] = NC_BIND_ flags */
  NC_OP_LISTEN = 3,     /* fd; argument[0] = backlog */
  NC_OP_CONNECT = 4,    /* fd; address. Reply status EINPROGRESS: the attempt runs; its outcome shows on the fd */
  NC_OP_NAMES = 5,      /* fd; reply carries local and remote address */
  NC_OP_SETSOCKOPT = 6, /* fd; argument = {level, name, length}; data */
  NC_OP_GETSOCKOPT = 7, /* fd; argument = {level, name, capacity}; reply: argument[0] = length, data */
};

#define NC_REQUEST_DATA_BYTES 64
#define NC_REPLY_DATA_BYTES 256

/// A request: exactly 128 bytes, with at most one fd (the app's end of the socket meant) by SCM_RIGHTS.
struct nc_request {
  uint32_t magic;    /* NC_RPC_MAGIC */
  uint16_t version;  /* NC_RPC_VERSION */
  uint16_t op;       /* enum nc_op */
  uint32_t sequence; /* echoed in the reply */
  uint32_t reserved;
  int32_t argument[4];
  struct nc_address address;
  uint8_t reserved2[8];
  uint8_t data[NC_REQUEST_DATA_BYTES];
};

/// A reply: exactly 344 bytes. `status` is 0 or an errno of Linux, as a positive number.
/// On a version mismatch the daemon answers status EPROTO with its own `version`, and closes the RPC connection.
struct nc_reply {
  uint32_t magic;
  uint16_t version;
  uint16_t op;
  uint32_t sequence;
  int32_t status;
  int32_t argument[4];
  struct nc_address local;
  struct nc_address remote;
  uint8_t reserved[8];
  uint8_t data[NC_REPLY_DATA_BYTES];
};

/// One accepted connection, on the listener's pair: exactly 64 bytes, with the connection's fd by SCM_RIGHTS.
struct nc_accept_record {
  uint32_t magic;
  uint16_t version;
  uint16_t reserved;
  uint64_t socket_id;
  struct nc_address local;
  struct nc_address remote;
};

/// What the pair is, as told by a name.
enum nc_state {
  NC_STATE_NEW = 0,       /* only on the app's end: made, nothing final yet (bound or connecting at most) */
  NC_STATE_CONNECTED = 1, /* on the daemon's end: addresses are final */
  NC_STATE_LISTENING = 2, /* on the daemon's end: `local` is final */
  NC_STATE_FAILED = 3,    /* on the daemon's end: connect failed with `error`; the end is closed */
};

#define NC_NAME_MAGIC "\0netcond" /* 8 bytes; the first NUL makes the name abstract (unix(7)) */
#define NC_NAME_MAGIC_BYTES 8

/// The bytes of sun_path of a bound end: exactly 80. The app's end is named at socket() (state NEW); the daemon's end is
/// named once, when the state becomes final. An end made by accept has a name on the daemon's end only.
struct nc_name {
  uint8_t magic[NC_NAME_MAGIC_BYTES]; /* NC_NAME_MAGIC */
  uint8_t version;                    /* NC_RPC_VERSION */
  uint8_t state;                      /* enum nc_state */
  uint8_t family;                     /* AF_INET or AF_INET6: what the app asked socket() for */
  uint8_t type;                       /* SOCK_STREAM or SOCK_DGRAM */
  uint16_t protocol;                  /* IPPROTO_TCP, … */
  uint16_t error;                     /* errno of a failed connect, else 0 */
  uint64_t daemon_nonce;              /* random per daemon run: keeps the names of two daemons apart */
  uint64_t socket_id;                 /* unique within a daemon run */
  struct nc_address local;
  struct nc_address remote;
};

enum {
  NC_BIND_REUSEADDR = 1, /* SO_REUSEADDR was set on the socket */
};

_Static_assert(sizeof(struct nc_address) == 24, "layout is the protocol");
_Static_assert(sizeof(struct nc_request) == 128, "layout is the protocol");
_Static_assert(sizeof(struct nc_reply) == 344, "layout is the protocol");
_Static_assert(sizeof(struct nc_accept_record) == 64, "layout is the protocol");
_Static_assert(sizeof(struct nc_name) == 80, "layout is the protocol");

#endif
