package main

import "os"

// canMount says whether the file system of power cuts can be mounted: FUSE is there, and we are root.
func canMount() bool {
	_, err := os.Stat("/dev/fuse")
	return err == nil && os.Geteuid() == 0
}
