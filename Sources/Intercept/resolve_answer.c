// What an answer of a name server holds (RFC 1035 section 4). Names are libc's to expand; ends are checked here.
#include <arpa/nameser.h>
#include <resolv.h>
#include <string.h>

#include "resolve.h"

enum { CHAIN_LIMIT = 16 /* aliases of aliases; more is a loop */, RECORD_BYTES = 10 /* without name and data */ };

/// A place in the answer section.
struct cursor {
  const uint8_t *base, *end, *at;
  int left; /* records */
};

struct record {
  char owner[NC_DOMAIN_BYTES];
  int type, class;
  const uint8_t *data;
  int bytes;
};

static struct cursor first_record(const struct nc_dns_question *question) {
  const uint8_t *base = question->answer;
  // The question is the one that was asked (resolve_exchange.c), and has no compressed name before it.
  return (struct cursor){.base = base, .end = base + question->answer_bytes, .at = base + question->question_end,
                         .left = base[6] << 8 | base[7]};
}

// Reads the next record of class IN; false at the end, and at what is malformed.
static bool next_record(struct cursor *cursor, struct record *record) {
  while (cursor->left-- > 0) {
    int name = dn_expand(cursor->base, cursor->end, cursor->at, record->owner, sizeof record->owner);
    if (name < 0 || cursor->end - cursor->at - name < RECORD_BYTES) return false;
    cursor->at += name;
    NS_GET16(record->type, cursor->at);
    NS_GET16(record->class, cursor->at);
    cursor->at += 4; // the time to live
    NS_GET16(record->bytes, cursor->at);
    if (cursor->end - cursor->at < record->bytes) return false;
    record->data = cursor->at;
    cursor->at += record->bytes;
    if (record->class == ns_c_in) return true;
  }
  return false;
}

static bool is_record(const struct record *record, const char *owner, int type) {
  return record->type == type && strcasecmp(record->owner, owner) == 0;
}

static bool read_name(const struct cursor *cursor, const struct record *record, char name[static NC_DOMAIN_BYTES]) {
  return dn_expand(cursor->base, cursor->end, record->data, name, NC_DOMAIN_BYTES) >= 0 && res_hnok(name) != 0;
}

// Follows CNAMEs from `name` to the owner of the data; each alias passed is noted. Records may stand in any order.
static bool follow(const struct nc_dns_question *question, char name[static NC_DOMAIN_BYTES], struct nc_host *host) {
  struct record record;
  for (int length = 0; length < CHAIN_LIMIT; length++) {
    struct cursor cursor = first_record(question);
    bool is_alias = false;
    while (!is_alias && next_record(&cursor, &record)) is_alias = is_record(&record, name, ns_t_cname);
    if (!is_alias) return true;
    if (host != NULL) nc_host_add_alias(host, name);
    if (!read_name(&cursor, &record, name)) return false;
  }
  return false;
}

// The name that was asked for, without the dot at its end.
static bool copy_owner(const char *name, char owner[static NC_DOMAIN_BYTES]) {
  size_t bytes = strlen(name);
  if (bytes > 0 && name[bytes - 1] == '.') bytes--;
  if (bytes >= NC_DOMAIN_BYTES) return false;
  memcpy(owner, name, bytes);
  owner[bytes] = 0;
  return true;
}

nc_lookup_status nc_dns_take_addresses(const struct nc_dns_question *question, const char *name, struct nc_host *host) {
  if (question->answer_bytes == 0) return TRY_AGAIN;
  if (question->rcode == ns_r_nxdomain) return HOST_NOT_FOUND;
  char owner[NC_DOMAIN_BYTES];
  bool is_first = host->name[0] == 0; // of two answers, each with the same chain
  if (!copy_owner(name, owner) || !follow(question, owner, is_first ? host : NULL)) return NO_RECOVERY;
  nc_lookup_status status = NO_DATA;
  struct nc_address address = {.family = question->type == ns_t_a ? AF_INET : AF_INET6};
  int bytes = question->type == ns_t_a ? 4 : 16;
  struct cursor cursor = first_record(question);
  struct record record;
  while (next_record(&cursor, &record)) {
    if (!is_record(&record, owner, question->type) || record.bytes != bytes) continue;
    memcpy(address.bytes, record.data, (size_t)bytes);
    if (!nc_host_add(host, &address)) return host->count > 0 ? 0 : NETDB_INTERNAL;
    status = 0;
  }
  if (status == 0 && is_first) memcpy(host->name, owner, sizeof owner);
  return status;
}

nc_lookup_status nc_dns_take_names(const struct nc_dns_question *question, const char *name, struct nc_host *host) {
  if (question->answer_bytes == 0) return TRY_AGAIN;
  if (question->rcode == ns_r_nxdomain) return HOST_NOT_FOUND;
  char owner[NC_DOMAIN_BYTES], found[NC_DOMAIN_BYTES];
  if (!copy_owner(name, owner) || !follow(question, owner, NULL)) return NO_RECOVERY;
  struct cursor cursor = first_record(question);
  struct record record;
  while (next_record(&cursor, &record)) {
    if (!is_record(&record, owner, ns_t_ptr) || !read_name(&cursor, &record, found)) continue;
    if (host->name[0] == 0) memcpy(host->name, found, sizeof found);
    else nc_host_add_alias(host, found);
  }
  return host->name[0] != 0 ? 0 : NO_DATA;
}
