//go:build cloudsyncs3

/* store_ops: what the cloudsync translator calls, and the calls into glusterfs
 * that a recall needs. */
#include "plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"
#include "guard.h"
#include "pollers.h"
#include "remote.h"
#include "translator.h"

/* What fop_init returns to the translator as its "config". */
struct instance {
    uintptr_t handle; /* of the Go instance */
    xlator_t *this;
    struct pollers *pollers;
    struct guard *guard;
};

/* The instance of all translators that recall nothing, since they could not have
 * one of their own. */
static struct instance unusable;

/* Then nothing in a structure of its is looked at that is elsewhere in another
 * version. The library is even loaded, since it uses no function that only one of
 * them exports. */
static gf_boolean_t is_of_another_glusterfs;

extern store_methods_t store_ops;

/* ---- options ---- */

static const char *
option(dict_t *options, char *name)
{
    char *value = NULL;
    return dict_get_str(options, name, &value) == 0 && value ? value : "";
}

/* The translator's name is VOLUME-cloudsync. */
static char *
volume_of(xlator_t *this)
{
    static const char suffix[] = "-cloudsync";
    size_t len = strlen(this->name), end = sizeof suffix - 1;

    if (len > end && strcmp(this->name + len - end, suffix) == 0)
        len -= end;
    return strndup(this->name, len);
}

static void
configure(struct instance *self, xlator_t *this, dict_t *options)
{
    char *volume = volume_of(this);
    struct settings settings = {
        .volume = volume ? volume : "",
        .hostname = option(options, "s3plugin-hostname"),
        .bucket = option(options, "s3plugin-bucketid"),
        .key_id = option(options, "s3plugin-keyid"),
        .secret = option(options, "s3plugin-seckey"),
    };
    self->handle = coldbrickConfigure(self->handle, this, &settings);
    free(volume);
}

/* Each recall then fails, and leaves the stub as it was: that is Go's part. */
static struct instance *
refuse(xlator_t *this, const char *reason)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct settings settings = {.volume = "", .hostname = "", .bucket = "", .key_id = "", .secret = "", .refused = reason};

    gf_log(this->name, GF_LOG_CRITICAL, "no file can be recalled, and archived files may look empty: %s", reason);
    pthread_mutex_lock(&lock);
    unusable.handle = coldbrickConfigure(unusable.handle, this, &settings);
    pthread_mutex_unlock(&lock);
    return &unusable;
}

/* ---- the life of an instance ---- */

static void
plugin_fini(void *config)
{
    struct instance *self = config;

    if (!self || self == &unusable)
        return;
    guard_remove(self->guard, self->this);
    if (self->pollers)
        pollers_release(self->pollers, self->this->graph == self->this->ctx->active);
    if (self->handle)
        coldbrickFini(self->handle);
    free(self);
}

/* The translator never fills in stores->fini and calls it nevertheless; and rdfop only
 * if remote reads are on at that moment, though they may be turned on later. Its
 * other fields, which it has just copied from store_ops, show that the private
 * structure is what translator.h says. */
static int
set_methods(xlator_t *this, cs_private_t *priv)
{
    if (!priv || priv->this != this || !priv->stores || priv->stores->dlfop != store_ops.fop_download ||
        priv->stores->init != store_ops.fop_init || priv->stores->reconfigure != store_ops.fop_reconfigure)
        return -1;
    priv->stores->fini = plugin_fini;
    priv->stores->rdfop = store_ops.fop_remote_read;
    return 0;
}

/* glusterfs loads translators from the directory of its own version: the file of
 * cloudsync, .../glusterfs/VERSION/xlator/features/cloudsync.so, tells it without a
 * look into any structure. Returns what follows glusterfs/, or "". */
static const char *
version_of(void *module)
{
    static const char directory[] = "/glusterfs/";
    const char *found = "";
    Dl_info info;

    if (dladdr(module, &info) && info.dli_fname)
        for (const char *at = info.dli_fname; (at = strstr(at, directory)); found = at)
            at += sizeof directory - 1;
    return found;
}

/* The private structure of a translator that may be of another version than this
 * library, or NULL. */
static cs_private_t *
private_of(xlator_t *this, const char *version)
{
    static const struct {
        const char *version;
        size_t offset;
    } known[] = {
        {"10.3/", XLATOR_PRIVATE_10}, {"10.4/", XLATOR_PRIVATE_10}, {"10.5/", XLATOR_PRIVATE_10},
        {"11.0/", XLATOR_PRIVATE_11}, {"11.1/", XLATOR_PRIVATE_11}, {"11.2/", XLATOR_PRIVATE_11},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(version, known[i].version, strlen(known[i].version)) == 0)
            return *(cs_private_t **)((char *)this + known[i].offset);
    return NULL;
}

/* Whoever vouches for this client must not touch the graph any more. */
static void
on_going(void *data)
{
    struct instance *self = data;
    if (self->handle)
        coldbrickRootGone(self->handle);
}

/* Never returns NULL: the translator would call the fini that it has not set,
 * and unload a library that has threads running. */
static void *
plugin_init(xlator_t *this)
{
    void *module = __builtin_return_address(0); /* in cloudsync.so */
    const char *version = version_of(module);
    /* Also of a translator that is refused next: an application of gfapi ends it. */
    gf_boolean_t is_known = set_methods(this, private_of(this, version)) == 0;

    if (strcmp(version, GLUSTERFS_VERSION "/xlator/features/cloudsync.so") != 0) {
        is_of_another_glusterfs = _gf_true;
        return refuse(this, "cloudsyncs3 was built for glusterfs " GLUSTERFS_VERSION
                            ": install the one for the glusterfs of this host, and mount anew");
    }
    if (!is_known || !guard_fits(this, module))
        return refuse(this, "the cloudsync translator is not that of glusterfs " GLUSTERFS_VERSION
                            ": install glusterfs as your distribution has it, and mount anew");
    struct instance *self = calloc(1, sizeof *self);
    if (!self)
        return refuse(this, "out of memory");
    self->this = this;
    if (coldbrickGuardOff((char *)option(this->options, "s3plugin-hostname")))
        gf_log(this->name, GF_LOG_WARNING, "the guard is off: archived files may look empty");
    else if (!(self->guard = guard_install(this, on_going, self))) {
        free(self);
        return refuse(this, "out of memory");
    }
    self->pollers = pollers_acquire(this->ctx->event_pool);
    configure(self, this, this->options);
    if (self->guard && self->handle)
        coldbrickVouch(self->handle, this, GUARD_VERSION, GLUSTERFS_VERSION);
    return self;
}

static int
plugin_reconfigure(xlator_t *this, dict_t *options)
{
    if (is_of_another_glusterfs)
        return 0;
    cs_private_t *priv = this->private;
    struct instance *self = priv->stores->config;

    if (self == &unusable)
        return 0;
    configure(self, this, options);
    if (self->pollers) /* protocol/client has just lowered them */
        pollers_assert(self->pollers);
    return 0;
}

/* ---- recall ---- */

static struct stub
stub_of(call_frame_t *frame, const struct instance *self)
{
    static const unsigned char unknown[sizeof(uuid_t)];
    cs_local_t *local = frame->local;

    return (struct stub){
        /* fd_t is not the same in all versions, unlike what else is looked at here. */
        .gfid = self == &unusable ? unknown : local->dlfd->inode->gfid,
        .remote = local->remotepath,
        .size = local->stbuf.ia_size,
        .mtime = local->stbuf.ia_mtime,
        .mtime_nsec = local->stbuf.ia_mtime_nsec,
        .pid = frame->root->pid,
        .uid = frame->root->uid,
    };
}

/* If a recall fails, the translator answers some operations only, and leaves the others
 * waiting for ever. Their callbacks take what that of ftruncate is given then, zeros
 * after the error; a recall that succeeds does not look at this. The guard recalls for
 * them in another way, but there may be no guard. */
static void
see_to_an_answer(cs_local_t *local)
{
    switch (local->fop) {
    case GF_FOP_FALLOCATE:
    case GF_FOP_DISCARD:
    case GF_FOP_ZEROFILL:
    case GF_FOP_SEEK:
    case GF_FOP_RCHECKSUM:
        local->fop = GF_FOP_FTRUNCATE;
        break;
    default:
        break;
    }
}

static int
plugin_download(call_frame_t *frame, void *config)
{
    struct instance *self = config;
    cs_local_t *local = frame->local;

    see_to_an_answer(local);
    struct file file = {frame->this, local->dlfd};
    struct stub stub = stub_of(frame, self);

    return coldbrickRecall(self->handle, file, &stub);
}

/* With features.cloudsync-remote-read on, the translator calls this for each read
 * of a stub. The guard tells when the graph goes: nothing is begun without it. */
static int
plugin_remote_read(call_frame_t *frame, void *config)
{
    struct instance *self = config;

    if (self == &unusable)
        return -1; /* EREMOTE; the log has said why */
    if (!self->guard) {
        gf_log(frame->this->name, GF_LOG_ERROR, "nothing is read remotely without the guard");
        return -1;
    }
    struct stub stub = stub_of(frame, self);
    return remote_read(frame, self->handle, &stub);
}

uintptr_t
plugin_handle(xlator_t *this)
{
    cs_private_t *priv = this->private;
    struct instance *self = priv && priv->stores ? priv->stores->config : NULL;

    return self ? self->handle : 0;
}

/* THIS is a variable of the thread, and Go calls from threads of its own. */
#define WITH_THIS(file, statement)                                             \
    do {                                                                       \
        xlator_t *former_this = THIS;                                          \
        THIS = (file).xlator;                                                  \
        statement;                                                             \
        THIS = former_this;                                                    \
    } while (0)

static xlator_t *
below(struct file file)
{
    xlator_t *this = file.xlator;
    return FIRST_CHILD(this);
}

void
file_ref(struct file file)
{
    fd_ref(file.fd);
}

void
file_unref(struct file file)
{
    WITH_THIS(file, fd_unref(file.fd));
}

/* Writes at most as much as an iobuf of the pool holds. */
static ssize_t
write_some(struct file file, const void *data, size_t size, int64_t offset)
{
    struct iobuf *buf = iobuf_get2(((xlator_t *)file.xlator)->ctx->iobuf_pool, size);
    struct iobref *ref = buf ? iobref_new() : NULL;
    ssize_t ret = -ENOMEM;

    if (ref && iobref_add(ref, buf) == 0) {
        struct iovec vector = {iobuf_ptr(buf), size};
        memcpy(vector.iov_base, data, size);
        ret = syncop_writev(below(file), file.fd, &vector, 1, offset, ref, 0, NULL, NULL, NULL, NULL);
        if (ret == 0)
            ret = -EIO; /* no progress */
    }
    if (ref)
        iobref_unref(ref);
    if (buf)
        iobuf_unref(buf);
    return ret;
}

int
file_write(struct file file, const void *data, size_t size, int64_t offset)
{
    const size_t most = 1 << 20;
    const char *at = data;
    ssize_t ret = 0;

    WITH_THIS(file, {
        for (; size > 0; at += ret, offset += ret, size -= ret) {
            ret = write_some(file, at, size < most ? size : most, offset);
            if (ret < 0)
                break;
        }
    });
    return ret < 0 ? ret : 0;
}

int
file_truncate(struct file file, int64_t size)
{
    int ret;
    WITH_THIS(file, ret = syncop_ftruncate(below(file), file.fd, size, NULL, NULL, NULL, NULL));
    return ret;
}

int
file_sync(struct file file)
{
    int ret;
    WITH_THIS(file, ret = syncop_fsync(below(file), file.fd, 0, NULL, NULL, NULL, NULL));
    return ret;
}

int
dict_set_copy(dict_t *dict, const char *name, const void *value, size_t size)
{
    void *copy = gf_memdup(value, size);
    data_t *data = copy ? data_from_dynptr(copy, size) : NULL;
    int ret = -ENOMEM;

    if (data) {
        data_ref(data);
        if (dict_setn(dict, (char *)name, strlen(name), data) == 0)
            ret = 0;
        data_unref(data); /* the copy with it, if the dict has no reference */
    } else
        GF_FREE(copy);
    return ret;
}

static int
set_xattr(struct file file, const char *name, const void *value, size_t size, int flags)
{
    dict_t *dict = dict_new();
    int ret = dict ? dict_set_copy(dict, name, value, size) : -ENOMEM;

    if (ret == 0)
        ret = syncop_fsetxattr(below(file), file.fd, dict, flags, NULL, NULL);
    if (dict)
        dict_unref(dict);
    return ret;
}

int
file_set_xattr(struct file file, const char *name, const void *value, size_t size, int flags)
{
    int ret;
    WITH_THIS(file, ret = set_xattr(file, name, value, size, flags));
    return ret;
}

int
file_remove_xattr(struct file file, const char *name)
{
    int ret;
    WITH_THIS(file, ret = syncop_fremovexattr(below(file), file.fd, name, NULL, NULL));
    return ret;
}

static int
get_xattr(struct file file, const char *name, void **value, size_t *size)
{
    dict_t *dict = NULL;
    void *found = NULL;
    int len = 0;
    int ret = syncop_fgetxattr(below(file), file.fd, &dict, name, NULL, NULL);

    if (ret >= 0 && (!dict || dict_get_ptr_and_len(dict, (char *)name, &found, &len) != 0))
        ret = -ENODATA;
    if (ret >= 0 && !(*value = malloc(len + 1)))
        ret = -ENOMEM;
    if (ret >= 0) {
        memcpy(*value, found, len);
        *size = len;
        ret = 0;
    }
    if (dict)
        dict_unref(dict);
    return ret;
}

int
file_get_xattr(struct file file, const char *name, void **value, size_t *size)
{
    int ret;
    WITH_THIS(file, ret = get_xattr(file, name, value, size));
    return ret;
}

void
log_line(void *xlator, enum level level, const char *line)
{
    static const gf_loglevel_t levels[] = {
        [LEVEL_ERROR] = GF_LOG_ERROR,
        [LEVEL_WARNING] = GF_LOG_WARNING,
        [LEVEL_INFO] = GF_LOG_INFO,
        [LEVEL_DEBUG] = GF_LOG_DEBUG,
    };
    struct file file = {xlator, NULL};

    WITH_THIS(file, gf_log(((xlator_t *)xlator)->name, levels[level], "%s", line));
}

__attribute__((visibility("default"))) store_methods_t store_ops = {
    .fop_download = plugin_download,
    .fop_remote_read = plugin_remote_read,
    .fop_init = plugin_init,
    .fop_reconfigure = plugin_reconfigure,
    .fop_fini = plugin_fini,
};
