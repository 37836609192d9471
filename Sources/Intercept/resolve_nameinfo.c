// getnameinfo(): libc writes numbers and services, which it has from no network; names are ours.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts.h"
#include "resolve.h"

static int copy(const char *text, char *target, socklen_t room) {
  size_t bytes = strlen(text) + 1;
  if (bytes > room) return EAI_OVERFLOW;
  memcpy(target, text, bytes);
  return 0;
}

// 10.1.0.1, fd00::1, fe80::1%nc0.
static int write_numeric(const struct nc_address *address, char *target, socklen_t room) {
  char text[INET6_ADDRSTRLEN + 1 + 16];
  (void)inet_ntop(address->family, address->bytes, text, INET6_ADDRSTRLEN);
  if (address->family == AF_INET6 && address->scope_id != 0) {
    const struct in6_addr *in6 = (const struct in6_addr *)(const void *)address->bytes;
    struct nc_interface_fact interface;
    size_t used = strlen(text);
    bool is_named = (IN6_IS_ADDR_LINKLOCAL(in6) || IN6_IS_ADDR_MC_LINKLOCAL(in6)) &&
                    nc_interface_numbered(address->scope_id, &interface) == 0;
    if (is_named) (void)snprintf(text + used, sizeof text - used, "%%%.15s", interface.name);
    else (void)snprintf(text + used, sizeof text - used, "%%%u", address->scope_id);
  }
  return copy(text, target, room);
}

// NI_NOFQDN: without the network's own domain.
static void shorten(char *name) {
  char domain[NC_DOMAIN_BYTES];
  if (nc_fact(NC_FACT_SEARCH, 0, domain, sizeof domain) != 0) return;
  domain[sizeof domain - 1] = 0;
  char *dot = strchr(name, '.');
  if (dot != NULL && strcasecmp(dot + 1, domain) == 0) *dot = 0;
}

static int write_name(struct nc_address *address, char *target, socklen_t room, int flags) {
  struct nc_address plain = *address;
  plain.scope_id = 0;
  plain.port = 0;
  struct nc_host *host = nc_host_make();
  if (host == NULL) return EAI_MEMORY;
  nc_lookup_status status = nc_lookup_address(&plain, host);
  int error;
  if (status == 0) {
    if ((flags & NI_NOFQDN) != 0) shorten(host->name);
    error = copy(host->name, target, room);
  } else if (status == NETDB_INTERNAL) {
    error = errno == ENOMEM ? EAI_MEMORY : EAI_SYSTEM;
  } else if ((flags & NI_NAMEREQD) != 0) {
    error = status == TRY_AGAIN ? EAI_AGAIN : EAI_NONAME;
  } else {
    error = write_numeric(address, target, room);
  }
  nc_host_free(host);
  return error;
}

static int read_address(const struct sockaddr *source, socklen_t length, struct nc_address *address) {
  if (length < sizeof(sa_family_t)) return EAI_FAMILY;
  memset(address, 0, sizeof *address);
  address->family = source->sa_family;
  if (source->sa_family == AF_INET) {
    struct sockaddr_in in;
    if (length < sizeof in) return EAI_FAMILY;
    memcpy(&in, source, sizeof in);
    memcpy(address->bytes, &in.sin_addr, 4);
    return 0;
  }
  struct sockaddr_in6 in6 = {0};
  if (length < offsetof(struct sockaddr_in6, sin6_scope_id)) return EAI_FAMILY;
  memcpy(&in6, source, length < sizeof in6 ? length : sizeof in6);
  memcpy(address->bytes, &in6.sin6_addr, 16); // v4-mapped stays so: libc shows it as ::ffff:10.1.0.1
  address->scope_id = in6.sin6_scope_id;
  return 0;
}

int nc_getnameinfo(const struct sockaddr *source, socklen_t length, char *host, socklen_t host_bytes, char *service,
                   socklen_t service_bytes, int flags) {
  bool wants_host = host != NULL && host_bytes > 0, wants_service = service != NULL && service_bytes > 0;
  bool is_ours = length >= sizeof(sa_family_t) && (source->sa_family == AF_INET || source->sa_family == AF_INET6);
  const int known = NI_NUMERICHOST | NI_NUMERICSERV | NI_NOFQDN | NI_NAMEREQD | NI_DGRAM | NI_IDN | 0x40 | 0x80;
  if (!is_ours || !wants_host || (flags & ~known) != 0)
    return nc_native()->getnameinfo(source, length, host, host_bytes, service, service_bytes, flags);
  if ((flags & NI_NAMEREQD) != 0 && !wants_host && !wants_service) return EAI_NONAME;
  struct nc_address address;
  int error = read_address(source, length, &address);
  if (error != 0) return error;
  int cancel, saved = errno;
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  error = (flags & NI_NUMERICHOST) != 0 ? (flags & NI_NAMEREQD) != 0 ? EAI_NONAME
                                                                     : write_numeric(&address, host, host_bytes)
                                        : write_name(&address, host, host_bytes, flags);
  if (error == 0 && wants_service)
    error = nc_native()->getnameinfo(source, length, NULL, 0, service, service_bytes, flags & ~NI_NAMEREQD);
  if (error != EAI_SYSTEM) errno = saved;
  (void)pthread_setcancelstate(cancel, &cancel);
  return error;
}
