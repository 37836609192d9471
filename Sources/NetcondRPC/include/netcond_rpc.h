// What the preloaded library and the daemon say to each other: the one header both sides compile.
//
// Five things travel, all in host byte order unless said otherwise (both ends are always on one machine):
//   1. requests and replies on the RPC socket nc_<network id> (SOCK_SEQPACKET, one message = one struct);
//   2. accept records on a listener's socketpair;
//   3. datagrams, each behind a header, on a datagram socket's pair;
//   4. abstract unix names, bound to the ends of a socketpair, that tell what the pair stands for;
//   5. memory shared for what a connection sends in bulk (netcond_arena.h).
// docs/rpc.md explains each; a change of layout or meaning raises NC_RPC_VERSION.
#ifndef NETCOND_RPC_H
#define NETCOND_RPC_H

#include <stddef.h>
#include <stdint.h>

#include "netcond_arena.h"

#define NC_RPC_MAGIC 0x444e434eu /* "NCND" as bytes in memory on a little-endian machine */
#define NC_RPC_VERSION 6u

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
  NC_OP_SETSOCKOPT = 6, /* fd; argument = {level, name, length, NC_OPTION_ flags}; data */
  NC_OP_GETSOCKOPT = 7, /* fd; argument = {level, name, capacity}; reply: argument[0] = length, data */
  NC_OP_ROUTE = 8,      /* fd of a datagram socket; address = destination, or none; argument[0] = payload bytes; data = the
                           source wanted (struct nc_address). Binds the socket if it is not bound, as a first send does;
                           status: what that send would fail with at once, else 0; local = source; argument[0] = MTU */
  NC_OP_FACTS = 9,      /* no fd; argument = {enum nc_fact, index}; reply: data; ENOENT beyond the last */
  NC_OP_QUEUED = 10,    /* fd; reply: argument = {bytes not acknowledged or not sent, of those not sent at all} */
  NC_OP_URGENT = 11,    /* fd of a connection, before its first send with MSG_OOB; EAGAIN: ask again */
  NC_OP_DISPENSER = 12, /* no fd; argument = {family, NC_DISPENSER_ flags}; reply carries an fd: where TCP sockets made ahead
                           are taken */
  NC_OP_REFILL = 13,    /* posted, no fd; argument = {family}: few are left there */
  NC_OP_ARENA = 14,     /* fd of a connection; reply carries an fd to map (struct nc_arena). EAGAIN: ask again later;
                           EOPNOTSUPP, ENFILE: there is none for it */
};

/// What can be asked of a network by NC_OP_FACTS, and the struct in the reply's data.
enum nc_fact {
  NC_FACT_INTERFACE = 0, /* struct nc_interface_fact; index 0 is lo, 1 the network's own */
  NC_FACT_ADDRESS = 1,   /* struct nc_address_fact, of all interfaces */
  NC_FACT_DNS = 2,       /* struct nc_address: a name server, in order of preference */
  NC_FACT_SEARCH = 3,    /* a domain to search, as text with its NUL */
};

/// An interface as programs see it: if_nameindex(3), netdevice(7).
struct nc_interface_fact {
  char name[16];  /* with NUL: "lo", "nc0" */
  uint32_t index; /* NC_INTERFACE_INDEX_LO or _NETWORK: also the scope id of link-local addresses */
  uint32_t flags; /* IFF_UP, … (netdevice(7)) */
  uint32_t mtu;   /* bytes */
  uint8_t hardware[6];
  uint16_t policy; /* NC_POLICY_ flags, of the network */
};

struct nc_address_fact {
  struct nc_address address; /* port 0; link-local ones with their scope */
  uint32_t interface;        /* index */
  uint32_t prefix_bits;
  struct nc_address broadcast; /* family 0: none */
};

enum { NC_INTERFACE_INDEX_LO = 1, NC_INTERFACE_INDEX_NETWORK = 2 };

enum {
  NC_POLICY_OUTSIDE_HOST = 1,  /* destinations on no route of the network are the host's */
  NC_POLICY_LOOPBACK_HOST = 2, /* 127.0.0.0/8 and ::1 are the host's */
};

#define NC_REQUEST_DATA_BYTES 320 /* holds struct group_source_req (264 bytes), the longest of Linux's that we take */
#define NC_REPLY_DATA_BYTES 256

/// A request: exactly 384 bytes, with at most one fd (the app's end of the socket meant) by SCM_RIGHTS.
struct nc_request {
  uint32_t magic;    /* NC_RPC_MAGIC */
  uint16_t version;  /* NC_RPC_VERSION */
  uint16_t op;       /* enum nc_op */
  uint32_t sequence; /* echoed in the reply */
  uint32_t flags;    /* NC_REQUEST_ flags */
  int32_t argument[4];
  struct nc_address address;
  uint64_t cookie; /* of a posted CONNECT without fd: SO_COOKIE of the app's end, made ahead for this client; else 0 */
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

/// A TCP socket made ahead, on a dispenser (SOCK_SEQPACKET): exactly 32 bytes, with the app's end by SCM_RIGHTS, or where the
/// client fetches (NC_DISPENSER_FETCHES) without. Who fetches it also finishes it, before the program gets it: sets its SO_SNDBUF to
/// the least, sends zeros until it is full, and marks it.
struct nc_prepared {
  uint32_t magic;
  uint16_t version;
  uint16_t flags;        /* NC_PREPARED_ flags */
  uint64_t cookie;       /* SO_COOKIE of the app's end */
  int32_t descriptor;    /* the daemon's own of it, for pidfd_getfd(2); -1: it came with the message, finished */
  int32_t marks;         /* NC_MARK_ bits that the fetched end gets */
  uint32_t filler_bytes; /* that it then holds */
  uint32_t reserved;
};

enum {
  NC_DISPENSER_FETCHES = 1 /* the client may take descriptors from the daemon's process (pidfd_getfd(2)) */
};

enum { NC_PREPARED_LOW = 1 /* few are behind this one: NC_OP_REFILL is due */ };

/// One accepted connection, on the listener's pair: exactly 64 bytes, with the connection's fd by SCM_RIGHTS.
struct nc_accept_record {
  uint32_t magic;
  uint16_t version;
  uint16_t unaccepted; /* bytes at the front of the connection that accept() takes out before the app gets it: an fd that
                          closes with them unread was never accepted, and its connection is reset */
  uint64_t socket_id;
  struct nc_address local;
  struct nc_address remote;
};

/// In front of each datagram on a datagram socket's pair (SOCK_SEQPACKET), both ways: exactly 72 bytes, then the payload.
/// It is always there, so that a datagram without payload differs from the end of the pair.
struct nc_datagram {
  uint16_t kind;           /* enum nc_datagram_kind */
  uint16_t error;          /* NC_DATAGRAM_ERROR: errno */
  uint8_t hop_limit;       /* TTL; to the daemon: 0 = the socket's own */
  uint8_t traffic_class;   /* TOS */
  uint8_t icmp_type;       /* NC_DATAGRAM_ERROR: of the message that told of it; 0 = none */
  uint8_t icmp_code;
  uint32_t info;           /* NC_DATAGRAM_ERROR: ee_info (the MTU of a datagram that was too big). NC_DATAGRAM_DATA to an
                              IPv4 group or broadcast: ipi_spec_dst, in network byte order; else 0. To the
                              daemon: UDP_SEGMENT for this datagram; 0: the socket's own */
  uint32_t flags;          /* NC_DATAGRAM_HAS_… */
  struct nc_address peer;  /* to the app: the sender (of an ERROR: the destination it was for); to the daemon: the
                              destination, none = the peer that the socket is connected to */
  struct nc_address local; /* to the app: the address it was sent to (of an ERROR: who told); to the daemon: the address
                              to send from, none = chosen */
  uint64_t time;           /* to the app: when it arrived, nanoseconds of CLOCK_REALTIME */
};

enum nc_datagram_kind {
  NC_DATAGRAM_DATA = 0,
  NC_DATAGRAM_ERROR = 1, /* only to the app: an ICMP error for an earlier datagram; the payload is that datagram's */
};

enum {
  NC_DATAGRAM_HAS_HOP_LIMIT = 1,     /* to the daemon: hop_limit is for this datagram (IP_TTL, IPV6_HOPLIMIT) */
  NC_DATAGRAM_HAS_TRAFFIC_CLASS = 2, /* to the daemon: likewise (IP_TOS, IPV6_TCLASS) */
  NC_DATAGRAM_MORE = 4,              /* to the daemon: more of this datagram comes (MSG_MORE, UDP_CORK) */
  NC_DATAGRAM_FLUSH = 8,             /* to the daemon: a header alone that ends a datagram begun with MORE, if there is one */
};

#define NC_UDP_PAYLOAD_LIMIT 65507 /* 65,535 less the headers of IPv4 and UDP (udp(7)); IPv6 takes 20 more */

/// What the pair is, as told by a name.
enum nc_state {
  NC_STATE_NEW = 0,       /* of marks only: made, nothing final yet (bound or connecting at most) */
  NC_STATE_CONNECTED = 1, /* of marks; or on the daemon's end, once asked for: addresses are final */
  NC_STATE_LISTENING = 2, /* on the daemon's end: `local` is final */
  NC_STATE_FAILED = 3,    /* on the daemon's end: connect failed with `error`; the end is closed */
  NC_STATE_DATAGRAM = 4,  /* on the daemon's end of a datagram socket, from the start; its addresses are asked by RPC */
  NC_STATE_DIRECT = 5,    /* on the other end, where that is an app's too: two programs of one network joined directly.
                             `local` and `remote` as the connecting side sees them; the accepted side swaps them */
};

/// Bits of the complement of an app end's SO_INCOMING_CPU that the daemon sets, too; the library keeps its own marks in
/// the others.
enum {
  /* Where the daemon leaves the errno that ended a connection, if it is not ECONNRESET. */
  NC_MARK_ERROR_SHIFT = 16,
  NC_MARK_ERROR_MASK = 0xff,
  /* The daemon has TCP_NODELAY on, and leaves it so: what the app has set is the app end's SO_DONTROUTE. */
  NC_MARK_NODELAY = 1 << 3,
  /* The daemon coalesces what the app sends: TCP_CORK needs no telling, and is the app end's SO_BROADCAST. */
  NC_MARK_COALESCES = 1 << 4,
  /* What tells the app's end of a stream, while the daemon's end has no name; set before the app has it. */
  NC_MARK_STREAM = 0x4e << 24,
  NC_MARK_STREAM_MASK = 0x7f << 24,
  /* Of a stream: the daemon polls (--busy-poll), and so may the library before it sleeps. */
  NC_MARK_SPINS = 1 << 10,
  NC_MARK_V6 = 1 << 11,   /* its family is AF_INET6 */
  NC_MARK_MADE = 1 << 12, /* made by socket(): connected once its NC_STANDING is set; else by accept, thus connected */
};

/// SO_PRIORITY of an app's end whose connection stands: an option that unix sockets do not use, and that one call sets, whatever
/// the library does to the marks at the same time.
#define NC_STANDING 1

#define NC_NAME_MAGIC "\0netcond" /* 8 bytes; the first NUL makes the name abstract (unix(7)) */
#define NC_NAME_MAGIC_BYTES 8

/// The bytes of sun_path of a bound end: exactly 80. The daemon's end is named once, where the state becomes final; that of a
/// connection only when its addresses are first asked for, or when it is over: the kernel looks through a list of names for each
/// new one, which grows with them (unix_abstract_hash: 256 lists).
struct nc_name {
  uint8_t magic[NC_NAME_MAGIC_BYTES]; /* NC_NAME_MAGIC */
  uint8_t version;                    /* NC_RPC_VERSION */
  uint8_t state;                      /* enum nc_state */
  uint8_t family;                     /* AF_INET or AF_INET6: what the app asked socket() for */
  uint8_t type;                       /* SOCK_STREAM or SOCK_DGRAM */
  uint16_t protocol;                  /* IPPROTO_TCP, … */
  uint16_t error;                     /* errno of a failed connect; of DIRECT, the family of the accepted side; else 0 */
  uint64_t daemon_nonce;              /* random per daemon run: keeps the names of two daemons apart */
  uint64_t socket_id;                 /* unique within a daemon run */
  struct nc_address local;
  struct nc_address remote;
};

enum {
  NC_BIND_REUSEADDR = 1, /* SO_REUSEADDR was set on the socket */
};

enum {
  NC_OPTION_NULL = 1,     /* the app gave a null pointer: what that means depends on the option */
  NC_OPTION_COALESCE = 2, /* of TCP_CORK, on: the app corks each message. Reply: argument[0] = 1 if the daemon coalesces
                             from now on (NC_MARK_COALESCES, which the library then sets) */
};

enum {
  NC_REQUEST_POSTED = 1, /* no reply is wanted: of SETSOCKOPT, CONNECT and REFILL (docs/rpc.md tells when) */
};

_Static_assert(sizeof(struct nc_address) == 24, "layout is the protocol");
_Static_assert(sizeof(struct nc_request) == 384, "layout is the protocol");
_Static_assert(sizeof(struct nc_reply) == 344, "layout is the protocol");
_Static_assert(sizeof(struct nc_accept_record) == 64, "layout is the protocol");
_Static_assert(sizeof(struct nc_prepared) == 32, "layout is the protocol");
_Static_assert(sizeof(struct nc_datagram) == 72, "layout is the protocol");
_Static_assert(sizeof(struct nc_interface_fact) == 36, "layout is the protocol");
_Static_assert(sizeof(struct nc_address_fact) == 56, "layout is the protocol");
_Static_assert(sizeof(struct nc_name) == 80, "layout is the protocol");

#endif
