// TCP_NODELAY and TCP_CORK, which servers turn on and off for each message: four requests each, were they all told.
//
// TCP_NODELAY. Once the daemon has it on, it stays on there, and the app's setting is a flag of its own end in the kernel
// (SO_DONTROUTE, which unix sockets do not use; atomic, and right after fork and fd passing). Nagle's algorithm only ever
// delays; not to delay is what the app has asked for before.
//
// TCP_CORK. The first corks are exact: the daemon holds back what fills no segment until uncorked. A socket that goes on
// corking builds messages; then the daemon is asked to coalesce, which is to take what lies in the pair already before it
// sends a part of a segment, and the setting is a flag likewise (SO_BROADCAST). A program that has corked many times is a server
// that does so for each answer: of its next connections that is asked at once, for two round trips to the daemon are much of
// a short one.
//
// Both only for connections: listeners pass their options on, and what is not connected yet may still fail.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "intercept.h"

// Exact corks of this process, and of how many on its connections coalesce from the start.
static unsigned exact_corks;
enum { MANY_CORKS = 16 };

static int mirror_of(int level, int option) {
  if (level != IPPROTO_TCP) return 0;
  return option == TCP_NODELAY ? SO_DONTROUTE : option == TCP_CORK ? SO_BROADCAST : 0;
}

static bool is_taken(int marks, int option) {
  return (marks & (option == TCP_NODELAY ? NC_MARK_NODELAY : NC_MARK_COALESCES)) != 0;
}

int nc_toggle_to_read(int fd, const struct nc_name *name, int level, int option) {
  int mirror = name->type == SOCK_STREAM ? mirror_of(level, option) : 0;
  return mirror != 0 && is_taken(nc_marks(fd), option) ? mirror : 0;
}

int nc_toggle_to_set_again(int fd, int level, int option) {
  int mirror = mirror_of(level, option);
  if (mirror == 0 || nc_hint(fd) != NC_HINT_STREAM) return 0;
  int marks = nc_marks(fd); // the number may be a foreign file's by now
  return nc_is_marked(marks) && is_taken(marks, option) ? mirror : 0;
}

int nc_toggle_to_set(int fd, const struct nc_name *name, int level, int option) {
  return name->state == NC_STATE_CONNECTED ? nc_toggle_to_read(fd, name, level, option) : 0;
}

int nc_toggle_flags(int fd, const struct nc_name *name, int level, int option, bool is_on) {
  if (level != IPPROTO_TCP || option != TCP_CORK || !is_on || name->state != NC_STATE_CONNECTED) return 0;
  bool corks_often = __atomic_load_n(&exact_corks, __ATOMIC_RELAXED) >= MANY_CORKS;
  return corks_often || (nc_marks(fd) & NC_MARK_CORKS) == NC_MARK_CORKS ? NC_OPTION_COALESCE : 0;
}

static void set_mirror(int fd, int mirror, int is_on) {
  (void)nc_raw_setsockopt(fd, SOL_SOCKET, mirror, &is_on, sizeof is_on);
}

void nc_toggle_taken(int fd, int level, int option, bool is_on, bool coalesces) {
  int mirror = mirror_of(level, option);
  if (mirror == 0) return;
  if (option == TCP_NODELAY) {
    set_mirror(fd, mirror, is_on);
    if (is_on) nc_mark(fd, NC_MARK_NODELAY);
    else nc_unmark(fd, NC_MARK_NODELAY);
  } else if (coalesces) {
    set_mirror(fd, mirror, is_on);
    nc_mark(fd, NC_MARK_COALESCES);
  } else if (is_on) {
    (void)__atomic_fetch_add(&exact_corks, 1, __ATOMIC_RELAXED);
    nc_mark(fd, (NC_MARK_FIRST_CORK | (nc_marks(fd) & NC_MARK_CORKS) << 1) & NC_MARK_CORKS);
  }
}

void nc_toggle_copy(int from, int to) {
  int marks = nc_marks(from), is_on = 0;
  socklen_t length = sizeof is_on;
  if ((marks & NC_MARK_NODELAY) != 0 && nc_raw_getsockopt(from, SOL_SOCKET, SO_DONTROUTE, &is_on, &length) == 0) {
    set_mirror(to, SO_DONTROUTE, is_on);
    nc_mark(to, NC_MARK_NODELAY);
  }
  // The fresh one does not coalesce: its cork, should it be on, is the daemon's again.
  struct nc_name name;
  if ((marks & NC_MARK_COALESCES) != 0 && nc_raw_getsockopt(from, SOL_SOCKET, SO_BROADCAST, &is_on, &length) == 0 &&
      is_on != 0 && nc_identify(to, &name))
    (void)nc_setsockopt(to, &name, IPPROTO_TCP, TCP_CORK, &is_on, sizeof is_on);
}
