// Package reorder puts the events of each key back into order: by the count that their source keeps
// (Counted), or by the time at which they occurred (Timed).
//
// package consumers runs one of them between the stream and the handler. Both decide purely: they hold
// items of the caller's, are told the time, and hand items back; they start nothing, ask nobody and
// forget nothing that was not released. A Counted or Timed belongs to one goroutine.
//
// # What is held, and for how long
//
// Counted holds an event only when one before it is missing in its source's count, and then holds that
// source's later events of the same user, nothing else. The gap ends when the missing events arrive, or
// when the window has passed since it was noticed: then what was held is released with verdict Gap. An
// event that arrives behind one that was released already is Late: its consequences were drawn without
// it, so it goes to a handler that corrects.
//
// Counts begin at 0 or 1. The first event of a count that is new here is taken as the place where
// reading began, except that a small number (StartWithin) is a gap: a new user's second event that
// overtook the first. What was released before a restart is told with Learn.
//
// # Memory
//
// Options bound what is held and how many keys are remembered. Where there is no room, the key that has
// waited longest is released early, with verdict Gap and Early set: order gives way, no event is lost.
package reorder
