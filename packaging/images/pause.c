/* The process of a pod sandbox: it holds the namespaces open and reaps orphans.
 *
 * Freestanding: no libc, only five system calls, so that the image is this one file of about half
 * a kilobyte. It waits for signals instead of handling them, so nothing here runs concurrently:
 * TERM and INT end it, CHLD makes it collect what has died (a pod with a shared process
 * namespace has it as pid 1).
 */

#if defined(__x86_64__)
enum { SYS_RT_SIGPROCMASK = 14, SYS_RT_SIGTIMEDWAIT = 128, SYS_WAIT4 = 61, SYS_EXIT = 60 };

static long call(long number, long a, long b, long c, long d)
{
	long result;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
enum { SYS_RT_SIGPROCMASK = 135, SYS_RT_SIGTIMEDWAIT = 137, SYS_WAIT4 = 260, SYS_EXIT = 93 };

static long call(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#else
#error "pause.c knows the system calls of x86_64 and aarch64 only"
#endif

enum { SIG_BLOCK = 0, SIGNAL_INT = 2, SIGNAL_TERM = 15, SIGNAL_CHLD = 17, WNOHANG = 1 };
enum { KERNEL_SIGSET_BYTES = 8, ANY_CHILD = -1 };

static unsigned long bit(int signal)
{
	return 1UL << (signal - 1);
}

void _start(void)
{
	unsigned long awaited = bit(SIGNAL_INT) | bit(SIGNAL_TERM) | bit(SIGNAL_CHLD);

	call(SYS_RT_SIGPROCMASK, SIG_BLOCK, (long)&awaited, 0, KERNEL_SIGSET_BYTES);
	for (;;) {
		long signal = call(SYS_RT_SIGTIMEDWAIT, (long)&awaited, 0, 0, KERNEL_SIGSET_BYTES);
		if (signal == SIGNAL_INT || signal == SIGNAL_TERM)
			call(SYS_EXIT, 0, 0, 0, 0);
		/* Signals of the same kind merge, so one CHLD may stand for many children. */
		while (call(SYS_WAIT4, ANY_CHILD, 0, WNOHANG, 0) > 0)
			;
	}
}
