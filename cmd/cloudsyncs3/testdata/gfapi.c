/* gfapi VOLFILE PATH...: writes the content of each file to standard output.
 * For each, the volume is initialised, read and ended anew, as an application
 * does that opens several. */
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
copy(const char *volfile, const char *path)
{
    char buf[1 << 16];
    ssize_t n = -1;
    glfs_t *fs = glfs_new("vol");

    if (!fs || glfs_set_volfile(fs, volfile) != 0 || glfs_init(fs) != 0) {
        fprintf(stderr, "init: %s\n", strerror(errno));
        return 1;
    }
    glfs_fd_t *fd = glfs_open(fs, path, O_RDONLY);
    while (fd && (n = glfs_read(fd, buf, sizeof buf, 0)) > 0)
        fwrite(buf, 1, n, stdout);
    if (n < 0)
        fprintf(stderr, "read %s: %s\n", path, strerror(errno));
    if (fd)
        glfs_close(fd);
    if (glfs_fini(fs) != 0)
        fprintf(stderr, "fini: not all was quiet\n"); /* seen without any plugin too */
    return n < 0;
}

int
main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 2; i < argc; i++)
        failed |= copy(argv[1], argv[i]);
    return failed;
}
