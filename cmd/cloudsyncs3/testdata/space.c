/* space VOLFILE [PATH OPERATION]...: asks for the space or the holes of files, and says on
 * standard output, a line each, what it was answered. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static off_t
ask(glfs_fd_t *fd, const char *operation)
{
    if (!strcmp(operation, "fallocate"))
        return glfs_fallocate(fd, 0, 0, 8192);
    if (!strcmp(operation, "discard"))
        return glfs_discard(fd, 100, 100);
    if (!strcmp(operation, "zerofill"))
        return glfs_zerofill(fd, 100, 100);
    return glfs_lseek(fd, 10, !strcmp(operation, "data") ? SEEK_DATA : SEEK_HOLE);
}

int
main(int argc, char **argv)
{
    glfs_t *fs = glfs_new("vol");

    if (argc < 4 || !fs || glfs_set_volfile(fs, argv[1]) != 0 || glfs_init(fs) != 0)
        return 2;
    for (int i = 2; i + 1 < argc; i += 2) {
        glfs_fd_t *fd = glfs_open(fs, argv[i], O_RDWR);
        if (!fd)
            return 3;
        off_t answer = ask(fd, argv[i + 1]);
        printf("%s %s: ", argv[i + 1], argv[i]);
        if (answer < 0)
            printf("%s\n", strerror(errno));
        else
            printf("%lld\n", (long long)answer);
        fflush(stdout);
        glfs_close(fd);
    }
    return 0; /* glfs_fini would take seconds */
}
