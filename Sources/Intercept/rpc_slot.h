// What rpc.c and prepared.c share: the kept connection of a process, and how a call holds it.
#ifndef NETCOND_INTERCEPT_RPC_SLOT_H
#define NETCOND_INTERCEPT_RPC_SLOT_H

#include <string.h>

#include "intercept.h"

/// Where TCP sockets made ahead are taken.
struct dispenser {
  uint64_t cookie; /* SO_COOKIE; 0: none */
  int32_t fd;
  uint32_t since; /* sockets asked for by requests are counted from here on, milliseconds */
  uint32_t count;
};

enum { TAKEN_COUNT = 256 };

/// A socket that was taken, and that no request has carried since.
struct taken {
  uint64_t cookie; /* SO_COOKIE; 0: none */
  uint32_t time;   /* milliseconds */
};

struct slot {
  uint64_t owner;  /* process_number() << 32 | lock state; the low half is the futex */
  uint64_t cookie; /* SO_COOKIE of the connection; 0: none */
  int32_t fd;
  uint32_t sequence;
  struct dispenser dispensers[2]; /* of AF_INET, AF_INET6 */
  /* The daemon's process, by a pidfd, where this program may take descriptors from it; inode 0: it may not. */
  uint64_t daemon_inode;
  int32_t daemon;
  struct taken taken[TAKEN_COUNT]; /* by fd */
};

/// What a call holds meanwhile: the slot, with signals blocked and cancellation off.
struct hold {
  struct slot *slot;
  uint64_t process, signals;
  int cancel;
};

// rpc.c

struct slot *nc_slot_enter(struct hold *hold);
void nc_slot_leave(struct hold *hold);
/// The slot of this process, not held: for a first look.
struct slot *nc_slot_seen(void);
/// Sends a request, with `fd` or -1, and awaits the reply; null for one that is only posted. As nc_rpc.
int nc_slot_exchange(struct slot *slot, struct nc_request *request, int fd, struct nc_reply *reply, int *received,
                     bool close_on_exec);

// prepared.c

/// Closes what a slot has besides its connection, as far as it still is what it was.
void nc_prepared_close(const struct slot *slot);
/// Forgets it.
void nc_prepared_forget(struct slot *slot);
/// The SO_COOKIE of `fd`, if this process has just taken it and no request has carried it since; else 0. Forgets it.
uint64_t nc_prepared_cookie(struct slot *slot, int fd);

#endif
