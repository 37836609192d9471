// Memory that an app's process and the daemon share for one connection: what the app writes in bulk is copied there once,
// by the library, and sent by the daemon from where it lies. docs/rpc.md, "Shared send memory".
//
// The daemon makes it (memfd_create(2), sealed: its size never changes), the library maps it. Neither side trusts what the
// other may have written there with more than this connection's bytes.
#ifndef NETCOND_ARENA_H
#define NETCOND_ARENA_H

#include <stdint.h>

enum {
  NC_ARENA_BLOCKS = 64,
  NC_ARENA_BLOCK_BYTES = 65536,
  NC_ARENA_HEADER_BYTES = 4096,
  /* Between the starts of two blocks: a page more than they hold, so that the end of one never adjoins the next. */
  NC_ARENA_STRIDE = NC_ARENA_BLOCK_BYTES + 4096,
  NC_ARENA_BYTES = NC_ARENA_HEADER_BYTES + NC_ARENA_BLOCKS * NC_ARENA_STRIDE,
  /* SO_SNDBUF of the app's end while markers are sent, before the kernel doubles it: about nine of them. */
  NC_ARENA_NARROW_BYTES = 4096,
};

/// What lies in front of the blocks. All fields are accessed by the functions below only.
struct nc_arena {
  uint64_t free;                     /* a bit for each block that nobody uses */
  uint32_t is_narrow;                /* the app's end has NC_ARENA_NARROW_BYTES now */
  int32_t wide_bytes;                /* what SO_SNDBUF is to be without */
  uint32_t queued;                   /* bytes in blocks whose markers the daemon has not read */
  uint32_t bytes[NC_ARENA_BLOCKS];   /* of each block whose marker is under way */
};

static inline char *nc_arena_block(struct nc_arena *arena, uint32_t block) {
  return (char *)arena + NC_ARENA_HEADER_BYTES + (uint64_t)block * NC_ARENA_STRIDE;
}

/// Takes the first free block, whose memory was used last and is still in a cache; -1 where there is none.
static inline int nc_arena_take(struct nc_arena *arena) {
  uint64_t free = __atomic_load_n(&arena->free, __ATOMIC_RELAXED);
  while (free != 0) {
    int block = __builtin_ctzll(free);
    if (__atomic_compare_exchange_n(&arena->free, &free, free & (free - 1), 1, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
      return block;
  }
  return -1;
}

/// Takes all blocks that are free.
static inline uint64_t nc_arena_take_all(struct nc_arena *arena) {
  return __atomic_exchange_n(&arena->free, 0, __ATOMIC_ACQUIRE);
}

static inline void nc_arena_give(struct nc_arena *arena, uint64_t blocks) {
  (void)__atomic_fetch_or(&arena->free, blocks, __ATOMIC_RELEASE);
}

/// The library's: `bytes` bytes of `block` are about to be announced by a marker.
static inline void nc_arena_announce(struct nc_arena *arena, uint32_t block, uint32_t bytes) {
  __atomic_store_n(&arena->bytes[block], bytes, __ATOMIC_RELAXED);
  (void)__atomic_fetch_add(&arena->queued, bytes, __ATOMIC_RELEASE);
}

/// The marker of `block` was read, or was not sent after all. Returns the bytes announced, which may be any number.
static inline uint32_t nc_arena_heed(struct nc_arena *arena, uint32_t block) {
  uint32_t bytes = __atomic_load_n(&arena->bytes[block], __ATOMIC_ACQUIRE);
  (void)__atomic_fetch_sub(&arena->queued, bytes, __ATOMIC_RELAXED);
  return bytes;
}

static inline uint32_t nc_arena_queued(struct nc_arena *arena) {
  return __atomic_load_n(&arena->queued, __ATOMIC_RELAXED);
}

_Static_assert(NC_ARENA_BLOCKS == 64 && sizeof(struct nc_arena) <= NC_ARENA_HEADER_BYTES, "layout is the protocol");

#endif
