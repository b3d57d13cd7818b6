/* The narrow interface between the C that knows the translator and the Go that
 * knows the store. Go never looks into a structure of glusterfs. */
#ifndef COLDBRICK_PLUGIN_H
#define COLDBRICK_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

/* ---- implemented in plugin.c, called by Go ---- */

/* The file of a recall, below cloudsync. */
struct file {
    void *xlator;
    void *fd;
};

/* A file outlives its recall from the first to the second of these. */
void file_ref(struct file file);
void file_unref(struct file file);

/* All return 0 or a negative errno. The brick has the bytes when write returns. */
int file_write(struct file file, const void *data, size_t size, int64_t offset);
int file_truncate(struct file file, int64_t size);
int file_sync(struct file file);
int file_set_xattr(struct file file, const char *name, const void *value, size_t size, int flags);
int file_remove_xattr(struct file file, const char *name);
/* The caller frees *value. */
int file_get_xattr(struct file file, const char *name, void **value, size_t *size);

/* The attributes of the root of the volume, below cloudsync. Nobody waits in C: each
 * of these calls coldbrickAnswer once with asker, maybe before it returns, with 0 or a
 * negative errno. Never after root_use has said ROOT_FORMER, or once Go was told by
 * coldbrickRootGone. */
void root_get_xattr(void *xlator, const char *name, uintptr_t asker);
void root_set_xattr(void *xlator, const char *name, const void *value, size_t size, uintptr_t asker);
void root_remove_xattr(void *xlator, const char *name, uintptr_t asker);

/* Whether the graph of a translator is the one in use, and has a root. */
enum root_use { ROOT_NOT_YET, ROOT_IN_USE, ROOT_FORMER };
enum root_use root_use(void *xlator);

/* ---- implemented in remote.c, called by Go ---- */

/* Room for the bytes of a read: *data, of size bytes. NULL if there is none. */
void *read_buffer(void *xlator, size_t size, void **data);

/* Answers the frame of a read, once, with size bytes of the buffer or an errno. It
 * takes the buffer, which may be NULL then. */
void read_answer(void *frame, void *buffer, size_t size, int err);

/* ---- implemented in plugin.c again ---- */

/* Levels of a line in the log of glusterfs. */
enum level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

void log_line(void *xlator, enum level level, const char *line);

/* ---- implemented in main.go, called by plugin.c ---- */

struct settings {
    const char *volume, *hostname, *bucket, *key_id, *secret;
    const char *refused; /* why nothing can be recalled, or NULL */
};

struct stub {
    const unsigned char *gfid; /* 16 bytes */
    const char *remote;
    int64_t size;
    int64_t mtime; /* seconds */
    uint32_t mtime_nsec;
    int32_t pid; /* of the process that wants it, as the request has it */
    uint32_t uid;
};

#endif
