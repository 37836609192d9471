// Telling what happened: lines "label: value" without anything that may differ between two runs on one stack.
#include "differential.h"
#include <stdarg.h>

void broken(const char *file, int line, const char *what) {
  int error = errno;
  dprintf(1, "broken: %s:%d: %s (%s)\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, what,
          errno_name(error));
  _exit(3);
}

void say(const char *label, const char *format, ...) {
  int error = errno;
  char value[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(value, sizeof value, format, arguments);
  va_end(arguments);
  dprintf(1, "%s: %s\n", label, value); // one write: lines of several processes stay whole
  errno = error;
}

const char *errno_name(int error) {
  const char *name = strerrorname_np(error);
  return name ? name : "no error of Linux";
}

void result(const char *label, long value) {
  if (value < 0)
    say(label, "%s", errno_name(errno));
  else
    say(label, "%ld", value);
}

void success(const char *label, long value) {
  say(label, "%s", value < 0 ? errno_name(errno) : "ok");
}

const char *mask_names(int mask) {
  static const struct {
    int bit;
    const char *name;
  } names[] = {{POLLIN, "IN"},   {POLLOUT, "OUT"}, {POLLPRI, "PRI"},     {POLLERR, "ERR"},
               {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"}, {POLLRDHUP, "RDHUP"}};
  static _Thread_local char texts[4][80];
  static _Thread_local int next;
  char *text = texts[next++ % 4];
  text[0] = 0;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (mask & names[i].bit) {
      if (text[0]) strcat(text, "|");
      strcat(text, names[i].name);
    }
  return text[0] ? text : "0";
}

void say_recv(const char *label, int fd, int flags) {
  char bytes[101] = {0};
  ssize_t count = recv(fd, bytes, 100, flags);
  if (count < 0)
    say(label, "%s", errno_name(errno));
  else if (count == 0)
    say(label, "0");
  else
    say(label, "%zd \"%s\"", count, bytes);
}

void say_error(const char *label, int fd) {
  int error = -1;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
    say(label, "getsockopt: %s", errno_name(errno));
  else
    say(label, "%s", error ? errno_name(error) : "none");
}

void say_option(const char *label, int fd, int level, int option) {
  int value = 0;
  socklen_t length = sizeof value;
  if (getsockopt(fd, level, option, &value, &length) < 0)
    say(label, "%s", errno_name(errno));
  else if (length != sizeof value)
    say(label, "%d bytes", (int)length);
  else
    say(label, "%d", value);
}

static struct {
  int port;
  const char *name;
} port_names[16];

void name_port(int port, const char *name) {
  for (int i = 0; i < 16; i++)
    if (port_names[i].name == NULL) {
      port_names[i].port = port;
      port_names[i].name = name;
      return;
    }
}

static const char *port_text(int port) {
  for (int i = 0; i < 16; i++)
    if (port_names[i].name && port_names[i].port == port) return port_names[i].name;
  static _Thread_local char text[16];
  if (port >= 32768) return "ephemeral"; // ip_local_port_range's first
  snprintf(text, sizeof text, "%d", port);
  return text;
}

void say_address(const char *label, const void *address, socklen_t length) {
  sa_family_t kind = 0xffff;
  if (length >= sizeof kind) memcpy(&kind, address, sizeof kind);
  char host[INET6_ADDRSTRLEN] = "?";
  if (kind == AF_INET && length >= sizeof(struct sockaddr_in)) {
    const struct sockaddr_in *in = address;
    inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
    say(label, "%s:%s (%d bytes)", host, port_text(ntohs(in->sin_port)), (int)length);
  } else if (kind == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    const struct sockaddr_in6 *in = address;
    inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
    say(label, "[%s%s]:%s (%d bytes)", host, in->sin6_scope_id ? "%scope" : "", port_text(ntohs(in->sin6_port)),
        (int)length);
  } else {
    say(label, "family %d, %d bytes", kind == 0xffff ? -1 : kind, (int)length);
  }
}

static void say_name(const char *label, int fd, int (*ask)(int, struct sockaddr *, socklen_t *)) {
  struct sockaddr_storage address;
  memset(&address, 0, sizeof address);
  socklen_t length = sizeof address;
  if (ask(fd, (struct sockaddr *)&address, &length) < 0)
    say(label, "%s", errno_name(errno));
  else
    say_address(label, &address, length);
}

static int local_name(int fd, struct sockaddr *address, socklen_t *length) { return getsockname(fd, address, length); }
static int remote_name(int fd, struct sockaddr *address, socklen_t *length) { return getpeername(fd, address, length); }

void say_local(const char *label, int fd) { say_name(label, fd, local_name); }
void say_remote(const char *label, int fd) { say_name(label, fd, remote_name); }
