// getaddrinfo(): hints and services are glibc's own, addresses are ours.
//
// What a service is (its port, which types and protocols have it, which errors there are) libc is asked with a numeric
// address in the place of the name: that reads /etc/services and nothing of the network. Each of its results is then
// combined with each address found, as libc does; freeaddrinfo() of libc frees them: each is one block, the canonical
// name another.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "facts.h"
#include "resolve.h"

enum {
  KNOWN_FLAGS = AI_PASSIVE | AI_CANONNAME | AI_NUMERICHOST | AI_ADDRCONFIG | AI_V4MAPPED | AI_NUMERICSERV | AI_ALL |
                AI_IDN | AI_CANONIDN | 0x0100 | 0x0200 /* deprecated flags of IDN that glibc ignores */,
  SERVICE_LIMIT = 3,
};

/// A type and protocol that have the service.
struct service {
  int type, protocol;
  in_port_t port; /* network order */
};

struct services {
  struct service list[SERVICE_LIMIT];
  int count;
};

static int ask_libc(const char *name, const struct addrinfo *hints, int type, struct services *services) {
  struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST | (hints->ai_flags & AI_NUMERICSERV), .ai_family = AF_INET,
                             .ai_socktype = type, .ai_protocol = hints->ai_protocol};
  struct addrinfo *found;
  int error = nc_native()->getaddrinfo("127.0.0.1", name, &numeric, &found);
  if (error != 0) return error;
  struct sockaddr_in in;
  memcpy(&in, found->ai_addr, sizeof in);
  services->list[services->count++] =
    (struct service){.type = found->ai_socktype, .protocol = found->ai_protocol, .port = in.sin_port};
  freeaddrinfo(found);
  return 0;
}

static bool is_number(const char *name) {
  char *end;
  if (name == NULL) return true;
  (void)strtoul(name, &end, 10);
  return *end == 0; // also of an empty name, as in glibc
}

// Without a type libc would sort three results, for which it opens sockets of the host: so it is asked for each type. Raw
// sockets have no services; beside the others they are listed where the port is a number.
static int find_services(const char *name, const struct addrinfo *hints, struct services *services) {
  static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
  services->count = 0;
  if (hints->ai_socktype != 0 || hints->ai_protocol != 0) return ask_libc(name, hints, hints->ai_socktype, services);
  int error = EAI_SERVICE;
  for (int index = 0; index < 2; index++) {
    int one = ask_libc(name, hints, types[index], services);
    if (one != 0 && one != EAI_SERVICE) return one;
    if (one == 0) error = 0;
  }
  if (error == 0 && is_number(name))
    services->list[services->count++] = (struct service){.type = SOCK_RAW, .port = services->list[0].port};
  return error;
}

// Which families the network has, lo left aside: AI_ADDRCONFIG.
static int configured(void) {
  int wanted = 0;
  struct nc_address_fact fact;
  for (int index = 0; nc_fact(NC_FACT_ADDRESS, index, &fact, sizeof fact) == 0; index++)
    if (fact.interface != NC_INTERFACE_INDEX_LO) wanted |= fact.address.family == AF_INET ? NC_WANT_V4 : NC_WANT_V6;
  return wanted;
}

static int error_of(nc_lookup_status status) {
  switch (status) {
  case 0: return 0;
  case TRY_AGAIN: return EAI_AGAIN;
  case NO_RECOVERY: return EAI_FAIL;
  case NO_DATA: return EAI_NODATA;
  case NETDB_INTERNAL: return errno == ENOMEM ? EAI_MEMORY : EAI_SYSTEM;
  default: return EAI_NONAME;
  }
}

// No name: the loopback, or any address for a listener.
static int take_own(int family, int flags, struct nc_host *host) {
  struct nc_address v6 = {.family = AF_INET6}, v4 = {.family = AF_INET};
  if ((flags & AI_PASSIVE) == 0) {
    v6.bytes[15] = 1;
    v4.bytes[0] = 127, v4.bytes[3] = 1;
  }
  if (family != AF_INET && !nc_host_add(host, &v6)) return EAI_MEMORY;
  if (family != AF_INET6 && !nc_host_add(host, &v4)) return EAI_MEMORY;
  return 0;
}

static bool is_mapped(const struct nc_address *address) {
  return address->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)address->bytes);
}

static int take_numeric(const char *node, int family, int flags, struct nc_address *address, struct nc_host *host) {
  if (family == AF_INET && is_mapped(address)) {
    address->family = AF_INET;
    memmove(address->bytes, address->bytes + 12, 4);
    memset(address->bytes + 4, 0, 12);
  }
  bool fits = family == AF_UNSPEC || family == address->family ||
              (family == AF_INET6 && (flags & AI_V4MAPPED) != 0); // mapped when it is written
  if (!fits) return EAI_ADDRFAMILY;
  if (strlen(node) < sizeof host->name) strcpy(host->name, node);
  return nc_host_add(host, address) ? 0 : EAI_MEMORY;
}

static int find_named(const char *node, int family, int flags, struct nc_host *host) {
  int all = family == AF_INET ? NC_WANT_V4 : family == AF_INET6 ? NC_WANT_V6 : NC_WANT_V4 | NC_WANT_V6;
  int mapped = family == AF_INET6 && (flags & AI_V4MAPPED) != 0 ? NC_WANT_V4 : 0;
  if (mapped != 0 && (flags & AI_ALL) != 0) all |= mapped;
  int wanted = all;
  if ((flags & AI_ADDRCONFIG) != 0) {
    int have = configured();
    wanted &= have;
    mapped &= have;
    if (wanted == 0 && mapped == 0) return EAI_NONAME;
  }
  nc_lookup_status status = wanted != 0 ? nc_lookup(node, wanted, host) : NO_DATA;
  if (status != 0 && status != NETDB_INTERNAL && (mapped & ~wanted) != 0) status = nc_lookup(node, mapped, host);
  if (status == 0) nc_sort_addresses(host->addresses, host->count);
  return error_of(status);
}

static int find_addresses(const char *node, int family, int flags, struct nc_host *host) {
  if (node == NULL) return take_own(family, flags, host);
  struct nc_address address;
  if (nc_numeric_address(node, &address)) return take_numeric(node, family, flags, &address, host);
  if (address.family == AF_INET6) return family == AF_INET ? EAI_ADDRFAMILY : EAI_NONAME; // with a wrong scope
  if ((flags & AI_NUMERICHOST) != 0) return EAI_NONAME;
  return find_named(node, family, flags, host);
}

static struct addrinfo *make(int family, const struct nc_address *address, const struct service *service, int flags) {
  struct {
    struct addrinfo info;
    union {
      struct sockaddr any;
      struct sockaddr_in6 in6;
    } address;
  } *entry = calloc(1, sizeof *entry);
  if (entry == NULL) return NULL;
  if (family == AF_UNSPEC) family = address->family;
  struct nc_address full = *address;
  full.port = service->port;
  socklen_t length = sizeof entry->address;
  nc_address_write(family, &full, &entry->address.any, &length);
  entry->info = (struct addrinfo){.ai_flags = flags, .ai_family = family, .ai_socktype = service->type,
                                  .ai_protocol = service->protocol, .ai_addrlen = length,
                                  .ai_addr = &entry->address.any};
  return &entry->info;
}

static int combine(const struct nc_host *host, const struct services *services, int family, int flags,
                   struct addrinfo **result) {
  struct addrinfo *first = NULL, **last = &first;
  for (int at = 0; at < host->count; at++) {
    for (int index = 0; index < services->count; index++) {
      *last = make(family, &host->addresses[at], &services->list[index], flags);
      if (*last == NULL) {
        freeaddrinfo(first);
        return EAI_MEMORY;
      }
      last = &(*last)->ai_next;
    }
  }
  if ((flags & AI_CANONNAME) != 0 && first != NULL) {
    first->ai_canonname = strdup(host->name);
    if (first->ai_canonname == NULL) {
      freeaddrinfo(first);
      return EAI_MEMORY;
    }
  }
  *result = first;
  return 0;
}

static int resolve(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  struct services services;
  int error = find_services(service, hints, &services);
  if (error != 0) return error;
  struct nc_host *host = nc_host_make();
  if (host == NULL) return EAI_MEMORY;
  int family = hints->ai_family;
  error = find_addresses(node, family, hints->ai_flags, host);
  if (error == 0) error = combine(host, &services, family, hints->ai_flags, result);
  nc_host_free(host);
  return error;
}

int nc_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  static const struct addrinfo none = {.ai_flags = AI_ADDRCONFIG | AI_V4MAPPED}; // as glibc without hints
  if (hints == NULL) hints = &none;
  if (node != NULL && strcmp(node, "*") == 0) node = NULL;
  if (service != NULL && strcmp(service, "*") == 0) service = NULL;
  if (node == NULL && service == NULL) return EAI_NONAME;
  if ((hints->ai_flags & ~KNOWN_FLAGS) != 0) return EAI_BADFLAGS;
  if ((hints->ai_flags & AI_CANONNAME) != 0 && node == NULL) return EAI_BADFLAGS;
  if (hints->ai_family != AF_UNSPEC && hints->ai_family != AF_INET && hints->ai_family != AF_INET6) return EAI_FAMILY;
  int cancel;
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  int saved = errno;
  int error = resolve(node, service, hints, result);
  if (error != EAI_SYSTEM) errno = saved;
  (void)pthread_setcancelstate(cancel, &cancel);
  return error;
}
