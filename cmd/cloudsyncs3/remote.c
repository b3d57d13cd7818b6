//go:build cloudsyncs3

/* With features.cloudsync-remote-read on, the translator asks the plugin for each
 * read of a stub, in an event thread and without its lock. It can be answered
 * later: once the plugin's method has returned 0, cs_serve_readv sets local->dlfd
 * to NULL as the last thing that it does to the frame, and nobody else knows of the
 * frame any more. So the thread is free at once, and of any number of readers none
 * can keep the answers of bricks from the others. */
#include "remote.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "_cgo_export.h"

enum { LET_GO_US = 20 }; /* pause between looks at whether cs_serve_readv is through */

/* FUSE ends a former graph in the thread that answers the last request to it. */
static __thread gf_boolean_t answering;

int
remote_read(call_frame_t *frame, uintptr_t handle, const struct stub *stub)
{
    cs_local_t *local = frame->local;
    struct file file = {frame->this, local->dlfd};

    file_ref(file);
    if (coldbrickRead(handle, file, (struct stub *)stub, frame, local->xattrinfo.offset, local->xattrinfo.size) == 0)
        return 0; /* from here on the frame may be gone */
    file_unref(file);
    return -1;
}

void *
read_buffer(void *xlator, size_t size, void **data)
{
    struct iobuf *buf = iobuf_get2(((xlator_t *)xlator)->ctx->iobuf_pool, size);

    if (buf)
        *data = iobuf_ptr(buf);
    return buf;
}

/* cs_local_wipe, which cloudsync does not export. dlfd is NULL by then. */
static void
wipe(cs_local_t *local)
{
    cs_loc_xattr_t *names = local->xattrinfo.lxattr;

    loc_wipe(&local->loc);
    if (local->fd)
        fd_unref(local->fd);
    if (local->stub)
        call_stub_destroy(local->stub);
    if (local->xattr_req)
        dict_unref(local->xattr_req);
    if (local->xattr_rsp)
        dict_unref(local->xattr_rsp);
    GF_FREE(local->remotepath);
    if (names) {
        GF_FREE(names->file_path);
        GF_FREE(names->volname);
        GF_FREE(names);
    }
    mem_put(local);
}

static void
answer_data(call_frame_t *frame, struct iobuf *buf, size_t size, off_t offset, struct iatt *stat)
{
    struct iovec vector = {iobuf_ptr(buf), size};
    struct iobref *ref = iobref_new();

    if (!ref || iobref_add(ref, buf) != 0)
        STACK_UNWIND_STRICT(readv, frame, -1, ENOMEM, NULL, 0, NULL, NULL, NULL);
    else /* ENOENT is what the brick adds at the end of a file */
        STACK_UNWIND_STRICT(readv, frame, size, offset + (off_t)size >= (off_t)stat->ia_size ? ENOENT : 0, &vector, 1,
                            stat, ref, NULL);
    if (ref)
        iobref_unref(ref);
}

void
read_answer(void *answered, void *buffer, size_t size, int err)
{
    call_frame_t *frame = answered;
    cs_local_t *local = frame->local;
    struct iobuf *buf = buffer;
    xlator_t *former_this = THIS;

    while (__atomic_load_n(&local->dlfd, __ATOMIC_ACQUIRE))
        usleep(LET_GO_US);
    THIS = frame->this;
    answering = _gf_true;
    frame->local = NULL; /* else glusterfs would put it back by itself, and no more than that */
    if (err || !buf)
        STACK_UNWIND_STRICT(readv, frame, -1, err ? err : ENOMEM, NULL, 0, NULL, NULL, NULL);
    else
        answer_data(frame, buf, size, local->xattrinfo.offset, &local->stbuf);
    if (buf)
        iobuf_unref(buf);
    wipe(local);
    answering = _gf_false;
    THIS = former_this;
}

void
remote_end(xlator_t *this)
{
    uintptr_t handle = plugin_handle(this);

    if (handle)
        coldbrickEnd(handle, answering);
}

int32_t
remote_counters(call_frame_t *frame, xlator_t *this)
{
    uintptr_t handle = plugin_handle(this);
    char *text = handle ? coldbrickCounters(handle) : NULL;
    dict_t *dict = text ? dict_new() : NULL;
    int ret = dict ? dict_set_copy(dict, COUNTERS_XATTR, text, strlen(text)) : -ENOMEM;

    STACK_UNWIND_STRICT(getxattr, frame, ret, -ret, dict, NULL);
    if (dict)
        dict_unref(dict);
    free(text);
    return 0;
}
