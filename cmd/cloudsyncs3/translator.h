/* The cloudsync translator as its plugins see it. glusterfs installs no header
 * for this: the structures below are declared anew, from cloudsync-common.h,
 * and held against what was measured. */
#ifndef COLDBRICK_TRANSLATOR_H
#define COLDBRICK_TRANSLATOR_H

#include <stddef.h>

#include <glusterfs/call-stub.h>
#include <glusterfs/gf-event.h>
#include <glusterfs/glusterfs.h>
#include <glusterfs/syncop.h>
#include <glusterfs/upcall-utils.h>
#include <glusterfs/xlator.h>

/* A library may be loaded by a glusterfs of the other series, which ends it as well. */
enum { XLATOR_PRIVATE_10 = 3984, XLATOR_PRIVATE_11 = 208 };

/* `make plugin` takes the version from pkg-config: "10.3" gives 10 and 3. Tests
 * run with 10.3 and 11.1; of the others the sources were compared, cloudsync and
 * what is declared in the headers that are included above. docs/porting.md says
 * how to extend the list. The numbers are asserted below: whoever builds with the
 * headers of another glusterfs learns which structure differs. */
#if !defined(GLUSTERFS_MAJOR) || !defined(GLUSTERFS_MINOR)
#error "build the plugin with 'make plugin', which tells the glusterfs version"
#elif GLUSTERFS_MAJOR == 10 && GLUSTERFS_MINOR >= 3 && GLUSTERFS_MINOR <= 5
enum {
    XLATOR_CTX = 3952,
    XLATOR_GRAPH = 3960,
    XLATOR_ITABLE = 3968,
    XLATOR_PRIVATE = XLATOR_PRIVATE_10,
    XLATOR_PASS_THROUGH = 4080,
    FD_INODE = 40,
    POOL_MUTEX = 12352,
    POOL_THREADS = 12452,
    POOL_DESTROY = 20648,
    CTX_FRAMES = 544,
    CTX_POOL = 552,
    CTX_IOBUFS = 560,
    CTX_ACTIVE = 640,
    STACK_OWNER = 744,
};
typedef char poller_flag; /* the last argument of an event handler */
#elif GLUSTERFS_MAJOR == 11 && GLUSTERFS_MINOR <= 2
enum {
    XLATOR_CTX = 176,
    XLATOR_GRAPH = 184,
    XLATOR_ITABLE = 192,
    XLATOR_PRIVATE = XLATOR_PRIVATE_11,
    XLATOR_PASS_THROUGH = 245,
    FD_INODE = 32,
    POOL_MUTEX = 80,
    POOL_THREADS = 76,
    POOL_DESTROY = 168,
    CTX_FRAMES = 512,
    CTX_POOL = 520,
    CTX_IOBUFS = 528,
    CTX_ACTIVE = 608,
    STACK_OWNER = 824,
};
typedef int poller_flag;
#else
#error "cloudsyncs3 is verified with glusterfs 10.3 to 10.5 and 11.0 to 11.2 only: see docs/porting.md"
#endif

/* As the name of the directory has it that glusterfs loads translators from. */
#define AS_TEXT(number) #number
#define VERSION_TEXT(major, minor) AS_TEXT(major) "." AS_TEXT(minor)
#define GLUSTERFS_VERSION VERSION_TEXT(GLUSTERFS_MAJOR, GLUSTERFS_MINOR)

#if !defined(__x86_64__)
#error "cloudsyncs3 is verified on x86-64 only"
#endif

typedef struct {
    char *file_path;
    uuid_t uuid;
    uuid_t gfid;
    char *volname;
} cs_loc_xattr_t;

typedef struct {
    loc_t loc;
    fd_t *fd;
    call_stub_t *stub;
    call_frame_t *main_frame;
    int op_errno;
    int op_ret;
    fd_t *dlfd; /* anonymous: for reading and writing, below cloudsync */
    off_t dloffset;
    struct iatt stbuf; /* taken under the translator's lock; ia_size is cs.object_size */
    dict_t *xattr_rsp;
    dict_t *xattr_req;
    glusterfs_fop_t fop;
    gf_boolean_t locked;
    int call_cnt;
    inode_t *inode;
    char *remotepath; /* value of cs.remote */
    struct {
        off_t offset;
        uint32_t flags;
        size_t size;
        cs_loc_xattr_t *lxattr;
    } xattrinfo;
} cs_local_t;

struct cs_remote_stores {
    char *name;
    void *config;
    int (*dlfop)(call_frame_t *frame, void *config);
    int (*rdfop)(call_frame_t *frame, void *config);
    void *(*init)(xlator_t *this);
    int (*reconfigure)(xlator_t *this, dict_t *options);
    void (*fini)(void *config);
    void *handle;
};

typedef struct {
    xlator_t *this;
    struct cs_remote_stores *stores;
    gf_boolean_t abortdl;
    pthread_spinlock_t lock;
    gf_boolean_t remote_read;
} cs_private_t;

/* What the translator looks up in a plugin, by the name store_ops. */
typedef struct {
    int (*fop_download)(call_frame_t *frame, void *config);
    int (*fop_remote_read)(call_frame_t *frame, void *config);
    void *(*fop_init)(xlator_t *this);
    int (*fop_reconfigure)(xlator_t *this, dict_t *options);
    void (*fop_fini)(void *config);
} store_methods_t;

#define AT(type, member, offset)                                               \
    _Static_assert(offsetof(type, member) == (offset),                         \
                   #type "." #member " is not where glusterfs has it")
#define SIZE(type, size)                                                       \
    _Static_assert(sizeof(type) == (size), #type " has not glusterfs' size")

SIZE(cs_local_t, 344);
AT(cs_local_t, fd, 64);
AT(cs_local_t, stub, 72);
AT(cs_local_t, dlfd, 96);
AT(cs_local_t, stbuf, 112);
AT(cs_local_t, xattr_rsp, 264);
AT(cs_local_t, xattr_req, 272);
AT(cs_local_t, fop, 280);
AT(cs_local_t, remotepath, 304);
AT(cs_local_t, xattrinfo, 312);
SIZE(cs_private_t, 32);
AT(cs_private_t, stores, 8);
AT(cs_private_t, remote_read, 24);
SIZE(struct cs_remote_stores, 64);
AT(struct cs_remote_stores, config, 8);
AT(struct cs_remote_stores, fini, 48);

/* Of public structures, whose layout depends on glusterfs_config.h. */
SIZE(struct xlator_fops, 928); /* the guard copies it */
SIZE(cs_loc_xattr_t, 48);
SIZE(struct iatt, 152);
AT(struct iatt, ia_size, 32);
AT(call_frame_t, root, 0);
AT(call_frame_t, parent, 8);
AT(call_frame_t, local, 64);
AT(call_frame_t, this, 120);
AT(call_frame_t, ret, 128);
AT(call_stack_t, uid, 88);
AT(call_stack_t, pid, 96);
AT(xlator_t, name, 0);
AT(xlator_t, children, 48);
AT(xlator_t, options, 56);
AT(xlator_t, type, 8);
AT(xlator_t, fops, 72);
AT(xlator_t, notify, 152);
AT(xlator_t, ctx, XLATOR_CTX);
AT(xlator_t, graph, XLATOR_GRAPH);
AT(xlator_t, itable, XLATOR_ITABLE);
AT(xlator_t, private, XLATOR_PRIVATE);
AT(xlator_t, pass_through, XLATOR_PASS_THROUGH);
AT(fd_t, inode, FD_INODE);
AT(fd_t, flags, 8);
AT(inode_t, gfid, 8);
AT(struct event_pool, mutex, POOL_MUTEX);
AT(struct event_pool, eventthreadcount, POOL_THREADS);
AT(struct event_pool, destroy, POOL_DESTROY);
AT(glusterfs_ctx_t, pool, CTX_FRAMES);
AT(glusterfs_ctx_t, event_pool, CTX_POOL);
AT(glusterfs_ctx_t, iobuf_pool, CTX_IOBUFS);
AT(glusterfs_ctx_t, active, CTX_ACTIVE);
AT(glusterfs_graph_t, top, 40);
AT(glusterfs_graph_t, id, 52);
AT(inode_table_t, root, 64);
AT(call_stack_t, lk_owner, STACK_OWNER);
AT(call_frame_t, root, 0);
AT(call_frame_t, cookie, 112);
SIZE(loc_t, 64);
AT(struct iobuf, ptr, 72);
AT(struct iatt, ia_mtime, 72);
AT(struct iatt, ia_mtime_nsec, 100);
AT(struct gf_upcall, event_type, 24);
AT(struct gf_upcall, data, 32);
AT(struct gf_upcall_cache_invalidation, flags, 0);
AT(struct gf_upcall_cache_invalidation, stat, 8);

#undef AT
#undef SIZE

/* Sets a copy of value, by functions that all these versions export, as dict_set_bin is
 * not. Returns 0 or -ENOMEM. It is in plugin.c. */
int dict_set_copy(dict_t *dict, const char *name, const void *value, size_t size);

#endif
