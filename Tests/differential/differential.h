// What every scenario uses. A scenario is a pair of functions: `app` is the program under test, which runs natively and
// intercepted, and `peer` is the other host, always on the kernel's stack. Both print "label: value" lines; those of the
// two runs must be equal, so a value never holds what may differ between two runs on one and the same stack (ports the
// system chose, times, counters). README.md tells how to add one.
#ifndef DIFFERENTIAL_H
#define DIFFERENTIAL_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 65534 };

struct scenario {
  const char *name;
  void (*app)(void);
  void (*peer)(void); // may be missing
  void (*child)(void); // what a program does that the app executes; `exec_child` starts it
  int family;         // what `family` is while it runs
  int user;           // the app's user id; 0 is root
};

// SCENARIO(topic_name, .app = …, .peer = …) registers one for IPv4; SCENARIO_BOTH two, topic_name_4 and topic_name_6.
#define SCENARIO_OF(id, family_, ...)                                                                                  \
  static const struct scenario scenario_##id = {.name = #id, .family = family_, __VA_ARGS__};                          \
  static const struct scenario *const entry_##id __attribute__((section("scenarios"), used)) = &scenario_##id
#define SCENARIO(id, ...) SCENARIO_OF(id, AF_INET, __VA_ARGS__)
#define SCENARIO_BOTH(id, ...)                                                                                         \
  SCENARIO_OF(id##_4, AF_INET, __VA_ARGS__);                                                                           \
  SCENARIO_OF(id##_6, AF_INET6, __VA_ARGS__)

// The running scenario's address family, which the helpers below use.
extern int family;

// Ends the process when something that is no subject of the test fails: "broken: file:line: what (errno)".
#define NEED(condition)                                                                                                \
  do {                                                                                                                 \
    if (!(condition)) broken(__FILE__, __LINE__, #condition);                                                          \
  } while (0)
_Noreturn void broken(const char *file, int line, const char *what);

// ---- Telling what happened

void say(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));
// What a call returned, or the errno by name; to be called with the call as its argument.
void result(const char *label, long value);
// As `result`, but any value that is not negative counts as "ok" (a descriptor's number, for instance).
void success(const char *label, long value);
const char *errno_name(int error);
// A poll mask by names, such as "IN|OUT|RDHUP"; "0" for none. The string is valid until the fourth call after.
const char *mask_names(int mask);
// recv() of up to 100 bytes, told as `5 "hello"`, `0`, or the errno.
void say_recv(const char *label, int fd, int flags);
// SO_ERROR by name.
void say_error(const char *label, int fd);
// An int option, or the errno.
void say_option(const char *label, int fd, int level, int option);
// An address as host:port. A port appears as the name it was given by name_port, else as "ephemeral" from 32768 on.
void say_address(const char *label, const void *address, socklen_t length);
void say_local(const char *label, int fd);
void say_remote(const char *label, int fd);
void name_port(int port, const char *name);

// ---- Waiting: each gives up after some seconds, and the difference shows in what is told

// Waits until poll shows all of `wanted`, and tells the whole mask (IN, OUT, PRI, ERR, HUP, RDHUP).
void say_poll(const char *label, int fd, int wanted);
// The mask at this moment.
void say_poll_now(const char *label, int fd);
// Waits until poll shows one of `events`; returns the mask.
int wait_for(int fd, int events);
// Tells whether nothing of `events` came for a tenth of a second.
void say_quiet(const char *label, int fd, int events);
// Milliseconds of a clock that never goes back.
long milliseconds(void);
// Tells whether the time since `start` is within the bounds; what took how long is a fact, its digits are not.
void say_took(const char *label, long start, long least, long most);

// ---- The two hosts' private line, which is no network: order between app and peer

void tell(const char *word);
void hear(const char *word);
void tell_value(long value);
long hear_value(void);

// ---- Sockets

enum host {
  ANY,
  APP,
  PEER,
  LOOPBACK,
  ABSENT,   // an address of the subnet that nobody has
  UNROUTED, // an address no route leads to
};

struct address {
  union {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
  };
  socklen_t length;
};

struct address at(enum host host, int port);
struct address at_family(int family, enum host host, int port);
int tcp(int flags);
int udp(int flags);
int bind_to(int fd, enum host host, int port);
int connect_to(int fd, enum host host, int port);
int port_of(int fd);
int int_option(int fd, int level, int option);
int set_option(int fd, int level, int option, int value);
void set_nonblocking(int fd, bool on);
// A TCP listener on a port of the system's choice.
int listener(enum host host, int backlog);
int accept_one(int listener);
// Writes and reads all of it; `NEED`s success.
void write_all(int fd, const void *bytes, size_t count);
void read_all(int fd, void *bytes, size_t count);
// Writes until the connection takes no more (for a fifth of a second); returns how many bytes it took.
long fill(int fd);
// Sets SO_LINGER {1, 0} and closes: a reset.
void reset(int fd);

// ---- Connections between app and peer. Call the `_app` one in `app` and its twin in `peer`.

// The app connects to the peer; blocking sockets.
int connected_app(void);
int connected_peer(void);
// The peer connects to a listener of the app's.
int accepted_app(void);
int accepted_peer(void);

// ---- Processes and signals

// Waits for a child and tells how it ended: "exit 0" or "SIGPIPE".
void say_child(const char *label, pid_t child);
const char *signal_name(int number);
// The words to execute this very program as the scenario's child, with `fd` as `child_fd`. Valid until the next call.
char **child_words(int fd);
extern int child_fd;
// Installs a handler that counts in `signals_seen`.
void on_signal(int number, int flags);
extern volatile sig_atomic_t signals_seen;
// Sends `number` to this thread again and again until `stop_pestering`: whenever a call blocks, one is sure to come.
void pester(int number);
void stop_pestering(void);

#endif
