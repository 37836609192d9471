// Waiting, the private line between app and peer, sockets, processes and signals.
#include "differential.h"

extern int line_fd;

enum { PATIENCE = 5000 }; // milliseconds; run.py gives a scenario more

long milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

void say_took(const char *label, long start, long least, long most) {
  long took = milliseconds() - start;
  if (took < least)
    say(label, "under %ld ms", least);
  else if (took > most)
    say(label, "over %ld ms", most);
  else
    say(label, "%ld to %ld ms", least, most);
}

enum { ALL_EVENTS = POLLIN | POLLOUT | POLLPRI | POLLRDHUP };

static int poll_now(int fd) {
  struct pollfd one = {.fd = fd, .events = ALL_EVENTS};
  NEED(poll(&one, 1, 0) >= 0);
  return one.revents;
}

void say_poll_now(const char *label, int fd) { say(label, "%s", mask_names(poll_now(fd))); }

void say_poll(const char *label, int fd, int wanted) {
  long end = milliseconds() + PATIENCE;
  struct timespec pause = {.tv_nsec = 2000000};
  while ((poll_now(fd) & wanted) != wanted && milliseconds() < end) nanosleep(&pause, NULL);
  // The kernel ends a connection that was reset in two steps (tcp_done): HUP may show an instant before RDHUP and IN.
  for (int look = 0; look < 10 && (poll_now(fd) & (POLLHUP | POLLRDHUP)) == POLLHUP; look++) nanosleep(&pause, NULL);
  say_poll_now(label, fd);
}

int wait_for(int fd, int events) {
  struct pollfd one = {.fd = fd, .events = events};
  int count;
  do count = poll(&one, 1, PATIENCE);
  while (count < 0 && errno == EINTR);
  return count > 0 ? one.revents : 0;
}

void say_quiet(const char *label, int fd, int events) {
  struct pollfd one = {.fd = fd, .events = events};
  say(label, "%s", poll(&one, 1, 100) == 0 ? "quiet" : mask_names(one.revents));
}

// Nobody need listen any more: the other side may have ended.
void tell(const char *word) {
  NEED(send(line_fd, word, strlen(word), MSG_NOSIGNAL) == (ssize_t)strlen(word) || errno == EPIPE || errno == ECONNRESET);
}

static void hear_into(char *word, size_t size) {
  struct pollfd one = {.fd = line_fd, .events = POLLIN};
  int count;
  do count = poll(&one, 1, 2 * PATIENCE);
  while (count < 0 && errno == EINTR);
  NEED(count == 1);
  ssize_t length = recv(line_fd, word, size - 1, 0);
  // The other side ended with something unheard; what it told before is still to be had.
  if (length < 0 && errno == ECONNRESET) length = recv(line_fd, word, size - 1, 0);
  NEED(length > 0); // 0: the other side has ended
  word[length] = 0;
}

void hear(const char *word) {
  char heard[64];
  hear_into(heard, sizeof heard);
  if (strcmp(heard, word) != 0) {
    say("heard on the line", "%s instead of %s", heard, word);
    _exit(3);
  }
}

void tell_value(long value) {
  char word[24];
  snprintf(word, sizeof word, "%ld", value);
  tell(word);
}

long hear_value(void) {
  char word[64];
  hear_into(word, sizeof word);
  return atol(word);
}

struct address at_family(int kind, enum host host, int port) {
  static const char *const v4[] = {"0.0.0.0", "10.80.0.2", "10.80.0.9", "127.0.0.1", "10.80.0.77", "192.0.2.1"};
  static const char *const v6[] = {"::", "fd80::2", "fd80::9", "::1", "fd80::77", "2001:db8::1"};
  struct address address = {.length = kind == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)};
  address.sa.sa_family = kind;
  if (kind == AF_INET) {
    address.v4.sin_port = htons(port);
    inet_pton(AF_INET, v4[host], &address.v4.sin_addr);
  } else {
    address.v6.sin6_port = htons(port);
    inet_pton(AF_INET6, v6[host], &address.v6.sin6_addr);
  }
  return address;
}

struct address at(enum host host, int port) { return at_family(family, host, port); }

int tcp(int flags) {
  int fd = socket(family, SOCK_STREAM | flags, 0);
  NEED(fd >= 0);
  return fd;
}

int udp(int flags) {
  int fd = socket(family, SOCK_DGRAM | flags, 0);
  NEED(fd >= 0);
  return fd;
}

int bind_to(int fd, enum host host, int port) {
  struct address address = at(host, port);
  return bind(fd, &address.sa, address.length);
}

int connect_to(int fd, enum host host, int port) {
  struct address address = at(host, port);
  return connect(fd, &address.sa, address.length);
}

int port_of(int fd) {
  struct address address = {.length = sizeof address.storage};
  NEED(getsockname(fd, &address.sa, &address.length) == 0);
  return ntohs(address.sa.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
}

int int_option(int fd, int level, int option) {
  int value = 0;
  socklen_t length = sizeof value;
  NEED(getsockopt(fd, level, option, &value, &length) == 0);
  return value;
}

int set_option(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value);
}

void set_nonblocking(int fd, bool on) {
  int flags = fcntl(fd, F_GETFL);
  NEED(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
}

int listener(enum host host, int backlog) {
  int fd = tcp(0);
  NEED(bind_to(fd, host, 0) == 0 && listen(fd, backlog) == 0);
  return fd;
}

int accept_one(int listener) {
  NEED(wait_for(listener, POLLIN) != 0);
  int fd = accept(listener, NULL, NULL);
  NEED(fd >= 0);
  return fd;
}

void write_all(int fd, const void *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    ssize_t written = write(fd, (const char *)bytes + done, count - done);
    NEED(written > 0);
    done += written;
  }
}

void read_all(int fd, void *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    NEED(wait_for(fd, POLLIN) != 0);
    ssize_t got = read(fd, (char *)bytes + done, count - done);
    NEED(got > 0);
    done += got;
  }
}

long fill(int fd) {
  static const char bytes[65536];
  long total = 0;
  struct pollfd writable = {.fd = fd, .events = POLLOUT};
  do
    for (ssize_t sent; (sent = send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0;) total += sent;
  while (errno == EAGAIN && poll(&writable, 1, 200) == 1);
  while (send(fd, bytes, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) total++; // Linux has some room left where poll says no
  NEED(errno == EAGAIN);
  return total;
}

void reset(int fd) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  NEED(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0 && close(fd) == 0);
}

int connected_app(void) {
  int fd = tcp(0), port = (int)hear_value();
  name_port(port, "server");
  NEED(connect_to(fd, PEER, port) == 0);
  hear("accepted");
  tell("ready");
  return fd;
}

int connected_peer(void) {
  int server = listener(PEER, 8), port = port_of(server);
  name_port(port, "server");
  tell_value(port);
  int fd = accept_one(server);
  close(server);
  tell("accepted");
  hear("ready"); // or a reset could meet the app's connect
  return fd;
}

int accepted_app(void) {
  int server = listener(APP, 8), port = port_of(server);
  name_port(port, "server");
  tell_value(port);
  int fd = accept_one(server);
  close(server);
  hear("connected");
  tell("ready");
  return fd;
}

int accepted_peer(void) {
  int fd = tcp(0), port = (int)hear_value();
  name_port(port, "server");
  NEED(connect_to(fd, APP, port) == 0);
  tell("connected");
  hear("ready"); // or a reset could meet the app's accept
  return fd;
}

const char *signal_name(int number) {
  static _Thread_local char text[32];
  const char *name = sigabbrev_np(number);
  snprintf(text, sizeof text, "SIG%s", name ? name : "?");
  return text;
}

void say_child(const char *label, pid_t child) {
  int status;
  NEED(child > 0);
  pid_t ended;
  do ended = waitpid(child, &status, 0);
  while (ended < 0 && errno == EINTR);
  NEED(ended == child);
  if (WIFSIGNALED(status))
    say(label, "%s", signal_name(WTERMSIG(status)));
  else
    say(label, "exit %d", WEXITSTATUS(status));
}

volatile sig_atomic_t signals_seen;

static void count_signal(int number) {
  (void)number;
  signals_seen++;
}

void on_signal(int number, int flags) {
  struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};
  NEED(sigaction(number, &action, NULL) == 0);
}

static volatile bool pestering;
static pthread_t pestered, pesterer;

static void *pester_thread(void *number) {
  struct timespec pause = {.tv_nsec = 5000000};
  while (pestering) {
    pthread_kill(pestered, (int)(intptr_t)number);
    nanosleep(&pause, NULL);
  }
  return NULL;
}

void pester(int number) {
  pestered = pthread_self();
  pestering = true;
  NEED(pthread_create(&pesterer, NULL, pester_thread, (void *)(intptr_t)number) == 0);
}

void stop_pestering(void) {
  pestering = false;
  pthread_join(pesterer, NULL);
}
