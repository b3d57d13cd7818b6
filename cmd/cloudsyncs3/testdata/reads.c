/* reads VOLFILE PATH: begins 16 reads of 64 KiB, waits for them for 3 seconds, and
 * ends the volume, whether they have been answered or not. */
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { READS = 16, SIZE = 1 << 16 };

static atomic_int served, answered;

static void
on_read(glfs_fd_t *fd, ssize_t ret, struct glfs_stat *pre, struct glfs_stat *post, void *data)
{
    (void)fd, (void)pre, (void)post, (void)data;
    served += ret == SIZE;
    answered++;
}

int
main(int argc, char **argv)
{
    static char buf[READS][SIZE];
    glfs_t *fs = glfs_new("vol");

    if (argc != 3 || !fs || glfs_set_volfile(fs, argv[1]) != 0 || glfs_init(fs) != 0) {
        fprintf(stderr, "init: %s\n", strerror(errno));
        return 1;
    }
    glfs_fd_t *fd = glfs_open(fs, argv[2], O_RDONLY);
    if (!fd) {
        fprintf(stderr, "open: %s\n", strerror(errno));
        return 1;
    }
    for (int i = 0; i < READS; i++)
        if (glfs_pread_async(fd, buf[i], SIZE, (off_t)i * SIZE, 0, on_read, NULL) != 0)
            return 1;
    for (int i = 0; i < 30 && answered < READS; i++)
        usleep(100000);
    glfs_fini(fs); /* says that not all was quiet, if it was not */
    printf("%d of %d reads were served\n", served, READS);
    return 0;
}
