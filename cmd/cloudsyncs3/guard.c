//go:build cloudsyncs3

/* cloudsync asks the brick for the size that the file had (with a key in xdata)
 * in stat, fstat, lookup and readdirp, and forgets the other operations that
 * answer with attributes. Those say 0, the caches above believe it, and the next
 * read of the file ends at once, with success. What stands here takes their place
 * in the translator's table of operations:
 *
 *   setattr                the brick honours the key here too: no further request
 *   opendir                performance.parallel-readdir puts readdir-ahead below cloudsync:
 *                          it reads the directory at once, and asks for what the opendir
 *                          asked for
 *   fsetattr, fsync, link  when a regular file is said to be empty, it is asked
 *                          for once more, with the key
 *   (f)setxattr,           bring attributes in the reply's xdata: dropped when
 *   (f)removexattr         they say empty, and md-cache forgets what it knows
 *   truncate by name,      cloudsync recalls with an fd that it does not have, or
 *   open with O_TRUNC      not at all: they become an ftruncate
 *   fallocate, discard,    cloudsync never answers if the recall fails: what recalls is
 *   zerofill               a write of no byte, whose failures it does answer
 *   seek                   the same; a stub has no holes, and needs no recall to say so
 *   copy_file_range        refused for a stub
 *   invalidations          of features.cache-invalidation, which bring the size so
 *                          far of a recall that another client has under way: they
 *                          invalidate, whatever attributes they bring
 *
 * The macros that wind compute an index from the address of a slot of the present
 * table. So the former operations are called, and never wound to. */
#include "guard.h"

/* glusterfs prescribes the parameters. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <glusterfs/defaults.h>

#include "remote.h"

struct guard {
    struct xlator_fops fops; /* the table in use; the macros write to it */
    struct xlator_fops *former;
    int (*former_notify)(xlator_t *this, int event, void *data, ...);
    void (*going)(void *data);
    void *data;
};

static struct guard *
guard_of(xlator_t *this)
{
    return (struct guard *)this->fops; /* its first member */
}

static struct xlator_fops *
former(xlator_t *this)
{
    return guard_of(this)->former;
}

/* ---- what all of them need ---- */

/* An operation that waits for the answer to another one. */
struct pending {
    loc_t loc;
    fd_t *fd;
    off_t offset;    /* of a truncate, an allocation or a seek */
    size_t len;      /* of an allocation */
    int32_t flags;   /* of a fallocate */
    gf_seek_what_t what;
    gf_boolean_t is_recalled;
    dict_t *request; /* with the key */
    void (*wind)(call_frame_t *frame, xlator_t *this, struct pending *p);
    void (*answer)(call_frame_t *frame, struct pending *p);

    int32_t op_ret, op_errno;
    struct iatt pre, post;
    struct iatt preparent, postparent; /* of a link */
    inode_t *inode;
    dict_t *reply;
};

/* xdata, and the key upon which the brick answers with the size of the object. */
static dict_t *
with_key(dict_t *xdata)
{
    dict_t *dict = xdata ? dict_copy_with_ref(xdata, NULL) : dict_new();

    if (dict && dict_set_uint32(dict, GF_CS_OBJECT_STATUS, 1) != 0) {
        dict_unref(dict);
        dict = NULL;
    }
    return dict;
}

static void
pending_free(struct pending *p)
{
    loc_wipe(&p->loc);
    if (p->fd)
        fd_unref(p->fd);
    if (p->request)
        dict_unref(p->request);
    if (p->inode)
        inode_unref(p->inode);
    if (p->reply)
        dict_unref(p->reply);
    free(p);
}

static void
answer(call_frame_t *frame)
{
    struct pending *p = frame->local;

    frame->local = NULL; /* glusterfs would free it its own way */
    p->answer(frame, p);
    pending_free(p);
}

static void
answer_error(call_frame_t *frame, int32_t op_errno)
{
    struct pending *p = frame->local;

    p->op_ret = -1;
    p->op_errno = op_errno;
    answer(frame);
}

/* NULL when there is no memory: the frame has been answered. */
static struct pending *
wait_for(call_frame_t *frame, loc_t *loc, fd_t *fd, dict_t *xdata,
         void (*answer_with)(call_frame_t *frame, struct pending *p))
{
    struct pending none = {.op_ret = -1, .op_errno = ENOMEM};
    struct pending *p = calloc(1, sizeof *p);

    if (p)
        p->request = with_key(xdata);
    if (!p || !p->request || (loc && loc_copy(&p->loc, loc) != 0)) {
        if (p)
            pending_free(p);
        answer_with(frame, &none);
        return NULL;
    }
    if (fd)
        p->fd = fd_ref(fd);
    p->answer = answer_with;
    frame->local = p;
    return p;
}

static void
keep(struct pending *p, int32_t op_ret, int32_t op_errno, dict_t *xdata)
{
    p->op_ret = op_ret;
    p->op_errno = op_errno;
    if (xdata)
        p->reply = dict_ref(xdata);
}

static gf_boolean_t
is_empty(const struct iatt *stat)
{
    return IA_ISREG(stat->ia_type) && stat->ia_size == 0;
}

/* ---- setattr, opendir ---- */

static int32_t
guard_setattr(call_frame_t *frame, xlator_t *this, loc_t *loc, struct iatt *stbuf, int32_t valid, dict_t *xdata)
{
    dict_t *request = with_key(xdata);

    if (!request) {
        STACK_UNWIND_STRICT(setattr, frame, -1, ENOMEM, NULL, NULL, NULL);
        return 0;
    }
    STACK_WIND_TAIL(frame, FIRST_CHILD(this), FIRST_CHILD(this)->fops->setattr, loc, stbuf, valid, request);
    dict_unref(request);
    return 0;
}

static int32_t
guard_opendir(call_frame_t *frame, xlator_t *this, loc_t *loc, fd_t *fd, dict_t *xdata)
{
    dict_t *request = with_key(xdata);

    if (!request) {
        STACK_UNWIND_STRICT(opendir, frame, -1, ENOMEM, NULL, NULL);
        return 0;
    }
    STACK_WIND_TAIL(frame, FIRST_CHILD(this), FIRST_CHILD(this)->fops->opendir, loc, fd, request);
    dict_unref(request);
    return 0;
}

/* ---- fsetattr, fsync, link ---- */

static void
correct(struct iatt *stat, const struct iatt *object)
{
    if (!is_empty(stat))
        return;
    stat->ia_size = object->ia_size;
    stat->ia_blocks = object->ia_blocks;
    stat->ia_blksize = object->ia_blksize;
}

static int32_t
on_stat(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, struct iatt *buf,
        dict_t *xdata)
{
    struct pending *p = frame->local;

    if (op_ret < 0) { /* better an error too many than a size of 0 */
        answer_error(frame, op_errno);
        return 0;
    }
    correct(&p->pre, buf);
    correct(&p->post, buf);
    answer(frame);
    return 0;
}

static void
answer_corrected(call_frame_t *frame, xlator_t *this)
{
    struct pending *p = frame->local;

    if (p->op_ret < 0 || (!is_empty(&p->pre) && !is_empty(&p->post)))
        answer(frame);
    else if (p->fd)
        STACK_WIND(frame, on_stat, FIRST_CHILD(this), FIRST_CHILD(this)->fops->fstat, p->fd, p->request);
    else
        STACK_WIND(frame, on_stat, FIRST_CHILD(this), FIRST_CHILD(this)->fops->stat, &p->loc, p->request);
}

static int32_t
on_attributes(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, struct iatt *pre,
              struct iatt *post, dict_t *xdata)
{
    struct pending *p = frame->local;

    keep(p, op_ret, op_errno, xdata);
    if (pre)
        p->pre = *pre;
    if (post)
        p->post = *post;
    answer_corrected(frame, this);
    return 0;
}

static void
answer_fsetattr(call_frame_t *frame, struct pending *p)
{
    STACK_UNWIND_STRICT(fsetattr, frame, p->op_ret, p->op_errno, &p->pre, &p->post, p->reply);
}

static int32_t
guard_fsetattr(call_frame_t *frame, xlator_t *this, fd_t *fd, struct iatt *stbuf, int32_t valid, dict_t *xdata)
{
    struct pending *p = wait_for(frame, NULL, fd, NULL, answer_fsetattr);

    if (p)
        STACK_WIND(frame, on_attributes, FIRST_CHILD(this), FIRST_CHILD(this)->fops->fsetattr, fd, stbuf, valid, xdata);
    return 0;
}

static void
answer_fsync(call_frame_t *frame, struct pending *p)
{
    STACK_UNWIND_STRICT(fsync, frame, p->op_ret, p->op_errno, &p->pre, &p->post, p->reply);
}

static int32_t
guard_fsync(call_frame_t *frame, xlator_t *this, fd_t *fd, int32_t flags, dict_t *xdata)
{
    struct pending *p = wait_for(frame, NULL, fd, NULL, answer_fsync);

    if (p)
        STACK_WIND(frame, on_attributes, FIRST_CHILD(this), FIRST_CHILD(this)->fops->fsync, fd, flags, xdata);
    return 0;
}

static void
answer_link(call_frame_t *frame, struct pending *p)
{
    STACK_UNWIND_STRICT(link, frame, p->op_ret, p->op_errno, p->inode, &p->post, &p->preparent, &p->postparent,
                        p->reply);
}

static int32_t
on_link(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, inode_t *inode,
        struct iatt *buf, struct iatt *preparent, struct iatt *postparent, dict_t *xdata)
{
    struct pending *p = frame->local;

    if (inode)
        p->inode = inode_ref(inode);
    if (preparent)
        p->preparent = *preparent;
    if (postparent)
        p->postparent = *postparent;
    return on_attributes(frame, cookie, this, op_ret, op_errno, NULL, buf, xdata);
}

static int32_t
guard_link(call_frame_t *frame, xlator_t *this, loc_t *oldloc, loc_t *newloc, dict_t *xdata)
{
    struct pending *p = wait_for(frame, oldloc, NULL, NULL, answer_link);

    if (p)
        STACK_WIND(frame, on_link, FIRST_CHILD(this), FIRST_CHILD(this)->fops->link, oldloc, newloc, xdata);
    return 0;
}

/* ---- extended attributes ---- */

static dict_t *
without_empty(dict_t *xdata)
{
    struct iatt post = {0};

    if (xdata && dict_get_iatt(xdata, GF_POSTSTAT, &post) == 0 && is_empty(&post)) {
        dict_del_sizen(xdata, GF_PRESTAT);
        dict_del_sizen(xdata, GF_POSTSTAT);
    }
    return xdata;
}

#define ON_XATTR(fop)                                                                                                  \
    static int32_t on_##fop(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno,       \
                            dict_t *xdata)                                                                             \
    {                                                                                                                  \
        STACK_UNWIND_STRICT(fop, frame, op_ret, op_errno, without_empty(xdata));                                       \
        return 0;                                                                                                      \
    }

ON_XATTR(setxattr)
ON_XATTR(fsetxattr)
ON_XATTR(removexattr)
ON_XATTR(fremovexattr)

static int32_t
guard_setxattr(call_frame_t *frame, xlator_t *this, loc_t *loc, dict_t *dict, int32_t flags, dict_t *xdata)
{
    if (dict_get(dict, GF_CS_OBJECT_UPLOAD_COMPLETE)) /* the translator's own; its reply has no attributes */
        return former(this)->setxattr(frame, this, loc, dict, flags, xdata);
    STACK_WIND(frame, on_setxattr, FIRST_CHILD(this), FIRST_CHILD(this)->fops->setxattr, loc, dict, flags, xdata);
    return 0;
}

static int32_t
guard_fsetxattr(call_frame_t *frame, xlator_t *this, fd_t *fd, dict_t *dict, int32_t flags, dict_t *xdata)
{
    STACK_WIND(frame, on_fsetxattr, FIRST_CHILD(this), FIRST_CHILD(this)->fops->fsetxattr, fd, dict, flags, xdata);
    return 0;
}

static int32_t
guard_removexattr(call_frame_t *frame, xlator_t *this, loc_t *loc, const char *name, dict_t *xdata)
{
    STACK_WIND(frame, on_removexattr, FIRST_CHILD(this), FIRST_CHILD(this)->fops->removexattr, loc, name, xdata);
    return 0;
}

static int32_t
guard_fremovexattr(call_frame_t *frame, xlator_t *this, fd_t *fd, const char *name, dict_t *xdata)
{
    STACK_WIND(frame, on_fremovexattr, FIRST_CHILD(this), FIRST_CHILD(this)->fops->fremovexattr, fd, name, xdata);
    return 0;
}

/* Tells whoever asks that this mount is guarded. */
static int32_t
guard_getxattr(call_frame_t *frame, xlator_t *this, loc_t *loc, const char *name, dict_t *xdata)
{
    dict_t *dict;
    int ret;

    if (name && strcmp(name, COUNTERS_XATTR) == 0)
        return remote_counters(frame, this);
    if (!name || strcmp(name, GUARD_XATTR) != 0)
        return former(this)->getxattr(frame, this, loc, name, xdata);
    dict = dict_new();
    ret = dict ? dict_set_copy(dict, GUARD_XATTR, GUARD_VERSION, sizeof GUARD_VERSION - 1) : -ENOMEM;
    STACK_UNWIND_STRICT(getxattr, frame, ret, -ret, dict, NULL);
    if (dict)
        dict_unref(dict);
    return 0;
}

/* ---- truncate by name ---- */

static void
answer_truncate(call_frame_t *frame, struct pending *p)
{
    STACK_UNWIND_STRICT(truncate, frame, p->op_ret, p->op_errno, &p->pre, &p->post, p->reply);
}

static int32_t
on_truncate(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, struct iatt *pre,
            struct iatt *post, dict_t *xdata)
{
    struct pending *p = frame->local;

    keep(p, op_ret, op_errno, xdata);
    if (pre)
        p->pre = *pre;
    if (post)
        p->post = *post;
    answer(frame);
    return 0;
}

static int32_t
on_open(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, fd_t *fd, dict_t *xdata)
{
    struct pending *p = frame->local;

    if (op_ret < 0)
        answer_error(frame, op_errno);
    else
        STACK_WIND(frame, on_truncate, this, this->fops->ftruncate, p->fd, p->offset, p->request);
    return 0;
}

/* The open asks the brick whether this user may; cloudsync's ftruncate recalls. */
static void
truncate_opened(call_frame_t *frame, xlator_t *this)
{
    struct pending *p = frame->local;

    p->fd = fd_create(p->loc.inode, frame->root->pid);
    if (!p->fd) {
        answer_error(frame, ENOMEM);
        return;
    }
    p->fd->flags = O_WRONLY;
    STACK_WIND(frame, on_open, this, this->fops->open, &p->loc, O_WRONLY, p->fd, NULL);
}

static int32_t
on_first_truncate(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno,
                  struct iatt *pre, struct iatt *post, dict_t *xdata)
{
    /* So the brick refuses a stub. Why, which it adds in xdata, does not get
     * through cluster/distribute. */
    if (op_ret < 0 && op_errno == EIO)
        truncate_opened(frame, this);
    else
        on_truncate(frame, cookie, this, op_ret, op_errno, pre, post, xdata);
    return 0;
}

static int32_t
guard_truncate(call_frame_t *frame, xlator_t *this, loc_t *loc, off_t offset, dict_t *xdata)
{
    struct pending *p = wait_for(frame, loc, NULL, xdata, answer_truncate);

    if (p) {
        p->offset = offset;
        STACK_WIND(frame, on_first_truncate, FIRST_CHILD(this), FIRST_CHILD(this)->fops->truncate, loc, offset,
                   p->request);
    }
    return 0;
}

/* ---- fallocate, discard, zerofill ---- */

static int32_t
on_recalled(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, struct iatt *pre,
            struct iatt *post, dict_t *xdata)
{
    struct pending *p = frame->local;

    if (op_ret < 0)
        answer_error(frame, op_errno);
    else
        p->wind(frame, this, p);
    return 0;
}

/* A write needs the rights of an allocation, and changes what that changes: the times. */
static void
recall(call_frame_t *frame, xlator_t *this)
{
    struct pending *p = frame->local;
    static char nothing[1]; /* the translators below may keep the address */
    struct iovec vector = {nothing, 0};
    struct iobref *ref = iobref_new();

    p->is_recalled = _gf_true;
    if (!ref) {
        answer_error(frame, ENOMEM);
        return;
    }
    STACK_WIND(frame, on_recalled, this, this->fops->writev, p->fd, &vector, 1, 0, 0, ref, NULL);
    iobref_unref(ref);
}

static int32_t
on_allocated(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, struct iatt *pre,
             struct iatt *post, dict_t *xdata)
{
    struct pending *p = frame->local;

    if (op_ret < 0 && op_errno == EIO && !p->is_recalled) /* so the brick refuses a stub */
        recall(frame, this);
    else
        on_truncate(frame, cookie, this, op_ret, op_errno, pre, post, xdata);
    return 0;
}

#define ALLOCATION(fop, ...)                                                                                           \
    static void wind_##fop(call_frame_t *frame, xlator_t *this, struct pending *p)                                     \
    {                                                                                                                  \
        STACK_WIND(frame, on_allocated, FIRST_CHILD(this), FIRST_CHILD(this)->fops->fop, p->fd, __VA_ARGS__,           \
                   p->request);                                                                                        \
    }                                                                                                                  \
    static void answer_##fop(call_frame_t *frame, struct pending *p)                                                   \
    {                                                                                                                  \
        STACK_UNWIND_STRICT(fop, frame, p->op_ret, p->op_errno, &p->pre, &p->post, p->reply);                          \
    }

ALLOCATION(fallocate, p->flags, p->offset, p->len)
ALLOCATION(discard, p->offset, p->len)
ALLOCATION(zerofill, p->offset, p->len)

static int32_t
allocate(call_frame_t *frame, xlator_t *this, struct pending *p, int32_t flags, off_t offset, size_t len,
         void (*wind)(call_frame_t *frame, xlator_t *this, struct pending *p))
{
    if (p) {
        p->flags = flags;
        p->offset = offset;
        p->len = len;
        p->wind = wind;
        wind(frame, this, p);
    }
    return 0;
}

static int32_t
guard_fallocate(call_frame_t *frame, xlator_t *this, fd_t *fd, int32_t flags, off_t offset, size_t len, dict_t *xdata)
{
    struct pending *p = wait_for(frame, NULL, fd, xdata, answer_fallocate);
    return allocate(frame, this, p, flags, offset, len, wind_fallocate);
}

static int32_t
guard_discard(call_frame_t *frame, xlator_t *this, fd_t *fd, off_t offset, size_t len, dict_t *xdata)
{
    struct pending *p = wait_for(frame, NULL, fd, xdata, answer_discard);
    return allocate(frame, this, p, 0, offset, len, wind_discard);
}

static int32_t
guard_zerofill(call_frame_t *frame, xlator_t *this, fd_t *fd, off_t offset, off_t len, dict_t *xdata)
{
    struct pending *p = wait_for(frame, NULL, fd, xdata, answer_zerofill);
    return allocate(frame, this, p, 0, offset, len, wind_zerofill);
}

/* ---- open with O_TRUNC, which the kernel never sends ---- */

static void
answer_open(call_frame_t *frame, struct pending *p)
{
    STACK_UNWIND_STRICT(open, frame, p->op_ret, p->op_errno, p->fd, p->reply);
}

static int32_t
on_opened_truncated(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno,
                    struct iatt *pre, struct iatt *post, dict_t *xdata)
{
    if (op_ret < 0)
        answer_error(frame, op_errno);
    else
        answer(frame);
    return 0;
}

static int32_t
on_open_to_truncate(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, fd_t *fd,
                    dict_t *xdata)
{
    struct pending *p = frame->local;

    keep(p, op_ret, op_errno, xdata);
    if (op_ret < 0)
        answer(frame);
    else
        STACK_WIND(frame, on_opened_truncated, this, this->fops->ftruncate, p->fd, 0, NULL);
    return 0;
}

static int32_t
guard_open(call_frame_t *frame, xlator_t *this, loc_t *loc, int32_t flags, fd_t *fd, dict_t *xdata)
{
    struct pending *p;

    if (!(flags & O_TRUNC) || (flags & O_ACCMODE) == O_RDONLY)
        return former(this)->open(frame, this, loc, flags, fd, xdata);
    p = wait_for(frame, NULL, fd, xdata, answer_open);
    if (p)
        STACK_WIND(frame, on_open_to_truncate, FIRST_CHILD(this), FIRST_CHILD(this)->fops->open, loc, flags & ~O_TRUNC,
                   fd, p->request);
    return 0;
}

/* ---- copy_file_range, which only libgfapi sends ---- */

/* What the translator last heard of the file: cs_inode_ctx_t. */
struct inode_ctx {
    cs_loc_xattr_t locxattr;
    gf_cs_obj_state state;
};

static gf_boolean_t
known_as_stub(xlator_t *this, inode_t *inode)
{
    uint64_t value = 0;
    gf_boolean_t stub = _gf_false;

    LOCK(&inode->lock);
    if (__inode_ctx_get(inode, this, &value) == 0 && value)
        stub = ((struct inode_ctx *)(uintptr_t)value)->state != GF_CS_LOCAL;
    UNLOCK(&inode->lock);
    return stub;
}

/* The brick would copy the nothing of a stub, or write into one, and cannot be asked
 * not to. */
static int32_t
guard_copy_file_range(call_frame_t *frame, xlator_t *this, fd_t *fd_in, off64_t off_in, fd_t *fd_out, off64_t off_out,
                      size_t len, uint32_t flags, dict_t *xdata)
{
    if (!known_as_stub(this, fd_in->inode) && !known_as_stub(this, fd_out->inode))
        return former(this)->copy_file_range(frame, this, fd_in, off_in, fd_out, off_out, len, flags, xdata);
    STACK_UNWIND_STRICT(copy_file_range, frame, -1, EOPNOTSUPP, NULL, NULL, NULL, NULL);
    return 0;
}

/* ---- SEEK_DATA and SEEK_HOLE, which cp and grep send ---- */

static void
answer_seek(call_frame_t *frame, struct pending *p)
{
    STACK_UNWIND_STRICT(seek, frame, p->op_ret, p->op_errno, p->offset, p->reply);
}

static int32_t
on_sought(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, off_t offset,
          dict_t *xdata)
{
    struct pending *p = frame->local;

    keep(p, op_ret, op_errno, xdata);
    p->offset = offset;
    answer(frame);
    return 0;
}

static int32_t
on_seek_stat(call_frame_t *frame, void *cookie, xlator_t *this, int32_t op_ret, int32_t op_errno, struct iatt *stat,
             dict_t *xdata)
{
    struct pending *p = frame->local;
    uint64_t state;

    if (op_ret < 0) {
        answer_error(frame, op_errno);
    } else if (!xdata || dict_get_uint64(xdata, GF_CS_OBJECT_STATUS, &state) != 0 || state == GF_CS_LOCAL) {
        STACK_WIND(frame, on_sought, FIRST_CHILD(this), FIRST_CHILD(this)->fops->seek, p->fd, p->offset, p->what,
                   p->request);
    } else if (state != GF_CS_ERROR && p->offset >= 0 && p->offset < (off_t)stat->ia_size) {
        if (p->what == GF_SEEK_HOLE)
            p->offset = stat->ia_size;
        answer(frame);
    } else { /* while a recall is undone, a size may be 0: cp would take the rest for a hole */
        answer_error(frame, state == GF_CS_REMOTE ? ENXIO : EIO);
    }
    return 0;
}

/* A stub that is read remotely must not be recalled where this client has not yet heard
 * that it is one. */
static int32_t
guard_seek(call_frame_t *frame, xlator_t *this, fd_t *fd, off_t offset, gf_seek_what_t what, dict_t *xdata)
{
    struct pending *p;
    cs_private_t *priv = this->private;

    if (!priv->remote_read && !known_as_stub(this, fd->inode))
        return former(this)->seek(frame, this, fd, offset, what, xdata);
    p = wait_for(frame, NULL, fd, xdata, answer_seek);
    if (p) {
        p->offset = offset;
        p->what = what;
        STACK_WIND(frame, on_seek_stat, FIRST_CHILD(this), FIRST_CHILD(this)->fops->fstat, fd, p->request);
    }
    return 0;
}

/* ---- invalidations by the brick, and the end of the graph ---- */

static int
guard_notify(xlator_t *this, int event, void *data, ...)
{
    struct gf_upcall *upcall = data;

    if (event == GF_EVENT_UPCALL && upcall && upcall->event_type == GF_UPCALL_CACHE_INVALIDATION && upcall->data) {
        struct gf_upcall_cache_invalidation *change = upcall->data;
        if (IA_ISREG(change->stat.ia_type))
            change->flags |= UP_INVAL_ATTR;
    }
    if (event == GF_EVENT_PARENT_DOWN) {
        remote_end(this);
        guard_of(this)->going(guard_of(this)->data);
    }
    return guard_of(this)->former_notify(this, event, data);
}

/* ---- in and out ---- */

static gf_boolean_t
same_library(void *a, void *b)
{
    Dl_info of_a, of_b;
    return dladdr(a, &of_a) && dladdr(b, &of_b) && of_a.dli_fbase == of_b.dli_fbase;
}

gf_boolean_t
guard_fits(xlator_t *this, void *module)
{
    struct xlator_fops *fops = this->fops;

#define OWN(fop) same_library(fops->fop, module)
#define MISSING(fop) (fops->fop == default_##fop)
    return !strcmp(this->type, "features/cloudsync") && !this->pass_through && MISSING(setattr) && MISSING(fsetattr) &&
           MISSING(fsync) && MISSING(link) && MISSING(removexattr) && MISSING(fremovexattr) &&
           MISSING(copy_file_range) && MISSING(opendir) && OWN(setxattr) && OWN(fsetxattr) && OWN(getxattr) && OWN(truncate) &&
           OWN(ftruncate) && OWN(open) && OWN(seek) && OWN(writev) && OWN(fallocate) && OWN(discard) &&
           OWN(zerofill) && OWN(stat) && OWN(fstat) && OWN(lookup) && OWN(readdirp) &&
           same_library(this->notify, module);
#undef MISSING
#undef OWN
}

struct guard *
guard_install(xlator_t *this, void (*going)(void *data), void *data)
{
    struct guard *guard = calloc(1, sizeof *guard);

    if (!guard)
        return NULL;
    guard->fops = *this->fops;
    guard->former = this->fops;
    guard->former_notify = this->notify;
    guard->going = going;
    guard->data = data;
    guard->fops.setattr = guard_setattr;
    guard->fops.opendir = guard_opendir;
    guard->fops.fsetattr = guard_fsetattr;
    guard->fops.fsync = guard_fsync;
    guard->fops.link = guard_link;
    guard->fops.setxattr = guard_setxattr;
    guard->fops.fsetxattr = guard_fsetxattr;
    guard->fops.removexattr = guard_removexattr;
    guard->fops.fremovexattr = guard_fremovexattr;
    guard->fops.getxattr = guard_getxattr;
    guard->fops.truncate = guard_truncate;
    guard->fops.open = guard_open;
    guard->fops.fallocate = guard_fallocate;
    guard->fops.discard = guard_discard;
    guard->fops.zerofill = guard_zerofill;
    guard->fops.seek = guard_seek;
    guard->fops.copy_file_range = guard_copy_file_range;
    this->fops = &guard->fops;
    this->notify = guard_notify;
    return guard;
}

void
guard_remove(struct guard *guard, xlator_t *this)
{
    if (!guard)
        return;
    this->fops = guard->former;
    this->notify = guard->former_notify;
    free(guard);
}
