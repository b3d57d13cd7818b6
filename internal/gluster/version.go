package gluster

import "slices"

// Qualified are the versions of GlusterFS that files may be archived on. What one
// of them forgets or answers wrongly may cost data, so each stands here for its
// evidence; docs/porting.md says how to add the next.
//
//	10.3        Debian 12: the whole of `make test` and `make e2e`
//	10.4, 10.5  what the facts of docs/gluster.md rest on was compared in the
//	            source with 10.3
//	11.1        Debian 13: `make qualify`
//	11.0, 11.2  the same was compared in the source with 11.1
var Qualified = []string{"10.3", "10.4", "10.5", "11.0", "11.1", "11.2"}

// IsQualified reports whether version, as `glusterfs --version` has it, is one of
// them.
func IsQualified(version string) bool { return slices.Contains(Qualified, version) }
