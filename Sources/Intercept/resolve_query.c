// res_query(), res_search() and res_send(): for programs that ask for records other than addresses (SRV, MX, TXT).
#include <errno.h>
#include <pthread.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"

struct wanted_answer {
  int class, type;
  uint8_t *answer;
  int room, bytes;
};

static nc_lookup_status status_of(const struct nc_dns_question *question) {
  if (question->answer_bytes == 0) return TRY_AGAIN;
  if (question->rcode != 0) return HOST_NOT_FOUND;
  bool is_empty = question->answer[6] == 0 && question->answer[7] == 0; // ancount
  return is_empty ? NO_DATA : 0;
}

// The whole length is told, and as much as fits is given, as res_query(3) does.
static void give(const struct nc_dns_question *question, struct wanted_answer *wanted) {
  int bytes = question->answer_bytes < wanted->room ? question->answer_bytes : wanted->room;
  if (bytes > 0) memcpy(wanted->answer, question->answer, (size_t)bytes);
  wanted->bytes = question->answer_bytes;
}

static nc_lookup_status ask(const struct nc_resolver *resolver, const char *name, void *context) {
  struct wanted_answer *wanted = context;
  struct nc_dns_question *question = malloc(sizeof *question);
  if (question == NULL) return NETDB_INTERNAL;
  nc_lookup_status status = NO_RECOVERY;
  if (nc_dns_prepare(question, name, wanted->class, wanted->type)) {
    status = nc_dns_status(nc_dns_exchange(resolver, question, 1));
    if (status == 0) status = status_of(question);
    give(question, wanted);
    nc_dns_forget(question);
  }
  free(question);
  return status;
}

static int query(const char *name, struct wanted_answer *wanted, bool searches) {
  int cancel;
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  struct nc_resolver *resolver;
  nc_lookup_status status = nc_resolver_make(&resolver);
  if (status == 0) {
    status = searches ? nc_search(resolver, name, ask, wanted) : ask(resolver, name, wanted);
    free(resolver);
  }
  (void)pthread_setcancelstate(cancel, &cancel);
  if (status == 0) return wanted->bytes;
  h_errno = status == NC_UNANSWERED ? TRY_AGAIN : status;
  return -1;
}

int nc_res_query(const char *name, int class, int type, uint8_t *answer, int bytes) {
  return query(name, &(struct wanted_answer){.class = class, .type = type, .answer = answer, .room = bytes}, false);
}

int nc_res_search(const char *name, int class, int type, uint8_t *answer, int bytes) {
  return query(name, &(struct wanted_answer){.class = class, .type = type, .answer = answer, .room = bytes}, true);
}

// Where the one question of a query ends; negative where it is malformed.
static int end_of_question(const uint8_t *query, int bytes) {
  if (bytes < 12 || bytes > NC_QUERY_BYTES || query[4] != 0 || query[5] != 1) return -1;
  int name = dn_skipname(query + 12, query + bytes);
  return name < 0 || 12 + name + 4 > bytes ? -1 : 12 + name + 4;
}

// A query that the program wrote. Its id is put back into the answer.
static int send_as_is(const struct nc_resolver *resolver, const uint8_t *query, int bytes,
                      struct wanted_answer *wanted) {
  struct nc_dns_question *question = calloc(1, sizeof *question);
  if (question == NULL) return -ENOMEM;
  memcpy(question->query, query, (size_t)bytes);
  question->query_bytes = bytes;
  question->question_end = end_of_question(query, bytes);
  int error = nc_dns_exchange(resolver, question, 1);
  if (error == 0 && question->answer_bytes == 0) error = -ETIMEDOUT;
  if (error == 0) {
    memcpy(question->answer, query, 2);
    give(question, wanted);
  }
  nc_dns_forget(question);
  free(question);
  return error;
}

int nc_res_send(const uint8_t *query, int query_bytes, uint8_t *answer, int bytes) {
  struct wanted_answer wanted = {.answer = answer, .room = bytes};
  struct nc_resolver *resolver;
  if (end_of_question(query, query_bytes) < 0) {
    errno = EINVAL;
    return -1;
  }
  int cancel;
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  int error = -ESRCH; // as glibc without servers
  if (nc_resolver_make(&resolver) == 0) {
    error = send_as_is(resolver, query, query_bytes, &wanted);
    free(resolver);
  }
  (void)pthread_setcancelstate(cancel, &cancel);
  if (error == 0) return wanted.bytes;
  errno = -error;
  return -1;
}
