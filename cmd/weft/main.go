// Command weft runs and uses the event mesh: one binary, one file per verb.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal asks to stop, a second one ends the process
	os.Exit(execute(ctx, newRootCommand(), os.Args[1:]))
}
