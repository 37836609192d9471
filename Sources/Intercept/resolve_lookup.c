// Where names are looked for, and in which order.
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <ctype.h>
#include <errno.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts.h"
#include "resolve.h"

// Results

struct nc_host *nc_host_make(void) { return calloc(1, sizeof(struct nc_host)); }

void nc_host_free(struct nc_host *host) {
  if (host != NULL) free(host->addresses);
  free(host);
}

bool nc_host_add(struct nc_host *host, const struct nc_address *address) {
  if (host->count == NC_ADDRESS_LIMIT) return false;
  if (host->count == host->room) {
    int room = host->room == 0 ? 8 : 2 * host->room;
    struct nc_address *larger = realloc(host->addresses, (size_t)room * sizeof *larger);
    if (larger == NULL) return false;
    host->addresses = larger;
    host->room = room;
  }
  host->addresses[host->count++] = *address;
  return true;
}

void nc_host_add_alias(struct nc_host *host, const char *name) {
  size_t bytes = strlen(name) + 1;
  if (bytes > sizeof host->aliases - host->alias_bytes || strcasecmp(name, host->name) == 0) return;
  for (size_t at = 0; at < host->alias_bytes; at += strlen(host->aliases + at) + 1)
    if (strcasecmp(host->aliases + at, name) == 0) return;
  memcpy(host->aliases + host->alias_bytes, name, bytes);
  host->alias_bytes += bytes;
  host->alias_count++;
}

// Numeric addresses

static bool read_scope(const char *text, struct nc_address *address) {
  const struct in6_addr *in6 = (const struct in6_addr *)(const void *)address->bytes;
  struct nc_interface_fact interface;
  if (IN6_IS_ADDR_LINKLOCAL(in6) || IN6_IS_ADDR_MC_LINKLOCAL(in6)) {
    if (nc_interface_named(text, &interface) == 0) {
      address->scope_id = interface.index;
      return true;
    }
  }
  char *end;
  if (!isdigit((unsigned char)*text)) return false;
  unsigned long number = strtoul(text, &end, 10);
  address->scope_id = (uint32_t)number;
  return *end == 0 && number <= UINT32_MAX;
}

bool nc_numeric_address(const char *text, struct nc_address *address) {
  memset(address, 0, sizeof *address);
  struct in_addr v4;
  if (strpbrk(text, " \t\r\n") == NULL && inet_aton(text, &v4) != 0) {
    address->family = AF_INET;
    memcpy(address->bytes, &v4, 4);
    return true;
  }
  char host[INET6_ADDRSTRLEN];
  size_t bytes = strcspn(text, "%");
  if (bytes >= sizeof host) return false;
  memcpy(host, text, bytes);
  host[bytes] = 0;
  if (inet_pton(AF_INET6, host, address->bytes) != 1) return false;
  address->family = AF_INET6;
  return text[bytes] == 0 || read_scope(text + bytes + 1, address);
}

// Names

// RFC 6761 section 6.3: in no file it is the loopback all the same.
static nc_lookup_status find_localhost(int wanted, struct nc_host *host) {
  struct nc_address v6 = {.family = AF_INET6, .bytes[15] = 1}, v4 = {.family = AF_INET, .bytes = {127, 0, 0, 1}};
  strcpy(host->name, "localhost");
  if ((wanted & NC_WANT_V6) != 0 && !nc_host_add(host, &v6)) return NETDB_INTERNAL;
  if ((wanted & NC_WANT_V4) != 0 && !nc_host_add(host, &v4)) return NETDB_INTERNAL;
  return 0;
}

static nc_lookup_status worst_of(nc_lookup_status one, nc_lookup_status other) {
  static const int rank[] = {[HOST_NOT_FOUND] = 1, [NO_DATA] = 2, [NO_RECOVERY] = 3, [TRY_AGAIN] = 4};
  if (one == NETDB_INTERNAL || other == NETDB_INTERNAL) return NETDB_INTERNAL;
  return rank[one] > rank[other] ? one : other;
}

// Asks for one full name. Found in one family is found.
static nc_lookup_status ask_name(const struct nc_resolver *resolver, const char *name, int wanted,
                                 struct nc_host *host) {
  struct nc_dns_question *questions = calloc(2, sizeof *questions);
  if (questions == NULL) return NETDB_INTERNAL;
  int count = 0;
  bool is_sound = true;
  if ((wanted & NC_WANT_V6) != 0) is_sound = nc_dns_prepare(&questions[count++], name, ns_c_in, ns_t_aaaa);
  if ((wanted & NC_WANT_V4) != 0) is_sound = nc_dns_prepare(&questions[count++], name, ns_c_in, ns_t_a) && is_sound;
  nc_lookup_status status = is_sound ? nc_dns_status(nc_dns_exchange(resolver, questions, count)) : HOST_NOT_FOUND;
  if (status == 0) {
    for (int index = 0; index < count; index++) {
      nc_lookup_status one = nc_dns_take_addresses(&questions[index], name, host);
      status = one == 0 ? status : status == 0 ? one : worst_of(status, one);
    }
    if (host->count > 0) status = 0;
  }
  for (int index = 0; index < count; index++) nc_dns_forget(&questions[index]);
  free(questions);
  return status;
}

// The names that a name may stand for, as res_search(3) tries them with ndots:1: with a dot first as it is, else first in
// the domains of the search list. A dot at the end: only as it is.
// Of the failures, the one of the name as it is, if that was tried first; else NO_DATA, for then some name exists. Where
// no server says anything glibc goes on to the next name all the same; here that is the end.
nc_lookup_status nc_search(const struct nc_resolver *resolver, const char *name, nc_ask ask, void *context) {
  size_t bytes = strlen(name);
  bool has_dot = strchr(name, '.') != NULL, is_full = bytes > 0 && name[bytes - 1] == '.', has_no_data = false;
  nc_lookup_status first = HOST_NOT_FOUND, status = HOST_NOT_FOUND;
  if (has_dot) first = status = ask(resolver, name, context);
  if (status == NC_UNANSWERED) return TRY_AGAIN;
  if (status == 0 || status == NETDB_INTERNAL || is_full) return status;
  for (int index = 0; index < resolver->search_count; index++) {
    char full[2 * NC_DOMAIN_BYTES];
    (void)snprintf(full, sizeof full, "%s.%s", name, resolver->search[index]);
    status = ask(resolver, full, context);
    if (status == NC_UNANSWERED) return TRY_AGAIN;
    if (status == 0 || status == NETDB_INTERNAL) return status;
    has_no_data = has_no_data || status == NO_DATA;
  }
  if (has_dot) return first;
  status = ask(resolver, name, context);
  if (status == NC_UNANSWERED) return TRY_AGAIN;
  return status != 0 && status != NETDB_INTERNAL && has_no_data ? NO_DATA : status;
}

struct wanted_host {
  int wanted;
  struct nc_host *host;
};

static nc_lookup_status ask_for_host(const struct nc_resolver *resolver, const char *name, void *context) {
  const struct wanted_host *wanted = context;
  return ask_name(resolver, name, wanted->wanted, wanted->host);
}

// Without a daemon, who knows: TRY_AGAIN.
nc_lookup_status nc_resolver_make(struct nc_resolver **resolver) {
  *resolver = malloc(sizeof **resolver);
  if (*resolver == NULL) return NETDB_INTERNAL;
  int error = nc_resolver_load(*resolver);
  if (error == 0 && (*resolver)->server_count > 0) return 0;
  free(*resolver);
  *resolver = NULL;
  return error != 0 ? TRY_AGAIN : HOST_NOT_FOUND;
}

nc_lookup_status nc_lookup(const char *name, int wanted, struct nc_host *host) {
  if (name[0] == 0 || strlen(name) >= NC_DOMAIN_BYTES) return HOST_NOT_FOUND;
  if (nc_files_find_name(name, wanted, host)) return 0;
  if (strcasecmp(name, "localhost") == 0 || strcasecmp(name, "localhost.") == 0) return find_localhost(wanted, host);
  if (res_hnok(name) == 0) return HOST_NOT_FOUND;
  struct nc_resolver *resolver;
  nc_lookup_status status = nc_resolver_make(&resolver);
  if (status != 0) return status;
  status = nc_search(resolver, name, ask_for_host, &(struct wanted_host){.wanted = wanted, .host = host});
  free(resolver);
  return status;
}

// Addresses

// 4.3.2.1.in-addr.arpa (RFC 1035 section 3.5), or nibbles under ip6.arpa (RFC 3596 section 2.5).
static void reverse_name(const struct nc_address *address, char text[static 80]) {
  const uint8_t *bytes = address->bytes;
  if (address->family == AF_INET) {
    (void)snprintf(text, 80, "%u.%u.%u.%u.in-addr.arpa", bytes[3], bytes[2], bytes[1], bytes[0]);
    return;
  }
  static const char digits[] = "0123456789abcdef";
  for (int index = 15; index >= 0; index--) {
    *text++ = digits[bytes[index] & 0xf];
    *text++ = '.';
    *text++ = digits[bytes[index] >> 4];
    *text++ = '.';
  }
  strcpy(text, "ip6.arpa");
}

static bool is_loopback(const struct nc_address *address) {
  static const uint8_t v6[16] = {[15] = 1};
  return address->family == AF_INET ? address->bytes[0] == 127 : memcmp(address->bytes, v6, 16) == 0;
}

static nc_lookup_status ask_address(const struct nc_resolver *resolver, const struct nc_address *address,
                                    struct nc_host *host) {
  char name[80];
  reverse_name(address, name);
  struct nc_dns_question *question = malloc(sizeof *question);
  if (question == NULL) return NETDB_INTERNAL;
  nc_lookup_status status = NO_RECOVERY;
  if (nc_dns_prepare(question, name, ns_c_in, ns_t_ptr)) {
    status = nc_dns_status(nc_dns_exchange(resolver, question, 1));
    if (status == 0) status = nc_dns_take_names(question, name, host);
    nc_dns_forget(question);
  }
  free(question);
  return status == NC_UNANSWERED ? TRY_AGAIN : status;
}

nc_lookup_status nc_lookup_address(const struct nc_address *address, struct nc_host *host) {
  if (nc_files_find_address(address, host)) return 0;
  nc_lookup_status status = 0;
  if (is_loopback(address)) {
    strcpy(host->name, "localhost");
  } else {
    struct nc_resolver *resolver;
    status = nc_resolver_make(&resolver);
    if (status != 0) return status;
    status = ask_address(resolver, address, host);
    free(resolver);
  }
  if (status == 0 && !nc_host_add(host, address)) status = NETDB_INTERNAL;
  return status;
}
