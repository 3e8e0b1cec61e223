package broker

// OnSync tells of every file and directory that the broker puts on disk itself. Only while it is stopped.
func (b *Broker) OnSync(tell func(path string)) {
	b.sync = func(path string) error {
		tell(path)
		return syncPath(path)
	}
}
