// Queries to the network's name servers, through the network: over UDP, over TCP where an answer did not fit.
//
// As resolv.conf(5) describes glibc: 5 seconds for each server in turn, twice over all of them. Who answers is checked by
// a connected socket with a random port, a random id, and the question, which must be the one that was asked (RFC 5452).
// Questions of one look-up (A and AAAA) travel together.
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "facts.h"
#include "resolve.h"

enum { TRY_MILLISECONDS = 5000, ATTEMPT_COUNT = 2, DATAGRAM_BYTES = 4096, HEADER_BYTES = 12 };

int nc_resolver_load(struct nc_resolver *resolver) {
  int error;
  resolver->server_count = resolver->search_count = 0;
  while (resolver->server_count < NC_SERVER_LIMIT) {
    struct nc_address *server = &resolver->servers[resolver->server_count];
    error = nc_fact(NC_FACT_DNS, resolver->server_count, server, sizeof *server);
    if (error == -ENOENT) break;
    if (error != 0) return error;
    resolver->server_count++;
  }
  while (resolver->search_count < NC_SEARCH_LIMIT) {
    char *domain = resolver->search[resolver->search_count];
    error = nc_fact(NC_FACT_SEARCH, resolver->search_count, domain, NC_DOMAIN_BYTES);
    if (error == -ENOENT) break;
    if (error != 0) return error;
    domain[NC_DOMAIN_BYTES - 1] = 0;
    resolver->search_count++;
  }
  return 0;
}

bool nc_dns_prepare(struct nc_dns_question *question, const char *name, int class, int type) {
  memset(question, 0, sizeof *question);
  uint8_t *query = question->query;
  query[2] = 1; // RD
  query[5] = 1; // one question
  int bytes = dn_comp(name, query + HEADER_BYTES, NC_QUERY_BYTES - HEADER_BYTES - 4, NULL, NULL);
  if (bytes < 0) return false;
  uint8_t *end = query + HEADER_BYTES + bytes;
  NS_PUT16(type, end);
  NS_PUT16(class, end);
  question->query_bytes = question->question_end = (int)(end - query);
  question->type = type;
  return true;
}

void nc_dns_forget(struct nc_dns_question *question) {
  free(question->answer);
  question->answer = NULL;
  question->answer_bytes = 0;
}

static int64_t now_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Waits until `events` show; false at the deadline.
static bool await(int fd, short events, int64_t deadline) {
  for (;;) {
    int64_t left = deadline - now_milliseconds();
    if (left <= 0) return false;
    struct pollfd waiting = {.fd = fd, .events = events};
    int ready = poll(&waiting, 1, (int)left);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

static uint8_t lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte; }

// Whether the message answers the question: id, and the question itself, whatever the case of its letters.
static bool answers(const struct nc_dns_question *question, const uint8_t *message, int bytes) {
  if (bytes < question->question_end) return false;
  if (memcmp(message, question->query, 2) != 0 || (message[2] & 0x80) == 0) return false;
  if (message[4] != 0 || message[5] != 1) return false;
  for (int at = HEADER_BYTES; at < question->question_end; at++)
    if (lower(message[at]) != lower(question->query[at])) return false;
  return true;
}

// An answer that says what the name has, or that there is no such name. Of all else another server may know better.
static bool is_final(const uint8_t *message) {
  int rcode = message[3] & 0xf;
  return rcode == ns_r_noerror || rcode == ns_r_nxdomain;
}

static bool is_truncated(const uint8_t *message) { return (message[2] & 0x02) != 0; }

static int keep(struct nc_dns_question *question, const uint8_t *message, int bytes) {
  uint8_t *copy = malloc((size_t)bytes);
  if (copy == NULL) return -ENOMEM;
  memcpy(copy, message, (size_t)bytes);
  free(question->answer);
  question->answer = copy;
  question->answer_bytes = bytes;
  question->rcode = message[3] & 0xf;
  return 0;
}

static int open_socket(const struct nc_address *server, int type, struct nc_name *name) {
  int protocol = type == SOCK_DGRAM ? IPPROTO_UDP : IPPROTO_TCP;
  int fd = nc_create(server->family, type, protocol, true);
  if (fd < 0) return fd;
  (void)nc_raw_fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
  if (!nc_identify(fd, name)) {
    nc_raw_close(fd);
    return -EBADF;
  }
  union {
    struct sockaddr any;
    struct sockaddr_in6 in6;
  } address;
  socklen_t length = sizeof address;
  nc_address_write(server->family, server, &address.any, &length);
  int error = nc_connect(fd, name, &address.any, length);
  if (error == 0 || error == -EINPROGRESS) return fd;
  nc_raw_close(fd);
  return error;
}

// TCP

// Sends or receives exactly so many bytes.
static bool transfer(int fd, uint8_t *data, size_t bytes, bool is_sending, int64_t deadline) {
  while (bytes > 0) {
    if (!await(fd, is_sending ? POLLOUT : POLLIN, deadline)) return false;
    ssize_t done = is_sending ? nc_native()->send(fd, data, bytes, MSG_NOSIGNAL) : nc_native()->recv(fd, data, bytes, 0);
    if (done == 0 || (done < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (done < 0) continue;
    data += done;
    bytes -= (size_t)done;
  }
  return true;
}

static int converse(int fd, struct nc_dns_question *question, int64_t deadline) {
  struct nc_name name;
  if (!await(fd, POLLOUT, deadline) || !nc_identify(fd, &name) || name.state != NC_STATE_CONNECTED) return -ECONNREFUSED;
  uint8_t message[2 + NC_QUERY_BYTES] = {(uint8_t)(question->query_bytes >> 8), (uint8_t)question->query_bytes};
  memcpy(message + 2, question->query, (size_t)question->query_bytes);
  if (!transfer(fd, message, 2 + (size_t)question->query_bytes, true, deadline)) return -ETIMEDOUT;
  if (!transfer(fd, message, 2, false, deadline)) return -ETIMEDOUT;
  size_t bytes = (size_t)message[0] << 8 | message[1];
  if (bytes < HEADER_BYTES) return -EBADMSG;
  uint8_t *answer = malloc(bytes);
  if (answer == NULL) return -ENOMEM;
  int error = -ETIMEDOUT;
  if (transfer(fd, answer, bytes, false, deadline))
    error = answers(question, answer, (int)bytes) && is_final(answer) ? keep(question, answer, (int)bytes) : -EBADMSG;
  free(answer);
  return error;
}

static int ask_by_tcp(const struct nc_address *server, struct nc_dns_question *question) {
  struct nc_name name;
  int fd = open_socket(server, SOCK_STREAM, &name);
  if (fd < 0) return fd;
  int error = converse(fd, question, now_milliseconds() + TRY_MILLISECONDS);
  nc_raw_close(fd);
  return error;
}

// UDP

static int send_query(int fd, const struct nc_name *name, struct nc_dns_question *question) {
  struct iovec part = {.iov_base = question->query, .iov_len = (size_t)question->query_bytes};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  ssize_t sent = nc_datagram_send(fd, name, &message, 0);
  return sent < 0 ? (int)sent : 0;
}

// A message from the server: the answer to one of the questions, or nothing of ours. Sets its `failed` where this server
// will not say more.
static int take_message(const struct nc_address *server, struct nc_dns_question *questions, int count, bool *failed,
                        const uint8_t *message, int bytes) {
  for (int index = 0; index < count; index++) {
    if (questions[index].answer_bytes != 0 || failed[index] || !answers(&questions[index], message, bytes)) continue;
    if (is_truncated(message)) {
      int error = ask_by_tcp(server, &questions[index]);
      failed[index] = error != 0;
      return error == -ENOMEM ? error : 0;
    }
    failed[index] = !is_final(message);
    return failed[index] ? 0 : keep(&questions[index], message, bytes);
  }
  return 0;
}

static bool is_waiting(const struct nc_dns_question *questions, const bool *failed, int count) {
  for (int index = 0; index < count; index++)
    if (questions[index].answer_bytes == 0 && !failed[index]) return true;
  return false;
}

// Asks one server what has no answer yet.
static int ask_by_udp(const struct nc_address *server, int fd, const struct nc_name *name,
                      struct nc_dns_question *questions, int count, uint8_t *buffer, bool *heard) {
  bool failed[2] = {false, false};
  for (int index = 0; index < count; index++) {
    if (questions[index].answer_bytes != 0) continue;
    if (getrandom(questions[index].query, 2, 0) != 2) return -errno;
    int error = send_query(fd, name, &questions[index]);
    if (error != 0) return error;
  }
  int64_t deadline = now_milliseconds() + TRY_MILLISECONDS;
  while (is_waiting(questions, failed, count) && await(fd, POLLIN, deadline)) {
    struct iovec part = {.iov_base = buffer, .iov_len = DATAGRAM_BYTES};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t bytes = nc_datagram_receive(fd, name, &message, MSG_DONTWAIT);
    if (bytes == -EAGAIN || bytes == -EINTR) continue;
    if (bytes < 0) return (int)bytes; // ECONNREFUSED: nobody there
    if ((message.msg_flags & MSG_TRUNC) != 0) continue;
    int error = take_message(server, questions, count, failed, buffer, (int)bytes);
    *heard = *heard || failed[0] || failed[1];
    if (error != 0) return error;
  }
  return 0;
}

// What says that nothing can be asked at all, and another server cannot help.
static bool is_ours(int error) {
  return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENETDOWN;
}

int nc_dns_exchange(const struct nc_resolver *resolver, struct nc_dns_question *questions, int count) {
  static const bool none[2];
  uint8_t *buffer = malloc(DATAGRAM_BYTES);
  if (buffer == NULL) return -ENOMEM;
  int error = 0;
  bool heard = false; // of a server that could not answer
  for (int at = 0; at < ATTEMPT_COUNT * resolver->server_count && is_waiting(questions, none, count); at++) {
    const struct nc_address *server = &resolver->servers[at % resolver->server_count];
    struct nc_name name;
    int fd = open_socket(server, SOCK_DGRAM, &name);
    error = fd;
    if (fd >= 0) {
      error = ask_by_udp(server, fd, &name, questions, count, buffer, &heard);
      nc_raw_close(fd);
    }
    if (is_ours(error)) break;
  }
  free(buffer);
  if (is_ours(error)) return error;
  for (int index = 0; index < count; index++) heard = heard || questions[index].answer_bytes != 0;
  return heard ? 0 : -ETIMEDOUT;
}

nc_lookup_status nc_dns_status(int error) {
  switch (error) {
  case 0: return 0;
  case -ETIMEDOUT: return NC_UNANSWERED;
  case -ENETDOWN: return TRY_AGAIN;
  default: errno = -error; return NETDB_INTERNAL;
  }
}
