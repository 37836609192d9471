// liburing for Swift. Debian 12's liburing is 2.3: numbers of newer operations and flags stand here, from the kernel's
// include/uapi/linux/io_uring.h, and are used only where the running kernel's probe shows them.
#ifndef NC_URING_H
#define NC_URING_H

#include <sys/types.h> /* before liburing.h, which asks for _XOPEN_SOURCE: one view of libc in all modules */

#include <liburing.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NC_IORING_OP_READ_MULTISHOT = 49 }; /* Linux 6.7 */

/* Flags of io_uring_setup(2), and of the ring that the kernel and the program share (Linux 5.19). */
enum { NC_IORING_SETUP_TASKRUN_FLAG = 1 << 9, NC_IORING_SQ_TASKRUN = 1 << 2, NC_IORING_SQ_CQ_OVERFLOW = 1 << 1 };

enum { NC_IORING_FEAT_MIN_TIMEOUT = 1 << 15 }; /* Linux 6.12 */

/// Waits for completions: `microseconds` at least, unless `count` come, and then goes on until there is one, or (as Linux 6.18
/// does) ends with none. Nothing is submitted. Returns 0 or a negated errno; -ETIME is no failure.
static inline int nc_ring_gather(struct io_uring *ring, unsigned count, unsigned microseconds) {
  struct __kernel_timespec forever = {.tv_sec = 3600};
  struct { /* io_uring_getevents_arg, whose third member liburing 2.3 calls pad */
    uint64_t sigmask;
    uint32_t sigmask_sz, min_wait_usec;
    uint64_t ts;
  } argument = {.sigmask_sz = _NSIG / 8, .min_wait_usec = microseconds, .ts = (uintptr_t)&forever};
  long result = syscall(SYS_io_uring_enter, ring->ring_fd, 0, count, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument,
                        sizeof argument);
  return result < 0 ? -errno : 0;
}

/// Whether completions wait, in the ring or with the kernel (where the ring was set up with NC_IORING_SETUP_TASKRUN_FLAG).
/// Looks `times` times, with a breath in between, and stops at the first yes.
static inline int nc_ring_has_news(const struct io_uring *ring, unsigned times) {
  while (times-- > 0) {
    unsigned flags = __atomic_load_n(ring->sq.kflags, __ATOMIC_ACQUIRE);
    if (io_uring_cq_ready(ring) > 0 || (flags & (NC_IORING_SQ_TASKRUN | NC_IORING_SQ_CQ_OVERFLOW)) != 0) return 1;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }
  return 0;
}

/* Macros that Swift's importer does not see. */
static inline unsigned char nc_sqe_flag_buffer_select(void) { return IOSQE_BUFFER_SELECT; }
static inline unsigned char nc_sqe_flag_skip_success(void) { return IOSQE_CQE_SKIP_SUCCESS; }

static inline unsigned nc_cq_ready(const struct io_uring *ring) { return io_uring_cq_ready(ring); }

/// Copies up to `capacity` completions out of the ring and gives their places back to the kernel.
static inline unsigned nc_take_completions(struct io_uring *ring, struct io_uring_cqe *out, unsigned capacity) {
  unsigned head, count = 0;
  struct io_uring_cqe *cqe;
  io_uring_for_each_cqe(ring, head, cqe) {
    if (count == capacity) break;
    out[count++] = *cqe;
  }
  io_uring_cq_advance(ring, count);
  return count;
}

#endif
