// Package state owns the box's database: what was uploaded, what is to be
// analysed, what came of it.
//
// A write has reached the disk when it returns; writes that are under way at the
// same time share one sync. The file is a bbolt database with a schema version;
// older versions are migrated when they are opened, newer ones are refused
// untouched. The file is read by a checker of its own before bbolt, which maps it
// and trusts it, sees it: a damaged one is kept aside, and the newest backup that
// is whole takes its place.
//
// The bytes of uploads and the results of jobs are files; only their records are
// here.
package state
