// Whether a destination can be sent to at all, which Linux tells in the send itself.
//
// The daemon is asked (NC_OP_ROUTE) before the first datagram of a socket to a destination, and again after a second, so
// that a stream of datagrams costs no requests. What it allowed is noted in a table without locks: an entry is one word,
// a hash of socket and destination with the time of the answer. Losing an entry costs a request; taking one for another
// (2^-40) costs the errno of one send. Connects are noted here, too, by their destination alone (connect.c).
#include <errno.h>
#include <string.h>
#include <time.h>

#include "datagram.h"

enum {
  ENTRY_COUNT = 1024,
  TIME_BITS = 24,
  FRESH_MILLISECONDS = 1000,
  /* IPv6's least MTU less the headers of IPv6 and UDP (RFC 8200 section 5): nothing up to here is ever too big. */
  ALWAYS_FITS_BYTES = 1280 - 48,
};

static uint64_t entries[ENTRY_COUNT];

uint64_t nc_route_hash(uint64_t seed, const struct nc_address *address) {
  uint64_t words[3];
  memcpy(words, address, sizeof words);
  for (int index = 0; index < 3; index++) {
    seed = (seed ^ words[index]) * UINT64_C(0x9e3779b97f4a7c15);
    seed ^= seed >> 29;
  }
  return seed;
}

static uint64_t milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const uint64_t time_mask = (UINT64_C(1) << TIME_BITS) - 1;

bool nc_route_is_known(uint64_t key) {
  uint64_t seen = __atomic_load_n(&entries[key % ENTRY_COUNT], __ATOMIC_RELAXED);
  return (seen & ~time_mask) == (key & ~time_mask) && ((milliseconds() - seen) & time_mask) < FRESH_MILLISECONDS;
}

void nc_route_note(uint64_t key) {
  uint64_t entry = (key & ~time_mask) | (milliseconds() & time_mask);
  __atomic_store_n(&entries[key % ENTRY_COUNT], entry, __ATOMIC_RELAXED);
}

static int ask(int fd, int marks, const struct nc_datagram *header, size_t bytes) {
  struct nc_request request = {.op = NC_OP_ROUTE, .argument = {(int32_t)bytes}, .address = header->peer};
  struct nc_reply reply;
  memcpy(request.data, &header->local, sizeof header->local);
  int error = nc_rpc(&request, fd, &reply, NULL, false);
  if (error == 0 && (marks & NC_MARK_BOUND) == 0) nc_mark(fd, NC_MARK_BOUND);
  return error;
}

int nc_datagram_route(int fd, const struct nc_name *name, int marks, const struct nc_datagram *header, size_t bytes) {
  // What may not be fragmented depends on its size, and only the daemon knows the way's MTU.
  if ((marks & NC_MARK_DONTFRAG) != 0 && bytes > ALWAYS_FITS_BYTES) return ask(fd, marks, header, bytes);
  if ((int)bytes > NC_UDP_PAYLOAD_LIMIT && (name->family == AF_INET || header->peer.family == AF_INET))
    return -EMSGSIZE;
  if (bytes > NC_UDP_PAYLOAD_LIMIT) return ask(fd, marks, header, bytes);
  if ((marks & NC_MARK_CONNECTED) != 0 && header->peer.family == 0 && header->local.family == 0) return 0;
  uint64_t key = nc_route_hash(nc_route_hash(name->socket_id ^ name->daemon_nonce, &header->peer), &header->local);
  if ((marks & NC_MARK_BOUND) != 0 && nc_route_is_known(key)) return 0;
  int error = ask(fd, marks, header, bytes);
  if (error == 0) nc_route_note(key);
  return error;
}
