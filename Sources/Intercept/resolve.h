// The resolver: names to addresses and back, without the host's.
//
// Theory of operation. glibc resolves inside itself: its files, its resolv.conf, its sockets, none of which pass an
// interposed symbol. So the calls are answered here from the top. A name is looked for, in this order, as a numeric
// address, in HOME/hosts (beside the network's socket), in /etc/hosts, and at the network's name servers (dns= of the
// network's file), which are asked through the network itself, by sockets of this library. Nothing else is ever asked:
// without name servers a name that is in no file does not exist.
//
//   resolve_addrinfo.c    getaddrinfo: hints, services and the form of the result; resolve_sort.c its order
//   resolve_hostent.c     gethostbyname and its kin
//   resolve_nameinfo.c    getnameinfo
//   resolve_lookup.c      the order of sources; the search list
//   resolve_files.c       hosts files
//   resolve_answer.c      what an answer of a name server holds
//   resolve_exchange.c    queries over UDP and TCP: time-outs, servers, what is taken for an answer
//   resolve_query.c       res_query and its kin, which give programs whole answers
//
// Nothing is kept between calls but the buffer of gethostbyname(). Large memory is the heap's: threads may have small
// stacks. Cancellation is off during a look-up, so that none can leave sockets or memory behind.
#ifndef NETCOND_INTERCEPT_RESOLVE_H
#define NETCOND_INTERCEPT_RESOLVE_H

#include <netdb.h>

#include "intercept.h"

enum {
  NC_SERVER_LIMIT = 8,
  NC_SEARCH_LIMIT = 6,
  NC_DOMAIN_BYTES = 256,       /* of a name as text, with NUL (RFC 1035 section 2.3.4) */
  NC_QUERY_BYTES = 512,        /* header, question (271 bytes at most), and what a program adds to its own */
  NC_ALIAS_BYTES = 2048,
  NC_ADDRESS_LIMIT = 1024, /* of one look-up; an answer of 64 KiB holds four times as many */
};

/// Status of a look-up: 0, netdb.h's HOST_NOT_FOUND, TRY_AGAIN, NO_RECOVERY, NO_DATA, or NETDB_INTERNAL with errno set.
typedef int nc_lookup_status;

/// A status that an nc_ask may give: no server says anything, so that other names need not be asked for.
enum { NC_UNANSWERED = 5 };

/// Which addresses are looked for.
enum { NC_WANT_V4 = 1, NC_WANT_V6 = 2 };

/// What a look-up found.
struct nc_host {
  struct nc_address *addresses; /* malloc'd; port 0 */
  int count, room;
  char name[NC_DOMAIN_BYTES]; /* the canonical name */
  char aliases[NC_ALIAS_BYTES]; /* one behind the other, each with NUL */
  int alias_count;
  size_t alias_bytes;
};

// resolve_lookup.c

/// Makes an empty result, or NULL with errno; and frees one.
struct nc_host *nc_host_make(void);
void nc_host_free(struct nc_host *host);
bool nc_host_add(struct nc_host *host, const struct nc_address *address);
void nc_host_add_alias(struct nc_host *host, const char *name);

/// Looks for the addresses of a name; NC_WANT_V4 and NC_WANT_V6 may be combined. With cancellation off.
nc_lookup_status nc_lookup(const char *name, int wanted, struct nc_host *host);
/// Looks for the names of an address.
nc_lookup_status nc_lookup_address(const struct nc_address *address, struct nc_host *host);

struct nc_resolver;

/// Loads the resolver (free() gives it back), or tells why there is none: without name servers no name exists.
nc_lookup_status nc_resolver_make(struct nc_resolver **resolver);

/// Calls `ask` with the full names that `name` may stand for, until one is found. Returns what it said, or the weightiest
/// of its failures.
typedef nc_lookup_status (*nc_ask)(const struct nc_resolver *resolver, const char *name, void *context);
nc_lookup_status nc_search(const struct nc_resolver *resolver, const char *name, nc_ask ask, void *context);

/// Reads a numeric address: 10.1.0.1, also as inet_aton(3) takes it, or fd00::1, or fe80::1%nc0. False where it is
/// none; `address` then has a family where only the scope is wrong.
bool nc_numeric_address(const char *text, struct nc_address *address);

// resolve_files.c

/// Looks in HOME/hosts and /etc/hosts, the first that has it. False where none has.
bool nc_files_find_name(const char *name, int wanted, struct nc_host *host);
bool nc_files_find_address(const struct nc_address *address, struct nc_host *host);

// resolve_exchange.c

/// Name servers and search list of the network.
struct nc_resolver {
  struct nc_address servers[NC_SERVER_LIMIT];
  int server_count;
  int search_count;
  char search[NC_SEARCH_LIMIT][NC_DOMAIN_BYTES];
};

/// A question, and the answer to it.
struct nc_dns_question {
  uint8_t query[NC_QUERY_BYTES];
  int query_bytes;
  int question_end; /* of the header and the question, which an answer repeats */
  int type;
  uint8_t *answer; /* malloc'd */
  int answer_bytes; /* 0: none */
  int rcode;
};

/// Asks the network. Returns 0 or a negative errno.
int nc_resolver_load(struct nc_resolver *resolver);
/// Writes a query; false where `name` is no domain name.
bool nc_dns_prepare(struct nc_dns_question *question, const char *name, int class, int type);
/// Asks the servers. Each question has an answer afterwards, or none (`answer_bytes` 0). Returns 0, -ETIMEDOUT where no
/// server said anything, or the negative errno of a failure of our own.
int nc_dns_exchange(const struct nc_resolver *resolver, struct nc_dns_question *questions, int count);
void nc_dns_forget(struct nc_dns_question *question);
/// The status for an error of nc_dns_exchange, with errno set for NETDB_INTERNAL.
nc_lookup_status nc_dns_status(int error);

// resolve_answer.c

/// Takes the addresses from an answer, and its names from the chain of aliases. Returns a status.
nc_lookup_status nc_dns_take_addresses(const struct nc_dns_question *question, const char *name, struct nc_host *host);
/// Takes the names from an answer to a PTR question.
nc_lookup_status nc_dns_take_names(const struct nc_dns_question *question, const char *name, struct nc_host *host);

// resolve_sort.c

/// Puts the addresses in the order in which they had better be tried (RFC 6724).
void nc_sort_addresses(struct nc_address *addresses, int count);

// The calls

int nc_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result);
int nc_getnameinfo(const struct sockaddr *address, socklen_t length, char *host, socklen_t host_bytes, char *service,
                   socklen_t service_bytes, int flags);
/// As gethostbyname2_r(3) and gethostbyaddr_r(3): 0 or an errno, ERANGE where the buffer is too small.
int nc_gethostbyname(const char *name, int family, struct hostent *entry, char *buffer, size_t bytes,
                     struct hostent **result, int *error);
int nc_gethostbyaddr(const void *address, socklen_t length, int family, struct hostent *entry, char *buffer,
                     size_t bytes, struct hostent **result, int *error);
/// As res_query(3) and res_search(3), res_send(3): the answer's length, or -1 with h_errno.
int nc_res_query(const char *name, int class, int type, uint8_t *answer, int bytes);
int nc_res_search(const char *name, int class, int type, uint8_t *answer, int bytes);
int nc_res_send(const uint8_t *query, int query_bytes, uint8_t *answer, int bytes);

#endif
