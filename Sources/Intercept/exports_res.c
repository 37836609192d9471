// The interposed symbols of resolv.h that ask name servers: libc sends by system calls of its own, to the host's servers.
// Each has two names: those with underscores were the only ones before glibc 2.34, and stand in programs built then.
#include <errno.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>

#include "exports.h"
#include "resolve.h"

#define NC_ALSO(symbol) __typeof__(symbol) __##symbol __THROW __attribute__((alias(#symbol), visibility("default")));

// Without a virtual network libc's own is called; found when it is first needed, for few programs ever do.
#define NC_LIBC(symbol) ((__typeof__(&(symbol)))nc_find_native(#symbol))

static int join(const char *name, const char *domain, char full[static 2 * NC_DOMAIN_BYTES]) {
  if (strlen(name) >= NC_DOMAIN_BYTES || (domain != NULL && strlen(domain) >= NC_DOMAIN_BYTES)) return -1;
  return domain == NULL ? snprintf(full, NC_DOMAIN_BYTES, "%s", name)
                        : snprintf(full, 2 * NC_DOMAIN_BYTES, "%s.%s", name, domain);
}

static int query_domain(const char *name, const char *domain, int class, int type, uint8_t *answer, int bytes) {
  char full[2 * NC_DOMAIN_BYTES];
  if (join(name, domain, full) >= 0) return nc_res_query(full, class, type, answer, bytes);
  h_errno = NO_RECOVERY;
  return -1;
}

NC_EXPORT int res_query(const char *name, int class, int type, uint8_t *answer, int bytes) {
  if (!nc_active()) return NC_LIBC(res_query)(name, class, type, answer, bytes);
  return nc_res_query(name, class, type, answer, bytes);
}
NC_ALSO(res_query)

NC_EXPORT int res_search(const char *name, int class, int type, uint8_t *answer, int bytes) {
  if (!nc_active()) return NC_LIBC(res_search)(name, class, type, answer, bytes);
  return nc_res_search(name, class, type, answer, bytes);
}
NC_ALSO(res_search)

NC_EXPORT int res_querydomain(const char *name, const char *domain, int class, int type, uint8_t *answer, int bytes) {
  if (!nc_active()) return NC_LIBC(res_querydomain)(name, domain, class, type, answer, bytes);
  return query_domain(name, domain, class, type, answer, bytes);
}
NC_ALSO(res_querydomain)

NC_EXPORT int res_send(const uint8_t *query, int query_bytes, uint8_t *answer, int bytes) {
  if (!nc_active()) return NC_LIBC(res_send)(query, query_bytes, answer, bytes);
  return nc_res_send(query, query_bytes, answer, bytes);
}
NC_ALSO(res_send)

NC_EXPORT int res_nquery(res_state state, const char *name, int class, int type, uint8_t *answer, int bytes) {
  if (!nc_active()) return NC_LIBC(res_nquery)(state, name, class, type, answer, bytes);
  return nc_res_query(name, class, type, answer, bytes);
}
NC_ALSO(res_nquery)

NC_EXPORT int res_nsearch(res_state state, const char *name, int class, int type, uint8_t *answer, int bytes) {
  if (!nc_active()) return NC_LIBC(res_nsearch)(state, name, class, type, answer, bytes);
  return nc_res_search(name, class, type, answer, bytes);
}
NC_ALSO(res_nsearch)

NC_EXPORT int res_nquerydomain(res_state state, const char *name, const char *domain, int class, int type,
                               uint8_t *answer, int bytes) {
  if (!nc_active()) return NC_LIBC(res_nquerydomain)(state, name, domain, class, type, answer, bytes);
  return query_domain(name, domain, class, type, answer, bytes);
}
NC_ALSO(res_nquerydomain)

NC_EXPORT int res_nsend(res_state state, const uint8_t *query, int query_bytes, uint8_t *answer, int bytes) {
  if (!nc_active()) return NC_LIBC(res_nsend)(state, query, query_bytes, answer, bytes);
  return nc_res_send(query, query_bytes, answer, bytes);
}
NC_ALSO(res_nsend)
