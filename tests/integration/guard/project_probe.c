/* Copyright (c) ds01.infra contributors
 * SPDX-License-Identifier: MIT
 * Asks the kernel for what the guard forbids and for what it must leave, by every entry it has; prints one line for each: name, errno.
 * On a descriptor that is not open the kernel answers EBADF; only the filter in front of it answers EPERM.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned FORBIDDEN[] = {0x401c5820, 0x40086602, 0x40046602};
static const unsigned long UPPER[] = {0, 1UL << 32, 1UL << 63, 0xffffffffUL << 32};
static sigjmp_buf no_such_entry;

static void gone(int number) { siglongjmp(no_such_entry, number); }

static int native(unsigned long request) { return syscall(SYS_ioctl, -1, request, 0) == 0 ? 0 : errno; }

#ifdef __x86_64__
/* The 32-bit table (ioctl is 54) by the old gate; -1 where the kernel has none. */
static int old(unsigned request)
{
    long result;
    if (sigsetjmp(no_such_entry, 1))
        return -1;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(54L), "b"(-1L), "c"((long)request), "d"(0L) : "memory", "r8", "r9", "r10", "r11");
    return (int)-(int)result;
}

static int x32(unsigned long request) { return syscall(0x40000000 + 514, -1, request, 0) == 0 ? 0 : errno; }
#endif

int main(void)
{
    struct winsize size;
    int passed = 0, held = 0;
    signal(SIGSEGV, gone);
    signal(SIGILL, gone);
    for (int upper = 0; upper < 4; upper++)
        for (int each = 0; each < 3; each++) {
            printf("forbidden %x upper %lx: %d\n", FORBIDDEN[each], UPPER[upper] >> 32, native(UPPER[upper] | FORBIDDEN[each]));
            for (int bit = 0; bit < 32; bit++) {
                unsigned near = FORBIDDEN[each] ^ 1U << bit;
                if (native(UPPER[upper] | near) == EBADF)
                    passed++;
                else
                    held++;
            }
        }
    printf("neighbours passed: %d\nneighbours held: %d\n", passed, held);
#ifdef __x86_64__
    for (int each = 0; each < 3; each++) {
        printf("i386 forbidden %x: %d\n", FORBIDDEN[each], old(FORBIDDEN[each]));
        printf("x32 forbidden %x: %d\n", FORBIDDEN[each], x32(FORBIDDEN[each]));
    }
    printf("i386 ordinary: %d\n", old(TIOCGWINSZ));
#endif
    printf("getxattr: %d\n", native(0x801c581f));
    printf("getflags: %d\n", native(0x80086601));
    printf("winsize: %d\n", ioctl(1, TIOCGWINSZ, &size) == 0 ? 0 : errno);
    errno = 0;
    printf("file_setattr: %d\n", syscall(469, -1, "", 0, 0, 0) == 0 ? 0 : errno);
    printf("io_uring_setup: %d\n", syscall(SYS_io_uring_setup, 1, 0) == 0 ? 0 : errno);
    return 0;
}
