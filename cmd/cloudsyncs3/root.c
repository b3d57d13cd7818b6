//go:build cloudsyncs3

/* The attributes of the root of the volume. They are asked for below cloudsync, by
 * frames of our own, and answered in an event thread: a brick that is silent keeps
 * nobody waiting in here. */
#include "plugin.h"

#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"
#include "translator.h"

enum root_use
root_use(void *xlator)
{
    xlator_t *this = xlator, *top = this->graph ? this->graph->top : NULL;
    glusterfs_graph_t *active = this->ctx->active;

    if (active && this->graph && active->id > this->graph->id)
        return ROOT_FORMER;
    /* What mounts, or uses libgfapi, sets the table when the bricks are there. */
    return active == this->graph && top && top->itable && top->itable->root ? ROOT_IN_USE : ROOT_NOT_YET;
}

/* What waits for an answer. All that a request points to lives as long. */
struct asked {
    uintptr_t asker;
    loc_t loc;
    char name[];
};

static void
answer(call_frame_t *frame, struct asked *asked, int ret, const void *value, size_t size)
{
    coldbrickAnswer(asked->asker, ret, (void *)value, size);
    inode_unref(asked->loc.inode);
    free(asked);
    STACK_DESTROY(frame->root);
}

static int
result(int32_t op_ret, int32_t op_errno)
{
    if (op_ret >= 0)
        return 0;
    return op_errno > 0 ? -op_errno : -EIO;
}

static int32_t
on_get(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, dict_t *dict,
       dict_t *xdata)
{
    struct asked *asked = cookie;
    int ret = result(op_ret, op_errno), size = 0;
    void *value = NULL;

    (void)this, (void)xdata;
    if (ret == 0 && (!dict || dict_get_ptr_and_len(dict, asked->name, &value, &size) != 0))
        ret = -ENODATA;
    answer(frame, asked, ret, value, size);
    return 0;
}

static int32_t
on_change(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, dict_t *xdata)
{
    (void)this, (void)xdata;
    answer(frame, cookie, result(op_ret, op_errno), NULL, 0);
    return 0;
}

/* NULL without memory: the asker has its answer. */
static call_frame_t *
frame_for(xlator_t *this, const char *name, uintptr_t asker, struct asked **asked)
{
    struct asked *a = calloc(1, sizeof *a + strlen(name) + 1);
    call_frame_t *frame = a ? create_frame(this, this->ctx->pool) : NULL;
    xlator_t *top = this->graph->top;

    if (!frame) {
        free(a);
        coldbrickAnswer(asker, -ENOMEM, NULL, 0);
        return NULL;
    }
    a->asker = asker;
    a->loc.path = "/";
    a->loc.name = "";
    a->loc.inode = inode_ref(top->itable->root);
    a->loc.gfid[sizeof a->loc.gfid - 1] = 1;
    strcpy(a->name, name);
    set_lk_owner_from_ptr(&frame->root->lk_owner, frame->root); /* replicate locks by it */
    *asked = a;
    return frame;
}

/* THIS is a variable of the thread, and Go calls from threads of its own. */
#define WITH_FRAME(xlator, name, asker, wind)                                                                          \
    do {                                                                                                               \
        xlator_t *this = xlator, *former_this = THIS;                                                                  \
        struct asked *asked;                                                                                           \
        THIS = this;                                                                                                   \
        call_frame_t *frame = frame_for(this, name, asker, &asked);                                                    \
        if (frame)                                                                                                     \
            wind;                                                                                                      \
        THIS = former_this;                                                                                            \
    } while (0)

void
root_get_xattr(void *xlator, const char *name, uintptr_t asker)
{
    WITH_FRAME(xlator, name, asker,
               STACK_WIND_COOKIE(frame, on_get, asked, FIRST_CHILD(this), FIRST_CHILD(this)->fops->getxattr,
                                 &asked->loc, asked->name, NULL));
}

void
root_set_xattr(void *xlator, const char *name, const void *value, size_t size, uintptr_t asker)
{
    dict_t *dict = dict_new();

    if (dict && dict_set_copy(dict, name, value, size) == 0) {
        WITH_FRAME(xlator, name, asker,
                   STACK_WIND_COOKIE(frame, on_change, asked, FIRST_CHILD(this), FIRST_CHILD(this)->fops->setxattr,
                                     &asked->loc, dict, 0, NULL));
    } else {
        coldbrickAnswer(asker, -ENOMEM, NULL, 0);
    }
    if (dict)
        dict_unref(dict);
}

void
root_remove_xattr(void *xlator, const char *name, uintptr_t asker)
{
    WITH_FRAME(xlator, name, asker,
               STACK_WIND_COOKIE(frame, on_change, asked, FIRST_CHILD(this), FIRST_CHILD(this)->fops->removexattr,
                                 &asked->loc, asked->name, NULL));
}
