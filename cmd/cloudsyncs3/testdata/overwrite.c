/* overwrite VOLFILE STUB OTHER: asks for a copy of OTHER, which must be refused,
 * and puts "new" in the place of what STUB has. */
#include <errno.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <stdio.h>
#include <string.h>

static int
fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

int
main(int argc, char **argv)
{
    glfs_t *fs = glfs_new("vol");

    if (argc != 4 || !fs || glfs_set_volfile(fs, argv[1]) != 0 || glfs_init(fs) != 0)
        return fail("init");

    glfs_fd_t *from = glfs_open(fs, argv[3], O_RDONLY), *to = glfs_creat(fs, "copy", O_RDWR, 0644);
    if (!from || !to)
        return fail("open for a copy");
    if (glfs_copy_file_range(from, NULL, to, NULL, 4096, 0, NULL, NULL, NULL) >= 0) /* libgfapi drops the errno */
        return fail("copy of a stub");
    glfs_close(from);
    glfs_close(to);

    glfs_fd_t *fd = glfs_open(fs, argv[2], O_WRONLY | O_TRUNC);
    if (!fd || glfs_write(fd, "new", 3, 0) != 3 || glfs_close(fd) != 0)
        return fail("overwrite");
    glfs_fini(fs); /* not always quiet, without any plugin too */
    return 0;
}
