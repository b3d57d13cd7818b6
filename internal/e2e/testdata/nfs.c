/* nfs URL COMMAND...: does to files what a client of NFS does. A command is one
 * argument, of words; of each that fails there is a line. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <nfsc/libnfs.h>

static struct nfs_context *nfs;

static int
cat(const char *path, const char *to)
{
    static char block[1 << 16];
    struct nfsfh *in;
    FILE *out = fopen(to, "w");
    int n = out ? nfs_open(nfs, path, O_RDONLY, &in) : -1;

    if (n < 0)
        return n;
    while ((n = nfs_read(nfs, in, sizeof block, block)) > 0)
        fwrite(block, 1, n, out);
    nfs_close(nfs, in);
    return fclose(out) ? -1 : n;
}

static int
put(const char *path, int flags, uint64_t at, const char *text)
{
    struct nfsfh *out;
    int err = nfs_open(nfs, path, flags, &out);

    if (err)
        return err;
    err = nfs_pwrite(nfs, out, at, strlen(text), text);
    int closed = nfs_close(nfs, out); /* which tells of what was not written */
    return err < 0 ? err : closed;
}

static int
append(const char *path, const char *text)
{
    struct nfs_stat_64 st;
    int err = nfs_stat64(nfs, path, &st);
    return err ? err : put(path, O_WRONLY, st.nfs_size, text);
}

static int
sync_file(const char *path)
{
    struct nfsfh *f;
    int err = nfs_open(nfs, path, O_RDWR, &f);

    if (err)
        return err;
    err = nfs_fsync(nfs, f);
    int closed = nfs_close(nfs, f);
    return err ? err : closed;
}

/* The file stays open, and locked, until the end. */
static int
lock(const char *path)
{
    struct nfs4_flock first = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
    struct nfsfh *f;
    int err = nfs_open(nfs, path, O_RDWR, &f);
    return err ? err : nfs_fcntl(nfs, f, NFS4_F_SETLK, &first);
}

static int
run(const char *name, const char *path, const char *rest)
{
    struct timeval times[2] = {{1000000000, 0}, {1000000000, 0}};

    if (!strcmp(name, "cat"))
        return cat(path, rest);
    if (!strcmp(name, "chmod"))
        return nfs_chmod(nfs, path, strtol(rest, NULL, 8));
    if (!strcmp(name, "chown"))
        return nfs_chown(nfs, path, atoi(rest), atoi(rest));
    if (!strcmp(name, "touch"))
        return nfs_utimes(nfs, path, times);
    if (!strcmp(name, "ln"))
        return nfs_link(nfs, path, rest);
    if (!strcmp(name, "mv"))
        return nfs_rename(nfs, path, rest);
    if (!strcmp(name, "fsync"))
        return sync_file(path);
    if (!strcmp(name, "truncate"))
        return nfs_truncate(nfs, path, atoi(rest));
    if (!strcmp(name, "overwrite"))
        return put(path, O_WRONLY | O_TRUNC, 0, rest);
    if (!strcmp(name, "append"))
        return append(path, rest);
    if (!strcmp(name, "lock"))
        return lock(path);
    if (!strcmp(name, "while")) /* while PATH SHELL-COMMAND: what another one does meanwhile */
        return system(rest) ? -1 : 0;
    return -1;
}

int
main(int argc, char **argv)
{
    struct nfs_url *url;

    nfs = nfs_init_context();
    if (argc < 2 || !(url = nfs_parse_url_dir(nfs, argv[1])) || nfs_mount(nfs, url->server, url->path)) {
        printf("mount: %s\n", nfs_get_error(nfs));
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        char name[20] = "", path[100] = "", rest[400] = "";
        sscanf(argv[i], "%19s %99s %399[^\n]", name, path, rest);
        if (run(name, path, rest))
            printf("%s: %s\n", argv[i], nfs_get_error(nfs));
    }
    return 0;
}
