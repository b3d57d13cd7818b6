/* What config.h of the glusterfs build says about this platform. Distributions
 * install the headers without it, and without it they do not compile. The
 * static asserts of translator.h tell whether the result has the layout of the
 * libraries. Never define DEBUG: it changes structures. */
#ifndef COLDBRICK_GLUSTERFS_CONFIG_H
#define COLDBRICK_GLUSTERFS_CONFIG_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#define GF_LINUX_HOST_OS 1
#define SIZEOF_INT __SIZEOF_INT__
#define SIZEOF_SHORT __SIZEOF_SHORT__
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_LONG_LONG __SIZEOF_LONG_LONG__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
#define USE_EVENTS 1
#define HAVE_ATOMIC_BUILTINS 1
#define HAVE_ENDIAN_H 1
#define HAVE_LINUX_FALLOC_H 1
#define HAVE_SYS_XATTR_H 1
#define HAVE_LLISTXATTR 1
#define HAVE_STRNLEN 1
#define HAVE_ARGP 1
#define HAVE_UTIMENSAT 1
#define HAVE_STATIC_ASSERT 1
#define HAVE_STRUCT_STAT_ST_ATIM_TV_NSEC 1
#define HAVE_PTHREAD_SETNAME_NP_TWO_ARGS 1

#endif
