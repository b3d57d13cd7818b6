//go:build !soak

package gc

const histories = 600
