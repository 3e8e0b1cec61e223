package telemetry

import (
	"runtime"
	"runtime/debug"
	"sync"
)

// Build says which weft this is.
type Build struct {
	Version  string `json:"version" yaml:"version"`                       // module version, "(devel)" for a build of a work tree
	Revision string `json:"revision,omitempty" yaml:"revision,omitempty"` // commit
	Time     string `json:"time,omitempty" yaml:"time,omitempty"`         // of the commit, RFC 3339
	Modified bool   `json:"modified" yaml:"modified"`                     // the work tree had changes
	Go       string `json:"go" yaml:"go"`
	Platform string `json:"platform" yaml:"platform"`
}

// BuildInfo reads what the Go tool put into the binary.
func BuildInfo() Build { return readBuild() }

var readBuild = sync.OnceValue(func() Build {
	b := Build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version = info.Main.Version; b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
})
