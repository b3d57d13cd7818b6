//go:build soak

package safety

const killEvery = 1
