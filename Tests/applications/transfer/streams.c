// streams listen|connect ADDRESS PORT STREAMS AMOUNT
//
// That many TCP connections at once, random bytes on each in both directions, hashed at both ends as they flow. AMOUNT is
// a time ("5s") or a number of bytes for each direction of each stream ("65536k"). Both ends begin when all connections stand.
//
// A stream is a row of blocks: random bytes, then the digest of all such bytes of this direction until there. So the
// receiver notices at once, and says where, when a byte is wrong, missing, doubled or in the wrong place. At the end either
// side prints
//   sent BYTES DIGEST         DIGEST is the sum of the streams' digests, which the other side must have as
//   received BYTES DIGEST     received
//   fairness MIN MAX          the bytes that the slowest and the fastest stream had received when the first one ended
//   rate GBIT                 Gbit/s, received
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
  block_size = 64 * 1024,
  payload_size = block_size - 8,
  blocks_per_turn = 4, // then it is the next stream's turn: the program itself must be fair
  quiet_milliseconds = 120 * 1000,
};

struct half {
  _Alignas(8) unsigned char block[block_size];
  size_t offset; // how much of the block is sent, or received
  uint64_t bytes; // payload, of whole blocks
  XXH3_state_t *hash;
  bool ended;
};

struct stream {
  int fd;
  uint32_t events;
  uint64_t random;
  uint64_t received_at_first_end;
  struct half out, in;
};

static struct stream **streams;
static size_t count;
static uint64_t limit_bytes; // 0: by time
static double limit_seconds, started;
static int poller;

static void die(const char *format, ...) {
  va_list words;
  va_start(words, format);
  vfprintf(stderr, format, words);
  va_end(words);
  fputc('\n', stderr);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

// splitmix64 (Steele, Lea, Flood 2014): fast, and no two streams are alike.
static uint64_t next_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static void fill(struct stream *stream) {
  struct half *out = &stream->out;
  for (size_t at = 0; at < payload_size; at += 8) {
    uint64_t word = next_random(&stream->random);
    memcpy(out->block + at, &word, 8);
  }
  XXH3_64bits_update(out->hash, out->block, payload_size);
  uint64_t digest = XXH3_64bits_digest(out->hash);
  memcpy(out->block + payload_size, &digest, 8);
  out->bytes += payload_size;
  out->offset = 0;
}

static void watch(struct stream *stream) {
  uint32_t events = (stream->out.ended ? 0 : EPOLLOUT) | (stream->in.ended ? 0 : EPOLLIN);
  if (events == stream->events) return;
  struct epoll_event event = {.events = events, .data.ptr = stream};
  stream->events = events;
  if (events == 0) {
    epoll_ctl(poller, EPOLL_CTL_DEL, stream->fd, NULL);
    if (close(stream->fd) != 0) die("close: %m");
  } else if (epoll_ctl(poller, EPOLL_CTL_MOD, stream->fd, &event) != 0) {
    die("epoll_ctl: %m");
  }
}

static void send_some(struct stream *stream) {
  struct half *out = &stream->out;
  for (int turn = 0; turn < blocks_per_turn; turn++) {
    if (out->offset == block_size) {
      if (limit_bytes != 0 ? out->bytes >= limit_bytes : now() - started >= limit_seconds) {
        if (shutdown(stream->fd, SHUT_WR) != 0) die("shutdown: %m");
        out->ended = true;
        return;
      }
      fill(stream);
    }
    ssize_t sent = send(stream->fd, out->block + out->offset, block_size - out->offset, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) die("send, behind %llu bytes: %m", (unsigned long long)out->bytes);
    out->offset += sent;
  }
}

// What each stream has received now, when the first one has ended: what tells whether they had equal shares.
static void first_has_ended(void) {
  static bool before;
  if (before) return;
  before = true;
  for (size_t i = 0; i < count; i++) streams[i]->received_at_first_end = streams[i]->in.bytes + streams[i]->in.offset;
}

static void receive_some(struct stream *stream) {
  struct half *in = &stream->in;
  for (int turn = 0; turn < blocks_per_turn; turn++) {
    ssize_t got = recv(stream->fd, in->block + in->offset, block_size - in->offset, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) die("recv, behind %llu bytes: %m", (unsigned long long)in->bytes);
    if (got == 0) {
      if (in->offset != 0) die("the stream ends within a block, behind %llu bytes", (unsigned long long)in->bytes);
      first_has_ended();
      in->ended = true;
      return;
    }
    in->offset += got;
    if (in->offset < block_size) continue;
    XXH3_64bits_update(in->hash, in->block, payload_size);
    uint64_t expected, digest = XXH3_64bits_digest(in->hash);
    memcpy(&expected, in->block + payload_size, 8);
    if (digest != expected) die("wrong bytes in the block behind %llu bytes", (unsigned long long)in->bytes);
    in->bytes += payload_size;
    in->offset = 0;
  }
}

static struct stream *new_stream(int fd) {
  struct stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) die("no memory");
  stream->fd = fd;
  stream->out.hash = XXH3_createState();
  stream->in.hash = XXH3_createState();
  XXH3_64bits_reset(stream->out.hash);
  XXH3_64bits_reset(stream->in.hash);
  stream->out.offset = block_size;
  if (getrandom(&stream->random, sizeof stream->random, 0) != sizeof stream->random) die("getrandom: %m");
  if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) die("fcntl: %m");
  return stream;
}

static void make_connections(bool listens, const char *address, const char *port) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found;
  if (getaddrinfo(address, port, &hints, &found) != 0) die("no address: %s port %s", address, port);
  int listener = -1, on = 1;
  if (listens) {
    listener = socket(found->ai_family, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, found->ai_addr, found->ai_addrlen) != 0 || listen(listener, 1024) != 0) die("bind, listen: %m");
    puts("listening");
    fflush(stdout);
  }
  for (size_t i = 0; i < count; i++) {
    int fd = listens ? accept(listener, NULL, NULL) : socket(found->ai_family, SOCK_STREAM, 0);
    if (fd < 0) die("connection %zu: %m", i);
    if (!listens && connect(fd, found->ai_addr, found->ai_addrlen) != 0) die("connect, connection %zu: %m", i);
    streams[i] = new_stream(fd);
  }
  if (listens) close(listener);
  freeaddrinfo(found);
}

static void run(void) {
  poller = epoll_create1(EPOLL_CLOEXEC);
  started = now();
  for (size_t i = 0; i < count; i++) {
    struct epoll_event event = {.events = streams[i]->events = EPOLLIN | EPOLLOUT, .data.ptr = streams[i]};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, streams[i]->fd, &event) != 0) die("epoll_ctl: %m");
  }
  for (size_t left = count; left > 0;) {
    struct epoll_event events[64];
    int ready = epoll_wait(poller, events, 64, quiet_milliseconds);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) die("%zu streams stand still for %d s", left, quiet_milliseconds / 1000);
    for (int i = 0; i < ready; i++) {
      struct stream *stream = events[i].data.ptr;
      if (!stream->in.ended && (events[i].events & ~EPOLLOUT)) receive_some(stream);
      if (!stream->out.ended && (events[i].events & ~EPOLLIN)) send_some(stream);
      watch(stream);
      if (stream->events == 0) left--;
    }
  }
}

static void report(double seconds) {
  uint64_t sent = 0, received = 0, sent_digest = 0, received_digest = 0, least = UINT64_MAX, most = 0;
  for (size_t i = 0; i < count; i++) {
    struct stream *stream = streams[i];
    sent += stream->out.bytes;
    received += stream->in.bytes;
    sent_digest += XXH3_64bits_digest(stream->out.hash);
    received_digest += XXH3_64bits_digest(stream->in.hash);
    if (stream->received_at_first_end < least) least = stream->received_at_first_end;
    if (stream->received_at_first_end > most) most = stream->received_at_first_end;
  }
  printf("sent %llu %016llx\n", (unsigned long long)sent, (unsigned long long)sent_digest);
  printf("received %llu %016llx\n", (unsigned long long)received, (unsigned long long)received_digest);
  printf("fairness %llu %llu\n", (unsigned long long)least, (unsigned long long)most);
  printf("rate %.4f\n", received * 8 / seconds / 1e9);
}

int main(int argc, char **argv) {
  if (argc != 6 || (strcmp(argv[1], "listen") != 0 && strcmp(argv[1], "connect") != 0))
    die("usage: streams listen|connect ADDRESS PORT STREAMS SECONDSs|KIBIBYTESk");
  count = strtoul(argv[4], NULL, 10);
  char *unit;
  double amount = strtod(argv[5], &unit);
  if (count == 0 || amount <= 0 || (*unit != 's' && *unit != 'k')) die("not a number of streams, or not an amount");
  if (*unit == 's') limit_seconds = amount;
  else limit_bytes = (uint64_t)(amount * 1024);
  streams = calloc(count, sizeof *streams);
  make_connections(argv[1][0] == 'l', argv[2], argv[3]);
  run();
  report(now() - started);
  return 0;
}
