// The order of addresses: RFC 6724 section 6, with the tables and the rules that glibc has. The source that each
// destination would get is the daemon's word (NC_OP_ROUTE).
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"

struct candidate {
  struct nc_address address;
  uint8_t bytes[16]; /* v4-mapped where it is IPv4 */
  bool is_usable;    /* has a route and a source */
  bool same_scope, same_label;
  int scope, precedence, common_bits;
};

struct policy {
  uint8_t prefix[16];
  uint8_t bits, label, precedence;
};

// glibc's defaults (gai.conf(5)); the longest prefix that matches.
static const struct policy policies[] = {
  {.prefix = {[15] = 1}, .bits = 128, .label = 0, .precedence = 50},
  {.prefix = {[10] = 0xff, [11] = 0xff}, .bits = 96, .label = 4, .precedence = 10},
  {.prefix = {0}, .bits = 96, .label = 3, .precedence = 20},
  {.prefix = {0x20, 0x01}, .bits = 32, .label = 7, .precedence = 40},
  {.prefix = {0x20, 0x02}, .bits = 16, .label = 2, .precedence = 30},
  {.prefix = {0xfe, 0xc0}, .bits = 10, .label = 5, .precedence = 40},
  {.prefix = {0xfc}, .bits = 7, .label = 6, .precedence = 40},
  {.prefix = {0}, .bits = 0, .label = 1, .precedence = 40},
};

static int common_bits(const uint8_t one[16], const uint8_t other[16]) {
  for (int index = 0; index < 16; index++)
    if (one[index] != other[index]) return 8 * index + __builtin_clz((unsigned)(one[index] ^ other[index])) - 24;
  return 128;
}

static const struct policy *policy_of(const uint8_t bytes[16]) {
  const struct policy *policy = policies;
  while (common_bits(bytes, policy->prefix) < policy->bits) policy++;
  return policy;
}

static void as_v6(const struct nc_address *address, uint8_t bytes[16]) {
  if (address->family == AF_INET6) {
    memcpy(bytes, address->bytes, 16);
    return;
  }
  memset(bytes, 0, 10);
  bytes[10] = bytes[11] = 0xff;
  memcpy(bytes + 12, address->bytes, 4);
}

// RFC 6724 section 3.1 and 3.2: 2 link-local, 5 site-local, 14 global.
static int scope_of(const uint8_t bytes[16]) {
  const struct in6_addr *in6 = (const struct in6_addr *)(const void *)bytes;
  if (IN6_IS_ADDR_MULTICAST(in6)) return bytes[1] & 0xf;
  if (IN6_IS_ADDR_V4MAPPED(in6)) return bytes[12] == 127 || (bytes[12] == 169 && bytes[13] == 254) ? 2 : 14;
  if (IN6_IS_ADDR_LINKLOCAL(in6) || IN6_IS_ADDR_LOOPBACK(in6)) return 2;
  return IN6_IS_ADDR_SITELOCAL(in6) ? 5 : 14;
}

static void judge(struct candidate *candidate, int fd) {
  as_v6(&candidate->address, candidate->bytes);
  candidate->scope = scope_of(candidate->bytes);
  candidate->precedence = policy_of(candidate->bytes)->precedence;
  struct nc_request request = {.op = NC_OP_ROUTE, .address = candidate->address};
  struct nc_reply reply;
  request.address.port = htons(53); // any; 0 is none
  if (fd < 0 || nc_rpc(&request, fd, &reply, NULL, false) != 0 || reply.local.family == 0) return;
  uint8_t source[16];
  as_v6(&reply.local, source);
  candidate->is_usable = true;
  candidate->same_scope = scope_of(source) == candidate->scope;
  candidate->same_label = policy_of(source)->label == policy_of(candidate->bytes)->label;
  candidate->common_bits = common_bits(source, candidate->bytes);
}

// Whether `one` had better be tried before `other`; neither, if they stay as they stood.
static bool is_better(const struct candidate *one, const struct candidate *other) {
  if (one->is_usable != other->is_usable) return one->is_usable;                                       // rule 1
  if (one->is_usable && one->same_scope != other->same_scope) return one->same_scope;                  // rule 2
  if (one->is_usable && one->same_label != other->same_label) return one->same_label;                  // rule 5
  if (one->precedence != other->precedence) return one->precedence > other->precedence;                // rule 6
  if (one->scope != other->scope) return one->scope < other->scope;                                    // rule 8
  bool are_v6 = one->address.family == AF_INET6 && other->address.family == AF_INET6;
  return are_v6 && one->is_usable && one->common_bits > other->common_bits;                            // rule 9
}

void nc_sort_addresses(struct nc_address *addresses, int count) {
  if (count < 2) return;
  struct candidate *candidates = calloc((size_t)count, sizeof *candidates);
  if (candidates == NULL) return; // unsorted is right too
  // One that speaks both families.
  int fd = nc_create(AF_INET6, SOCK_DGRAM, IPPROTO_UDP, true);
  for (int at = 0; at < count; at++) {
    struct candidate fresh = {.address = addresses[at]};
    judge(&fresh, fd);
    int place = at;
    while (place > 0 && is_better(&fresh, &candidates[place - 1])) {
      candidates[place] = candidates[place - 1];
      place--;
    }
    candidates[place] = fresh;
  }
  if (fd >= 0) nc_raw_close(fd);
  for (int at = 0; at < count; at++) addresses[at] = candidates[at].address;
  free(candidates);
}
