// signalfd(2), which the Swift Glibc module does not bring.
#ifndef NC_SIGNAL_H
#define NC_SIGNAL_H

#include <signal.h>
#include <sys/signalfd.h>

static inline int nc_signalfd(const sigset_t *set) { return signalfd(-1, set, SFD_CLOEXEC); }
static inline long nc_signalfd_info_bytes(void) { return sizeof(struct signalfd_siginfo); }

#endif
