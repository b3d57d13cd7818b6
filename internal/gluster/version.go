package gluster

import "slices"

// Qualified are the versions of GlusterFS that files may be archived on. What one
// of them forgets or answers wrongly may cost data, so each stands here for its
// evidence; docs/porting.md says how to add the next.
//
//	10.3        Debian 12: `make test`, `make e2e`
//	10.4, 10.5  source compared with 10.3: cloudsync, posix, locks, syncop and the
//	            headers that the plugin reads
//	11.0        source compared with 11.1, likewise
//	11.1        Debian 13: `make test-11`
//	11.2        Debian sid: the facts of internal/testkit, once; the plugin's layouts
var Qualified = []string{"10.3", "10.4", "10.5", "11.0", "11.1", "11.2"}

// IsQualified reports whether version, as `glusterfs --version` has it, is one of
// them.
func IsQualified(version string) bool { return slices.Contains(Qualified, version) }
