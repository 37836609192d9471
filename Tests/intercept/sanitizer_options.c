// The options of the sanitizers' runtimes, compiled in: scenarios start programs with environments that hold none. Tests
// that start the runtime late (exec with a cleaned LD_PRELOAD) need the first; leaks are those of the test program.
#define OPTIONS(runtime, text)                                                                                         \
  __attribute__((visibility("default"))) const char *__##runtime##_default_options(void);                              \
  const char *__##runtime##_default_options(void) { return text; }

OPTIONS(asan, "verify_asan_link_order=0:detect_leaks=0:exitcode=99")
OPTIONS(tsan, "die_after_fork=0:halt_on_error=1:exitcode=99")
OPTIONS(ubsan, "halt_on_error=1:print_stacktrace=1:exitcode=99")
